"""One liar among heterogeneous rows: who is far from everybody sits out, unless that may leave an honest row alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from flower_robust.aggregation.foolsgold import cosines
from flower_robust.aggregation.geometry import Geometry
from flower_robust.aggregation.mean import by_size
from flower_robust.aggregation.rule import Weighting

CHANCE = 0.05
"""How likely one of n random rows may point away from all others, n / 2^(n−1), for that to accuse it: n > 8."""

AS_LONG = 0.9
"""Share of the largest squared length from which on a row is as long: what sketches of equal rows may differ by."""


def loneliness(geometry: Geometry) -> Tensor:
    """Each row's squared distance to its nearest other, short rows lengthened, Float64[n].

        d_i = min_{j ≠ i} |r_i x_i − r_j x_j|²,  r_i = max(1, m / |x_i|), 1 where x_i = 0; m: the lower median length

    A short row is near everybody: by sending little, a liar would make an honest row the furthest.
    """
    lengths = geometry.squared_norms.sqrt()
    usual = lengths.sort().values[(geometry.n - 1) // 2]
    longer = torch.where(lengths > 0, (usual / lengths).clamp(min=1), 1.0)
    squared = geometry.squared_norms * longer.square()
    distances = squared[:, None] + squared[None, :] - 2 * geometry.gram * torch.outer(longer, longer)
    return distances.clamp(min=0).fill_diagonal_(torch.inf).min(1).values


@dataclass(frozen=True, repr=False)
class StrangerFilter(Weighting):
    """The mean, by declared size, of all rows but at most one that is far from everybody.

    w_i = k_i n_i / Σ_j k_j n_j; k_i = 0 for i = argmax d, the only one, where both hold, else 1 (d of `loneliness`);
    all are kept where f rows are in quarantine:
    far:    d_i > (n−1) · lower median of d, or max_{j ≠ i} cos(x_i, x_j) < 0 where n / 2^(n−1) < 0.05
    guilty: |x_i|² >= 0.9 max_j |x_j|², or max_{j ≠ i} d_j > d_i / 2
    n_i of `by_size`

    Far: further from its nearest other than all the others' usual distances make together. Who sits out is the longest,
    or one of two lonely rows: a liar that turned against its likes leaves one of them behind. A lonely row that is
    neither stays: its likes may be the liar, that now sends something short in the middle. Two rows that are each
    other's nearest are equally lonely, and both stay.

    Updates Float[n, d], n >= 2f+1, each already clipped to the plan's norm bound. Made for f = 1: at most one row is
    left out; liars who keep each other company are `CompanyFilter`'s.
    Raises TooFewRows (nobody is blamed), NonFiniteRows (the rows' senders are at fault).

    `benchmarks/robustness` compares it.
    """

    f: int
    sees_quarantined = True

    def min_rows(self) -> int:
        """2f+1."""
        return 2 * self.f + 1

    def weights(self, geometry: Geometry) -> Tensor:
        self.check(geometry.n)
        kept = torch.ones(geometry.n, dtype=torch.float64)
        if geometry.n > 2 and _in_quarantine(geometry) < self.f:
            kept[_strange(geometry)] = 0
        return by_size(kept, geometry, self.f)


def _in_quarantine(geometry: Geometry) -> int:
    return 0 if geometry.quarantined is None else int(geometry.quarantined.sum())


def _strange(geometry: Geometry) -> Tensor:
    """Who is far and guilty: Bool[n], at most one of them true."""
    n, lonely = geometry.n, loneliness(geometry)
    ranked = lonely.sort().values
    first, second, usual = ranked[-1], ranked[-2], ranked[(n - 1) // 2]
    far = lonely > (n - 1) * usual
    if n < CHANCE * 2 ** (n - 1):
        far |= cosines(geometry).fill_diagonal_(-1.0).max(1).values < 0
    longest = geometry.squared_norms >= AS_LONG * geometry.squared_norms.max()
    return (lonely == first) & (first > second) & far & (longest | (second > first / 2))
