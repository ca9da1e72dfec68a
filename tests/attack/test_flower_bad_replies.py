"""Every bad reply costs its sender the round and nothing else. Flower's stock FedAvg meets the same reply beside it."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord
from flwr.serverapp.exception import AppExitException
from flwr.serverapp.strategy import FedAvg

from flower_robust import RobustAggregation, errors
from flower_robust.aggregation import Mean
from flower_robust.commitments import update_norm
from flower_robust.errors import Certainty
from flower_robust.flower.envelope import ENVELOPE, TRAIN
from flower_robust.protocol.plain import commit_update
from flower_robust.protocol.plan import RoundPlan
from tests.flower_double import FakeGrid, arrays_of, federation, model, record, robust_nodes, stock_nodes

pytestmark = pytest.mark.window

N, LIAR = 7, 2
IDENTITIES, ROSTER = federation(N)
IDENTITY = IDENTITIES[LIAR]
ROUNDING = 1e-5  # stock FedAvg sums in the order of a random sample
GEOMETRY = ("fc.weight", "fc.bias", "scale", "half")


def signed(message: Message, reply: Message, arrays: dict[str, np.ndarray], norm: float | None = None) -> None:
    """Put `arrays` into the reply, with a commitment that the liar's own key signs where the server asks for one."""
    reply.content["arrays"] = record(arrays)
    if ENVELOPE in message.content:
        plan = RoundPlan.decode(message.content[ENVELOPE]["plan"])
        norm = update_norm({key: arrays[key] for key in GEOMETRY if key in arrays}) if norm is None else norm
        norm = norm if np.isfinite(norm) else 1.0
        reply.content[ENVELOPE]["commitment"] = commit_update(plan, IDENTITY, arrays, norm)


def arrays_changed(change: Callable[[dict[str, np.ndarray]], None], norm: float | None = None):
    def tamper(message: Message, reply: Message) -> Message:
        arrays = {key: np.array(array) for key, array in arrays_of(reply.content["arrays"]).items()}
        change(arrays)
        signed(message, reply, arrays, norm)
        return reply

    return tamper


def reply_changed(change: Callable[[Message], None]):
    def tamper(message: Message, reply: Message) -> Message:
        change(reply)
        return reply

    return tamper


def boosted(arrays: dict[str, np.ndarray]) -> None:
    arrays["fc.weight"] *= 1e4


def poisoned(value: float):
    return arrays_changed(lambda arrays: arrays["fc.weight"].fill(value))


def counted(count: object):
    return reply_changed(lambda reply: reply.content["metrics"].update({"num-examples": count}))


def unsigned(message: Message, reply: Message) -> Message:
    arrays = arrays_of(reply.content["arrays"])
    boosted(arrays)
    reply.content["arrays"] = record(arrays)
    reply.content.pop(ENVELOPE, None)
    return reply


def forged(message: Message, reply: Message) -> Message:
    arrays_changed(boosted)(message, reply)
    if ENVELOPE in reply.content:
        commitment = bytearray(reply.content[ENVELOPE]["commitment"])
        commitment[-1] ^= 1
        reply.content[ENVELOPE]["commitment"] = bytes(commitment)
    return reply


def swapped_after_signing(message: Message, reply: Message) -> Message:
    arrays = arrays_of(reply.content["arrays"])
    boosted(arrays)
    reply.content["arrays"] = record(arrays)
    return reply


def another_plan(**changes: object):
    def tamper(message: Message, reply: Message) -> Message:
        if ENVELOPE in message.content:
            plan = RoundPlan.decode(message.content[ENVELOPE]["plan"])
            fields = {name: getattr(plan, name) for name in plan.__dataclass_fields__} | changes
            arrays = arrays_of(reply.content["arrays"])
            norm = update_norm({key: arrays[key] for key in GEOMETRY})
            reply.content[ENVELOPE]["commitment"] = commit_update(RoundPlan(**fields), IDENTITY, arrays, norm)
        return reply

    return tamper


def replayed(message: Message, reply: Message) -> Message:
    """A neighbour's whole reply, commitment and arrays, sent again as one's own."""
    if ENVELOPE in message.content:
        neighbour = copy.deepcopy(message)
        neighbour.metadata.__dict__["_dst_node_id"] = 1000
        reply.content = robust_nodes(IDENTITIES)[1000](neighbour).content
    return reply


def huge(reply: Message) -> None:
    reply.content["arrays"]["padding"] = Array(np.zeros(1 << 20, np.float32))


