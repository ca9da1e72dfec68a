"""A server that misuses its reference: another sketch for others, a long one, one chosen late; and who lies of it."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from flower_robust.aggregation import Mean
from flower_robust.errors import Certainty, FaultyServer, NormBoundExceeded
from flower_robust.masking import ring
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.ring import Residues
from flower_robust.masking.sketch import sketch_map
from flower_robust.protocol import pads, server_challenge
from flower_robust.protocol.audit import auditor
from flower_robust.protocol.codec import decode, encode
from flower_robust.protocol.masked_round import run_masked_round
from flower_robust.protocol.norms import LOOSE, SLACK
from flower_robust.protocol.reference import PublicRow
from flower_robust.protocol.shown import Challenge
from tests.attack.test_protocol_cryptanalysis import RootOfTwo
from tests.attack.test_protocol_privacy import rank
from tests.attack.test_protocol_views import VICTIM, answers, attempted, opened, pad_map, true_sketch
from tests.protocol_stage import N, Stage
from tests.protocol_world import SERVER, World

REFERENCE = (0.5 * np.random.default_rng(5).standard_normal(3000) / np.sqrt(3000)).astype(np.float32)
LAST = N * (N - 1) // 2 + N * PARAMETERS.m
"""Where distances to the reference begin among the values of the geometry."""


@pytest.fixture
def unpadded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol as it was: every pad is zero."""
    monkeypatch.setattr(pads, "uniforms", lambda keys, _, count: np.zeros((len(keys), 2, count), np.uint32))


def staged() -> Stage:
    return Stage(reference=REFERENCE).submit()


def point(amount: int) -> Residues:
    """A sketch of the server's choice, one coordinate in the first ring sum: short enough for every check."""
    v = np.zeros((PARAMETERS.m, PARAMETERS.c), np.int64)
    v[0, 17] = amount
    return ring.from_integers(v)


def auditor_of(stage: Stage) -> int:
    """Who is shown x_r and would not answer."""
    found = auditor(stage.challenged.challenge, stage.challenged.accepted)
    assert found != VICTIM
    return found


def late(stage: Stage, v: Residues) -> dict[int, bytes]:
    """What a server shows that chose v after the challenge, to all but the auditor."""
    return {i: stage.shown(i, reference=v) for i in range(N) if i != auditor_of(stage)}


def coordinate_of_the_victim(stage: Stage) -> tuple[Residues, dict[int, Residues]]:
    """‖u_0 − v'‖² [2, 1] and the others' shares of it, where all but client 0 are shown v' in place of v."""
    shown = point(1 << 24)
    views = late(stage, shown)
    views[VICTIM] = server_challenge.challenge_for(stage.challenged, VICTIM)
    u = true_sketch(stage, sketch_map(stage.challenged.challenge, stage.sizes.B), VICTIM)
    difference = ring.centred(ring.subtract(u, shown)).astype(object).reshape(-1)
    wanted = int(difference @ difference)
    values = attempted(stage, answers(stage, views))
    place = slice(LAST + VICTIM, LAST + VICTIM + 1)
    exact = np.array([[wanted % q] for q in PARAMETERS.primes], np.uint32)
    return exact, {j: values[j][1][:, place] for j in views if j != VICTIM}


@pytest.mark.usefixtures("unpadded")
def test_without_pads_a_reference_that_only_others_see_opens_a_product_of_the_servers_choice():
    wanted, shares = coordinate_of_the_victim(staged())
    assert len(shares) == N - 2
    assert all((opened(shares, chosen) == wanted).all() for chosen in combinations(shares, 3))


def test_a_reference_that_only_others_see_opens_nothing():
    wanted, shares = coordinate_of_the_victim(staged())
    found = [opened(shares, chosen) for chosen in combinations(shares, 3)]
    assert not any((value == wanted).any() for value in found)
    assert len({value.tobytes() for value in found}) == len(found), "no two sets of responders agree on anything"


