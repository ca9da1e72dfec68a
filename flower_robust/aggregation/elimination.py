"""Comparative elimination: the longest rows go."""

from dataclasses import dataclass

from torch import Tensor

from flower_robust.aggregation.geometry import Geometry
from flower_robust.aggregation.rule import Weighting, even_weights, lowest


@dataclass(frozen=True, repr=False)
class ComparativeElimination(Weighting):
    """The mean of the n−f shortest rows (CGE); a wrong direction of the usual length passes.

    w_i = 1/(n−f) for the n−f smallest |x_i|; of equal ones the lowest index

    Updates Float[n, d], n >= 2f+1. Raises TooFewRows (nobody is blamed), NonFiniteRows (the rows' senders are).

    Gupta, Liu, Vaidya, "Byzantine Fault-Tolerant Distributed Machine Learning with Norm-Based Comparative Gradient
    Elimination", DSN-W 2021, section III.
    """

    f: int

    def min_rows(self) -> int:
        """2f+1."""
        return 2 * self.f + 1

    def weights(self, geometry: Geometry) -> Tensor:
        self.check(geometry.n)
        return even_weights(geometry.n, lowest(geometry.squared_norms, geometry.n - self.f))