def metric_flood(reply: Message) -> None:
    reply.content["metrics"]["noise"] = [0.0] * (1 << 18)


def garbage(reply: Message) -> None:
    array = reply.content["arrays"]["fc.bias"]
    reply.content["arrays"]["fc.bias"] = Array(array.dtype, array.shape, array.stype, b"\x93NUMPY garbage")


def bomb(reply: Message) -> None:
    """A header that claims 10^18 floats on no bytes at all."""
    claim = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000000,), }"
    header = b"\x93NUMPY\x01\x00" + len(claim).to_bytes(2, "little") + claim
    reply.content["arrays"]["fc.bias"] = Array("float32", (10**18,), "numpy.ndarray", header)


def second_arrays(reply: Message) -> None:
    reply.content["more"] = ArrayRecord({"x": Array(np.zeros(1, np.float32))})


def second_metrics(reply: Message) -> None:
    reply.content["more"] = MetricRecord({"num-examples": 1})


def no_metrics(reply: Message) -> None:
    del reply.content["metrics"]


def another_kind(reply: Message) -> None:
    reply.__dict__["_content"] = MetricRecord({"num-examples": 1})


def empty_list(reply: Message) -> None:
    """Flower's own count of bytes fails on it."""
    reply.content["notes"] = ConfigRecord({"empty": []})
    reply.content["arrays"].pop("fc.bias")


def raised(message: Message, reply: Message) -> Message:
    return Message(Error(2, "ValueError: the scanner is offline"), reply_to=message)


def unreachable(message: Message, reply: Message) -> Message:
    """What the SuperLink says of a dead node: it comes from node 1, whoever died."""
    error = Message(Error(5, "node unavailable"), reply_to=message)
    error.metadata.__dict__["_src_node_id"] = 1
    return error


# kind: (what the liar does, our fault, what becomes of stock FedAvg)
#   "round": aggregation raises and the whole run ends       "model": the model is destroyed
#   "round or ...": either, as the sender happens to be sampled first or not
#   "fooled": the reply enters the average unnoticed          "fine": stock loses only the sender, too
BAD = {
    "wrong shape": (
        arrays_changed(lambda a: a.update({"fc.bias": np.zeros(9, np.float32)})),
        "MalformedReply",
        "round",
    ),
    "broadcastable shape": (
        arrays_changed(lambda a: a.update({"fc.bias": np.full(1, 1e4, np.float32)})),
        "MalformedReply",
        "round or model",
    ),
    "missing key": (arrays_changed(lambda a: a.pop("fc.bias")), "MalformedReply", "round"),
    "extra key": (arrays_changed(lambda a: a.update(extra=np.zeros(2, np.float32))), "MalformedReply", "round"),
    "no arrays": (reply_changed(lambda reply: reply.content.pop("arrays")), "MalformedReply", "round"),
    "two ArrayRecords": (reply_changed(second_arrays), "MalformedReply", "round"),
    "two MetricRecords": (reply_changed(second_metrics), "MalformedReply", "round"),
    "no MetricRecord": (reply_changed(no_metrics), "MalformedReply", "round"),
    "wrong dtype": (
        arrays_changed(lambda a: a.update({"fc.bias": a["fc.bias"].astype(np.complex64)})),
        "MalformedReply",
        "round or fooled",
    ),
    "text for numbers": (
        arrays_changed(lambda a: a.update({"fc.bias": np.array(["a", "b", "c", "d"])})),
        "MalformedReply",
        "round",
    ),
    "undecodable array": (reply_changed(garbage), "MalformedReply", "round"),
    "header bomb": (reply_changed(bomb), "MalformedReply", "round"),
    "unparsable message": (lambda message, reply: ValueError("no such object"), "MalformedReply", "round"),
    "content of another kind": (reply_changed(another_kind), "MalformedReply", "round"),
    "empty list and missing key": (reply_changed(empty_list), "MalformedReply", "round"),
    "oversized arrays": (reply_changed(huge), "OversizedReply", "round"),
    "oversized metrics": (reply_changed(metric_flood), "OversizedReply", "round"),
    "NaN": (poisoned(np.nan), "NonFiniteUpdate", "model"),
    "Inf": (poisoned(np.inf), "NonFiniteUpdate", "model"),
    "NaN in a buffer": (arrays_changed(lambda a: a["bn.running_mean"].fill(np.nan)), "NonFiniteUpdate", "model"),
    "negative examples": (counted(-599), "ExampleCountLie", "model"),
    "absurd examples": (counted(10**9), "ExampleCountLie", "fooled"),
    "NaN examples": (counted(float("nan")), "ExampleCountLie", "model"),
    "more examples than a float holds": (counted(10**400), "ExampleCountLie", "fooled"),
    "list of examples": (counted([1, 2]), "ExampleCountLie", "round"),
    "unsigned": (unsigned, "MalformedReply", "model"),
    "forged signature": (forged, "BadSignature", "model"),
    "swapped after signing": (swapped_after_signing, "DigestMismatch", "model"),
    "norm lie": (arrays_changed(boosted, norm=0.1), "NormMismatch", "model"),
    "beyond the bound": (arrays_changed(boosted), "NormBoundExceeded", "model"),
    "stale plan": (another_plan(nonce=bytes(16)), "StaleCommitment", "fooled"),
    "other round": (another_plan(round=77), "StaleCommitment", "fooled"),
    "other roster": (another_plan(roster_digest=bytes(32)), "StaleCommitment", "fooled"),
    "replayed from a neighbour": (replayed, "ReplayedCommitment", "fooled"),
    "error reply": (raised, "ClientError", "fine"),
    "dead node": (unreachable, "NoReply", "fine"),
    "no reply": (lambda message, reply: None, "NoReply", "fine"),
}


