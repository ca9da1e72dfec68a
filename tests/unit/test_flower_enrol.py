"""Which participant a node is: claims, impostors, twins, and nodes that come and go."""

import copy

import pytest
from flwr.app import Context, Message, RecordDict
from flwr.serverapp.strategy import FedAvg

from flower_robust import RobustAggregation, robust_mod
from flower_robust.aggregation import Mean
from flower_robust.commitments import Identity, Roster, RosterEntry
from flower_robust.errors import QuorumNotReached
from flower_robust.flower.envelope import ENROL, ENVELOPE
from tests.flower_double import RUN_ID, FakeGrid, federation, model, node, record, robust_nodes, step, stock_app

pytestmark = pytest.mark.window


def wrapper(roster, **options):
    options = {"rule": Mean(), "norm_bound": 50.0, "wait": 0.3, "reply_timeout": 0.3, "device": "cpu"} | options
    return RobustAggregation(FedAvg(), roster=roster, **options)


def participant(node_id: int, identity, tamper=None, **pins):
    return node(node_id, stock_app(step("any", node_id), mods=[robust_mod(identity, **pins)]), tamper)


def faults_of(strategy) -> set[tuple[str, str]]:
    return {(fault.kind, fault.culprit) for report in strategy.history for fault in report.faults}


def test_a_node_that_claims_a_name_without_its_key_is_left_out():
    identities, roster = federation(5)
    nodes = robust_nodes(identities[:4])
    nodes[1004] = participant(1004, Identity.from_seed("hospital-4", bytes(32)))
    strategy = wrapper(roster)
    strategy.start(FakeGrid(nodes), record(model()), num_rounds=1)
    assert faults_of(strategy) == {("BadSignature", "node 1004"), ("NoReply", "hospital-4")}
    assert strategy.history[0].accepted == roster.names[:4]
    assert not strategy.trust_state["hospital-4"].lied


def test_an_impostor_cannot_displace_who_holds_the_key():
    identities, roster = federation(5)
    nodes = robust_nodes(identities)
    nodes[2000] = participant(2000, Identity.from_seed("hospital-0", bytes(32)))
    strategy = wrapper(roster)
    strategy.start(FakeGrid(nodes), record(model()), num_rounds=1)
    assert faults_of(strategy) == {("BadSignature", "node 2000")}
    assert strategy.history[0].accepted == roster.names


def test_of_two_nodes_with_one_key_one_takes_part():
    identities, roster = federation(5)
    nodes = robust_nodes(identities)
    nodes[2000] = participant(2000, identities[0])
    strategy = wrapper(roster)
    strategy.start(FakeGrid(nodes), record(model()), num_rounds=2)
    assert faults_of(strategy) == {("UnknownClient", "node 1000")}
    assert [report.accepted for report in strategy.history] == [roster.names] * 2


def test_unknown_names_missing_mods_and_missing_identities_name_the_node_and_stop_nobody():
    identities, roster = federation(5)
    nodes = robust_nodes(identities)
    nodes[2000] = participant(2000, Identity.generate("stranger"))
    nodes[2001] = node(2001, stock_app(step("no mod", 1)))
    nodes[2002] = participant(2002, None)
    nodes[2003] = participant(2003, identities[0], lambda message, reply: KeyError("no such object"))
    strategy = wrapper(roster)
    strategy.start(FakeGrid(nodes), record(model()), num_rounds=1)
    assert strategy.history[0].accepted == roster.names
    assert faults_of(strategy) == {
        ("UnknownClient", "node 2000"),
        ("ClientError", "node 2001"),
        ("ClientError", "node 2002"),
        ("MalformedReply", "node 2003"),
    }
    (missing,) = [fault for fault in strategy.history[0].faults if fault.culprit == "node 2002"]
    assert "node_config identity" in missing.found


def test_a_client_that_pins_another_roster_refuses_and_says_so():
    identities, roster = federation(5)
    other = Roster([RosterEntry.of(identity, rows=1) for identity in identities])
    nodes = robust_nodes(identities[:4])
    nodes[1004] = participant(1004, identities[4], roster=other)
    strategy = wrapper(roster)
    strategy.start(FakeGrid(nodes), record(model()), num_rounds=1)
    (refusal,) = [fault for fault in strategy.history[0].faults if fault.culprit == "node 1004"]
    assert refusal.kind == "ClientError"
    assert f"roster: found 'digest {roster.digest.hex()}" in refusal.found