@pytest.mark.parametrize("unreadable", [(0,), (2, 5), tuple(range(N))])
def test_every_value_about_a_misrepresented_client_carries_a_pad_of_its_own_with_a_reference_too(unreadable):
    words = staged().sizes.geometry_words
    matrix, without = pad_map(unreadable, words, reference=True), pad_map(unreadable, words)
    assert rank(matrix) == len(matrix) == len(without) + len(unreadable)


def test_the_same_reference_is_read_where_all_were_shown_it():
    """What the malicious server is left with: D_ir of one v, within the bound, that all others saw (section 5.2)."""
    stage = staged()
    views = late(stage, point(1 << 24))
    u = ring.centred(true_sketch(stage, sketch_map(stage.challenged.challenge, stage.sizes.B), VICTIM)).astype(object)
    values = attempted(stage, answers(stage, views))
    places = slice(LAST + VICTIM, LAST + VICTIM + 1)
    found = opened({j: values[j][1][:, places] for j in views}, tuple(views)[1:4])
    wanted = int((u * u).sum()) + 2**48 - 2**25 * int(u[0, 17])
    assert int(ring.centred(found)[0]) == wanted


def test_a_reference_chosen_late_shows_two_coordinates_of_a_sketch_that_the_server_picks():
    """The limit that docs/protocol.md, section 5.2, states: the bound on v leaves room for two; the auditor sees it."""
    stage = staged()
    v = np.zeros((PARAMETERS.m, PARAMETERS.c), np.int64)
    v[0, 17], v[0, 99] = 1, 1 << 28
    u = ring.centred(true_sketch(stage, sketch_map(stage.challenged.challenge, stage.sizes.B), VICTIM)).astype(object)
    views = late(stage, ring.from_integers(v))
    values = attempted(stage, answers(stage, views))
    found = opened({j: values[j][1] for j in views}, tuple(views)[1:4])
    norms = range(N * (N - 1) // 2, N * (N - 1) // 2 + PARAMETERS.m)
    squared, distance = (sum(int(x) for x in ring.centred(found)[list(at)]) for at in (norms, [LAST + VICTIM]))
    product = (squared + 1 + 2**56 - distance) // 2
    second = (product + 2**27) >> 28
    assert (product - (second << 28), second) == (u[0, 17], u[0, 99])


@pytest.mark.parametrize(
    ("amount", "sums", "why"),
    [
        (np.sqrt(LOOSE * 1.01), 1, r"\(at most 8.08\)"),
        (np.sqrt((1 + SLACK) * 1.01), PARAMETERS.m, "a squared norm of 1.62"),
        (2**61 / 2**22, PARAMETERS.m, "a reference whose sketch has a squared norm of"),
    ],
)
def test_a_reference_longer_than_a_client_may_be_is_refused(amount, sums, why):
    stage, unit = staged(), PARAMETERS.unit_norm * float(PARAMETERS.gain) ** 0.5
    v = np.zeros((PARAMETERS.m, PARAMETERS.c), np.int64)
    v[:sums, 3] = int(amount * (unit if amount < 100 else PARAMETERS.unit_norm))
    client = stage.client(0)
    before = client.state
    with pytest.raises(FaultyServer, match=why) as refused:
        client.answer_challenge(stage.shown(0, reference=ring.from_integers(v)))
    assert refused.value.required == "at most 1.6 (each at most 8), as of every client"
    assert client.state is before, "nothing was answered"
    v[:sums, 3] = v[:sums, 3] * 98 // 100 if amount < 100 else 0
    client.answer_challenge(stage.shown(0, reference=ring.from_integers(v)))


def test_a_reference_that_the_plan_does_not_have_and_one_that_is_missing_are_refused():
    stage = Stage().submit()
    with pytest.raises(FaultyServer, match="found 9 fields, required 7"):
        stage.client(0).answer_challenge(stage.shown(0, reference=point(1)))
    stage = staged()
    with pytest.raises(FaultyServer, match="found 7 fields, required 9"):
        stage.client(0).answer_challenge(stage.shown(0, reference=None))
    *fields, reference, row = decode("challenge", stage.shown(0), 9)
    for bad in (b"", bytes(reference)[:-1], b"\xff" * len(reference)):
        with pytest.raises(FaultyServer, match="challenge"):
            stage.client(0).answer_challenge(encode("challenge", *fields, bad, row))


def test_a_sketch_that_the_server_did_not_sign_is_refused():
    stage = staged()
    honest = server_challenge.challenge_for(stage.challenged, 0)
    *fields, _, row = decode("challenge", honest, 9)
    with pytest.raises(FaultyServer, match="a signature that does not verify"):
        stage.client(0).answer_challenge(encode("challenge", *fields, point(5).tobytes(), row))


def test_the_auditor_of_a_round_is_shown_the_row_and_refuses_a_sketch_that_was_chosen_late():
    stage = staged()
    row, who = stage.round.reference, auditor_of(stage)
    assert row is not None
    sent = {i: Challenge.decode(server_challenge.challenge_for(stage.challenged, i), stage.sizes, i) for i in range(N)}
    assert {i for i in sent if sent[i].opened_row} == {who} and bytes(sent[who].opened_row) == row.opening
    client = stage.client(who)
    other = PublicRow.of(-REFERENCE, stage.plan.masking, row.salt)
    P = sketch_map(stage.challenged.challenge, stage.sizes.B)
    late_ones = {
        "a sketch of another reference": {"reference": point(1 << 20)},
        "another reference": {"reference": other.sketch(P), "opened_row": other.opening},
        "found a field of 0 bytes": {"opened_row": b""},
        "found a field of 32799 bytes": {"opened_row": row.opening[:-1]},
    }
    for why, parts in late_ones.items():
        with pytest.raises(FaultyServer, match=why):
            client.answer_challenge(stage.shown(who, **parts))
    client.answer_challenge(stage.shown(who))
    assert replace(row, salt=bytes(32)).digest != row.digest, "who guesses r cannot try it against the plan"


def test_a_server_that_chooses_its_reference_late_hears_of_it_from_the_auditor():
    """The round goes on without the auditor, as without any drop-out: seen, not prevented."""
    world = World(n=7, t=1)

    class Late(PublicRow):
        def sketch(self, P):
            return point(1 << 24)

    plan, row = world.planned(Mean(), 1, None, REFERENCE)
    given = {"roster": world.roster, "server": SERVER, "clients": world.clients, "updates": world.updates()}
    trust = dict.fromkeys(world.names, 1.0)
    cheat = Late(row.x, row.norm, row.salt)
    outcome = run_masked_round(plan, world.keys, rule=Mean(), trust=trust, reference=cheat, **given)
    (alarm,) = outcome.alarms.values()
    assert isinstance(alarm, FaultyServer) and "a sketch of another reference" in str(alarm)
    assert len(outcome.decision.names) == 6


@pytest.mark.parametrize(("n", "certainty"), [(7, Certainty.PROVEN), (4, Certainty.ACCUSED)])
def test_a_root_of_two_contradicts_the_reference_and_is_named_for_that_alone(n, certainty):
    """Against other clients it needs more than max(f, t, e) contradictions; the public row is no liar."""
    named = 0
    for seed in range(6):
        world = World(n=n, t=1, seed=seed, make={2: RootOfTwo})
        outcome = world.run(Mean(), reference=REFERENCE)
        for fault in outcome.faults:
            assert (fault.culprit, type(fault), fault.certainty) == ("h2", NormBoundExceeded, certainty)
            named += "the reference" in str(fault)
        assert outcome.opened.decided.weights[0][2] == 0
    assert named >= 3, "each with probability of at least one half"


def test_no_honest_client_contradicts_a_reference_however_it_points():
    for seed in range(2):
        world = World(n=7, t=1, seed=seed)
        updates = world.updates(norm=1.0)
        for reference in (3 * updates["h0"], -3 * updates["h0"], 1e-6 * updates["h0"], np.eye(1, world.d)[0]):
            outcome = world.run(Mean(), updates, reference=reference.astype(np.float32))
            assert not outcome.faults and len(outcome.decision.names) == 7
