"""Cells of the whole library over Flower's own messages and apps in one process: every phase, whatever the phases are.

Two rounds: what fails before the first fails there, everything else in the second.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from benchmarks.faults.cells import HANGS, Cell, HangError, completed, patience
from benchmarks.faults.masked import shown
from flower_robust import PeerMasking, RobustAggregation
from flower_robust.aggregation import MultiKrum
from flower_robust.commitments import Roster
from flower_robust.errors import Certainty, ClientFault, QuorumNotReached, RoundAborted
from flower_robust.flower.envelope import ENVELOPE
from tests.flower_double import Answer, arrays_of, model, record, step
from tests.flower_masked import C, MaskedNodes

N, QUORUM, COUNTS = 7, 5, (1, 2, 3)
NAMES = [f"hospital-{i}" for i in range(N)]
PHASES, MASKED_PHASES = ("enrol", "train", "evaluate"), ("enrol", "train", "challenge", "echo", "unmask")
BEFORE_ROUNDS = ("enrol",)
ROUNDS = 2
FIRST_NODE = 1000
TIMEOUT = 0.2

Fault = Callable[[Message, Message], Answer]
Models = dict[int, ArrayRecord]


def silent(message: Message, reply: Message) -> Answer:
    """Killed, cut off, or later than the deadline."""
    return None


def raising(message: Message, reply: Message) -> Answer:
    """Its app raised, or its process crashed."""
    return Message(Error(2, "failing on order"), reply_to=message)


def unreadable(message: Message, reply: Message) -> Answer:
    """Bytes that Flower cannot parse."""
    return ValueError("not a message")


def empty(message: Message, reply: Message) -> Answer:
    """A reply that holds nothing."""
    return Message(RecordDict(), reply_to=message)


def flipped(message: Message, reply: Message) -> Answer:
    """The last bit of every byte string and array flips."""
    for found in reply.content.values():
        if isinstance(found, ConfigRecord):
            for key in [key for key, value in found.items() if isinstance(value, bytes) and value]:
                found[key] = found[key][:-1] + bytes([found[key][-1] ^ 1])
        elif isinstance(found, ArrayRecord):
            for array in found.values():
                array.data = array.data[:-1] + bytes([array.data[-1] ^ 1])
    return reply


FAULTS = {
    "silent (killed, late)": silent,
    "raises": raising,
    "unreadable": unreadable,
    "empty": empty,
}


@dataclass
class Stale:
    """Sends its reply of the first round again in the second."""

    first: dict[str, RecordDict] = field(default_factory=dict)

    def __call__(self, message: Message, reply: Message) -> Answer:
        """The first reply of this phase, whatever was asked."""
        reply.content = self.first.setdefault(phase_of(message), reply.content)
        return reply


def phase_of(message: Message) -> str:
    """The protocol's phase where the message carries one, else the message's type."""
    envelope = message.content.config_records.get(ENVELOPE)
    return message.metadata.message_type if envelope is None else str(envelope["phase"])


class Faulty:
    """A node's tamper: lets everything pass but the replies of one phase in the round that counts."""

    def __init__(self, phase: str, fault: Fault) -> None:
        self.phase, self.fault, self.seen = phase, fault, 0

    def __call__(self, message: Message, reply: Message) -> Answer:
        """The reply, or what the fault makes of it."""
        if phase_of(message) != self.phase:
            return reply
        self.seen += 1
        due = self.seen == ROUNDS or self.phase in BEFORE_ROUNDS or isinstance(self.fault, Stale)
        return self.fault(message, reply) if due else reply


def absurd(message: Message, reply: Message) -> Answer:
    """Claims a billion examples."""
    for metrics in reply.content.metric_records.values():
        metrics["num-examples"] = 1e9
    return reply


def kinds(phase: str) -> dict[str, Callable[[], Fault]]:
    """What can go wrong in a phase; evaluation replies are not signed, enrolment happens once."""
    found: dict[str, Callable[[], Fault]] = {kind: lambda fault=fault: fault for kind, fault in FAULTS.items()}
    if phase == "evaluate":
        return found | {"absurd example count": lambda: absurd}
    found |= {"bit flipped": lambda: flipped}
    return found if phase in BEFORE_ROUNDS else found | {"first round's, sent again": Stale}


