"""The geometric median, found among the distances alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from flower_robust.aggregation.geometry import Geometry
from flower_robust.aggregation.rule import Weighting

RESOLVED = 1e6
"""Rows farther than this many median distances from the central row are left out: float64 distances no longer say
in which direction they lie, and in the median each would pull with no more than its unit weight."""
SMOOTHING = 1e-6
"""ν, as a share of the median distance from the central row."""
STILL = 1e-12
"""The search ends when a step moves no weight further than this."""
MOST_STEPS = 2000


def squared_distances_to(squared_distances: Tensor, weights: Tensor) -> Tensor:
    """|x_i − Σ_j w_j x_j|² = (D w)_i − wᵀ D w / 2 for weights of sum 1, Float64[n]."""
    reach = squared_distances @ weights
    return (reach - weights @ reach / 2).clamp(min=0)


def central_row(squared_distances: Tensor) -> int:
    """The row with the smallest median distance to all rows, the lowest index of equal ones."""
    return int(squared_distances.median(dim=1).values.argmin())


@dataclass(frozen=True, repr=False)
class GeometricMedian(Weighting):
    """The point with the smallest sum of distances to the rows (RFA): smoothed Weiszfeld steps until they stand still.

    v = Σ_i w_i x_i, w_i ∝ 1 / max(ν, |x_i − v|), ν = 1e-6 · (median distance from the central row)

    Updates Float[n, d], n >= 2f+1. Rows beyond 1e6 median distances from the central row weigh nothing. Starts from
    the mean of the other rows and runs to convergence (2000 steps at most); ByzFL 0.0.11 stops three steps from the
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
        from_centre = D[central_row(D)]
        unit = float(from_centre.median().sqrt())
        resolved = torch.nonzero(from_centre.sqrt() <= RESOLVED * unit).flatten()
        weights = torch.zeros(geometry.n, dtype=torch.float64)
        weights[resolved] = _weiszfeld(D[resolved][:, resolved], SMOOTHING * unit)
        return weights


def _weiszfeld(squared_distances: Tensor, smoothing: float) -> Tensor:
    n = squared_distances.shape[0]
    weights = torch.full((n,), 1 / n, dtype=torch.float64)
    if smoothing == 0:  # more than half of the rows are one point, and only they are left
        return weights
    for _ in range(MOST_STEPS):
        pulls = 1 / squared_distances_to(squared_distances, weights).sqrt().clamp(min=smoothing)
        stepped = pulls / pulls.sum()
        moved = float((stepped - weights).abs().max())
        weights = stepped
        if moved < STILL:
            break
    return weights
