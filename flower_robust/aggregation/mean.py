"""The plain mean: no defence, the yardstick."""

from dataclasses import dataclass

import torch
from torch import Tensor

from flower_robust.aggregation.blocks import checked, refuse_non_finite
from flower_robust.aggregation.geometry import Geometry
from flower_robust.aggregation.rule import Weighting
from flower_robust.aggregation.sums import weighted_sum


def by_size(voices: Tensor, geometry: Geometry) -> Tensor:
    """v_i n_i / Σ_j v_j n_j, Float64[n]: voices, weighted by the rows' sizes where the geometry has them.

    All 0 where nobody with a voice has any size.
    """
    weights = voices if geometry.sizes is None else voices * geometry.sizes
    total = weights.sum()
    return weights / total if total > 0 else weights


@dataclass(frozen=True, repr=False)
class Mean(Weighting):
    """The plain mean; one Byzantine row moves it anywhere.

    w_i = 1/n

    Updates Float[n, d], n >= 1. Raises NonFiniteRows: the senders of these rows are at fault.

    McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017, Alg. 1.
    """

    f = 0

    def min_rows(self) -> int:
        """1; no Byzantine row is tolerated."""
        return 1

    def weights(self, geometry: Geometry) -> Tensor:
        self.check(geometry.n)
        return torch.full((geometry.n,), 1 / geometry.n, dtype=torch.float64)

    def __call__(self, updates: Tensor, reference: Tensor | None = None) -> Tensor:
        """Aggregate without measuring: every row weighs, so what is not finite in a row is not finite in the sum."""
        n = checked(updates).shape[0]
        mean = weighted_sum(torch.full((n,), 1 / n, dtype=torch.float64), updates)
        if not bool(torch.isfinite(mean.sum())):
            refuse_non_finite(updates)
        return mean
