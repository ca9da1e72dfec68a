"""Krum and Multi-Krum: the rows with the tightest neighbourhoods."""

from dataclasses import dataclass

from torch import Tensor

from flower_robust.aggregation.geometry import Geometry
from flower_robust.aggregation.rule import Weighting, even_weights, lowest, require_count


def krum_scores(squared_distances: Tensor, neighbours: int) -> Tensor:
    """Σ of the squared distances to the `neighbours` nearest others, Float64[n]."""
    others = squared_distances.clone().fill_diagonal_(-1.0)  # itself sorts first, even before duplicates
    return others.sort(dim=1).values[:, 1 : 1 + neighbours].sum(1)


@dataclass(frozen=True, repr=False)
class Krum(Weighting):
    """The one row that is nearest to its n−f−2 nearest others.

    w = e_k, k = argmin_i Σ_{j ∈ N(i)} D_ij, |N(i)| = n−f−2; of equal scores the lowest index

    Updates Float[n, d], n >= 2f+3. Raises TooFewRows (nobody is blamed) and NonFiniteRows (the rows' senders are).
    Flower scores alike; ByzFL 0.0.11 takes n−f−1 neighbours, so its `Krum(f+1)` is this `Krum(f)`.

    Blanchard et al., "Machine Learning with Adversaries", NeurIPS 2017, section 4.
    """

    f: int

    def min_rows(self) -> int:
        """2f+3."""
        return 2 * self.f + 3

    def weights(self, geometry: Geometry) -> Tensor:
        self.check(geometry.n)
        scores = krum_scores(geometry.squared_distances, geometry.n - self.f - 2)
        return even_weights(geometry.n, lowest(scores, 1))


@dataclass(frozen=True, repr=False)
class MultiKrum(Weighting):
    """The mean of the m rows with the lowest Krum scores.

    w_i = 1/m for the m lowest Σ_{j ∈ N(i)} D_ij, |N(i)| = n−f−2

    Updates Float[n, d], n >= 2f+3; m between 1 and n, n−f by default.
    Raises TooFewRows and ConfigurationError (nobody is blamed), NonFiniteRows (the rows' senders are at fault).
    ByzFL 0.0.11 takes n−f−1 neighbours and m = n−f: its `MultiKrum(f+1)` is this `MultiKrum(f, m=n-f-1)`.

    Blanchard et al., "Machine Learning with Adversaries", NeurIPS 2017, section 5.
    """

    f: int
    m: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.m is not None:
            require_count("m", self.m, 1)

    def min_rows(self) -> int:
        """2f+3, and m."""
        return max(2 * self.f + 3, self.m or 0)

    def weights(self, geometry: Geometry) -> Tensor:
        self.check(geometry.n)
        m = geometry.n - self.f if self.m is None else self.m
        scores = krum_scores(geometry.squared_distances, geometry.n - self.f - 2)
        return even_weights(geometry.n, lowest(scores, m))
