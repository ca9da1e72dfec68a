"""Runs one round of each arm in turn, on the same grid, and writes seconds, bytes and exchanges of each."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, Strategy

from flower_robust import PeerMasking, RobustAggregation
from flower_robust.aggregation import rule_from_text
from flower_round_app.idle import bytes_of, idle_round
from flower_round_app.memory import peak_bytes
from flower_round_app.meter import Meter
from flower_round_app.robust import roster
from flower_round_app.secagg_plus import secagg_plus_round

app = ServerApp()

Found = dict[str, Any]


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Turns of all arms; the first turn pays for enrolment, imports and workers, and is marked as such."""
    config = context.run_config
    n = int(config["clients"])
    await_nodes(grid, n)
    runners = arms(grid, context, n, int(config["floats"]))
    chosen = str(config["arms"]).split(",")
    turns = [(pair, arm) for pair in range(int(config["pairs"])) for arm in chosen[:: 1 if pair % 2 == 0 else -1]]
    rounds: list[Found] = []
    for pair, arm in turns:
        found = runners[arm](rounds)
        rounds.append({"pair": pair, "arm": arm, **found, "server_peak": peak_bytes()})
    out = Path(str(config["out"]))
    partial = out.with_suffix(".partial")
    partial.write_text(json.dumps(rounds))
    partial.replace(out)


def arms(grid: Grid, context: Context, n: int, d: int) -> dict[str, Callable[[list[Found]], Found]]:
    """By name, what runs one round and measures it, given the rounds so far."""
    meter, zeros = Meter(grid), ArrayRecord([np.zeros(d, np.float32)])

    def stepwise(strategy: Strategy) -> Found:
        found = meter.measure(lambda: strategy.start(grid, zeros, num_rounds=1), n)
        steps = dict(strategy.history[-1].seconds) if isinstance(strategy, RobustAggregation) else {}
        return {**found, "steps": steps}

    def idle(rounds: list[Found]) -> Found:
        found = meter.measure(lambda: idle_round(grid, 4 * d, *bytes_of(rounds)), n)
        return {**found, "steps": {}}

    def secagg_plus(rounds: list[Found]) -> Found:
        found: Found = {"steps": {}}
        secagg_plus_round(grid, context, n, d, lambda round: found.update(meter.measure(round, n)))
        return found

    wrapped = strategies(n, str(context.run_config["rule"]), int(context.run_config["f"]))
    steps = {arm: lambda _, s=strategy: stepwise(s) for arm, strategy in wrapped.items()}
    return {"secagg+": secagg_plus, "idle": idle, **steps}


def strategies(n: int, rule: str, f: int) -> dict[str, Strategy]:
    """The arms of Flower's message API."""
    common = {"rule": rule_from_text(rule, f), "roster": roster(n), "norm_bound": 1e3}

    def fedavg() -> FedAvg:
        return FedAvg(fraction_evaluate=0.0, min_train_nodes=n, min_available_nodes=n)

    masked = RobustAggregation(fedavg(), **common, masking=PeerMasking())
    return {"fedavg": fedavg(), "robust": RobustAggregation(fedavg(), **common), "masked": masked}


def await_nodes(grid: Grid, n: int) -> None:
    """Plain FedAvg must not pay for nodes that are not there yet."""
    while len(list(grid.get_node_ids())) < n:
        time.sleep(0.1)
