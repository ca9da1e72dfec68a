"""The client's side: updates, clipping, refusal; and a client that signs needs no torch."""

import subprocess
import sys

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from flower_robust import Identity, robust_mod
from flower_robust.commitments import Roster, RosterEntry, SignedNormCommitment, update_digest, update_norm
from flower_robust.errors import ConfigurationError, FaultyServer, MalformedReply, NonFiniteUpdate
from flower_robust.flower.envelope import ENVELOPE
from flower_robust.flower.records import Layout
from flower_robust.protocol.plan import RoundPlan
from flower_robust.types import Digest
from tests.flower_double import RUN_ID, arrays_of, model, record, stock_app

pytestmark = pytest.mark.window

IDENTITY = Identity.from_seed("hospital-0", bytes(32))
ROSTER = Roster([RosterEntry.of(IDENTITY, 100)])
BUFFERS = sorted(Layout.of(model()).buffers)


class AnyRule:
    f = 0

    def min_rows(self) -> int:
        return 1


def plan(C: float = 10.0) -> RoundPlan:
    return RoundPlan.create(
        run_id=RUN_ID,
        round=1,
        roster=ROSTER,
        cohort=ROSTER.names,
        rule=AnyRule(),
        norm_bound=C,
        model_digest=Digest(bytes(32)),
    )


def train_message(terms: RoundPlan, arrays=None) -> Message:
    buffers = sorted(Layout.of(arrays or model()).buffers)
    envelope = {"phase": "train", "plan": terms.encode(), "arrays": "arrays", "buffers": buffers}
    content = RecordDict({"arrays": record(arrays or model()), "config": ConfigRecord({"lr": 0.1})})
    content[ENVELOPE] = ConfigRecord(envelope)
    message = Message(content, 7, "train")
    message.metadata.__dict__["_message_id"] = "m"
    return message


def reply_to(trained, terms: RoundPlan, identity=IDENTITY, arrays=None) -> RecordDict:
    app = stock_app(trained, mods=[robust_mod(identity)])
    return app(train_message(terms, arrays), Context(RUN_ID, 7, {}, RecordDict(), {})).content


def shifted(by: float):
    return lambda old: {k: (a + by).astype(a.dtype) if a.dtype.kind == "f" else a for k, a in old.items()}


def test_the_reply_is_the_difference_signed_with_its_digest_and_norm():
    terms = plan()
    content = reply_to(shifted(0.25), terms)
    update = arrays_of(content["arrays"])
    moving = {key: a for key, a in update.items() if key not in BUFFERS}
    for array in moving.values():
        np.testing.assert_allclose(array, 0.25, atol=1e-3)
    assert update["bn.num_batches_tracked"] == model()["bn.num_batches_tracked"]
    commitment = SignedNormCommitment.decode(content[ENVELOPE]["commitment"], "hospital-0")
    commitment.verify(ROSTER)
    assert (commitment.plan_digest, commitment.round) == (terms.digest, 1)
    assert commitment.update_digest == update_digest(update)
    assert commitment.norm == pytest.approx(update_norm(moving), rel=1e-9)
    assert content["metrics"]["loss"] == 0.5


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("C", [1e-3, 1.0, 3.0])
def test_a_clipped_update_is_within_the_bound_after_rounding_and_keeps_its_direction(dtype, C):
    rng = np.random.default_rng(0)
    step = rng.normal(size=50).astype(dtype)
    content = reply_to(lambda old: {"w": old["w"] + step}, plan(C), arrays={"w": np.zeros(50, dtype)})
    found = content["arrays"]["w"].numpy().astype(np.float64)
    assert found.dtype == np.float64
    assert np.linalg.norm(found) <= C
    assert np.linalg.norm(found) >= C * (1 - 1e-2)
    assert found @ step / np.linalg.norm(found) / np.linalg.norm(step.astype(np.float64)) > 0.999


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("key", ["fc.bias", "bn.running_mean"])
def test_what_is_not_finite_is_refused_by_name(key, value):
    with pytest.raises(NonFiniteUpdate, match=rf"hospital-0 at train: found NaN or Inf in '{key}'"):
        reply_to(lambda old: old | {key: np.full_like(old[key], value)}, plan())


def test_an_app_that_returns_another_model_is_told_which_array():
    with pytest.raises(MalformedReply, match=r"fc\.bias"):
        reply_to(lambda old: old | {"fc.bias": np.zeros(9, np.float32)}, plan())
    with pytest.raises(MalformedReply, match=r"fc\.bias"):
        reply_to(lambda old: {key: array for key, array in old.items() if key != "fc.bias"}, plan())


def test_an_app_that_returns_no_metrics_is_told_so_and_is_no_liar():
    app = ClientApp(mods=[robust_mod(IDENTITY)])

    @app.train()
    def train(message, context):
        return Message(RecordDict({"arrays": message.content["arrays"]}), reply_to=message)

    with pytest.raises(ConfigurationError, match="found '0 MetricRecords', required one"):
        app(train_message(plan()), Context(RUN_ID, 7, {}, RecordDict(), {}))


def test_a_plan_that_does_not_ask_this_client_is_refused():
    with pytest.raises(FaultyServer, match="cohort without stranger"):
        reply_to(shifted(0.1), plan(), Identity.generate("stranger"))


def test_the_app_sees_its_strategys_message_only_and_may_empty_it():
    seen = []

    def mod(message, context, call_next):
        seen.append(set(message.content))
        return call_next(message, context)

    def emptied(message, context, call_next):
        reply = call_next(message, context)
        message.content["arrays"].clear()
        return reply

    app = stock_app(shifted(0.1), mods=[robust_mod(IDENTITY), mod, emptied])
    app(train_message(plan()), Context(RUN_ID, 7, {}, RecordDict(), {}))
    assert seen == [{"arrays", "config"}]


def test_the_identity_can_be_a_function_or_a_path_of_the_node(tmp_path):
    IDENTITY.save(tmp_path / "identity.json")
    for source, node_config in [
        (lambda context: IDENTITY, {}),
        (None, {"identity": str(tmp_path / "identity.json")}),
    ]:
        app = stock_app(shifted(0.1), mods=[robust_mod(source)])
        reply = app(train_message(plan()), Context(RUN_ID, 7, node_config, RecordDict(), {}))
        assert ENVELOPE in reply.content


def test_an_unknown_phase_is_refused():
    message = train_message(plan())
    message.content[ENVELOPE]["phase"] = "dance"
    app = stock_app(shifted(0.1), mods=[robust_mod(IDENTITY)])
    with pytest.raises(ConfigurationError, match="phase: found 'dance'"):
        app(message, Context(RUN_ID, 7, {}, RecordDict(), {}))


def test_a_client_needs_no_torch():
    program = "import sys; sys.modules['torch'] = None; from flower_robust import robust_mod, Identity; robust_mod()"
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
