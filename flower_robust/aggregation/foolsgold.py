"""FoolsGold: rows that resemble each other too much share one voice."""

from dataclasses import dataclass

import torch
from torch import Tensor

from flower_robust.aggregation.geometry import Geometry
from flower_robust.aggregation.rule import Weighting


def cosines(geometry: Geometry) -> Tensor:
    """<x_i, x_j> / (|x_i| |x_j|), Float64[n, n]; 0 with a zero row."""
    lengths = geometry.squared_norms.sqrt()
    scale = lengths[:, None] * lengths[None, :]
    return torch.where(scale > 0, geometry.gram / scale.clamp(min=torch.finfo(torch.float64).tiny), 0.0).clamp(-1, 1)


@dataclass(frozen=True, repr=False)
class FoolsGold(Weighting):
    """Each row weighs less the more another resembles it: sybils that push one way share one voice.

    c_ij = cos(x_i, x_j), c_ii = 0, v_i = max_j c_ij; c_ij ← c_ij v_i / v_j where v_j > v_i; α_i = 1 − max_j c_ij,
    scaled to a maximum of 1; w_i ∝ clip(κ (ln(α_i / (1 − α_i)) + ½), 0, 1)

    Updates Float[n, d], n >= 1; confidence κ = 1. No number of sybils is assumed, and honest rows that agree look like
    sybils. The paper compares sums of all past updates: give a geometry of those. Where no row is distinct from the
    others all weigh the same. Raises NonFiniteRows: the senders of these rows are at fault.

    Fung, Yoon, Beschastnikh, "The Limitations of Federated Learning in Sybil Settings", RAID 2020, Algorithm 1.
    """

    f = 0

    def min_rows(self) -> int:
        """1."""
        return 1

    def weights(self, geometry: Geometry) -> Tensor:
        self.check(n := geometry.n)
        even = torch.full((n,), 1 / n, dtype=torch.float64)
        if n == 1:
            return even
        similarity = cosines(geometry).fill_diagonal_(0)
        nearest = similarity.max(1).values
        pardon = nearest[None, :] > nearest[:, None]
        ratio = torch.where(pardon, nearest[:, None] / nearest[None, :], 1.0)
        distinct = (1 - (similarity * ratio).max(1).values).clamp(0, 1)
        if float(distinct.max()) < 1e-9:
            return even
        distinct = (distinct / distinct.max()).clamp(max=0.99)
        voices = (torch.logit(distinct, eps=1e-12) + 0.5).clamp(0, 1)
        return voices / voices.sum()
