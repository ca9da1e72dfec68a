"""How many must be there, how long they are awaited, and what happens below: never a silent success."""

import pytest
from flwr.serverapp.strategy import FedAvg

from flower_robust import RobustAggregation
from flower_robust.aggregation import Krum, Mean
from flower_robust.errors import ConfigurationError, CorruptFile, QuorumNotReached, TooFewRows
from flower_robust.flower.envelope import ENVELOPE, TRAIN
from tests.flower_double import FakeGrid, arrays_of, federation, model, record, robust_nodes

pytestmark = pytest.mark.window

IDENTITIES, ROSTER = federation(6)


def wrapper(strategy=None, **options):
    options = {"rule": Mean(), "norm_bound": 50.0, "wait": 0.3, "reply_timeout": 0.3, "device": "cpu"} | options
    return RobustAggregation(strategy or FedAvg(), roster=options.pop("roster", ROSTER), **options)


def silent(message, reply):
    return None if message.metadata.message_type == "train" and message.content[ENVELOPE]["phase"] == TRAIN else reply


def grid_with_silent(count: int) -> FakeGrid:
    return FakeGrid(robust_nodes(IDENTITIES, dict.fromkeys(ROSTER.names[:count], silent)))


def test_below_the_quorum_the_run_fails_and_the_report_says_who_was_silent():
    strategy = wrapper(quorum=4)
    with pytest.raises(QuorumNotReached, match=r"found 3 accepted of 6 expected, required quorum 4.*hospital-2"):
        strategy.start(grid_with_silent(3), record(model()), num_rounds=1)
    (report,) = strategy.history
    assert (report.accepted, report.quorum) == ((), 4)
    assert [fault.culprit for fault in report.faults] == ["hospital-0", "hospital-1", "hospital-2"]


def test_skip_keeps_the_model_and_reports():
    strategy = wrapper(quorum=4, below_quorum="skip")
    result = strategy.start(grid_with_silent(3), record(model()), num_rounds=2)
    assert len(strategy.history) == 2
    assert not any(report.accepted for report in strategy.history)
    assert not result.train_metrics_clientapp
    assert not result.arrays or arrays_of(result.arrays).keys() == model().keys()


def test_at_the_quorum_the_round_counts():
    strategy = wrapper(quorum=3)
    strategy.start(grid_with_silent(3), record(model()), num_rounds=1)
    assert strategy.history[0].accepted == ROSTER.names[3:]


def test_the_default_quorum_is_a_majority_and_what_the_rule_needs():
    assert wrapper().quorum == 4
    assert wrapper(rule=Krum(f=1)).quorum == 5
    assert wrapper(expected=3).quorum == 2


def test_partial_participation_asks_only_the_sampled():
    strategy = wrapper(FedAvg(fraction_train=0.5, fraction_evaluate=0.5), quorum=3)
    strategy.start(FakeGrid(robust_nodes(IDENTITIES)), record(model()), num_rounds=3)
    assert [len(report.accepted) for report in strategy.history] == [3, 3, 3]
    assert not any(report.faults for report in strategy.history)


def test_a_quorum_above_the_sample_is_an_error_that_names_both():
    strategy = wrapper(FedAvg(fraction_train=0.5), quorum=4)
    with pytest.raises(ConfigurationError, match="quorum: found 4, required at most 3, the nodes that FedAvg samples"):
        strategy.start(FakeGrid(robust_nodes(IDENTITIES)), record(model()), num_rounds=1)


def test_a_strategy_that_waits_for_more_nodes_than_there_are_is_stopped():
    strategy = wrapper(FedAvg(min_available_nodes=9), below_quorum="abort")
    with pytest.raises(QuorumNotReached, match="FedAvg waits for more nodes than the 6"):
        strategy.start(FakeGrid(robust_nodes(IDENTITIES)), record(model()), num_rounds=1)


def test_no_evaluation_for_want_of_nodes_does_not_end_the_run():
    strategy = wrapper(FedAvg(min_evaluate_nodes=9))
    result = strategy.start(FakeGrid(robust_nodes(IDENTITIES)), record(model()), num_rounds=1)
    assert result.train_metrics_clientapp
    assert not result.evaluate_metrics_clientapp


def test_a_strategy_that_does_not_train_is_left_alone():
    result = wrapper(FedAvg(fraction_train=0.0)).start(
        FakeGrid(robust_nodes(IDENTITIES)), record(model()), num_rounds=1
    )
    assert result.evaluate_metrics_clientapp[1]["accuracy"] == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rule": Krum(f=2)}, TooFewRows, r"n: found 6, required at least 7 rows for Krum\(f=2\)"),
        ({"quorum": 7}, ConfigurationError, "quorum: found 7"),
        ({"quorum": 0}, ConfigurationError, "quorum: found 0"),
        ({"quorum": 4, "rule": Krum(f=1)}, TooFewRows, "at least 5 rows"),
        ({"expected": 7}, ConfigurationError, "expected: found 7, required 1 to 6"),
        ({"norm_bound": 0.0}, ConfigurationError, "norm_bound"),
        ({"norm_bound": float("nan")}, ConfigurationError, "norm_bound"),
        ({"wait": 0}, ConfigurationError, "wait: found 0"),
        ({"reply_timeout": float("inf")}, ConfigurationError, "reply_timeout"),
        ({"below_quorum": "ignore"}, ConfigurationError, "below_quorum: found 'ignore'"),
        ({"device": "quantum"}, ConfigurationError, "device: found 'quantum'"),
        ({"trust_file": "/no/such/folder/trust"}, ConfigurationError, "trust_file"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_sent(options, error, message):
    with pytest.raises(error, match=message):
        wrapper(**options)


def test_trust_survives_a_restart_and_liars_are_not_asked_again(tmp_path):
    def bad_signature(message, reply):
        if message.metadata.message_type == "train" and message.content[ENVELOPE]["phase"] == TRAIN:
            reply.content[ENVELOPE]["commitment"] = reply.content[ENVELOPE]["commitment"][:-1] + b"\0"
        return reply

    path = tmp_path / "trust.json"
    first = wrapper(trust_file=path)
    first.start(FakeGrid(robust_nodes(IDENTITIES, {"hospital-1": bad_signature})), record(model()), num_rounds=2)
    assert [("hospital-1" in report.expected) for report in first.history] == [True, False]
    second = wrapper(trust_file=path)
    assert second.trust_state == first.trust_state
    second.start(FakeGrid(robust_nodes(IDENTITIES)), record(model()), num_rounds=1)
    assert second.history[0].accepted == tuple(name for name in ROSTER.names if name != "hospital-1")


def test_trust_is_saved_when_a_round_fails(tmp_path):
    path = tmp_path / "trust.json"
    strategy = wrapper(trust_file=path, quorum=4)
    with pytest.raises(QuorumNotReached):
        strategy.start(grid_with_silent(3), record(model()), num_rounds=1)
    assert wrapper(trust_file=path).trust_state == strategy.trust_state
    assert strategy.trust_state["hospital-0"] != strategy.trust_state["hospital-5"]


def test_a_corrupt_trust_file_is_an_error_and_stays_as_it_was(tmp_path):
    path = tmp_path / "trust.json"
    path.write_bytes(b"nothing\n{}")
    with pytest.raises(CorruptFile, match=r"trust\.json"):
        wrapper(trust_file=path)
    assert path.read_bytes() == b"nothing\n{}"