def when_training(tamper):
    """The tamper, on train replies alone: enrolment and evaluation stay honest."""

    def act(message: Message, reply: Message):
        envelope = message.content.get(ENVELOPE, ConfigRecord({"phase": TRAIN}))
        training = message.metadata.message_type == "train" and envelope["phase"] == TRAIN
        return tamper(message, reply) if training else reply

    return act


def robust_run(tamper=None):
    nodes = robust_nodes(IDENTITIES, {IDENTITY.name: when_training(tamper)} if tamper else {})
    strategy = RobustAggregation(
        FedAvg(), rule=Mean(), roster=ROSTER, norm_bound=50.0, wait=2.0, reply_timeout=0.2, device="cpu"
    )
    return strategy, strategy.start(FakeGrid(nodes), record(model()), num_rounds=1)


def stock_run(tamper=None):
    nodes = stock_nodes(N, {LIAR: when_training(tamper)} if tamper else {})
    with np.errstate(all="ignore"):
        result = FedAvg().start(FakeGrid(nodes), record(model()), num_rounds=1)
    return {key: result.arrays[key].numpy() for key in ("fc.weight", "fc.bias", "bn.running_mean")}


@pytest.fixture(scope="module")
def without_the_liar():
    return robust_run(lambda message, reply: None)[1]


@pytest.fixture(scope="module")
def stock_without_the_liar():
    return stock_run(lambda message, reply: None)


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_reply_costs_its_sender_the_round_and_nothing_else(kind, without_the_liar):
    tamper, fault, _ = BAD[kind]
    strategy, result = robust_run(tamper)
    (report,) = strategy.history
    assert [(found.kind, found.culprit) for found in report.faults] == [(fault, IDENTITY.name)]
    assert report.accepted == tuple(identity.name for identity in IDENTITIES if identity is not IDENTITY)
    assert arrays_equal(result.arrays, without_the_liar.arrays)
    assert result.train_metrics_clientapp[1] == without_the_liar.train_metrics_clientapp[1]
    assert result.evaluate_metrics_clientapp[1]["accuracy"] == pytest.approx(0.75)
    lied = getattr(errors, fault).certainty is Certainty.PROVEN
    assert strategy.trust_state[IDENTITY.name].lied == lied
    assert not any(strategy.trust_state[name].lied for name in report.accepted)


@pytest.mark.parametrize("kind", BAD)
def test_the_stock_strategy_on_the_same_reply(kind, stock_without_the_liar):
    tamper, _, outcome = BAD[kind]
    try:
        found = stock_run(tamper)
    except (AppExitException, ValueError, TypeError, AttributeError, MemoryError):
        assert outcome.startswith("round")
        return
    off = max(np.nan_to_num(np.abs(a - stock_without_the_liar[k]), nan=np.inf).max() for k, a in found.items())
    destroyed, unnoticed, fine = off > 10.0, ROUNDING < off <= 10.0, off < ROUNDING
    outcomes = {"model": destroyed, "round or model": destroyed, "fooled": unnoticed, "round or fooled": unnoticed}
    assert (outcomes | {"fine": fine}).get(outcome), off


def arrays_equal(found: ArrayRecord, required: ArrayRecord) -> bool:
    return all(np.array_equal(found[key].numpy(), required[key].numpy()) for key in required)
