"""Minimum diameter averaging: the n−f rows that lie closest together."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from flower_robust.aggregation.geometry import Geometry
from flower_robust.aggregation.rule import Weighting, even_weights, lowest
from flower_robust.errors import ConfigurationError

EXACT_UP_TO = 20
"""The largest f of MinimumDiameter; the search tree grows like 1.5^f."""
MOST_TIES = 1000
"""Of subsets with the same diameter, at most so many are compared by their squared distances."""


@dataclass(frozen=True, repr=False)
class MinimumDiameter(Weighting):
    """The mean of the n−f rows with the smallest diameter (MDA), exactly, for f <= 20 and any n.

    w_i = 1/(n−f) on argmin_{|S| = n−f} max_{i,j ∈ S} D_ij; of equal diameters the smallest Σ_{i,j ∈ S} D_ij

    Updates Float[n, d], n >= 2f+1. No subset is enumerated: rows are left out as a vertex cover, of size at most f, of
    the pairs that are too far apart, for the smallest distance that admits one.
    Raises ConfigurationError for f > 20, where `GreedyMinimumDiameter` is the choice, and TooFewRows (nobody is
    blamed), NonFiniteRows (the rows' senders are at fault).

    El Mhamdi et al., "Distributed Momentum for Byzantine-resilient Stochastic Gradient Descent", ICLR 2021, section 2.
    """

    f: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.f > EXACT_UP_TO:
            raise ConfigurationError("f", self.f, f"at most {EXACT_UP_TO}, or GreedyMinimumDiameter")

    def min_rows(self) -> int:
        """2f+1."""
        return 2 * self.f + 1

    def weights(self, geometry: Geometry) -> Tensor:
        self.check(geometry.n)
        D = geometry.squared_distances
        diameter = _smallest_diameter(D, self.f)
        covers = islice(vertex_covers(_conflicts(D, diameter), self.f), MOST_TIES)
        kept = [_peeled(D, cover, self.f) for cover in covers]
        return even_weights(geometry.n, min(kept, key=lambda rows: float(D[rows][:, rows].sum())))


@dataclass(frozen=True, repr=False)
class GreedyMinimumDiameter(Weighting):
    """The mean of the tightest neighbourhood of n−f rows: at most twice the smallest diameter, for any f.

    w_i = 1/(n−f) on the N_i with the smallest max_{j,k ∈ N_i} D_jk, then the smallest Σ_{j,k} D_jk;
    N_i the n−f rows nearest to x_i

    Updates Float[n, d], n >= 2f+1. Raises TooFewRows (nobody is blamed), NonFiniteRows (the rows' senders are).

    The approximation of El Mhamdi et al., "Distributed Momentum for Byzantine-resilient SGD", ICLR 2021, by balls.
    """

    f: int

    def min_rows(self) -> int:
        """2f+1."""
        return 2 * self.f + 1

    def weights(self, geometry: Geometry) -> Tensor:
        self.check(geometry.n)
        D = geometry.squared_distances
        balls = [lowest(row, geometry.n - self.f) for row in D]
        tightest = min(balls, key=lambda rows: _size(D[rows][:, rows]))
        return even_weights(geometry.n, tightest)


def _size(squared_distances: Tensor) -> tuple[float, float]:
    return float(squared_distances.max()), float(squared_distances.sum())


def _conflicts(squared_distances: Tensor, diameter: float) -> list[int]:
    """For each row the rows that are farther away than the diameter, as bits."""
    far = (squared_distances > diameter).tolist()
    return [sum(1 << j for j, apart in enumerate(row) if apart) for row in far]


def _smallest_diameter(squared_distances: Tensor, f: int) -> float:
    candidates = torch.unique(squared_distances).tolist()
    low, high = 0, len(candidates) - 1
    while low < high:
        half = (low + high) // 2
        if next(vertex_covers(_conflicts(squared_distances, candidates[half]), f), None) is None:
            low = half + 1
        else:
            high = half
    return float(candidates[low])


def vertex_covers(conflicts: list[int], budget: int) -> Iterator[int]:
    """Yield sets of at most `budget` rows, as bits, that touch every conflict; every minimal one is among them."""
    degrees = [edges.bit_count() for edges in conflicts]
    highest = max(degrees, default=0)
    if highest == 0:
        yield 0
    elif sum(sorted(degrees)[-budget:] if budget else []) * 2 >= sum(degrees):
        row = degrees.index(highest)
        branches = [1 << row] if highest > budget else [1 << row, conflicts[row]]
        for left_out in branches:
            for cover in vertex_covers(_without(conflicts, left_out), budget - left_out.bit_count()):
                yield cover | left_out


def _without(conflicts: list[int], left_out: int) -> list[int]:
    return [0 if left_out >> row & 1 else edges & ~left_out for row, edges in enumerate(conflicts)]


def _peeled(squared_distances: Tensor, cover: int, f: int) -> list[int]:
    """The rows outside the cover, less the outermost until n−f are left."""
    kept = [row for row in range(squared_distances.shape[0]) if not cover >> row & 1]
    while len(kept) > squared_distances.shape[0] - f:
        kept.pop(int(squared_distances[kept][:, kept].sum(1).argmax()))
    return kept
