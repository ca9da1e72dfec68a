"""Flower's own SecAgg+ over an in-process grid, timed per party: the peer that `bench masking` compares with.

Workflow and mod are Flower's, unchanged; only the wires are missing. What runs inside the mod is the clients', the rest
of the workflow is the server's; copies that stand for the wire belong to neither.
"""

import copy
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.common import Code, FitIns, FitRes, Parameters, Status, ndarrays_to_parameters
from flwr.compat.common.recorddict_compat import fitres_to_recorddict
from flwr.server import LegacyContext
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
from flwr.supercore.task_identity import TaskIdentity


@dataclass
class Seconds:
    """Time spent by all clients together, and in copies."""

    clients: float = 0.0
    wires: float = 0.0


@dataclass
class _Room:
    """A grid whose nodes answer at once."""

    updates: dict[int, Parameters]
    seconds: Seconds = field(default_factory=Seconds)

    def __post_init__(self) -> None:
        self.contexts = {node: _context(node) for node in self.updates}

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Flower's exchange, in one process."""
        return [self._answer(message) for message in messages]

    def _answer(self, sent: Message) -> Message:
        started = time.perf_counter()
        node = sent.metadata.dst_node_id
        received = copy.deepcopy(sent)
        copied = time.perf_counter()
        answer = secaggplus_mod(received, self.contexts[node], self._train)
        self.seconds.clients += time.perf_counter() - copied
        self.seconds.wires += copied - started
        return answer

    def _train(self, message: Message, context: Context) -> Message:
        update = self.updates[message.metadata.dst_node_id]
        result = FitRes(Status(Code.OK, ""), update, 1, {})
        return Message(fitres_to_recorddict(result, keep_input=True), reply_to=message)


class _Everybody(FedAvg):
    """FedAvg that samples all nodes of the room; its aggregation is SecAgg+'s and costs nothing of its own."""

    def __init__(self, nodes: Iterable[int]) -> None:
        super().__init__()
        self.proxies = [SimpleNamespace(node_id=node) for node in nodes]

    def configure_fit(self, server_round: int, parameters: Parameters, client_manager: object) -> Any:
        """Everybody, every round."""
        return [(proxy, FitIns(parameters, {})) for proxy in self.proxies]

    def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
        """The sum is there already."""
        return None, {}


def run_secagg_plus(n: int, d: int, seed: int = 0) -> tuple[float, float]:
    """(seconds per client, seconds of the server) of one SecAgg+ round: all n share with all, threshold 0.6."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    rng = np.random.default_rng(seed)
    updates = {
        node: ndarrays_to_parameters([rng.standard_normal(d, dtype=np.float32) / np.float32(np.sqrt(d))])
        for node in range(100, 100 + n)
    }
    room = _Room(updates)
    context = _context(1)
    context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({Key.CURRENT_ROUND: 1})
    context.state.array_records[MAIN_PARAMS_RECORD] = ArrayRecord([np.zeros(d, np.float32)])
    legacy = LegacyContext(context, strategy=_Everybody(updates))
    workflow = SecAggPlusWorkflow(num_shares=1.0, reconstruction_threshold=0.6, clipping_range=1.0)
    started = time.perf_counter()
    workflow(room, legacy)  # type: ignore[arg-type]
    total = time.perf_counter() - started
    return room.seconds.clients / n, total - room.seconds.clients - room.seconds.wires


def _context(node: int) -> Context:
    return Context(run_id=1, node_id=node, node_config={}, state=RecordDict(), run_config={})
