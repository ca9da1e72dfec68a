"""The public ring elements a_0 ... a_(B-1), expanded from a seed block group by block group, never held whole.

They are drawn as *points*: the transform is a bijection of R_q, so uniform points are uniform elements, and the mask
a_b·s then costs one inverse transform per block instead of two. The sketch, which needs coefficients, pays its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.ring import Residues, planes
from flower_robust.masking.stream import Stream

GROUP = 16
"""Blocks per stream: 256 KiB of words, which stay in the cache."""


@dataclass(frozen=True)
class PublicElements:
    """B uniform ring elements; group g of plane p is read from the stream (seed, "a", 2g + p)."""

    seed: bytes
    B: int

    def groups(self) -> Iterator[slice]:
        """The block ranges that share a stream."""
        for start in range(0, self.B, GROUP):
            yield slice(start, min(start + GROUP, self.B))

    def points(self, plane: int, blocks: slice) -> Residues:
        """Points [K, N] of one range of `groups` in one plane."""
        out = np.empty((blocks.stop - blocks.start, PARAMETERS.N), np.uint32)
        self.points_into(out, plane, blocks)
        return out

    def points_into(self, out: Residues, plane: int, blocks: slice) -> None:
        """`points`, written to `out` [K, N]."""
        stream = Stream(self.seed, "a", 2 * (blocks.start // GROUP) + plane)
        stream.residues_into(out.reshape(-1), planes()[plane].q)
