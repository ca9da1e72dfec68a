"""What a rule is: weightings see geometry only, row rules see rows, mixings come before either; `>>` composes."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import overload

import torch
from torch import Tensor

from flower_robust.aggregation.blocks import checked
from flower_robust.aggregation.geometry import Geometry
from flower_robust.aggregation.sums import mixed_rows, weighted_sum
from flower_robust.errors import ConfigurationError, TooFewRows


class Rule(ABC):
    """An aggregation rule: Float[n, d] -> Float[d], with at most f of the n rows Byzantine.

    Rules are frozen and hold no state. `repr(rule)` is what a user types, and `rule_from_text` reads it back.
    """

    f: int
    needs_reference: bool = False
    """Whether it asks for the server's own update; its weights then carry rows to that length, so their sum is free."""
    sees_quarantined: bool = False
    """Whether it judges the others better beside those in quarantine (`Geometry.quarantined`), which get no weight."""

    def __post_init__(self) -> None:
        require_count("f", self.f, 0)

    @property
    def name(self) -> str:
        """The rule's name in reports and plans."""
        return type(self).__name__

    @abstractmethod
    def min_rows(self) -> int:
        """The fewest rows that withstand f Byzantine ones: the rule's breakdown point."""

    @abstractmethod
    def __call__(self, updates: Tensor) -> Tensor:
        """Aggregate Float[n, d] into Float[d], same dtype and device; the updates are never written to."""

    def check(self, n: int) -> None:
        """Raise TooFewRows if n rows are fewer than `min_rows()`; nobody is blamed."""
        if n < self.min_rows():
            raise TooFewRows(repr(self), n, self.f, self.min_rows())

    def reseeded(self, seed: int) -> "Rule":
        """The same rule with its public randomness drawn from `seed`; itself where it has none."""
        return self

    def __repr__(self) -> str:
        shown = []
        for argument in dataclasses.fields(self):  # type: ignore[arg-type]
            given = getattr(self, argument.name)
            if argument.default is dataclasses.MISSING or given != argument.default:
                shown.append(f"{argument.name}={given!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


class Weighting(Rule):
    """A rule that sees only geometry: Geometry -> Float64[n]. It runs masked and unmasked.

    Weights are >= 0 and sum to 1. Clipping rules sum to less: the rest is weight on the zero update. ReferenceTrust
    rescales rows to the reference's norm, so its sum is free.
    """

    @abstractmethod
    def weights(self, geometry: Geometry) -> Tensor:
        """The weight of each row in the aggregate, Float64[n] on the CPU. Raises TooFewRows."""

    def __call__(self, updates: Tensor, reference: Tensor | None = None) -> Tensor:
        """Aggregate Float[n, d] into Float[d] = Σ_i w_i x_i; raises TooFewRows, NonFiniteRows (their senders)."""
        self.check(checked(updates).shape[0])
        return weighted_sum(self.weights(Geometry.of(updates, reference)), updates)

    def reseeded(self, seed: int) -> "Weighting":
        return self


class RowRule(Rule):
    """A rule that needs the rows themselves: unmasked rounds, or the group means of a masked one."""

    def reseeded(self, seed: int) -> "RowRule":
        return self


class Mixing(Weighting):
    """A pre-aggregation: Geometry -> Float64[g, n], the weights of g mixed rows. Alone, their plain mean.

    `mixing >> rule` mixes, then applies the rule: a Weighting again where the rule is one.
    """

    @abstractmethod
    def mixing(self, geometry: Geometry) -> Tensor:
        """The mixing matrix M, Float64[g, n] on the CPU; row g of M @ updates is the g-th mixed update."""

    def rows_needed(self, mixed: int) -> int:
        """The fewest rows that give `mixed` mixed rows."""
        return mixed

    def weights(self, geometry: Geometry) -> Tensor:
        """1/g Σ_g M_g, Float64[n]."""
        return self.mixing(geometry).mean(0)

    def reseeded(self, seed: int) -> "Mixing":
        return self

    @overload
    def __rshift__(self, rule: "Mixing") -> "Mixing": ...
    @overload
    def __rshift__(self, rule: Weighting) -> Weighting: ...
    @overload
    def __rshift__(self, rule: RowRule) -> RowRule: ...
    @overload
    def __rshift__(self, rule: Rule) -> Rule: ...
    def __rshift__(self, rule: Rule) -> Rule:
        if isinstance(rule, Mixing):
            return MixedMixing(self, rule)
        if isinstance(rule, Weighting):
            return MixedWeighting(self, rule)
        if isinstance(rule, RowRule):
            return MixedRows(self, rule)
        return NotImplemented


class Composed(Rule):
    """`mixing >> rule`: f is the larger of the two, and both must have rows enough."""

    def __init__(self, first: Mixing, then: Rule) -> None:
        self.first, self.then = first, then
        self.f = max(first.f, then.f)
        self.needs_reference = then.needs_reference

    @property
    def name(self) -> str:
        return f"{self.first.name} >> {self.then.name}"

    def min_rows(self) -> int:
        return max(self.first.min_rows(), self.first.rows_needed(self.then.min_rows()))

    def __repr__(self) -> str:
        return f"{self.first!r} >> {self.then!r}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and (self.first, self.then) == (other.first, other.then)

    def __hash__(self) -> int:
        return hash((self.first, self.then))


class MixedWeighting(Composed, Weighting):
    """A pre-aggregation followed by a weighting: w = Mᵀ w'(geometry of M @ rows)."""

    first: Mixing
    then: Weighting

    def weights(self, geometry: Geometry) -> Tensor:
        self.check(geometry.n)
        M = self.first.mixing(geometry)
        return self.then.weights(geometry.mixed(M)) @ M

    def reseeded(self, seed: int) -> Weighting:
        return self.first.reseeded(seed) >> self.then.reseeded(seed)


class MixedMixing(Composed, Mixing):
    """Two pre-aggregations, one after the other: M = M2 M1."""

    first: Mixing
    then: Mixing

    def rows_needed(self, mixed: int) -> int:
        return self.first.rows_needed(self.then.rows_needed(mixed))

    def mixing(self, geometry: Geometry) -> Tensor:
        self.check(geometry.n)
        M = self.first.mixing(geometry)
        return self.then.mixing(geometry.mixed(M)) @ M

    def reseeded(self, seed: int) -> Mixing:
        return self.first.reseeded(seed) >> self.then.reseeded(seed)


class MixedRows(Composed, RowRule):
    """A pre-aggregation followed by a rule that needs rows: the mixed rows are formed, n·d values more memory."""

    first: Mixing
    then: RowRule

    def __call__(self, updates: Tensor) -> Tensor:
        self.check(checked(updates).shape[0])
        return self.then(mixed_rows(self.first.mixing(Geometry.of(updates)), updates)).to(updates.dtype)

    def reseeded(self, seed: int) -> RowRule:
        return self.first.reseeded(seed) >> self.then.reseeded(seed)


def require_count(option: str, given: object, least: int) -> None:
    """Raise ConfigurationError unless `given` is a whole number >= least."""
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise ConfigurationError(option, given, f"a whole number of at least {least}")


def require_positive(option: str, given: float) -> None:
    """Raise ConfigurationError unless `given` is a finite number > 0."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < float("inf"):
        raise ConfigurationError(option, given, "a finite number above 0")


def lowest(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` lowest scores; of equal ones the lower index first."""
    return torch.argsort(scores, stable=True)[:count]


def even_weights(n: int, rows: Tensor | Sequence[int]) -> Tensor:
    """1/k on each of the k rows, Float64[n]."""
    chosen = torch.as_tensor(rows, dtype=torch.int64)
    weights = torch.zeros(n, dtype=torch.float64)
    weights[chosen] = 1 / len(chosen)
    return weights
