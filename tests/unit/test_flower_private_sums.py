"""Private sums: feature means and deviations before the first round, although no hospital shows its own."""

from types import SimpleNamespace

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from flower_robust import PeerMasking, robust_mod
from flower_robust.errors import ConfigurationError, RoundAborted
from flower_robust.flower.envelope import ENVELOPE
from flower_robust.flower.private_sums import private_sums
from flower_robust.flower.summand import summand
from tests.flower_double import RUN_ID, FakeGrid, federation, record
from tests.flower_masked import answered, at, flipped, phase_of, silent

N, F = 5, 6
ROWS = [np.random.default_rng(i).normal(3.0, 2.0, (40 + i, F)) * np.logspace(-2, 2, F) for i in range(N)]
REACH = np.logspace(-2, 2, F) * 16
BOUNDS = {"count": np.array([64.0]), "sum": 64 * REACH, "squares": 64 * REACH**2}


def statistics(rows: np.ndarray) -> dict[str, np.ndarray]:
    return {"count": np.array([float(len(rows))]), "sum": rows.sum(axis=0), "squares": (rows**2).sum(axis=0)}


def grid_of(folder, tampers=None, answer=statistics) -> tuple[FakeGrid, object]:
    identities, roster = federation(N)
    nodes = {}
    for i, identity in enumerate(identities):
        app = ClientApp(mods=[robust_mod(identity, roster, audit_folder=folder)])

        @app.train()
        def train(message, context):
            raise AssertionError("nobody trains")

        @app.query("private_sums")
        def sums(message, context, i=i):
            return summand(message, answer(ROWS[i]))

        nodes[1000 + i] = node(app, Context(RUN_ID, 1000 + i, {}, RecordDict(), {}), (tampers or {}).get(i))
    return FakeGrid(nodes), roster


def node(app, context, tamper):
    def answer(message):
        reply = answered(app, message, context)
        return tamper(message, reply) if tamper else reply

    return answer


def summed(grid, roster, **options):
    masking = PeerMasking(step_timeout=0.3)
    return private_sums(grid, BOUNDS, roster=roster, masking=masking, wait=0.5, timeout=0.5, **options)


def test_means_and_deviations_are_those_of_all_rows_together(tmp_path):
    found = summed(*grid_of(tmp_path)).sums
    pooled = np.concatenate(ROWS)
    mean = found["sum"] / found["count"]
    deviation = np.sqrt(found["squares"] / found["count"] - mean**2)
    assert found["count"][0] == pytest.approx(len(pooled), rel=1e-3)
    np.testing.assert_allclose(mean, pooled.mean(axis=0), rtol=2e-3)
    np.testing.assert_allclose(deviation, pooled.std(axis=0), rtol=5e-3)


@pytest.mark.parametrize("act", [silent, flipped])
def test_who_fails_is_left_out_of_every_sum_and_reported(act, tmp_path):
    found = summed(*grid_of(tmp_path, {0: at("challenge", 0, act)}))
    names = found.report.accepted
    assert [fault.culprit for fault in found.report.faults] == ["hospital-0"]
    rows = np.concatenate([ROWS[int(name[-1])] for name in names])
    assert found.sums["count"][0] == pytest.approx(len(rows), rel=1e-3)


def test_a_liar_shifts_a_sum_by_its_bound_at_most(tmp_path):
    def shouting(rows):
        loud = 1e12 if len(rows) == len(ROWS[0]) else 1.0
        return {name: loud * value for name, value in statistics(rows).items()}

    honest = sum(len(rows) for rows in ROWS[1:])
    found = summed(*grid_of(tmp_path, answer=shouting)).sums
    assert found["count"][0] == pytest.approx(honest + 64, rel=1e-3)


def test_nothing_is_known_if_too_few_answer_and_other_shapes_are_named(tmp_path):
    with pytest.raises(RoundAborted, match="required 3"):
        summed(*grid_of(tmp_path, {i: at("challenge", 0, silent) for i in range(3)}))
    message = SimpleNamespace(content=RecordDict({"bounds": record(BOUNDS)}))
    with pytest.raises(ConfigurationError, match="as the server asks"):
        summand(message, {"count": np.zeros(2)})


def test_who_gets_other_bounds_refuses(tmp_path):
    grid, roster = grid_of(tmp_path)
    answer = grid.nodes[1000]

    def widened(message):
        if phase_of(message) == "train":
            message.content["bounds"] = record({name: 1e12 * bound for name, bound in BOUNDS.items()})
        return answer(message)

    grid.nodes[1000] = widened
    found = summed(grid, roster).report
    assert "another message than the plan's" in found.refusals["hospital-0"] and len(found.accepted) == N - 1


@pytest.mark.parametrize(
    "envelope", [{}, {ENVELOPE: ConfigRecord({"phase": "train", "plan": b"", "arrays": "arrays"})}]
)
def test_nobodys_part_leaves_without_a_mask(envelope, tmp_path):
    grid, _ = grid_of(tmp_path)
    asked = Message(RecordDict({"bounds": record(BOUNDS), **envelope}), 1000, "query.private_sums")
    asked.metadata.__dict__["_message_id"] = "m"
    reply = grid.nodes[1000](asked)
    assert reply.has_error() and "found 'private sums without masks', required a masked round" in reply.error.reason
