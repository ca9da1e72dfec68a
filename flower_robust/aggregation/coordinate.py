"""Coordinate-wise rules: each parameter on its own; they need rows."""

from dataclasses import dataclass

from torch import Tensor

from flower_robust.aggregation.blocks import checked
from flower_robust.aggregation.order import nearest_mean, window_mean
from flower_robust.aggregation.rule import RowRule


@dataclass(frozen=True, repr=False)
class Median(RowRule):
    """The median of each coordinate; for even n the mean of the two middle values.

    v_k = median_i x_ik

    Updates Float[n, d], n >= 2f+1. Raises TooFewRows (nobody is blamed), NonFiniteRows (the rows' senders are).

    Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML 2018, Definition 1.
    """

    f: int = 0

    def min_rows(self) -> int:
        """2f+1."""
        return 2 * self.f + 1

    def __call__(self, updates: Tensor) -> Tensor:
        rows = checked(updates)
        n = rows.shape[0]
        self.check(n)
        return window_mean(rows, (n - 1) // 2, n // 2 + 1)


@dataclass(frozen=True, repr=False)
class TrimmedMean(RowRule):
    """The mean of each coordinate without its f smallest and f largest values; what is kept is summed, not the rest.

    v_k = 1/(n−2f) Σ_{j=f+1}^{n−f} x_(j)k, x_(j)k the j-th smallest of column k

    Updates Float[n, d], n >= 2f+1. Raises TooFewRows (nobody is blamed), NonFiniteRows (the rows' senders are).

    Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML 2018, Definition 2.
    """

    f: int

    def min_rows(self) -> int:
        """2f+1."""
        return 2 * self.f + 1

    def __call__(self, updates: Tensor) -> Tensor:
        rows = checked(updates)
        self.check(rows.shape[0])
        return window_mean(rows, self.f, rows.shape[0] - self.f)


@dataclass(frozen=True, repr=False)
class MeanAroundMedian(RowRule):
    """The mean of each coordinate's n−f values nearest to its median (MeaMed).

    v_k = 1/(n−f) Σ_{i ∈ S_k} x_ik, S_k the n−f smallest |x_ik − median_k|; of equal ones the lower values

    Updates Float[n, d], n >= 2f+1. Raises TooFewRows (nobody is blamed), NonFiniteRows (the rows' senders are).

    Xie et al., "Generalized Byzantine-tolerant SGD", 2018, section 4.3.
    """

    f: int

    def min_rows(self) -> int:
        """2f+1."""
        return 2 * self.f + 1

    def __call__(self, updates: Tensor) -> Tensor:
        rows = checked(updates)
        self.check(rows.shape[0])
        return nearest_mean(rows, rows.shape[0] - self.f)
