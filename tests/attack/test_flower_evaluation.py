"""One bad evaluation reply loses its own numbers; Flower's stock FedAvg loses the evaluation."""

import pytest
from flwr.app import Error, Message, MetricRecord
from flwr.serverapp.exception import AppExitException
from flwr.serverapp.strategy import FedAvg

from flower_robust import RobustAggregation
from flower_robust.aggregation import Mean
from flower_robust.commitments import Roster, RosterEntry
from tests.flower_double import FakeGrid, federation, model, record, robust_nodes, stock_nodes

pytestmark = pytest.mark.window

IDENTITIES, ROSTER = federation(5)


def metrics(**values):
    def tamper(message, reply):
        if message.metadata.message_type == "evaluate":
            reply.content["metrics"] = MetricRecord({key.replace("_", "-"): value for key, value in values.items()})
        return reply

    return tamper


def evaluated(answer):
    return lambda message, reply: answer(message, reply) if message.metadata.message_type == "evaluate" else reply


def two_records(message, reply):
    reply.content["more"] = MetricRecord({"accuracy": 0.0, "num-examples": 1})
    return reply


BAD = {
    "NaN": (metrics(accuracy=float("nan"), num_examples=100), "MalformedReply"),
    "beyond floats": (metrics(accuracy=10**400, num_examples=100), "MalformedReply"),
    "other keys": (metrics(auc=0.1, num_examples=100), "MalformedReply"),
    "list for a number": (metrics(accuracy=[0.1, 0.2], num_examples=100), "MalformedReply"),
    "two records": (evaluated(two_records), "MalformedReply"),
    "negative examples": (metrics(accuracy=0.0, num_examples=-100), "ExampleCountLie"),
    "absurd examples": (metrics(accuracy=0.0, num_examples=10**9), "ExampleCountLie"),
    "unparsable": (evaluated(lambda message, reply: ValueError("no such object")), "MalformedReply"),
    "error": (evaluated(lambda message, reply: Message(Error(2, "out of memory"), reply_to=message)), "ClientError"),
    "silence": (evaluated(lambda message, reply: None), "NoReply"),
}


def robust_run(tampers, roster=ROSTER, strategy=None):
    robust = RobustAggregation(
        strategy or FedAvg(), rule=Mean(), roster=roster, norm_bound=50.0, wait=2.0, reply_timeout=0.2, device="cpu"
    )
    return robust, robust.start(FakeGrid(robust_nodes(IDENTITIES, tampers)), record(model()), num_rounds=1)


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_reply_loses_its_own_numbers_only(kind):
    tamper, fault = BAD[kind]
    strategy, result = robust_run({"hospital-1": tamper})
    assert result.evaluate_metrics_clientapp[1] == MetricRecord({"accuracy": 0.75})
    assert [(found.kind, found.culprit) for found in strategy.evaluation_faults[1]] == [(fault, "hospital-1")]
    assert not strategy.trust_state["hospital-1"].lied


@pytest.mark.parametrize(
    "kind", ["NaN", "other keys", "list for a number", "two records", "absurd examples", "unparsable"]
)
def test_the_stock_strategy_loses_the_evaluation_to_the_same_reply(kind):
    grid = FakeGrid(stock_nodes(5, {1: BAD[kind][0]}))
    try:
        result = FedAvg().start(grid, record(model()), num_rounds=1)
    except (AppExitException, ValueError, TypeError):
        return
    assert result.evaluate_metrics_clientapp[1]["accuracy"] != pytest.approx(0.75)


def test_everybody_silent_is_no_evaluation_and_no_crash():
    silent = evaluated(lambda message, reply: None)
    _, result = robust_run(dict.fromkeys(ROSTER.names, silent))
    assert 1 not in result.evaluate_metrics_clientapp
    assert 1 in result.train_metrics_clientapp


def test_the_rosters_rows_weigh_the_metrics_not_what_a_reply_claims():
    roster = Roster(
        RosterEntry.of(identity, rows) for identity, rows in zip(IDENTITIES, [10, 10, 10, 10, 60], strict=True)
    )
    tampers = {"hospital-4": metrics(accuracy=0.25, num_examples=1)}
    tampers |= {name: metrics(accuracy=0.75, num_examples=10) for name in roster.names[:4]}
    for name, tamper in list(tampers.items()):
        tampers[name] = counting_ten(tamper)
    _, result = robust_run(tampers, roster)
    assert result.evaluate_metrics_clientapp[1]["accuracy"] == pytest.approx(0.4 * 0.75 + 0.6 * 0.25)
    assert result.train_metrics_clientapp[1]["loss"] == pytest.approx(0.5)


def counting_ten(tamper):
    """Training replies that claim 10 examples, which every participant of the roster declares."""

    def act(message, reply):
        if message.metadata.message_type == "train" and "metrics" in reply.content:
            reply.content["metrics"]["num-examples"] = 10
        return tamper(message, reply)

    return act


def test_the_users_own_metric_aggregation_sees_the_verified_replies():
    seen = []

    def spread(contents, count_key):
        seen.extend(contents)
        values = [content["metrics"]["accuracy"] for content in contents]
        return MetricRecord({"spread": max(values) - min(values)})

    tampers = {"hospital-0": metrics(accuracy=0.5, num_examples=100), "hospital-1": metrics(accuracy=float("inf"))}
    _, result = robust_run(tampers, strategy=FedAvg(evaluate_metrics_aggr_fn=spread))
    assert result.evaluate_metrics_clientapp[1]["spread"] == pytest.approx(0.25)
    assert [content["metrics"]["num-examples"] for content in seen] == [100.0] * 4
