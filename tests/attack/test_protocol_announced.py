"""What a hostile server announces: its own sum after aborted offers, a round nobody played, a plan of any size.

Each worked: an aborted offer made every client forget its row, and the announced plan was believed unread.
"""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from flower_robust.aggregation import Mean
from flower_robust.commitments import Identity
from flower_robust.commitments.transcript import derived, digest, sign_shown
from flower_robust.errors import EquivocatingServer, FaultyServer
from flower_robust.masking import ring
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.sketch import sketch_map, sketches
from flower_robust.protocol import server_challenge, server_open
from flower_robust.protocol.announcement import REMEMBERED, Announcement, announce, announcement_digest
from flower_robust.protocol.audit import audit_report, audited_upload, auditor
from flower_robust.protocol.client import MaskedClient
from flower_robust.protocol.client_states import finish
from flower_robust.protocol.codec import encode, octets
from flower_robust.protocol.server_states import Opened
from flower_robust.protocol.shown import Offer, decision_digest
from tests.protocol_stage import N, Stage, weights_of
from tests.protocol_world import SERVER, World


def aborted(world: World, round: int, shown: bool, previous: Opened | None = None) -> None:
    """A round that the server begins and drops, before its challenge or after it."""
    stage = Stage(world=world, round=round, previous=previous)
    if shown:
        stage.answer()
    else:
        stage.submit()


def made_up(world: World, lie: Opened, round: int) -> dict[int, str]:
    """Who refuses when the server announces a sum of its own, with rows made to fit: nobody's update."""
    stage = Stage(world=world, previous=lie, round=round).submit()
    P = sketch_map(derived(stage.challenged.challenge, "audit"), stage.sizes.B)
    wanted = sketches(P, [ring.from_integers(lie.sums.reshape(-1, PARAMETERS.N))])
    row = lie.decided.weights[0]
    rows = np.zeros((int((row > 0).sum()), *wanted.shape[1:]), np.uint32)
    for p, q in enumerate(PARAMETERS.primes):
        rows[0, p] = wanted[0, p].astype(np.uint64) * pow(int(row[0]), -1, q) % np.uint64(q)
    audit, refused = encode("audit", octets(rows), octets(wanted)), {}
    for i, name in enumerate(world.names):
        try:
            world.clients[name].answer_challenge(stage.shown(i, audit=audit))
        except FaultyServer as refusal:
            refused[i] = refusal.found
    watcher = auditor(stage.challenged.challenge, stage.challenged.accepted)
    return {i: found for i, found in refused.items() if i != watcher}


@pytest.mark.parametrize("shown", [False, True])
def test_no_aborted_round_makes_a_client_forget_its_own_row(shown):
    world = World(n=5, t=1)
    opened = world.run(Mean()).opened
    sums = np.zeros_like(opened.sums)
    sums[0, : world.d] = np.arange(world.d) % 1000
    lie = replace(opened, sums=sums, secrets=np.zeros_like(opened.secrets))
    for round in range(2, 4 + REMEMBERED):
        aborted(world, round, shown)
    refused = made_up(world, lie, 9)
    assert len(refused) >= 4 and all("another submission of" in found for found in refused.values())


def test_an_honest_server_may_announce_the_same_round_until_another_is_opened():
    world = World(n=5, t=1)
    opened = world.run(Mean()).opened
    for round in range(2, 4 + REMEMBERED):
        aborted(world, round, True, opened)
        state = world.clients["h0"].state
        upload = audited_upload(state.dealt)
        assert audit_report(state.dealt, world.clients["h0"]._uploads.get(upload)) == "done"
    last = world.run(Mean(), previous=opened, round=9)
    after = world.run(Mean(), previous=last.opened, round=10)
    assert not after.alarms and not after.faults
    assert [ended.plan.round for ended in finish(world.clients["h0"].state).past] == [9, 10]


def test_aborted_rounds_do_not_flush_what_convicts_the_server():
    """h0 unmasks one sum, the others another; then many rounds are begun and dropped before the other is announced."""
    stage = Stage().decide()
    first, second = weights_of(*[255] * N), weights_of(*[255] * (N - 1), 0)
    stage.client(0).unmask(stage.request(first))
    chosen = replace(stage.decided, weights=second)
    replies = {
        i: server_open.verify_unmask_reply(chosen, f"h{i}", stage.client(i).unmask(stage.request(second)))
        for i in range(1, N)
    }
    opened = server_open.open_sum(chosen, replies, bytes(32))
    for round in range(2, 4 + REMEMBERED):
        aborted(stage.world, round, True)
    after = Stage(world=stage.world, previous=opened, round=9)
    with pytest.raises(EquivocatingServer, match="another decision"):
        after.client(0).submit(after.offer.encode(), stage.world.updates()["h0"])


