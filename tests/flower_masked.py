"""Masked federations in one process: nodes that run the mod, and what tests do to them."""

import copy
from collections.abc import Callable, Mapping

import numpy as np
from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp.strategy import FedAvg, Strategy

from flower_robust import Identity, PeerMasking, RobustAggregation, Roster, robust_mod
from flower_robust.aggregation import Mean
from flower_robust.flower.envelope import ENVELOPE
from tests.flower_double import RUN_ID, Answer, FakeGrid, Tamper, federation, model, record, step, stock_app

C = 4.0
"""Norm bound: honest updates of `flower_double.step` are about 0.45 long."""


class MaskedNodes:
    """n nodes 1000, 1001, ... with contexts that tests may look into, and tampers by roster name."""

    def __init__(self, n: int, folder, tampers: Mapping[str, Tamper] | None = None, **options) -> None:
        self.identities, self.roster = federation(n)
        self.folder, self.tampers, self.options = folder, dict(tampers or {}), options
        self.contexts: dict[int, Context] = {}
        self.replies: list[tuple[str, Message]] = []
        self.nodes = {1000 + i: self.node(1000 + i, i) for i in range(n)}

    def node(self, node_id: int, i: int, **options) -> Callable[[Message], Answer]:
        """Participant i on a node with an empty memory."""
        identity = self.identities[i]
        arguments = {"roster": self.roster, "audit_folder": self.folder, **self.options, **options}
        app = stock_app(step(identity.name, i), mods=[robust_mod(identity, **arguments)])
        context = self.contexts[node_id] = Context(RUN_ID, node_id, {}, RecordDict(), {})

        def answer(message: Message) -> Answer:
            reply = answered(app, copy.deepcopy(message), context)
            tamper = self.tampers.get(identity.name)
            reply = tamper(message, reply) if tamper else reply
            self.replies.append((identity.name, reply))
            return reply

        return answer

    def grid(self) -> FakeGrid:
        return FakeGrid(self.nodes)


def answered(app, message: Message, context: Context) -> Message:
    try:
        return app(message, context)
    except Exception as error:
        return Message(Error(2, str(error)), reply_to=message)


def masked(roster: Roster, strategy: Strategy | None = None, **options) -> RobustAggregation:
    """A masked strategy that does not wait for long; `options` of masking in `masking`."""
    masking = PeerMasking(**({"step_timeout": 0.3} | options.pop("masking", {})))
    options = {"rule": Mean(), "norm_bound": C, "wait": 0.5, "reply_timeout": 0.5, "device": "cpu"} | options
    strategy = strategy or FedAvg(fraction_evaluate=0.0, min_available_nodes=1, min_train_nodes=1)
    return RobustAggregation(strategy, roster=roster, masking=masking, **options)


def phase_of(message: Message) -> str:
    return str(message.content[ENVELOPE]["phase"])


def round_of(message: Message) -> int:
    records = message.content.config_records
    return int(records["config"]["server-round"]) if "config" in records else int(records[ENVELOPE].get("round", 0))


def at(phase: str, server_round: int, act: Tamper) -> Tamper:
    """`act`, on the reply to this phase of this round only."""

    def tamper(message: Message, reply: Message) -> Answer:
        here = ENVELOPE in message.content and phase_of(message) == phase and round_of(message) == server_round
        return act(message, reply) if here else reply

    return tamper


def silent(message: Message, reply: Message) -> Answer:
    return None


def flipped(message: Message, reply: Message) -> Answer:
    """One bit of the payload's last byte."""
    payload = reply.content[ENVELOPE]["payload"]
    reply.content[ENVELOPE]["payload"] = payload[:-1] + bytes([payload[-1] ^ 1])
    return reply


def moving(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The arrays that enter the geometry, one after the other."""
    names = ("fc.weight", "fc.bias", "scale", "half")
    return np.concatenate([np.asarray(arrays[name], np.float64).reshape(-1) for name in names])


def updates(n: int, old: Mapping[str, np.ndarray]) -> np.ndarray:
    """What every participant's training comes to, [n, d]."""
    rows = []
    for i in range(n):
        new = step(Identity.generate("anybody").name, i)(dict(old))
        rows.append(moving(new) - moving(old))
    return np.array(rows)


def assert_exact(report, old, new, n: int, names: tuple[str, ...]) -> None:
    """The model moved by the weighted mean of the known updates, up to the masks' noise and the dtypes' rounding."""
    weights = np.array([report.weights.get(name, 0.0) for name in names])
    expected = (weights[:, None] * updates(n, old)).sum(axis=0)
    np.testing.assert_allclose(moving(new) - moving(old), expected, atol=1e-3)


def trajectory(strategy: RobustAggregation, grid: FakeGrid, rounds: int) -> list[dict[str, np.ndarray]]:
    """The model before the first round and after each."""
    models = [model()]

    def keep(server_round, arrays):
        if server_round:
            models.append({name: array.numpy() for name, array in arrays.items()})

    strategy.start(grid, record(model()), num_rounds=rounds, evaluate_fn=keep)
    return models
