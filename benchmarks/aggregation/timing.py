"""Alternating repeats, medians, and what the machine itself can do."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from flower_robust.aggregation import Geometry, weighted_sum

SLOW = 1.0
"""Seconds above which a contender is repeated twice only."""


def seconds(contender: Callable[[], object]) -> float:
    """One call's wall time."""
    start = time.perf_counter()
    contender()
    return time.perf_counter() - start


def alternate(contenders: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each contender; one call of each per repeat, in turn, the first not counted."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name, contender in contenders.items():
            slow = bool(taken[name]) and min(taken[name]) > SLOW
            if not (slow and turn > 1):
                taken[name].append(seconds(contender))
    return {name: times[1:] or times for name, times in taken.items()}


def medians(taken: Mapping[str, list[float]]) -> dict[str, float]:
    """The median of each contender's seconds."""
    return {name: statistics.median(times) for name, times in taken.items()}


def paired_ratio(over: list[float], under: list[float]) -> float:
    """The median of over / under turn by turn: what a machine whose speed drifts can still tell."""
    return statistics.median(a / b for a, b in zip(over, under, strict=False))


def profile(updates: Tensor, repeats: int) -> dict[str, float]:
    """Where a geometry rule's time goes, and the least that the machine needs for it (seconds, and FMA per second)."""
    n, d = updates.shape
    square = torch.randn(1536, 1536, dtype=torch.float64)
    even = torch.full((n,), 1 / n, dtype=torch.float64)
    turns = alternate(
        {
            "read": updates.sum,
            "geometry": lambda: Geometry.of(updates),
            "weighted sum": lambda: weighted_sum(even, updates),
            "torch mean": lambda: updates.mean(0),
            "square": lambda: square @ square,
        },
        repeats,
    )
    taken = medians(turns)
    peak = 1536**3 / taken.pop("square")
    products = n * (n + 1) / 2 * d
    return taken | {"products": products, "peak": peak, "least": products / peak}
