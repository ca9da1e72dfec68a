"""A server that sends nonsense does not make a client forget what it can convict the server with."""

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

from flower_robust.flower.envelope import CHALLENGE, ENVELOPE, PAYLOAD, RECHECK, REFUSED, UNMASK, envelope_of
from flower_robust.flower.masked_client import Memory, answer
from flower_robust.flower.site import Site
from flower_robust.protocol.client_states import Finished
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
