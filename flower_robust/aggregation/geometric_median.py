"""The geometric median, found among the distances alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from flower_robust.aggregation.geometry import Geometry, squared_distances_to
from flower_robust.aggregation.rule import Weighting

SMOOTHING = 1e-6
"""ν, as a share of the radius around the central row that holds more than half of the rows."""
STILL = 1e-10
"""The search ends when a step moves no weight by more than this share of it."""
MOST_STEPS = 3000
TIED = 1 + 1e-9
"""Radii that differ by less are the same: their rows are central together."""


@dataclass(frozen=True, repr=False)
class GeometricMedian(Weighting):
    """The point with the smallest sum of distances to the rows (RFA): smoothed Weiszfeld steps until they stand still.

    v = Σ_i w_i x_i, w_i ∝ 1 / max(ν, |x_i − v|), ν = 1e-6 ρ,
    ρ the smallest radius around a row (the central one) that holds more than half of the rows

    Updates Float[n, d], n >= 2f+1. Starts from the mean of the rows within ρ of the central one, or of the means where
    several are (two points with half of the rows each: every point between them is a median, this one takes the middle,
    whatever the order of the rows), and runs to convergence (3000 steps at most), with inner products taken around the
    central row, so that neither a common offset nor huge rows cost digits. Where more than half of the rows are one
    point it is that point. ByzFL 0.0.11 stops three steps from the zero vector, so that f zero rows capture it.
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
        radii = D.sort(dim=1).values[:, geometry.n // 2].sqrt()
        centre, radius = int(radii.argmin()), float(radii.min())
        within = (D[radii <= TIED * radius].sqrt() <= TIED * radius).to(torch.float64)
        nearest = (within / within.sum(1, keepdim=True)).mean(0)
        return nearest if radius == 0 else _weiszfeld(nearest, Geometry(D, D[centre]).gram, SMOOTHING * radius)


def _weiszfeld(weights: Tensor, gram: Tensor, smoothing: float) -> Tensor:
    for _ in range(MOST_STEPS):
        pulls = 1 / squared_distances_to(weights, gram).sqrt().clamp(min=smoothing)
        stepped = pulls / pulls.sum()
        moved, weights = float(((stepped - weights) / stepped).abs().max()), stepped
        if moved < STILL:
            break
    return weights
