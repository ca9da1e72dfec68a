"""Bucketing: means of a few rows drawn together, so that honest rows look more alike."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from flower_robust.aggregation.geometry import Geometry
from flower_robust.aggregation.rule import Mixing, require_count


@dataclass(frozen=True, repr=False)
class Bucketing(Mixing):
    """The rows are shuffled and averaged in buckets of `size`; the last bucket may be smaller.

    M_gi = 1/|b_g| for i ∈ b_g, b_1, b_2, … consecutive parts of a permutation of the rows

    Updates Float[n, d], n >= 1. The permutation follows from `seed` alone; `rule.reseeded(seed)` draws a fresh one, and
    a round must draw from something nobody could choose. f Byzantine rows spoil up to f buckets, so the rule that
    follows keeps its f and needs n >= size·(min_rows − 1) + 1. Raises ConfigurationError: nobody is blamed.

    Karimireddy, He, Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing", ICLR 2022, Algorithm 1.
    """

    size: int = 2
    seed: int = 0
    f = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count("size", self.size, 1)
        require_count("seed", self.seed, 0)

    def min_rows(self) -> int:
        """1."""
        return 1

    def rows_needed(self, mixed: int) -> int:
        return self.size * (mixed - 1) + 1

    def reseeded(self, seed: int) -> "Bucketing":
        return replace(self, seed=seed)

    def mixing(self, geometry: Geometry) -> Tensor:
        n = geometry.n
        generator = torch.Generator().manual_seed(self.seed % 2**63)
        order = torch.randperm(n, generator=generator)
        buckets = [order[start : start + self.size] for start in range(0, n, self.size)]
        M = torch.zeros(len(buckets), n, dtype=torch.float64)
        for g, bucket in enumerate(buckets):
            M[g, bucket] = 1 / len(bucket)
        return M
