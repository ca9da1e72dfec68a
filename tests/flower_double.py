"""A federation in one process: Flower's Grid, ClientApps and Messages are real, only the wires are missing."""

import copy
import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from flower_robust.commitments import Identity, Roster, RosterEntry
from flower_robust.flower.mod import robust_mod

RUN_ID = 42
TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, RUN_ID, 1

Answer = Message | Exception | None
Tamper = Callable[[Message, Message], Answer]


class FakeGrid(Grid):
    """Nodes answer when they are asked; None is silence, an Exception is a reply that does not parse."""

    def __init__(self, nodes: dict[int, Callable[[Message], Answer]]) -> None:
        self.nodes, self.sent, self.counter = nodes, [], 0
        self.answers: dict[str, Answer] = {}
        self._run = SimpleNamespace(run_id=RUN_ID)

    def set_run(self, run):
        self._run = run

    @property
    def run(self):
        return self._run

    def create_message(self, content, message_type, dst_node_id, group_id, ttl=None):
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        return list(self.nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        for message in messages:
            self.counter += 1
            message.metadata.__dict__["_message_id"] = f"message-{self.counter}"
            self.sent.append(message)
            answer = self.nodes[message.metadata.dst_node_id](copy.deepcopy(message))
            if answer is not None:
                self.answers[message.metadata.message_id] = answer
        return [message.metadata.message_id for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        answers = [self.answers.pop(message_id) for message_id in list(message_ids) if message_id in self.answers]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def send_and_receive(self, messages, *, timeout=None):
        pending, replies, end = set(self.push_messages(list(messages))), [], time.monotonic() + (timeout or 0)
        while pending and (not replies or time.monotonic() < end):
            arrived = list(self.pull_messages(pending))
            replies += arrived
            pending -= {reply.metadata.reply_to_message_id for reply in arrived}
            if not arrived:
                break
        return replies


def model(seed: int = 0) -> dict[str, np.ndarray]:
    """A small network with every kind of array: matrix, vector, scalar, half precision, BatchNorm buffers."""
    rng = np.random.default_rng(seed)
    return {
        "fc.weight": rng.normal(size=(3, 4)).astype(np.float32),
        "fc.bias": rng.normal(size=4).astype(np.float32),
        "scale": np.float32(1.5).reshape(()),
        "half": rng.normal(size=5).astype(np.float16),
        "bn.running_mean": rng.normal(size=4).astype(np.float32),
        "bn.num_batches_tracked": np.int64(7).reshape(()),
        "mask": np.array([True, False, True]),
    }


def record(arrays: dict[str, np.ndarray]) -> ArrayRecord:
    return ArrayRecord({name: Array(np.asarray(array)) for name, array in arrays.items()})


def arrays_of(arrays: ArrayRecord) -> dict[str, np.ndarray]:
    return {name: array.numpy() for name, array in arrays.items()}


def federation(n: int = 7, rows: int = 100) -> tuple[list[Identity], Roster]:
    """n participants `hospital-0`..., each with `rows` declared rows."""
    identities = [Identity.from_seed(f"hospital-{i}", bytes([i + 1]) * 32) for i in range(n)]
    return identities, Roster([RosterEntry.of(identity, rows) for identity in identities])


def step(name: str, seed: int) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Local training: a common step of 0.1 everywhere, and a little noise of one's own."""

    def trained(old: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        new = {}
        for key, array in old.items():
            if array.dtype.kind == "f":
                new[key] = (array + 0.1 + 0.01 * rng.normal(size=array.shape)).astype(array.dtype)
            else:
                new[key] = array if array.dtype == bool else array + 1
        return new

    return trained


def stock_app(trained: Callable, rows: int = 100, mods: list | None = None) -> ClientApp:
    """An ordinary Flower app: it knows nothing of this package."""
    app = ClientApp(mods=mods or [])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        new = trained(arrays_of(message.content["arrays"]))
        metrics = MetricRecord({"loss": 0.5, "num-examples": rows})
        return Message(RecordDict({"arrays": record(new), "metrics": metrics}), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        metrics = MetricRecord({"accuracy": 0.75, "num-examples": rows})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app


def node(node_id: int, app: ClientApp, tamper: Tamper | None = None) -> Callable[[Message], Answer]:
    """The app on a node; what it raises becomes Flower's error reply. `tamper(message, reply)` acts on the reply."""
    context = Context(RUN_ID, node_id, {}, RecordDict(), {})

    def answer(message: Message) -> Answer:
        try:
            reply: Answer = app(copy.deepcopy(message), context)
        except Exception as error:
            reply = Message(Error(2, str(error)), reply_to=message)
        return tamper(message, reply) if tamper else reply

    return answer


def robust_nodes(identities: list[Identity], tampers: dict[str, Tamper] | None = None) -> dict[int, Callable]:
    """One wrapped app per identity, on nodes 1000, 1001, ...; `tampers` by roster name."""
    nodes = {}
    for i, identity in enumerate(identities):
        app = stock_app(step(identity.name, i), mods=[robust_mod(identity)])
        nodes[1000 + i] = node(1000 + i, app, (tampers or {}).get(identity.name))
    return nodes


def stock_nodes(n: int, tampers: dict[int, Tamper] | None = None) -> dict[int, Callable]:
    """The same apps without the mod, for Flower's own strategies; `tampers` by index."""
    return {1000 + i: node(1000 + i, stock_app(step(f"hospital-{i}", i)), (tampers or {}).get(i)) for i in range(n)}
