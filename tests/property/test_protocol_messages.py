"""Messages: every one survives its codec; truncated, oversized, mutated and random bytes raise the error tree only."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flower_robust.aggregation import Mean
from flower_robust.commitments.envelope import Route, open_disclosed, open_envelope, seal
from flower_robust.commitments.keys import KeyAnnouncement, RunKey
from flower_robust.commitments.transcript import sign_shown
from flower_robust.errors import (
    BadSignature,
    ClientFault,
    DigestMismatch,
    FaultyServer,
    MalformedReply,
    NonFiniteRows,
    OversizedReply,
    ReplayedCommitment,
    RobustError,
    StaleCommitment,
    UnknownClient,
)
from flower_robust.protocol.announcement import Announcement, announce, announcement_digest
from flower_robust.protocol.client_submit import submit
from flower_robust.protocol.codec import decode, encode, from_positions, from_table, positions, table
from flower_robust.protocol.shown import Offer
from flower_robust.types import Digest, RosterName
from tests.protocol_recorded import Recorded
from tests.protocol_world import SERVER, World


@pytest.fixture(scope="module", params=[None, np.full(100, 0.05, np.float32)], ids=["alone", "reference"])
def recorded(request: pytest.FixtureRequest) -> Recorded:
    return Recorded(reference=request.param)


SENT = ["keys", "submission", "sketch-reply", "echo", "unmask-reply", "recheck-reply", "disclosure"]
SHOWN = ["offer", "challenge", "dispute", "decision", "unmask", "recheck"]
ANSWERS = dict(zip(SHOWN[1:], ["sketch-reply", "disclosure", "echo", "unmask-reply", "recheck-reply"], strict=True))


@pytest.mark.parametrize("step", SENT)
def test_what_clients_send_is_read_by_the_server(recorded, step):
    read = recorded.at_server(step, recorded.sent[step])
    assert step == "keys" or read.encode() == recorded.sent[step]


@pytest.mark.parametrize("step", SHOWN)
def test_what_the_server_shows_is_read_by_the_client(recorded, step):
    read = recorded.at_client(step, recorded.shown[step])
    if step == "offer":
        assert recorded.at_server("submission", read[1]).encode() == read[1]
    else:
        assert (read if step == "dispute" else read[1]) == recorded.sent[ANSWERS[step]]


def mutations(message: bytes, count: int, seed: int) -> list[bytes]:
    """Cut, lengthened, flipped, overwritten and shuffled copies."""
    draw = random.Random(seed)
    out = [
        b"",
        b"\x01",
        message[:1],
        message[:-1],
        message + b"\0",
        message + message,
        message[1:],
        bytes(len(message)),
    ]
    for _ in range(count):
        copy = bytearray(message)
        kind = draw.randrange(4)
        at = draw.randrange(min(len(copy), draw.choice([64, 2000, 10**9])))
        if kind == 0:
            copy[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            copy = copy[:at]
        elif kind == 2:
            copy[at : at + 8] = draw.randbytes(8)
        else:
            del copy[at : at + draw.randrange(1, 40)]
        if bytes(copy) != message:
            out.append(bytes(copy))
    return out


def offered(world: World, announcement: bytes) -> bytes:
    """The offer of round 2, whose plan binds these bytes."""
    plan = world.plan(Mean(), 2)
    terms = replace(plan.masking, previous=announcement_digest(announcement))
    return Offer(replace(plan, masking=terms), world.keys, announcement).encode()


@pytest.mark.parametrize("step", SENT)
def test_tampered_messages_of_clients_blame_their_sender(recorded, step):
    for message in mutations(recorded.sent[step], 60, seed=len(step)):
        with pytest.raises(ClientFault) as fault:
            recorded.at_server(step, message)
        assert fault.value.culprit == "h0"


@pytest.mark.parametrize("step", SHOWN)
def test_tampered_messages_of_the_server_are_refused(recorded, step):
    for message in mutations(recorded.shown[step], 30, seed=len(step)):
        try:
            recorded.at_client(step, message)
        except RobustError:
            continue
        # A changed plan is another plan: no other commitment verifies under it. A changed attestation is none.
        assert step in ("offer", "unmask", "decision")


def test_tampered_announcements_are_refused_though_the_plan_binds_them(recorded):
    """Whatever bytes a server announces, and binds; a changed secret or digest of the sum is for the audit to find."""
    world, honest = World(n=5, d=100, t=1), announce(recorded.opened)
    for message in filter(None, mutations(honest, 60, seed=3)):
        try:
            world.clients["h0"].submit(offered(world, message), recorded.update)
        except FaultyServer:
            continue
        found, true = Announcement.decode(message), Announcement.decode(honest)
        assert (found.plan, found.decision, found.signature) == (true.plan, true.decision, true.signature)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.integers(0, 6), st.integers(0, 2**64 - 1)), min_size=6, max_size=6), st.binary(max_size=30)
)
def test_no_announced_terms_raise_anything_but_faulty_server(recorded, numbers, row):
    """A server signs what it likes: any numbers in the announced plan, any weights."""
    true = Announcement.decode(announce(recorded.opened))
    names = ("threshold", "d", "min_accepted", "weight_cap", "groups", "parameter_set")
    terms = replace(true.plan.masking, **dict(zip(names, numbers, strict=True)))
    weights = np.frombuffer(row[: len(row) // 5 * 5], np.uint8).reshape(-1, 5)
    fake = replace(true, plan=replace(true.plan, masking=terms), weights=weights)
    signature = sign_shown(SERVER, "decision", fake.plan.digest, fake.decision)
    world = World(n=5, d=100, t=1)
    with pytest.raises(FaultyServer):
        world.clients["h0"].submit(offered(world, replace(fake, signature=signature).encode()), recorded.update)


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(SENT), st.sampled_from(SHOWN))
def test_random_bytes_raise_the_error_tree_only(recorded, noise, step, shown):
    head = recorded.sent[step][:40]
    for message in (noise, head + noise):
        with pytest.raises(ClientFault):
            recorded.at_server(step, message)
    for message in (noise, recorded.shown[shown][:60] + noise):
        with pytest.raises(RobustError):
            recorded.at_client(shown, message)


@pytest.mark.parametrize("step", ["submission", "sketch-reply", "unmask-reply", "echo"])
def test_oversized_messages_are_refused_before_they_are_read(recorded, step):
    with pytest.raises((OversizedReply, MalformedReply)):
        recorded.at_server(step, recorded.sent[step] + bytes(10**6))


def test_replays_across_rounds_runs_and_clients_blame_who_sends_them(recorded):
    later = Recorded(round=2, world=recorded.world, reference=recorded.reference)
    for step in ("submission", "sketch-reply", "unmask-reply", "echo", "disclosure"):
        with pytest.raises((StaleCommitment, BadSignature)) as fault:
            later.at_server(step, recorded.sent[step])
        assert fault.value.culprit == "h0"
    other_run = World(n=5, d=100, t=1, run_id=6)
    with pytest.raises(StaleCommitment):
        KeyAnnouncement.decode(recorded.sent["keys"], "h0").verify(other_run.roster, 6, "h0")


def test_somebody_elses_messages_are_not_ones_own(recorded):
    with pytest.raises((ReplayedCommitment, DigestMismatch, MalformedReply)) as fault:
        recorded.at_server("submission", recorded.others["submission"])
    assert fault.value.culprit == "h0"
    for step in ("sketch-reply", "echo", "unmask-reply"):
        with pytest.raises(BadSignature) as fault:
            recorded.at_server(step, recorded.others[step])
        assert fault.value.culprit == "h0"


def test_a_messages_type_is_part_of_it(recorded):
    for step in ("sketch-reply", "unmask-reply", "recheck-reply"):
        for other in ("sketch-reply", "unmask-reply", "recheck-reply"):
            if other != step:
                with pytest.raises(ClientFault):
                    recorded.at_server(step, recorded.sent[other])


def test_residues_out_of_range_are_malformed(recorded):
    message = bytearray(recorded.sent["submission"])
    view = memoryview(message)
    upload = decode("submission", view)[1]
    upload[:4] = b"\xff\xff\xff\xff"
    with pytest.raises(MalformedReply, match="residue"):
        recorded.at_server("submission", bytes(message))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_client_refuses_to_submit_what_is_not_finite(recorded, bad):
    me = recorded.world.clients["h0"]
    update = recorded.update.copy()
    update[3] = bad
    with pytest.raises(NonFiniteRows):
        submit(recorded.offer, recorded.world.roster, me.identity, me._run_key, update, bytes(32))


def test_overflowing_updates_are_clipped_and_masked():
    world = World(n=5, d=100, t=1)
    updates = world.updates() | {"h0": np.full(100, 1e38, np.float32)}
    outcome = world.run(Mean(), updates)
    assert not outcome.faults
    assert float(outcome.decision.geometry.squared_norms[0]) == pytest.approx(1.0, rel=0.3)


def test_keys_two_clients_cannot_share_and_small_order_points(recorded):
    world = recorded.world
    copied = RunKey.create(world.identities["h1"], world.run_id, world.roster.digest, b"\x03" * 32).announcement
    with pytest.raises(StaleCommitment):
        copied.verify(world.roster, world.run_id, "h0")
    forged = KeyAnnouncement(copied.run_id, copied.roster_digest, RosterName("h0"), copied.public_key, copied.signature)
    with pytest.raises(BadSignature):
        forged.verify(world.roster, world.run_id, "h0")
    stranger = World(n=5, d=100, t=1, seed=9)
    with pytest.raises((UnknownClient, StaleCommitment, BadSignature)):
        stranger.keys[0].verify(world.roster, world.run_id, "h0")


def test_an_envelope_opens_for_its_receiver_and_for_whom_its_dealer_shows_it_to():
    route = Route(1, Digest(bytes(32)), RosterName("a"), RosterName("b"))
    world = World(n=5, d=100, t=1)
    receiver = RunKey.create(world.identities["h1"], 5, world.roster.digest, b"\x04" * 32)
    public, e = receiver.announcement.public_key, b"\x11" * 32
    envelope = seal(e, public, route, b"share")
    assert open_envelope(receiver.secret, route, envelope) == b"share"
    assert open_disclosed(e, public, route, envelope) == b"share"
    elsewhere = Route(1, Digest(bytes(32)), RosterName("a"), RosterName("c"))
    for bad in (envelope[:-1], bytes(len(envelope)), envelope[:40], b""):
        with pytest.raises(ValueError):
            open_envelope(receiver.secret, route, bad)
    with pytest.raises(ValueError):
        open_envelope(receiver.secret, elsewhere, envelope)
    with pytest.raises(ValueError):
        open_disclosed(b"\x12" * 32, public, route, envelope)


@given(st.lists(st.binary(max_size=50), max_size=6), st.text(max_size=8))
def test_fields_survive_the_codec_and_kinds_are_domains(fields, kind):
    message = encode("x" + kind, *fields)
    assert [bytes(field) for field in decode("x" + kind, message)] == fields
    with pytest.raises(ValueError):
        decode("y" + kind, message)


@given(st.sets(st.integers(0, 299)))
def test_positions_and_tables_survive_the_codec(found):
    places = tuple(sorted(found))
    assert positions(from_positions(places), 300) == places
    rows = {p: str(p).encode() for p in places}
    assert {p: bytes(row) for p, row in from_table(table(sorted(rows.items())), 300).items()} == rows
    if places:
        with pytest.raises(ValueError):
            positions(from_positions(places), places[-1])
        with pytest.raises(ValueError):
            positions(from_positions([*places, places[-1]]), 300)


def test_states_and_secrets_print_redacted(recorded):
    entropy = recorded.submitted.dealt.entropy
    for shown in (recorded.submitted, recorded.answered, recorded.unmasked, recorded.submitted.dealt):
        text = repr(shown)
        assert "redacted" in text and entropy.hex() not in text and repr(entropy) not in text
    assert "redacted" in repr(recorded.submitted.dealt.run_key) and "redacted" in repr(recorded.submitted.dealt.opening)


def test_a_forged_server_message_is_refused_by_type(recorded):
    with pytest.raises(FaultyServer):
        recorded.at_client("challenge", recorded.shown["recheck"])