def announced(world: World, row: np.ndarray | None = None, signer: Identity = SERVER, **terms: object) -> Announcement:
    """A round that nobody played, in full form and signed."""
    fake = replace(world.plan(Mean(), 1, strict=True), nonce=bytes(16))
    fake = replace(fake, masking=replace(fake.masking, **terms))
    groups = fake.masking.groups
    weights = np.full((groups, world.n), 255, np.uint8) if row is None else row
    shown, secrets = digest("x"), np.zeros((2, groups, PARAMETERS.N), np.uint32)
    signature = sign_shown(signer, "decision", fake.digest, decision_digest(shown, weights))
    return Announcement(fake, shown, weights, signature, secrets, digest("y"))


def offered(world: World, found: Announcement) -> bytes:
    plan, encoded = world.plan(Mean(), 2), found.encode()
    plan = replace(plan, masking=replace(plan.masking, previous=announcement_digest(encoded)))
    return Offer(plan, world.keys, encoded).encode()


OTHER = Identity.from_seed("other", b"\x09" * 32)
HOSTILE = {
    "no weights": {"row": np.zeros((1, 5), np.uint8)},
    "one client alone": {"row": np.array([[255, 0, 0, 0, 0]], np.uint8)},
    "weights that isolate": {"row": np.array([[255, 254, 254, 254, 254]], np.uint8)},
    "d = 2^62": {"d": 1 << 62},
    "d = 2^40": {"d": 1 << 40},
    "d = 2^28": {"d": 1 << 28},
    "no groups": {"groups": 0, "row": np.zeros((0, 5), np.uint8)},
    "overlapping groups": {"groups": 2},
    "a threshold above the cohort": {"threshold": 1 << 60},
    "another server": {"server_key": OTHER.public_key, "signer": OTHER},
    "another signer": {"signer": OTHER},
    "another parameter set": {"parameter_set": 9},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_an_announced_plan_is_checked_before_anything_is_made_of_it(case):
    world = World(n=5, t=1, d=100)
    message = offered(world, announced(world, **HOSTILE[case]))
    update = world.updates()["h0"]
    tracemalloc.start()
    try:
        with pytest.raises(FaultyServer):
            world.clients["h0"].submit(message, update)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(message) + 500_000
    assert world.clients["h0"].state is None


@pytest.mark.parametrize("field", ["run_id", "roster_digest", "cohort", "norm_bound"])
def test_a_round_of_another_run_roster_or_cohort_is_none_of_ours(field):
    world = World(n=5, t=1, d=100)
    found = announced(world)
    other = {"run_id": 6, "roster_digest": digest("z"), "cohort": (*world.names[:4], "eve"), "norm_bound": 0.0}[field]
    fake = replace(found.plan, **{field: other})
    signature = sign_shown(SERVER, "decision", fake.digest, found.decision)
    with pytest.raises(FaultyServer):
        world.clients["h0"].submit(
            offered(world, replace(found, plan=fake, signature=signature)), world.updates()["h0"]
        )


def test_a_made_up_round_is_refused_by_all_but_a_client_without_memory_which_says_so():
    world = World(n=5, t=1)
    newcomer = MaskedClient(world.identities["h1"], world.roster, world.run_id)
    newcomer._run_key = world.clients["h1"]._run_key
    aborted(world, 1, False)
    message, update = offered(world, announced(world)), world.updates()["h0"]
    with pytest.raises(FaultyServer, match="h0 in it"):
        world.clients["h0"].submit(message, update)
    newcomer.submit(message, update)
    assert audit_report(newcomer.state.dealt, None) == "own row skipped: restarted without memory of its y"
    left_out = announced(world, row=np.array([[0, 255, 255, 255, 255]], np.uint8))
    world.clients["h0"].submit(offered(world, left_out), update)
    assert audit_report(world.clients["h0"].state.dealt, None) == "done, not in the sum"


def test_an_honest_announcement_survives_its_codec_and_a_client_in_the_sum_that_never_unmasked_checks_its_row():
    stage = Stage().decide()
    replies = {
        i: server_open.verify_unmask_reply(
            stage.decided, f"h{i}", stage.client(i).unmask(server_open.unmask_request(stage.decided))
        )
        for i in range(1, N)
    }
    opened = server_open.open_sum(stage.decided, replies, bytes(32))
    assert Announcement.decode(announce(opened)).encode() == announce(opened)
    moved = ring.add(
        stage.submissions[0].upload, ring.from_integers(np.ones(stage.submissions[0].upload.shape[1:], int))
    )
    lie = replace(stage.submissions[0], upload=moved)
    challenged = replace(stage.challenged, submissions={**stage.submissions, 0: lie})
    decided = replace(stage.decided, inspected=replace(stage.inspected, challenged=challenged))
    cheat = replace(server_open.open_sum(decided, replies, bytes(32)), decision_signature=opened.decision_signature)
    after = Stage(world=stage.world, previous=cheat, round=2).submit()
    with pytest.raises(FaultyServer, match="another submission of h0"):
        after.client(0).answer_challenge(server_challenge.challenge_for(after.challenged, 0))
    after.client(1).answer_challenge(server_challenge.challenge_for(after.challenged, 1))
