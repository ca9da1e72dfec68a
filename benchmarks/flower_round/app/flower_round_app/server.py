"""Alternates plain, wrapped and masked rounds on the same grid and writes seconds and bytes of each."""

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, Message
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, Strategy

from flower_robust import PeerMasking, RobustAggregation
from flower_robust.aggregation import rule_from_text
from flower_robust.flower.exchange import content_bytes
from flower_round_app.client import roster

app = ServerApp()


class Meter:
    """Counts the bytes of records that pass a grid, and times rounds."""

    def __init__(self, grid: Grid) -> None:
        self.up = self.down = 0
        push, pull = grid.push_messages, grid.pull_messages
        grid.push_messages = lambda messages: push(self._sent(list(messages)))
        grid.pull_messages = lambda ids: self._received(list(pull(ids)))

    def measure(self, round: Callable[[], object], clients: int) -> dict[str, float]:
        """Seconds, and bytes per client, of one round."""
        self.up = self.down = 0
        started = time.perf_counter()
        round()
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "up": self.up / clients, "down": self.down / clients}

    def _sent(self, messages: list[Message]) -> list[Message]:
        self.down += sum(size(message) for message in messages)
        return messages

    def _received(self, messages: list[Message]) -> list[Message]:
        self.up += sum(size(message) for message in messages)
        return messages


def size(message: Message) -> int:
    """Bytes of a message's records."""
    return content_bytes(message.content) if message.has_content() else 0


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Pairs of rounds; the first pair pays for enrolment, imports and Ray's workers, and is marked as such."""
    config = context.run_config
    n, d = int(config["clients"]), int(config["floats"])
    await_nodes(grid, n)
    arrays = ArrayRecord([np.zeros(d, np.float32)])
    arms = strategies(n, str(config["rule"]), int(config["f"]))
    meter, rounds = Meter(grid), []
    for pair in range(int(config["pairs"])):
        for arm, strategy in alternated(arms.items(), pair):
            found = meter.measure(lambda s=strategy: s.start(grid, arrays, num_rounds=1), n)
            steps = dict(strategy.history[-1].seconds) if isinstance(strategy, RobustAggregation) else {}
            rounds.append({"pair": pair, "arm": arm, **found, "steps": steps})
    Path(str(config["out"])).write_text(json.dumps(rounds))


def strategies(n: int, rule: str, f: int) -> dict[str, Strategy]:
    """The three arms."""
    common = {"rule": rule_from_text(rule, f), "roster": roster(n), "norm_bound": 1e3}

    def fedavg() -> FedAvg:
        return FedAvg(fraction_evaluate=0.0, min_train_nodes=n, min_available_nodes=n)

    masked = RobustAggregation(fedavg(), **common, masking=PeerMasking())
    return {"fedavg": fedavg(), "robust": RobustAggregation(fedavg(), **common), "masked": masked}


def alternated(arms: Iterable[tuple[str, Strategy]], pair: int) -> list[tuple[str, Strategy]]:
    """Who begins changes from turn to turn, so that no arm always runs after the same other."""
    return list(arms) if pair % 2 == 0 else list(arms)[::-1]


def await_nodes(grid: Grid, n: int) -> None:
    """Plain FedAvg must not pay for nodes that are not there yet."""
    while len(list(grid.get_node_ids())) < n:
        time.sleep(0.1)
