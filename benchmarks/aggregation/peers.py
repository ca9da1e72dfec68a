"""The peers' rules on the very same arrays: ByzFL 0.0.11 on its torch and numpy paths, Flower's stock strategies.

Definitions differ a little: ByzFL's Krum takes one neighbour more and its geometric median stops
after three steps. The parameters are the ones a user of each would give for the same f.
"""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from torch import Tensor

Contender = Callable[[], object]


def byzfl() -> tuple[Any, Any] | None:
    """ByzFL's aggregators and pre-aggregators, without the torchvision that its benchmark package asks for."""
    sys.modules.setdefault("byzfl.benchmark", ModuleType("byzfl.benchmark"))
    try:
        return (
            importlib.import_module("byzfl.aggregators.aggregators"),
            importlib.import_module("byzfl.aggregators.preaggregators"),
        )
    except ImportError:
        return None


def byzfl_rules(f: int) -> dict[str, Callable[[Any], object]]:
    """Our rule's name -> what a user of ByzFL calls instead."""
    modules = byzfl()
    if modules is None:
        return {}
    rules, before = modules
    mixed, clipped = before.NNM(f), before.ARC(f)
    return {
        "Mean": rules.Average(),
        "Krum": rules.Krum(f),
        "MultiKrum": rules.MultiKrum(f),
        "GeometricMedian": rules.GeometricMedian(),
        "CenteredClipping": lambda rows: rules.CenteredClipping(L=3, tau=10.0)(rows),
        "AdaptiveClipping": lambda rows: rules.Average()(clipped(rows)),
        "NearestNeighborMixing": lambda rows: rules.Average()(mixed(rows)),
        "NearestNeighborMixing >> MultiKrum": lambda rows: rules.MultiKrum(f)(mixed(rows)),
        "Bucketing": lambda rows: rules.Average()(before.Bucketing(2)(rows)),
        "Median": rules.Median(),
        "TrimmedMean": rules.TrMean(f),
        "MeanAroundMedian": rules.Meamed(f),
    }


def flower_rules(rows: np.ndarray[Any, Any], f: int) -> dict[str, Contender]:
    """Our rule's name -> the numeric part of Flower's strategy, replies already parsed."""
    try:
        from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
        from flwr.serverapp.strategy import bulyan, fedtrimmedavg, multikrum, strategy_utils
    except ImportError:
        return {}
    n = len(rows)
    replies = [
        RecordDict({"arrays": ArrayRecord({"x": Array(row)}), "metrics": MetricRecord({"num-examples": 1})})
        for row in rows
    ]

    def krum(chosen: int) -> object:
        selected = multikrum.select_multikrum(replies, f, chosen)
        return strategy_utils.aggregate_arrayrecords(selected, "num-examples")

    def repeated_krum() -> object:
        selected = multikrum.select_multikrum(replies, f, n - 2 * f)
        layers = [reply.array_records["arrays"].to_numpy_ndarrays() for reply in selected]
        middle = [np.median(layer, axis=0) for layer in zip(*layers, strict=True)]
        return bulyan.aggregate_n_closest_weights(middle, layers, n - 4 * f)

    return {
        "Mean": lambda: strategy_utils.aggregate_arrayrecords(replies, "num-examples"),
        "Krum": lambda: krum(1),
        "MultiKrum": lambda: krum(n - f),
        "Median": lambda: np.median(rows, axis=0),
        "TrimmedMean": lambda: fedtrimmedavg.trim_mean(rows, f / n),
        "Bulyan": repeated_krum,
    }


def contenders(name: str, updates: Tensor, f: int, flower: dict[str, Contender]) -> dict[str, Contender]:
    """Every peer that has this rule, ready to be timed."""
    found: dict[str, Contender] = {}
    rule = byzfl_rules(f).get(name)
    if rule is not None:
        overwrites = name == "AdaptiveClipping"  # it clips the caller's rows in place
        found["byzfl torch"] = lambda: rule(updates.clone() if overwrites else updates)
        found["byzfl numpy"] = lambda: rule(updates.numpy().copy() if overwrites else updates.numpy())
    if name in flower:
        found["flower"] = flower[name]
    return found
