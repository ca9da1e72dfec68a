"""`masking=PeerMasking(threshold=t)`: the options of masked rounds, checked before the first message."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from logging import WARNING

import numpy as np
import torch
from flwr.common import log

from flower_robust.aggregation import Geometry, Rule, Weighting
from flower_robust.commitments import Identity
from flower_robust.errors import ConfigurationError
from flower_robust.masking.decoding import correctable
from flower_robust.masking.thresholds import default_threshold
from flower_robust.protocol.client_unmask import carriers
from flower_robust.protocol.server_decide import integer_weights
from flower_robust.protocol.terms import NO_DIGEST, WEIGHT_CAP, MaskingTerms
from flower_robust.types import Digest


@dataclass(frozen=True, slots=True)
class PeerMasking:
    """The server learns one weighted sum of the updates, and their distances; never an update.

    `threshold` t: any t clients, even with the server, learn nothing of another's update; default ⌊(expected − 1)/4⌋,
    at least 1. `flower-robust survives` prints which drop-outs and liars a cohort then survives.
    `min_accepted`: fewest clients in a sum that is opened; default 2t + 1, at least t + 2.
    `strict`: one more exchange, after which the server cannot have two sums opened, instead of being convicted of it.
    `groups`: disjoint sums, for rules that need rows; each holds at least `min_accepted` clients.
    `weight_cap`: a client counts as hidden in the sum if its weight times the cap reaches the largest weight.
    `step_timeout`: seconds that each exchange after the training waits, which is also how long its messages live.
    `masked_metrics`: train metrics that are summed in secret, and the largest absolute value of each.
    `buffer_bound`: the largest change of a float buffer in one round; such buffers ride in the masked vector.
    `server`: whose signature is on all that clients are shown; default: a key of this process.
    """

    threshold: int | None = None
    min_accepted: int | None = None
    strict: bool = False
    groups: int = 1
    weight_cap: int = WEIGHT_CAP
    step_timeout: float = 60.0
    masked_metrics: Mapping[str, float] = field(default_factory=dict)
    buffer_bound: float = 10.0
    server: Identity = field(default_factory=lambda: Identity.generate("server"))

    def __post_init__(self) -> None:
        bounds = {"step_timeout": self.step_timeout, "buffer_bound": self.buffer_bound}
        bounds |= {f"masked_metrics[{name!r}]": bound for name, bound in self.masked_metrics.items()}
        for option, number in bounds.items():
            if not (math.isfinite(number) and number > 0):
                raise ConfigurationError(f"PeerMasking({option})", number, "a finite number above 0")

    def resolved(self, expected: int) -> tuple[int, int]:
        """t and min_accepted, once it is known how many clients are expected."""
        t = default_threshold(expected) if self.threshold is None else self.threshold
        return t, 2 * t + 1 if self.min_accepted is None else self.min_accepted

    def fewest(self, expected: int) -> int:
        """The fewest accepted clients with which a round can be opened."""
        t, min_accepted = self.resolved(expected)
        return max(2 * t + 1, self.groups * min_accepted)

    def terms(
        self, expected: int, n: int, d: int, norm_bound: float, keys: Digest, previous: Digest = NO_DIGEST
    ) -> MaskingTerms:
        """The masking part of one plan, for a cohort of n. ConfigurationError says what cannot work."""
        t, min_accepted = self.resolved(expected)
        return MaskingTerms.create(
            n=n,
            d=d,
            norm_bound=norm_bound,
            server_key=self.server.public_key,
            keys_digest=keys,
            threshold=t,
            min_accepted=min_accepted,
            weight_cap=self.weight_cap,
            groups=self.groups,
            strict=self.strict,
            previous=previous,
        )

    def check(self, rule: Rule, expected: int, norm_bound: float) -> None:
        """Raises ConfigurationError unless a round of `expected` clients can be opened at all."""
        self.terms(expected, expected, 1, norm_bound, NO_DIGEST)
        if not isinstance(rule, Weighting):
            if self.groups < rule.min_rows():
                required = f"at least {rule.min_rows()}: {rule!r} needs rows, and sees the means of disjoint groups"
                raise ConfigurationError("PeerMasking(groups)", self.groups, required)
            return
        if self.groups != 1:
            raise ConfigurationError("PeerMasking(groups)", self.groups, f"1: {rule!r} decides from distances")
        found, fewest = self._carried(rule, expected), self.resolved(expected)[1]
        if found < fewest:
            required = f"a rule whose sum {fewest} clients carry; {rule!r} rests on {found} of {expected} honest ones"
            raise ConfigurationError("rule", repr(rule), required)

    def _carried(self, rule: Weighting, n: int) -> int:
        """How many of n rows around one direction carry the sum."""
        rows = 1 + torch.randn(n, 256, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        weights = rule.weights(Geometry.of(rows, torch.ones(256, dtype=torch.float64))).numpy()
        row = integer_weights(weights, self.resolved(n)[1], self.weight_cap)
        return carriers(np.array(row, np.uint8), self.weight_cap)


def check_masking(masking: PeerMasking, rule: Rule, expected: int, quorum: int | None, norm_bound: float) -> None:
    """Every option of a masked strategy, before the first message. Raises ConfigurationError."""
    masking.check(rule, expected, norm_bound)
    if quorum is not None and quorum < masking.fewest(expected):
        required = f"at least {masking.fewest(expected)}, which a masked round of {expected} needs to be opened"
        raise ConfigurationError("quorum", quorum, required)
    _warn_of_liars(rule.f, expected, masking.resolved(expected)[0])
    _warn_of_voids(rule, expected, masking.resolved(expected)[1])


def _warn_of_voids(rule: Rule, n: int, fewest: int) -> None:
    """A rule may leave out f clients, one that trusts a reference whoever points elsewhere: here up to a half."""
    if n - rule.f < fewest:
        log(
            WARNING,
            "f = %d: a round in which the rule leaves out so many of %d clients opens nothing, since %d must carry "
            "the sum: a lower threshold or min_accepted needs fewer",
            *(rule.f, n, fewest),
        )
    elif rule.needs_reference and n - max(rule.f, n // 2) < fewest:
        log(
            WARNING,
            "a round in which fewer than %d of %d clients point the reference's way moves nothing, since so many must "
            "carry the sum: a lower threshold or min_accepted needs fewer",
            *(fewest, n),
        )


def _warn_of_liars(f: int, n: int, t: int) -> None:
    """A plan with f > e runs, as long as somebody was told what f then means."""
    e = correctable(n, 2 * t)
    if f > e:
        log(
            WARNING,
            "f = %d, but a masked round of n = %d clients with t = %d corrects e = %d that lie about distances: "
            "f bounds poisoned updates, not liars (flower-robust survives shows which t corrects more)",
            *(f, n, t, e),
        )
