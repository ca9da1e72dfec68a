"""One liar among heterogeneous rows: it need not be far away, but it agrees with nobody."""

from dataclasses import dataclass

import torch
from torch import Tensor

from flower_robust.aggregation.foolsgold import cosines
from flower_robust.aggregation.geometry import Geometry
from flower_robust.aggregation.mean import by_size
from flower_robust.aggregation.rule import Weighting


@dataclass(frozen=True, repr=False)
class LonerFilter(Weighting):
    """The mean, by declared size, of the rows that point with at least one other; at most f are left out.

    a_i = max_{j ≠ i} cos(x_i, x_j), k_i = [a_i ≥ 0 or a_i ≥ the (f+1)-th smallest a], w_i = k_i n_i / Σ_j k_j n_j

    Updates Float[n, d], n >= 2f+1, each already clipped to the plan's norm bound: a liar that points with somebody is
    bounded by that alone. Two rows that are each other's only friends are equally lonely and both stay (f = 1).
    Made for f = 1; liars who keep each other company are `CompanyFilter`'s.
    Raises TooFewRows (nobody is blamed), NonFiniteRows (the rows' senders are at fault).

    `benchmarks/robustness` compares it.
    """

    f: int

    def min_rows(self) -> int:
        """2f+1."""
        return 2 * self.f + 1

    def weights(self, geometry: Geometry) -> Tensor:
        self.check(geometry.n)
        if geometry.n == 1:
            return torch.ones(1, dtype=torch.float64)
        friendliest = cosines(geometry).fill_diagonal_(-1.0).max(1).values
        kept = (friendliest >= 0) | (friendliest >= friendliest.sort().values[self.f])
        return by_size(kept.double(), geometry)