def test_a_claim_recorded_for_another_node_or_nonce_does_not_verify():
    identities, roster = federation(5)
    recorded: list[Message] = []

    def record_claim(message, reply):
        recorded.append(reply)
        return reply

    def replay_claim(message, reply):
        if message.content.get(ENVELOPE, {}).get("phase") == ENROL:
            reply.content = copy.deepcopy(recorded[0].content)
        return reply

    nodes = robust_nodes(identities[:2])
    nodes[1000] = participant(1000, identities[0], record_claim)
    nodes[2000] = participant(2000, Identity.generate("thief"), replay_claim)
    strategy = wrapper(roster, quorum=2)
    strategy.start(FakeGrid(nodes), record(model()), num_rounds=1)
    assert ("BadSignature", "node 2000") in faults_of(strategy)
    assert strategy.history[0].accepted == roster.names[:2]


def test_a_participant_that_comes_back_under_another_node_id_takes_part_again():
    identities, roster = federation(4)
    grid = FakeGrid(robust_nodes(identities))

    def restart(report):
        if report.round == 1:
            del grid.nodes[1003]
        if report.round == 2:
            grid.nodes[5000] = participant(5000, identities[3])

    strategy = wrapper(roster, on_round=restart)
    strategy.start(grid, record(model()), num_rounds=5)
    took_part = ["hospital-3" in report.accepted for report in strategy.history]
    assert took_part[:2] == [True, False]
    assert took_part[3:] == [True, True]


def test_every_run_enrols_anew():
    identities, roster = federation(4)
    strategy, grid = wrapper(roster), FakeGrid(robust_nodes(identities))
    strategy.start(grid, record(model()), num_rounds=2)
    asked = [m for m in grid.sent if m.content.get(ENVELOPE, {}).get("phase") == ENROL]
    assert len(asked) == 4
    assert all(message.metadata.ttl == 0.3 for message in asked)


def test_the_mod_leaves_messages_without_its_record_alone():
    seen = []
    app = stock_app(step("any", 1), mods=[robust_mod(Identity.generate("any"))])
    message = Message(RecordDict({"arrays": record(model())}), 7, "train")
    message.metadata.__dict__["_message_id"] = "m"
    reply = app(message, Context(RUN_ID, 7, {}, RecordDict(), {}))
    seen.append(reply.content)
    assert ENVELOPE not in reply.content
    assert (reply.content["arrays"]["mask"].numpy() == model()["mask"]).all()


def test_nobody_there_is_an_error_in_bounded_time_and_names_who_is_missing():
    _, roster = federation(4)
    with pytest.raises(QuorumNotReached, match=r"found 0 accepted of 4 expected, required quorum 3.*hospital-0"):
        wrapper(roster).start(FakeGrid({}), record(model()), num_rounds=1)


@pytest.mark.parametrize("side", ["client", "server"])
def test_another_version_is_refused_in_one_line_and_nobody_lied(side):
    identities, roster = federation(5)

    def other(message: Message) -> None:
        if message.content.get(ENVELOPE, {}).get("phase") == ENROL:
            message.content[ENVELOPE]["spoken"] = "0.9"

    def newer_client(message, reply):
        other(reply)
        return reply

    nodes = robust_nodes(identities[:4])
    nodes[1004] = participant(1004, identities[4], newer_client if side == "client" else None)
    honest = nodes[1004]
    if side == "server":
        nodes[1004] = lambda message: other(message) or honest(message)
    strategy = wrapper(roster)
    strategy.start(FakeGrid(nodes), record(model()), num_rounds=1)
    (refusal,) = [fault for fault in strategy.history[0].faults if fault.culprit == "node 1004"]
    assert "protocol version" in refusal.found and "0.9" in refusal.found
    assert not strategy.trust_state["hospital-4"].lied and strategy.history[0].accepted == roster.names[:4]
