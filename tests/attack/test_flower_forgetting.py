"""A server that sends nonsense does not make a client forget what it can convict the server with."""

import copy

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

from flower_robust.flower.envelope import CHALLENGE, ENVELOPE, PAYLOAD, RECHECK, REFUSED, UNMASK, envelope_of
from flower_robust.flower.kept_uploads import KeptUploads
from flower_robust.flower.masked_client import Memory, answer
from flower_robust.flower.site import Site
from flower_robust.protocol.client_states import Finished
from tests.flower_double import model, record
from tests.flower_masked import MaskedNodes, at, masked, silent
from tests.protocol_recorded import Recorded


@pytest.mark.parametrize("phase", [CHALLENGE, UNMASK, RECHECK])
@pytest.mark.parametrize("stage", ["answered", "unmasked"])
def test_a_refused_phase_erases_the_secrets_and_keeps_how_the_round_ended(phase, stage, tmp_path):
    recorded = Recorded()
    me, state = recorded.world.clients["h0"], getattr(recorded, stage)
    context = Context(run_id=5, node_id=1, node_config={}, state=RecordDict(), run_config={})
    Memory(me._run_key, state).put(context)
    content = RecordDict({ENVELOPE: ConfigRecord({"phase": phase, PAYLOAD: b"nonsense"})})
    site = Site(me.identity, recorded.world.roster, 0, tmp_path)
    reply = answer(phase, site, Message(content, 1, "train"), context)
    assert REFUSED in envelope_of(reply)
    left = Memory.pop(context)
    assert left is not None and isinstance(left.state, Finished)
    (ended,) = left.state.past
    assert ended.plan.digest == recorded.plan.digest and ended.upload == recorded.submitted.dealt.upload
    if stage == "unmasked":
        assert ended.decision == recorded.unmasked.decision and ended.decision_signature
    else:
        assert ended.shown == recorded.answered.shown and ended.shown_signature


def test_a_round_that_opens_nothing_ends_no_audit_and_keeps_no_file_too_long(tmp_path):
    """Round 2 is void for want of challenge replies: round 3 announces round 1 again, and everybody checks its row."""
    tampers = {f"hospital-{i}": at("challenge", 2, silent) for i in range(4)}
    nodes = MaskedNodes(5, tmp_path, tampers)
    strategy = masked(nodes.roster, below_quorum="skip")
    strategy.start(nodes.grid(), record(model()), num_rounds=4)
    assert [report.reason is None for report in strategy.history] == [True, False, True, True]
    for report in strategy.history[2:]:
        assert len(report.audits) >= 4 and set(report.audits.values()) == {"done"}
    for name in nodes.roster.names:
        assert len(list(KeptUploads(tmp_path, name).folder.glob("*.y"))) == 2, "the announced round and this one"


@pytest.mark.parametrize("replays", [1, 15])
def test_replayed_offers_do_not_cost_a_client_its_audit(replays, tmp_path):
    """Each is refused, before it leaves a file that would push out the one which the next audit needs."""
    nodes, first = MaskedNodes(5, tmp_path), []

    def keep(message, reply):
        first.append(copy.deepcopy(message))
        return reply

    def replay(message, reply):
        for _ in range(replays):
            assert REFUSED in envelope_of(nodes.nodes[1000](copy.deepcopy(first[0])).content)
        return reply

    def act(message, reply):
        keeping = at("train", 1, keep)(message, reply)
        return at("unmask", 1, replay)(message, keeping)

    nodes.tampers = {"hospital-0": act}
    strategy = masked(nodes.roster, quorum=4)
    strategy.start(nodes.grid(), record(model()), num_rounds=2)
    assert strategy.history[1].audits["hospital-0"] == "done"
