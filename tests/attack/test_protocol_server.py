"""Every way the server can cheat in a masked round: clients refuse, with evidence where two signatures contradict."""

from dataclasses import replace

import numpy as np
import pytest

from flower_robust.aggregation import Mean, Median
from flower_robust.commitments import Identity
from flower_robust.commitments.transcript import sign_shown
from flower_robust.errors import (
    EquivocatingServer,
    FaultyServer,
    IsolatingWeights,
    NotEnoughShares,
    RoundAborted,
)
from flower_robust.protocol import disputes, recheck, server_challenge, server_open
from flower_robust.protocol.client_states import AwaitingUnmask
from flower_robust.protocol.client_unmask import check_weights
from flower_robust.protocol.evidence import Evidence
from flower_robust.protocol.server_decide import measure, weigh
from flower_robust.protocol.shown import Challenge, Dispute, Unmask, decision_digest, shown_digest
from flower_robust.protocol.sizes import terms_of
from tests.protocol_liars import plus
from tests.protocol_stage import N, Stage, weights_of
from tests.protocol_world import SERVER, World


@pytest.fixture(scope="module")
def submitted() -> Stage:
    return Stage().submit()


@pytest.fixture
def decided() -> Stage:
    return Stage().decide()


def refused(stage: Stage, message: bytes, says: str) -> None:
    before = stage.client().state
    with pytest.raises(FaultyServer, match=says):
        stage.client().answer_challenge(message)
    assert stage.client().state is before, "a refusal answers nothing and changes nothing"


def test_a_shifted_sketch_of_the_clients_own_y_is_refused(submitted):
    sketches = np.array(submitted.challenged.common.sketches)
    sketches[0, 0, 0, 0] ^= 1
    refused(submitted, submitted.shown(0, sketches=sketches), "another sketch")


def test_a_swapped_commitment_is_refused(submitted):
    commitments = submitted.challenged.common.commitments
    swapped = (commitments[1], commitments[0], *commitments[2:])
    refused(submitted, submitted.shown(0, commitments=swapped), "another commitment of h0")
    refused(submitted, submitted.shown(0, commitments=(commitments[0], *commitments[2:], commitments[1])), "somebody")


def test_a_forged_commitment_is_refused(submitted):
    forged = replace(submitted.submissions[1].commitment, norm_commitment=bytes(32)).encode()
    commitments = submitted.challenged.common.commitments
    refused(submitted, submitted.shown(0, commitments=(commitments[0], forged, *commitments[2:])), "verify")


def test_a_tampered_envelope_is_the_servers_fault_not_the_dealers(submitted):
    envelopes = list(
        Challenge.decode(server_challenge.challenge_for(submitted.challenged, 0), submitted.sizes, 0).envelopes
    )
    envelopes[3] = bytes(envelopes[3][:-1]) + bytes([envelopes[3][-1] ^ 1])
    refused(submitted, submitted.shown(0, envelopes=tuple(envelopes)), "an envelope that h3 did not sign")


def test_a_small_cohort_is_refused(submitted):
    few = server_challenge.issue_challenge(submitted.round, {i: submitted.submissions[i] for i in (0, 1, 2)})
    common = replace(
        few.common, accepted=(0, 1), commitments=few.common.commitments[:2], sketches=few.common.sketches[:2]
    )
    message = replace(
        common,
        envelopes=(b"", submitted.submissions[1].envelopes[0]),
        signature=sign_shown(
            SERVER,
            "challenge",
            submitted.plan.digest,
            shown_digest(common.accepted, common.commitments, common.sketches, b""),
        ),
    )
    refused(submitted, message.encode(), "2 accepted clients")
    with pytest.raises(NotEnoughShares):
        server_challenge.issue_challenge(submitted.round, {i: submitted.submissions[i] for i in (0, 1)})


def test_a_challenge_under_another_key_is_refused(submitted):
    message = Challenge.decode(server_challenge.challenge_for(submitted.challenged, 0), submitted.sizes, 0)
    forged = sign_shown(Identity.from_seed("server", b"\x08" * 32), "challenge", submitted.plan.digest, message.shown)
    refused(submitted, replace(message, signature=forged).encode(), "does not verify")


def test_views_that_differ_open_nothing():
    """Shown different sketches of others, clients sign different digests: nobody sees 2t + 1 that agree."""
    stage = Stage().submit()
    replies = {}
    for i, name in enumerate(stage.world.names):
        sketches = np.array(stage.challenged.common.sketches)
        sketches[(i + 1) % N, 0, 0, 0] ^= 1
        message = stage.world.clients[name].answer_challenge(stage.shown(i, sketches=sketches))
        replies[i] = message
    states = [client.state for client in stage.world.clients.values()]
    assert len({state.shown for state in states}) == N
    request = Unmask.sign(SERVER, stage.plan.digest, states[0].shown, weights_of(*[255] * N), {}, {})
    with pytest.raises(FaultyServer, match="0 clients that were shown the same"):
        stage.client().unmask(request.encode())


def test_a_second_unmask_request_is_refused(decided):
    request = server_open.unmask_request(decided.decided)
    decided.client().unmask(request)
    with pytest.raises(FaultyServer, match="out of turn"):
        decided.client().unmask(request)


@pytest.mark.parametrize(
    "row",
    [
        (255, 0, 0, 0, 0, 0, 0),
        (255, 1, 1, 1, 1, 1, 1),
        (255, 255, 1, 1, 1, 1, 1),
        (255, 255, 0, 0, 0, 0, 0),
        (0, 0, 0, 0, 0, 0, 0),
    ],
)
def test_weights_that_single_somebody_out_are_refused(decided, row):
    with pytest.raises(FaultyServer, match="weights that rest on"):
        decided.client().unmask(decided.request(weights_of(*row)))
    assert isinstance(decided.client().state, AwaitingUnmask)


