"""Bulyan: repeated Krum chooses rows, then every coordinate is averaged around its median."""

from dataclasses import dataclass

import torch
from torch import Tensor

from flower_robust.aggregation.blocks import checked
from flower_robust.aggregation.geometry import Geometry
from flower_robust.aggregation.krum import krum_scores
from flower_robust.aggregation.order import nearest_mean
from flower_robust.aggregation.rule import RowRule


@dataclass(frozen=True, repr=False)
class Bulyan(RowRule):
    """Krum chooses n−2f rows one after the other; each coordinate is the mean of its n−4f values nearest the median.

    S: n−2f times the Krum row of those left, r rows left have max(1, r−f−2) neighbours;
    v_k = 1/(n−4f) Σ of the n−4f smallest |x_ik − median_{i ∈ S} x_ik|, i ∈ S

    Updates Float[n, d], n >= 4f+3. Equal Krum scores go to the row with the smaller total distance to those left, then
    to the lower index. Raises TooFewRows (nobody is blamed), NonFiniteRows (the rows' senders are at fault).

    El Mhamdi et al., "The Hidden Vulnerability of Distributed Learning in Byzantium", ICML 2018, section 4.
    """

    f: int

    def min_rows(self) -> int:
        """4f+3."""
        return 4 * self.f + 3

    def chosen(self, geometry: Geometry) -> list[int]:
        """The n−2f rows that Krum chooses, in the order of their choice."""
        self.check(geometry.n)
        left, chosen = list(range(geometry.n)), []
        for _ in range(geometry.n - 2 * self.f):
            D = geometry.squared_distances[left][:, left]
            scores = torch.stack([krum_scores(D, max(1, len(left) - self.f - 2)), D.sum(1)], dim=1)
            best = min(range(len(left)), key=scores.tolist().__getitem__)
            chosen.append(left.pop(best))
        return chosen

    def __call__(self, updates: Tensor) -> Tensor:
        rows = checked(updates)
        self.check(rows.shape[0])
        return nearest_mean(rows, rows.shape[0] - 4 * self.f, self.chosen(Geometry.of(rows)))
