"""Clipping: no row pulls farther than a radius."""

from dataclasses import dataclass

import torch
from torch import Tensor

from flower_robust.aggregation.geometry import Geometry, squared_distances_to
from flower_robust.aggregation.rule import Mixing, Weighting, require_count, require_positive


def shrinkage(lengths: Tensor, radius: float) -> Tensor:
    """min(1, radius / length), 1 for length 0."""
    return torch.where(lengths > radius, radius / lengths, torch.ones_like(lengths))


@dataclass(frozen=True, repr=False)
class NormClipping(Mixing):
    """Each row is shrunk to at most `bound`; alone, their mean: one row moves it by at most bound/n.

    M = diag(min(1, C / |x_i|))

    Updates Float[n, d], n >= f+1; bound C > 0, an L2 norm. Rows of M sum to at most 1, the rest is weight on the
    zero update.
    Raises ConfigurationError and TooFewRows (nobody is blamed), NonFiniteRows (the rows' senders are at fault).

    Sun et al., "Can You Really Backdoor Federated Learning?", 2019, section 4 (norm thresholding).
    """

    bound: float = 1.0
    f: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("bound", self.bound)

    def min_rows(self) -> int:
        """f+1."""
        return self.f + 1

    def mixing(self, geometry: Geometry) -> Tensor:
        self.check(geometry.n)
        return torch.diag(shrinkage(geometry.squared_norms.sqrt(), self.bound))


@dataclass(frozen=True, repr=False)
class AdaptiveClipping(Mixing):
    """The longest rows are shrunk to the longest of the others (ARC); alone, their mean.

    M = diag(min(1, C / |x_i|)), C the (k+1)-th largest norm, k = ⌊2f(n−f)/n⌋

    Updates Float[n, d], n >= 2f+1. Rows of M sum to at most 1, the rest is weight on the zero update.
    Raises TooFewRows (nobody is blamed), NonFiniteRows (the rows' senders are at fault).

    Allouah et al., "Adaptive Gradient Clipping for Robust Federated Learning", ICLR 2025, Algorithm 2.
    """

    f: int

    def min_rows(self) -> int:
        """2f+1."""
        return 2 * self.f + 1

    def mixing(self, geometry: Geometry) -> Tensor:
        n = geometry.n
        self.check(n)
        lengths = geometry.squared_norms.sqrt()
        clipped = 2 * self.f * (n - self.f) // n
        return torch.diag(shrinkage(lengths, float(lengths.sort(descending=True).values[clipped])))


@dataclass(frozen=True, repr=False)
class CenteredClipping(Weighting):
    """Steps from zero, each the mean of the rows' differences from where it stands, clipped to a radius.

    v ← v + 1/n Σ_i (x_i − v) min(1, τ / |x_i − v|), `steps` times from v = 0

    Updates Float[n, d], n >= 2f+1 (the paper proves its rate for n >= 10f); radius τ > 0, an L2 norm. The weights sum
    to at most 1, the rest is weight on the zero update. Keeps nothing between calls; ByzFL 0.0.11 goes on from its last
    result, so a fresh object of it is compared.
    Raises ConfigurationError and TooFewRows (nobody is blamed), NonFiniteRows (the rows' senders are at fault).

    Karimireddy, He, Jaggi, "Learning from History for Byzantine Robust Optimization", ICML 2021, section 4.
    """

    radius: float = 10.0
    steps: int = 3
    f: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("radius", self.radius)
        require_count("steps", self.steps, 1)

    def min_rows(self) -> int:
        """2f+1."""
        return 2 * self.f + 1

    def weights(self, geometry: Geometry) -> Tensor:
        n, gram = geometry.n, geometry.gram
        self.check(n)
        weights = torch.zeros(n, dtype=torch.float64)
        for _ in range(self.steps):
            steps = shrinkage(squared_distances_to(weights, gram).sqrt(), self.radius) / n
            weights = weights * (1 - steps.sum()) + steps
        return weights