def test_weights_of_absent_clients_and_overlapping_groups_are_refused():
    terms = terms_of(World(n=9, t=1).plan(Median(f=1), groups=3))
    with pytest.raises(FaultyServer, match="not accepted"):
        check_weights(terms, (0, 1, 2), weights_of(1, 1, 1, 1, 0, 0, 0, 0, 0))
    overlapping = np.array([[1, 1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1, 1, 1, 1]])
    with pytest.raises(FaultyServer, match="overlap"):
        check_weights(terms, tuple(range(9)), overlapping.astype(np.uint8))
    small = np.array([[1, 1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1, 1]])
    with pytest.raises(FaultyServer, match="rest on 2"):
        check_weights(terms, tuple(range(9)), small.astype(np.uint8))


def test_the_server_does_not_even_ask_for_weights_that_isolate(decided):
    measured = measure(decided.inspected, bytes(32))
    alone = {name: float(name == "h0") for name in decided.world.names}
    with pytest.raises(IsolatingWeights):
        weigh(measured, Mean(), alone)


def test_too_few_or_forged_attestations_are_refused(decided):
    row = weights_of(*[255] * N)
    attested = {j: reply.attestation for j, reply in decided.replies.items()}
    with pytest.raises(FaultyServer, match="2 clients that were shown the same"):
        decided.client().unmask(decided.request(row, attestations={j: attested[j] for j in (0, 1)}))
    with pytest.raises(FaultyServer, match="does not verify"):
        decided.client().unmask(decided.request(row, attestations={**attested, 1: attested[2]}))
    with pytest.raises(FaultyServer, match="does not verify"):
        decided.client().unmask(decided.request(row, server=Identity.from_seed("server", b"\x09" * 32)))


def test_strict_rounds_prevent_two_decisions():
    stage = Stage(strict=True).decide()
    first = server_open.unmask_request(stage.decided)
    with pytest.raises(FaultyServer, match="0 echoes"):
        stage.client().unmask(first)
    echoes = {}
    for i, name in enumerate(stage.world.names):
        message = stage.world.clients[name].echo(first)
        echoes[i] = server_open.verify_echo(stage.decided, name, message)
    other = stage.request(weights_of(0, *[255] * (N - 1)))
    with pytest.raises(EquivocatingServer) as caught:
        stage.client().echo(other)
    assert "signed two decisions" in Evidence.decode(caught.value.evidence).verify()
    with pytest.raises(FaultyServer):
        stage.client().unmask(
            stage.request(weights_of(0, *[255] * (N - 1)), echoes={i: e.signature for i, e in echoes.items()})
        )
    with pytest.raises(NotEnoughShares):
        server_open.unmask_request(stage.decided, {i: echoes[i] for i in (0, 1, 2, 3)})
    stage.client().unmask(server_open.unmask_request(stage.decided, echoes))


def test_default_rounds_detect_two_decisions_with_both_signatures():
    """Two halves unmask different weights; the next plan can announce one of them only."""
    stage = Stage().decide()
    stage.client(0).unmask(stage.request(weights_of(0, *[255] * (N - 1))))
    request = server_open.unmask_request(stage.decided)
    replies = {}
    for i in range(1, N):
        name = stage.world.names[i]
        replies[i] = server_open.verify_unmask_reply(stage.decided, name, stage.client(i).unmask(request))
    opened = server_open.open_sum(stage.decided, replies, bytes(32))
    after = Stage(world=stage.world, previous=opened, round=2)
    with pytest.raises(EquivocatingServer) as caught:
        after.client(0).submit(after.offer.encode(), stage.world.updates()["h0"])
    evidence = Evidence.decode(caught.value.evidence)
    assert "signed two decisions" in evidence.verify()
    assert decision_digest(stage.challenged.shown, weights_of(0, *[255] * (N - 1))) == evidence.first.digest
    after.client(1).submit(after.offer.encode(), stage.world.updates()["h1"])


def test_a_forged_dispute_discloses_nothing():
    """No dealer is talked into opening an envelope: that takes the receiver's false statement, signed."""
    stage = Stage().answer()
    statements = {j: (r.attestation, r.parts.tests, r.parts.complaints) for j, r in stage.replies.items()}
    attestation, tests, complaints = statements[3]
    forged = {**statements, 3: (attestation, plus(tests, (0, 0)), complaints)}
    with pytest.raises(FaultyServer, match="not signed"):
        stage.client().answer_dispute(Dispute(forged).encode())
    forged = {**statements, 3: (attestation, tests, (0,))}
    with pytest.raises(FaultyServer, match="not signed"):
        stage.client().answer_dispute(Dispute(forged).encode())
    honest = disputes.verify_disclosure(
        stage.inspected, "h0", stage.client().answer_dispute(Dispute(statements).encode()), Dispute(statements).encode()
    )
    assert honest.secrets == {}


def test_a_recheck_with_a_shifted_sketch_or_twice_is_refused():
    stage = Stage().decide()
    request = server_open.unmask_request(stage.decided)
    stage.client().unmask(request)
    asked = recheck.recheck_request(stage.decided)
    tampered = bytearray(asked)
    tampered[400] ^= 1
    with pytest.raises(FaultyServer):
        stage.client().recheck(bytes(tampered))
    stage.client().recheck(asked)
    with pytest.raises(FaultyServer, match="out of turn"):
        stage.client().recheck(asked)


def test_rounds_that_abort_say_why():
    with pytest.raises(RoundAborted, match="weights: found"):
        World(n=N, t=1).run(Mean(), trust={f"h{i}": float(i < 2) for i in range(N)})
