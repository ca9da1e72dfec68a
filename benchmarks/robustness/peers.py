"""The peers: ByzFL 0.0.11's rules and pipelines and the functions inside Flower's strategies, given the true f."""

import copy
import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from flwr.serverapp.strategy.multikrum import select_multikrum
from torch import Tensor

Aggregator = Callable[[Tensor, Tensor], Tensor]
"""From rows Float[n, d] and how many rows of its own each participant declares, Float64[n], to the aggregate."""


def _without_torchvision() -> tuple[ModuleType, ModuleType]:
    """ByzFL's aggregators and pre-aggregators; its package's __init__ asks for torchvision, which they do not need."""
    if "byzfl" not in sys.modules:
        spec = importlib.util.find_spec("byzfl")
        if spec is None:
            raise ModuleNotFoundError("byzfl is not installed: make test installs it")
        package = ModuleType("byzfl")
        package.__path__ = list(spec.submodule_search_locations or ())
        sys.modules["byzfl"] = package
    names = ("byzfl.aggregators.aggregators", "byzfl.aggregators.preaggregators")
    return importlib.import_module(names[0]), importlib.import_module(names[1])


rules, mixings = _without_torchvision()


class Content:
    """What Flower's selection reads of a reply: one array record, without its way through bytes; and its row count."""

    def __init__(self, row: Tensor, count: float) -> None:
        self.row, self.count = row.numpy(), count
        self.array_records = {"arrays": self}

    def __getitem__(self, key: str) -> "Content":
        return self

    def to_numpy_ndarrays(self) -> list[np.ndarray]:
        return [self.row]


class Pipeline:
    """ByzFL's pre-aggregations and then its rule. ARC and Clipping write into what they are given: they get a copy."""

    def __init__(self, *steps: Callable[[Tensor], Tensor]) -> None:
        self.steps = steps

    def __call__(self, rows: Tensor, counts: Tensor) -> Tensor:
        del counts
        rows = rows.clone()
        for step in self.steps:
            rows = step(rows)
        return rows


def _byzfl(make: Callable[[int], object], nnm: bool = False, arc: bool = False) -> Callable[[int], Aggregator]:
    def at(f: int) -> Aggregator:
        first = ([mixings.ARC(f)] if arc else []) + ([mixings.NNM(f)] if nnm else [])
        return Pipeline(*first, make(f))

    return at


@dataclass(frozen=True)
class FlowerMultiKrum:
    """Flower's strategy: selects n − f, and averages them by the rows that they declare, `num-examples`."""

    f: int

    def __call__(self, rows: Tensor, counts: Tensor) -> Tensor:
        replies = [Content(row, count) for row, count in zip(rows, counts.tolist(), strict=True)]
        chosen = select_multikrum(replies, self.f, len(rows) - self.f)
        weights = [content.count for content in chosen]
        return torch.from_numpy(np.average([content.row for content in chosen], axis=0, weights=weights)).to(rows)


_RULES: dict[str, Callable[[int], object]] = {
    "median": lambda f: rules.Median(),
    "trmean": rules.TrMean,
    "geomed": lambda f: rules.GeometricMedian(),
    "multikrum": rules.MultiKrum,
}

PEERS: dict[str, Callable[[int], Aggregator]] = {
    **{f"byzfl {name}": _byzfl(rule) for name, rule in _RULES.items()},
    **{f"byzfl nnm+{name}": _byzfl(_RULES[name], nnm=True) for name in ("trmean", "geomed", "multikrum")},
    **{f"byzfl arc+nnm+{name}": _byzfl(_RULES[name], nnm=True, arc=True) for name in ("geomed", "multikrum")},
    "byzfl cc": _byzfl(lambda f: rules.CenteredClipping(tau=1.0)),
    "flower multikrum": FlowerMultiKrum,
}
"""Flower's median and trimmed mean are ByzFL's, number for number (a test shows it), and so are not run twice; its Krum
loses to its Multi-Krum; its Bulyan asks for 4f + 3 replies and at n = 10 and f = 2 skips every round. ByzFL's CAF does
not end on some rounds (an outlier whose weight has reached zero keeps setting the scale), and its MDA and SMEA try
every subset."""


def independent(aggregator: Aggregator) -> Aggregator:
    """A copy to try attacks on: ByzFL's CenteredClipping remembers its last result."""
    return copy.deepcopy(aggregator)
