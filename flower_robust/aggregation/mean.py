"""The plain mean: no defence, the yardstick."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from flower_robust.aggregation.blocks import checked, refuse_non_finite
from flower_robust.aggregation.geometry import Geometry
from flower_robust.aggregation.rule import Weighting
from flower_robust.aggregation.sums import weighted_sum


def by_size(voices: Tensor, geometry: Geometry, f: int) -> Tensor:
    """v_i n_i / Σ_j v_j n_j, Float64[n]: voices, weighted by the rows' sizes where the geometry has them.

        n_i = clip(size_i, m / q, m q), m: the median size, q = (a + √(a² + 4 f b)) / 2f, a = ⌈n/2⌉ − f, b = ⌊n/2⌋

    The f largest weigh f q m at most, and the median says what the others do at least: a of them m each, b of them
    m / q. So with equal voices no f rows weigh more than the n − f others, whatever sizes they claim (q is 2 or more up
    to f = n/4, for f = 2 of 5 it is 1.28). All 0 where nobody with a voice has any size, or half of all have none.
    """
    weights = voices * bounded_sizes(geometry, f)
    total = weights.sum()
    return weights / total if total > 0 else weights


def bounded_sizes(geometry: Geometry, f: int) -> Tensor:
    """n_i of `by_size`, Float64[n]; 1 each without sizes, as they are for f = 0."""
    sizes, n = geometry.sizes, geometry.n
    if sizes is None:
        return torch.ones(n, dtype=torch.float64)
    if f == 0:
        return sizes
    as_usual, smaller = math.ceil(n / 2) - f, n // 2
    bound, usual = (as_usual + math.sqrt(as_usual**2 + 4 * f * smaller)) / (2 * f), sizes.quantile(0.5)
    return sizes.clamp(usual / bound, usual * bound)


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