def cells(masking: PeerMasking | None = None) -> Iterator[Cell]:
    """Every phase, kind and count, n = 7, MultiKrum(f=1), quorum 5; the echo's rounds are strict."""
    for phase in PHASES if masking is None else MASKED_PHASES:
        for kind, fault in kinds(phase).items():
            for count in COUNTS:
                yield cell(phase, kind, fault, count, masking and replace(masking, strict=phase == "echo"))


def cell(phase: str, kind: str, fault: Callable[[], Fault], count: int, masking: PeerMasking | None = None) -> Cell:
    """One run in which the last `count` clients fail so."""
    faulty = NAMES[N - count :]
    tampers = {name: Faulty(phase, fault()) for name in faulty}
    with tempfile.TemporaryDirectory() as folder:
        strategy, models, ended, seconds = ran(MaskedNodes(N, folder, tampers), masking)
    last = strategy.history[-1]
    if not ended and last.reason is not None:
        ended = f"skipped: {last.reason.partition(' (')[0]}"
    if not ended:
        ended = completed(() if phase == "evaluate" else faulty, last.accepted)
    faults = by_name(strategy, NAMES)
    framed = tuple(sorted({*faults, *strategy.history[-1].refusals} - set(faulty)))
    wrong = not all(exact(strategy, models, server_round, NAMES) for server_round in models if server_round)
    blamed = tuple(shown(fault) for fault in faults.values())
    return Cell("unmasked" if masking is None else "masked", phase, kind, count, ended, blamed, framed, wrong, seconds)


def ran(nodes: MaskedNodes, masking: PeerMasking | None) -> tuple[RobustAggregation, Models, str, float]:
    """The run: its strategy, the model before and after every round, how it ended if it did not complete, seconds."""
    strategy, models, started, ended = wrapped(nodes.roster, masking), {}, time.perf_counter(), ""
    try:
        with patience():
            strategy.start(nodes.grid(), record(model()), num_rounds=ROUNDS, evaluate_fn=keeping(models))
    except HangError:
        ended = HANGS
    except (QuorumNotReached, RoundAborted) as reason:
        ended = f"aborted: {str(reason).partition(' (')[0]}"
    return strategy, models, ended, time.perf_counter() - started


def wrapped(roster: Roster, masking: PeerMasking | None) -> RobustAggregation:
    """FedAvg, wrapped, that waits for nobody long."""
    return RobustAggregation(
        FedAvg(min_train_nodes=2, min_evaluate_nodes=2, min_available_nodes=2),
        rule=MultiKrum(f=1),
        roster=roster,
        norm_bound=C,
        quorum=QUORUM,
        wait=TIMEOUT,
        reply_timeout=TIMEOUT,
        masking=masking,
        device="cpu",
    )


def keeping(models: Models) -> Callable[[int, ArrayRecord], MetricRecord]:
    """An evaluate_fn that keeps the model of every round."""

    def keep(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        models[server_round] = arrays
        return MetricRecord({})

    return keep


def by_name(strategy: RobustAggregation, names: Sequence[str]) -> dict[str, ClientFault]:
    """The gravest fault of everybody who is blamed, by roster name or by the node that speaks for it."""
    faults = [fault for report in strategy.history for fault in report.faults]
    faults += [fault for found in strategy.evaluation_faults.values() for fault in found]
    faults.sort(key=lambda fault: fault.certainty is Certainty.PROVEN)
    return {named(fault, names): fault for fault in faults}


def named(fault: ClientFault, names: Sequence[str]) -> str:
    """The roster name that the fault blames."""
    if fault.culprit.startswith("node "):
        return names[int(fault.culprit.removeprefix("node ")) - FIRST_NODE]
    return fault.culprit


def exact(strategy: RobustAggregation, models: Models, server_round: int, names: Sequence[str]) -> bool:
    """Whether this round moved every float array by the weighted mean of the known steps; 1e-3 for half precision."""
    report = strategy.history[server_round - 1]
    old, new = arrays_of(models[server_round - 1]), arrays_of(models[server_round])
    weights = report.weights or {}
    total = sum(weights.values())
    for key in ("fc.weight", "fc.bias", "scale", "half"):
        rows = {name: step(name, names.index(name))(old)[key].astype(np.float64) - old[key] for name in weights}
        mean = sum(w / total * rows[name] for name, w in weights.items())
        if not np.allclose(new[key] - old[key].astype(np.float64), mean, atol=2e-3 if key == "half" else 1e-4):
            return False
    return True
