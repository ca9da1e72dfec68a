"""Spectral filtering: what lies far out along the main direction of spread goes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from flower_robust.aggregation.geometry import Geometry
from flower_robust.aggregation.rule import Weighting, even_weights, lowest


@dataclass(frozen=True, repr=False)
class Spectral(Weighting):
    """The mean of the n−f rows that lie nearest to the mean along the direction of largest spread (DnC).

    w_i = 1/(n−f) for the n−f smallest (u_i)², u the top eigenvector of −½ J D J, J = I − 1/n

    Updates Float[n, d], n >= 2f+1. Exact and without sampling, so the same rows give the same answer: the eigenvector
    of the centred Gram matrix holds the projections on the top singular vector of the centred rows. One huge row
    defines the direction and hides quieter ones; `AdaptiveClipping(f) >> Spectral(f)` bounds it first.
    Raises TooFewRows (nobody is blamed), NonFiniteRows (the rows' senders are at fault).

    Shejwalkar, Houmansadr, "Manipulating the Byzantine", NDSS 2021, section VI, Algorithm 2 (one iteration, c = 1).
    """

    f: int

    def min_rows(self) -> int:
        """2f+1."""
        return 2 * self.f + 1

    def weights(self, geometry: Geometry) -> Tensor:
        self.check(geometry.n)
        return even_weights(geometry.n, lowest(outlier_scores(geometry), geometry.n - self.f))


def outlier_scores(geometry: Geometry) -> Tensor:
    """(u_i)², the squared projections on the main direction as shares of their sum, Float64[n]."""
    D = geometry.squared_distances
    D = D / D.max().clamp(min=torch.finfo(torch.float64).tiny)
    means = D.mean(0)
    centred = (means[:, None] + means[None, :] - D - D.mean()) / 2
    top: Tensor = torch.linalg.eigh(centred).eigenvectors[:, -1]
    return top.square()
