"""Nearest-neighbour mixing: every row is replaced by the mean of its surroundings."""

from dataclasses import dataclass

import torch
from torch import Tensor

from flower_robust.aggregation.geometry import Geometry
from flower_robust.aggregation.rule import Mixing


@dataclass(frozen=True, repr=False)
class NearestNeighborMixing(Mixing):
    """Each row becomes the mean of itself and its n−f−1 nearest others; what follows sees less heterogeneity.

    M_ij = 1/(n−f) for the n−f smallest D_ij (D_ii = 0 first; of equal distances the lowest index)

    Updates Float[n, d], n >= 2f+1. Raises TooFewRows (nobody is blamed), NonFiniteRows (the rows' senders are).

    Allouah et al., "Fixing by Mixing", AISTATS 2023, Algorithm 2.
    """

    f: int

    def min_rows(self) -> int:
        """2f+1."""
        return 2 * self.f + 1

    def mixing(self, geometry: Geometry) -> Tensor:
        self.check(geometry.n)
        kept = geometry.n - self.f
        others = geometry.squared_distances.clone().fill_diagonal_(-1.0)
        nearest = torch.argsort(others, dim=1, stable=True)[:, :kept]
        return torch.zeros_like(others).scatter_(1, nearest, 1 / kept)
