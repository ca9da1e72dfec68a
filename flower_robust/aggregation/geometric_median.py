"""The geometric median, found among the distances alone."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flower_robust.aggregation.geometry import Geometry
from flower_robust.aggregation.gram import Float64
from flower_robust.aggregation.rule import Weighting

RESOLVED = 1e6
"""Rows farther from the central row than this many radii of its half are left out: float64 distances no longer say
in which direction they lie, and in the median each would pull with no more than its unit weight."""
SMOOTHING = 1e-6
"""ν, as a share of the radius around the central row that holds more than half of the rows."""
STILL = 1e-11
"""The search ends when a step moves no weight further than this."""
MOST_STEPS = 5000


def spread_from(squared_distances: Tensor) -> Tensor:
    """The squared distance from each row within which more than half of the rows lie, Float64[n]."""
    return squared_distances.sort(dim=1).values[:, squared_distances.shape[0] // 2]


@dataclass(frozen=True, repr=False)
class GeometricMedian(Weighting):
    """The point with the smallest sum of distances to the rows (RFA): smoothed Weiszfeld steps until they stand still.

    v = Σ_i w_i x_i, w_i ∝ 1 / max(ν, |x_i − v|), ν = 1e-6 · ρ,
    ρ the smallest radius around a row (the central one) that holds more than half of the rows

    Updates Float[n, d], n >= 2f+1. Rows farther than 1e6 ρ from the central row weigh nothing. Starts from
    the mean of the other rows and runs to convergence (5000 steps at most); ByzFL 0.0.11 stops three steps from the
    zero vector, so that f zero rows capture it.
    Raises TooFewRows (nobody is blamed), NonFiniteRows (the rows' senders are at fault).

    Pillutla et al., "Robust Aggregation for Federated Learning", IEEE TSP 2022, Algorithm 2.
    """

    f: int = 0

    def min_rows(self) -> int:
        """2f+1."""
        return 2 * self.f + 1

    def weights(self, geometry: Geometry) -> Tensor:
        self.check(geometry.n)
        D = geometry.squared_distances
        spreads = spread_from(D)
        centre = int(spreads.argmin())
        unit = float(spreads[centre].sqrt())
        resolved = torch.nonzero(D[centre].sqrt() <= RESOLVED * unit).flatten()
        weights = torch.zeros(geometry.n, dtype=torch.float64)
        weights[resolved] = torch.from_numpy(_weiszfeld(D[resolved][:, resolved].numpy(), SMOOTHING * unit))
        return weights


def _weiszfeld(squared_distances: Float64, smoothing: float) -> Float64:
    n = squared_distances.shape[0]
    weights = np.full(n, 1 / n)
    if smoothing == 0:  # more than half of the rows are one point, and only they are left
        return weights
    for _ in range(MOST_STEPS):
        reach = squared_distances @ weights
        lengths = np.sqrt(np.maximum(reach - weights @ reach / 2, smoothing**2))
        stepped = 1 / lengths / (1 / lengths).sum()
        moved, weights = np.abs(stepped - weights).max(), stepped
        if moved < STILL:
            break
    return weights
