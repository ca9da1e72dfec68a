"""Masked rounds over Flower, in one process: what comes out is what unmasked rounds give, whoever drops out."""

from itertools import pairwise

import numpy as np
import pytest
from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedProx

from flower_robust import RobustAggregation
from flower_robust.aggregation import Mean, Median, MultiKrum
from flower_robust.errors import QuorumNotReached, RoundAborted
from tests.flower_double import FakeGrid, arrays_of, model, record, robust_nodes
from tests.flower_masked import C, MaskedNodes, assert_exact, at, masked, moving, silent, trajectory

pytestmark = pytest.mark.window

STRATEGIES = {
    "FedAvg": lambda: FedAvg(),
    "FedProx": lambda: FedProx(proximal_mu=0.1),
    "FedAvgM": lambda: FedAvgM(server_learning_rate=0.5, server_momentum=0.9),
    "FedAdam": lambda: FedAdam(eta=0.01),
}
NAMES = tuple(f"hospital-{i}" for i in range(7))


@pytest.mark.parametrize("name", STRATEGIES)
def test_masked_and_unmasked_rounds_give_the_same_model_and_metrics(name, tmp_path):
    nodes = MaskedNodes(5, tmp_path)
    hidden = masked(nodes.roster, STRATEGIES[name](), reply_timeout=5.0, masking={"step_timeout": 5.0})
    shown = RobustAggregation(STRATEGIES[name](), rule=Mean(), roster=nodes.roster, norm_bound=C, wait=1, device="cpu")
    ours = hidden.start(nodes.grid(), record(model()), num_rounds=2)
    theirs = shown.start(FakeGrid(robust_nodes(nodes.identities)), record(model()), num_rounds=2)
    found, expected = arrays_of(ours.arrays), arrays_of(theirs.arrays)
    assert {k: (a.dtype, a.shape) for k, a in found.items()} == {k: (a.dtype, a.shape) for k, a in expected.items()}
    tolerance = 2e-2 if name == "FedAdam" else 1e-3  # Adam divides by the root of a tiny second moment
    np.testing.assert_allclose(moving(found), moving(expected), atol=tolerance)
    assert ours.train_metrics_clientapp == theirs.train_metrics_clientapp
    assert ours.evaluate_metrics_clientapp == theirs.evaluate_metrics_clientapp
    assert [report.exchanges for report in hidden.history] == [3, 3]


def test_float_buffers_move_by_their_mean_and_whole_numbers_stay(tmp_path):
    nodes = MaskedNodes(5, tmp_path)
    old, new = trajectory(masked(nodes.roster), nodes.grid(), 1)
    np.testing.assert_allclose(new["bn.running_mean"] - old["bn.running_mean"], 0.1, atol=0.03)
    assert new["bn.num_batches_tracked"] == old["bn.num_batches_tracked"]
    assert (new["mask"] == old["mask"]).all()


STEPS = ("train", "challenge", "unmask")


@pytest.mark.parametrize("step", STEPS)
def test_who_drops_out_is_missed_once_and_the_sum_is_exact(step, tmp_path):
    nodes = MaskedNodes(7, tmp_path, {name: at(step, 1, silent) for name in NAMES[:2]})
    strategy = masked(nodes.roster, rule=MultiKrum(f=1), quorum=5)
    models = trajectory(strategy, nodes.grid(), 2)
    first, second = strategy.history
    assert {(f.culprit, f.certainty.value) for f in first.faults} == {(NAMES[0], "silent"), (NAMES[1], "silent")}
    assert second.faults == () and second.accepted == NAMES
    assert set(first.accepted) == (set(NAMES) if step == "unmask" else set(NAMES[2:]))
    for report, (old, new) in zip(strategy.history, pairwise(models), strict=True):
        assert_exact(report, old, new, 7, NAMES)


def test_drop_outs_at_every_step_of_one_round(tmp_path):
    tampers = {NAMES[i]: at(step, 1, silent) for i, step in enumerate(STEPS)}
    nodes = MaskedNodes(7, tmp_path, tampers)
    strategy = masked(nodes.roster, quorum=4)
    old, new = trajectory(strategy, nodes.grid(), 1)
    assert [f.culprit for f in strategy.history[0].faults] == list(NAMES[:3])
    assert_exact(strategy.history[0], old, new, 7, NAMES)


