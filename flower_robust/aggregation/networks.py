"""Sorting networks: the same few comparisons for every column, so that columns are sorted side by side."""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Comparators = npt.NDArray[np.int64]


def odd_even_mergesort(n: int) -> list[tuple[int, int]]:
    """Comparators (low, high) that sort any n values. Batcher, "Sorting networks and their applications", 1968."""
    pairs: list[tuple[int, int]] = []
    run = 1
    while run < n:
        gap = run
        while gap >= 1:
            for start in range(gap % run, n - gap, 2 * gap):
                lows = range(start, min(start + gap, n - gap))
                pairs += [(low, low + gap) for low in lows if low // (2 * run) == (low + gap) // (2 * run)]
            gap //= 2
        run *= 2
    return pairs


def needed(pairs: list[tuple[int, int]], ranks: Iterable[int]) -> list[tuple[int, int]]:
    """Keep only the comparators that the values at these ranks depend on."""
    wanted, kept = set(ranks), []
    for low, high in reversed(pairs):
        if low in wanted or high in wanted:
            kept.append((low, high))
            wanted |= {low, high}
    return kept[::-1]


@lru_cache(maxsize=64)
def selection(n: int, first: int, last: int) -> Comparators:
    """A network that puts the values of ranks first .. last−1 of n in their places, int64 [comparators, 2]."""
    pairs = needed(odd_even_mergesort(n), range(first, last))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)
