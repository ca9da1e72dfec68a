"""Every way the server can cheat in a masked round: clients refuse, with evidence where two signatures contradict."""

from dataclasses import replace

import numpy as np
import pytest

from flower_robust.aggregation import Mean, Median
from flower_robust.commitments import Identity
from flower_robust.commitments.keys import RunKey
from flower_robust.commitments.transcript import sign_shown
from flower_robust.errors import (
    ConfigurationError,
    EquivocatingServer,
    FaultyServer,
    IsolatingWeights,
    NotEnoughShares,
    RoundAborted,
)
from flower_robust.protocol import disputes, recheck, server_challenge, server_inspect, server_open
from flower_robust.protocol.audit import announce, announcement_digest, auditor
from flower_robust.protocol.client_states import AwaitingUnmask
from flower_robust.protocol.client_unmask import check_weights
from flower_robust.protocol.server_decide import measure, weigh
from flower_robust.protocol.server_states import ServerRound
from flower_robust.protocol.shown import Challenge, Dispute, Offer, Unmask, decision_digest, shown_digest
from flower_robust.protocol.sizes import Sizes, terms_of
from tests.protocol_liars import plus
from tests.protocol_world import SERVER, World

N = 7


class Stage:
    """A round driven by hand, up to the step that the test needs."""

    def __init__(self, n: int = N, previous=None, world: World | None = None, round: int = 1, **terms) -> None:
        self.world = world or World(n=n, t=1)
        self.plan = self.world.plan(Mean(), round, previous, **terms)
        self.round = ServerRound(self.plan, self.world.roster, self.world.keys, SERVER)
        self.sizes, self.previous = Sizes.of(self.plan), previous
        self.offer = Offer(self.plan, self.world.keys, announce(previous) if previous else b"")

    def submit(self) -> "Stage":
        updates, offer = self.world.updates(), self.offer.encode()
        sent = {name: client.submit(offer, updates[name]) for name, client in self.world.clients.items()}
        self.submissions = {
            i: server_challenge.verify_submission(self.round, name, sent[name])
            for i, name in enumerate(self.world.names)
        }
        self.challenged = server_challenge.issue_challenge(self.round, self.submissions, self.previous)
        return self

    def answer(self) -> "Stage":
        self.submit()
        self.replies = {}
        for i, name in enumerate(self.world.names):
            reply = self.world.clients[name].answer_challenge(server_challenge.challenge_for(self.challenged, i))
            self.replies[i] = server_inspect.verify_sketch_reply(self.challenged, name, reply)
        self.inspected = server_inspect.inspect(self.challenged, self.replies)
        return self

    def decide(self) -> "Stage":
        self.answer()
        trust = dict.fromkeys(self.world.names, 1.0)
        self.decided, _ = weigh(measure(self.inspected, bytes(32)), Mean(), trust)
        return self

    def shown(self, position: int, **parts) -> bytes:
        """The challenge for one client with parts replaced, signed again."""
        honest = Challenge.decode(server_challenge.challenge_for(self.challenged, position), self.sizes, position)
        changed = replace(honest, **parts)
        shown = shown_digest(changed.accepted, changed.commitments, changed.sketches, changed.audit)
        return replace(changed, signature=sign_shown(SERVER, "challenge", self.plan.digest, shown)).encode()

    def request(self, weights: np.ndarray, server: Identity = SERVER, attestations=None, echoes=None) -> bytes:
        """An unmask request with these weights, signed."""
        attested = {j: r.attestation for j, r in self.replies.items()} if attestations is None else attestations
        shown = self.challenged.shown
        return Unmask.sign(server, self.plan.digest, shown, weights, attested, echoes or {}).encode()

    def client(self, position: int = 0):
        return self.world.clients[self.world.names[position]]


def weights_of(*row: int) -> np.ndarray:
    return np.array([row], np.uint8)


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
    with pytest.raises(EquivocatingServer):
        stage.client().echo(other)
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
    kept, announced = caught.value.evidence
    assert kept[:32] != announced[:32]
    assert decision_digest(stage.challenged.shown, weights_of(0, *[255] * (N - 1))) == kept[:32]
    after.client(1).submit(after.offer.encode(), stage.world.updates()["h1"])