@pytest.mark.parametrize(("step", "found", "needed"), [("challenge", 2, 3), ("unmask", 1, 2)])
def test_too_few_answers_say_how_many_were_needed_and_had(step, found, needed, tmp_path):
    gone = 7 - found
    nodes = MaskedNodes(7, tmp_path, {name: at(step, 1, silent) for name in NAMES[:gone]})
    strategy = masked(nodes.roster, quorum=4, below_quorum="skip")
    models = trajectory(strategy, nodes.grid(), 2)
    report = strategy.history[0]
    assert f"found {found} shares" in report.reason and f"required {needed}" in report.reason
    assert (moving(models[1]) == moving(models[0])).all(), "a round without a result moved the model"
    assert strategy.history[1].reason is None and strategy.history[1].accepted == NAMES


def test_a_round_that_cannot_be_opened_ends_the_run_unless_told_otherwise(tmp_path):
    nodes = MaskedNodes(7, tmp_path, {name: at("unmask", 1, silent) for name in NAMES[:6]})
    with pytest.raises(RoundAborted, match="unmask-reply: found 1 shares"):
        masked(nodes.roster, quorum=4).start(nodes.grid(), record(model()), num_rounds=1)
    nodes = MaskedNodes(7, tmp_path, {name: at("train", 1, silent) for name in NAMES[:4]})
    with pytest.raises(QuorumNotReached, match="found 3 accepted of 7 expected, required quorum 4"):
        masked(nodes.roster, quorum=4).start(nodes.grid(), record(model()), num_rounds=1)


def test_partial_participation_draws_another_cohort_each_round(tmp_path):
    nodes = MaskedNodes(7, tmp_path)
    sampling = FedAvg(fraction_train=0.75, fraction_evaluate=0.0, min_train_nodes=1, min_available_nodes=7)
    strategy = masked(nodes.roster, sampling, quorum=5)
    models = trajectory(strategy, nodes.grid(), 4)
    assert {len(report.expected) for report in strategy.history} == {5}
    assert len({report.expected for report in strategy.history}) > 1
    for report, (old, new) in zip(strategy.history, pairwise(models), strict=True):
        assert report.faults == () and report.refusals == {}
        assert_exact(report, old, new, 7, NAMES)


def test_a_client_that_was_restarted_is_back_after_one_round(tmp_path):
    nodes = MaskedNodes(7, tmp_path)

    def crash(message, reply):
        nodes.nodes[1000] = nodes.node(1000, 0)
        return reply

    nodes.tampers[NAMES[0]] = at("unmask", 1, crash)
    strategy = masked(nodes.roster, rule=MultiKrum(f=1), quorum=5)
    trajectory(strategy, nodes.grid(), 3)
    accepted = [NAMES[0] in report.accepted for report in strategy.history]
    assert accepted == [True, False, True]
    assert "restarted" in strategy.history[1].refusals[NAMES[0]]
    assert [f.certainty.value for f in strategy.history[1].faults] == ["silent"]


def test_a_client_that_comes_back_on_another_node_is_keyed_at_once(tmp_path):
    nodes = MaskedNodes(7, tmp_path)

    def move(message, reply):
        del nodes.nodes[1000]
        nodes.nodes[2000] = nodes.node(2000, 0)
        return reply

    nodes.tampers[NAMES[0]] = at("unmask", 1, move)
    strategy = masked(nodes.roster, rule=MultiKrum(f=1), quorum=5)
    trajectory(strategy, nodes.grid(), 2)
    assert [report.accepted for report in strategy.history] == [NAMES, NAMES]
    assert [fault.culprit for fault in strategy.history[1].faults] == ["node 1000"]


def test_strict_rounds_take_one_exchange_more(tmp_path):
    nodes = MaskedNodes(5, tmp_path)
    strategy = masked(nodes.roster, masking={"strict": True})
    old, new = trajectory(strategy, nodes.grid(), 1)
    assert strategy.history[0].exchanges == 4
    assert_exact(strategy.history[0], old, new, 5, NAMES[:5])


def test_coordinate_rules_see_the_means_of_disjoint_groups(tmp_path):
    nodes = MaskedNodes(9, tmp_path)
    strategy = masked(nodes.roster, rule=Median(f=1), masking={"groups": 3, "threshold": 1})
    old, new = trajectory(strategy, nodes.grid(), 1)
    assert strategy.history[0].weights is None
    np.testing.assert_allclose(moving(new) - moving(old), 0.1, atol=0.02)


def test_masked_metrics_are_the_weighted_mean_and_leave_the_message(tmp_path):
    nodes = MaskedNodes(5, tmp_path)
    strategy = masked(nodes.roster, masking={"masked_metrics": {"loss": 8.0}})
    result = strategy.start(nodes.grid(), record(model()), num_rounds=1)
    assert result.train_metrics_clientapp[1]["loss"] == pytest.approx(0.5, abs=2e-3)
    sent = [reply.content["metrics"] for _, reply in nodes.replies if "metrics" in reply.content]
    assert len(sent) == 5 and all("loss" not in metrics for metrics in sent)