@pytest.mark.parametrize("cheat", ["sum", "secret", "row", "withheld"])
def test_a_wrong_announced_result_is_caught_by_the_audit(cheat):
    world = World(n=N, t=1)
    opened = world.run(Mean()).opened
    if cheat == "sum":
        opened = replace(opened, sums=opened.sums + (np.arange(opened.sums.shape[1]) == 7))
    if cheat == "secret":
        opened = replace(opened, secrets=plus(opened.secrets, (0, 0)))
    stage = Stage(world=world, previous=opened, round=2).submit()
    watcher = auditor(stage.challenged.challenge, stage.challenged.accepted)
    caught = {}
    for i, name in enumerate(world.names):
        message = server_challenge.challenge_for(stage.challenged, i)
        if cheat == "withheld":
            message = stage.shown(i, audited_sum=b"")
        if cheat == "row":
            audit = bytearray(stage.challenged.common.audit)
            audit[200] ^= 1
            message = stage.shown(i, audit=bytes(audit))
        try:
            world.clients[name].answer_challenge(message)
        except FaultyServer as error:
            caught[i] = error.step
    assert caught == ({watcher: "audit"} if cheat == "withheld" else dict.fromkeys(range(N), "audit"))


def test_an_honest_result_passes_the_audit_and_a_lost_y_only_skips_it():
    world = World(n=N, t=1)
    opened = world.run(Mean()).opened
    world.clients["h3"]._y = None
    outcome = world.run(Mean(), previous=opened, round=2)
    assert not outcome.faults and not outcome.alarms


def test_an_announcement_that_the_plan_does_not_bind_is_refused():
    world = World(n=N, t=1)
    opened = world.run(Mean()).opened
    stage = Stage(world=world, previous=opened, round=2)
    other = replace(stage.offer, announcement=announce(replace(opened, sums=opened.sums + 1)))
    assert announcement_digest(other.announcement) != terms_of(stage.plan).previous
    with pytest.raises(FaultyServer, match="announcement"):
        stage.client().submit(other.encode(), world.updates()["h0"])


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


def test_unsafe_plans_are_refused_by_the_client_and_by_whoever_makes_them():
    world = World(n=N, t=1)
    plan = world.plan(Mean())
    update = world.updates()["h0"]
    for change in ({"threshold": 4}, {"min_accepted": 2}, {"weight_cap": 0}, {"parameter_set": 9}, {"min_accepted": 8}):
        unsafe = replace(plan, masking=replace(terms_of(plan), **change))
        with pytest.raises(FaultyServer):
            world.clients["h0"].submit(Offer(unsafe, world.keys).encode(), update)
    with pytest.raises(ConfigurationError, match="2t"):
        World(n=N, t=4).plan(Mean())
    with pytest.raises(ConfigurationError, match="min_accepted"):
        world.plan(Mean(), min_accepted=2)


def test_other_run_keys_or_another_roster_are_refused():
    world, other = World(n=N, t=1), World(n=N, t=1, seed=1)
    plan, update = world.plan(Mean()), world.updates()["h0"]
    with pytest.raises(FaultyServer):
        world.clients["h0"].submit(Offer(plan, other.keys).encode(), update)
    swapped = (world.keys[0], world.keys[2], world.keys[1], *world.keys[3:])
    with pytest.raises(FaultyServer):
        world.clients["h0"].submit(Offer(plan, swapped).encode(), update)
    with pytest.raises(FaultyServer, match="another roster"):
        other.clients["h0"].submit(Offer(plan, world.keys).encode(), update)
    renewed = RunKey.create(world.identities["h1"], world.run_id, world.roster.digest, b"\x05" * 32).announcement
    with pytest.raises(FaultyServer, match="run keys"):
        world.clients["h0"].submit(Offer(plan, (world.keys[0], renewed, *world.keys[2:])).encode(), update)


def test_rounds_that_abort_say_why():
    with pytest.raises(RoundAborted, match="weights: found"):
        World(n=N, t=1).run(Mean(), trust={f"h{i}": float(i < 2) for i in range(N)})
