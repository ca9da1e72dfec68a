"""A server that shows different clients different things reads nothing about anybody who was not shown the same.

Each attack opens exactly what it wants once the pads are taken away, which is what the first version of the protocol
allowed, and nothing with them.
"""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from flower_robust.commitments.transcript import sign_shown
from flower_robust.errors import FaultyServer, InconsistentShares
from flower_robust.masking import ring
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.public import PublicElements
from flower_robust.masking.ring import Residues
from flower_robust.masking.sharing import combine, lagrange_at_zero
from flower_robust.masking.sketch import SketchMap, public_sums, sketch, sketch_map, sketch_shares
from flower_robust.masking.squares import blinds, pairs, partial_norms
from flower_robust.protocol import dealing, pads, recheck, server_challenge, server_open
from flower_robust.protocol.dealing import Dealing, Share, Shares, own_secret
from flower_robust.protocol.pads import SKETCH, dealt_key, pad_key, pad_seed
from flower_robust.protocol.replies import SharesReply, SketchReply
from flower_robust.protocol.server_decide import measure
from flower_robust.protocol.server_inspect import inspect
from flower_robust.protocol.server_open import decision_of
from flower_robust.protocol.shown import Challenge, Recheck
from flower_robust.protocol.sizes import terms_of
from tests.attack.test_protocol_privacy import rank
from tests.protocol_stage import N, Stage, weights_of
from tests.protocol_world import SERVER

VICTIM = 0


@pytest.fixture
def unpadded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol as it was: every pad is zero."""
    monkeypatch.setattr(pads, "uniforms", lambda keys, _, count: np.zeros((len(keys), 2, count), np.uint32))


def shifted(sketches: Residues, victim: int = VICTIM, amount: int = 1000) -> Residues:
    """P·y with a point of the server's choice added to one row."""
    moved = np.array(sketches)
    moved[victim] = ring.add(moved[victim], ring.from_integers(np.full(moved[victim].shape[1:], amount)))
    return moved


def answers(stage: Stage, views: dict[int, bytes]) -> dict[int, SketchReply]:
    """What clients answer to what each of them is shown."""
    found = {}
    for i, message in views.items():
        accepted = len(Challenge.decode(message, stage.sizes, i).accepted)
        found[i] = SketchReply.decode(stage.client(i).answer_challenge(message), accepted, stage.sizes)
    return found


def attempted(stage: Stage, replies: dict[int, SketchReply]) -> dict[int, pads.Values]:
    """The values without pads, as far as the keys that anybody disclosed take them off."""
    return dict(inspect(stage.challenged, replies).values)


def opened(shares: dict[int, Residues], responders: tuple[int, ...]) -> Residues:
    """The values at 0 through these responders' shares [2, K]."""
    return combine(lagrange_at_zero(responders), np.stack([shares[j] for j in responders]))


def true_sketch(stage: Stage, P: SketchMap, client: int) -> Residues:
    """u = P·(x + e), which only its owner can compute."""
    A = public_sums(P, PublicElements(terms_of(stage.plan).seed_a, stage.sizes.B))
    secret, row = own_secret(stage.client(client).state.dealt.entropy), sketch(P, stage.submissions[client].upload)
    return sketch_shares(P, A, row[None], secret[None])[0]


def distance_to_the_servers_point(stage: Stage) -> tuple[Residues, dict[int, Residues]]:
    """‖u_0l + δ_l‖² [2, m], and the others' shares of it, without whatever pads the server can take off."""
    stage.submit()
    rows = shifted(stage.challenged.common.sketches)
    views = {i: stage.shown(i, sketches=rows) for i in range(1, N)}
    views[VICTIM] = server_challenge.challenge_for(stage.challenged, VICTIM)
    wanted = true_sketch(stage, sketch_map(stage.challenged.challenge, stage.sizes.B), VICTIM)
    values = attempted(stage, answers(stage, views))
    norms = slice(N * (N - 1) // 2, N * (N - 1) // 2 + PARAMETERS.m)
    return partial_norms(shifted(wanted[None]))[:, 0], {j: values[j][1][:, norms] for j in range(1, N)}


@pytest.mark.usefixtures("unpadded")
def test_without_pads_a_shifted_row_opens_the_distance_to_the_servers_point():
    wanted, shares = distance_to_the_servers_point(Stage())
    assert (opened(shares, (1, 2, 3)) == wanted).all() and (opened(shares, (4, 5, 6)) == wanted).all()


def test_a_shifted_row_of_somebody_else_opens_nothing():
    wanted, shares = distance_to_the_servers_point(Stage())
    found = [opened(shares, chosen) for chosen in combinations(range(1, N), 3)]
    assert not any((value == wanted).any() for value in found)
    assert len({value.tobytes() for value in found}) == len(found), "no two sets of responders agree on anything"


def test_what_the_others_send_about_a_misrepresented_client_is_uniform():
    """The same randomness with and without pads differs by uniform words, fresh for every value of every responder."""
    _, padded = distance_to_the_servers_point(Stage())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pads, "uniforms", lambda keys, _, count: np.zeros((len(keys), 2, count), np.uint32))
        _, bare = distance_to_the_servers_point(Stage())
    for p, q in enumerate(PARAMETERS.primes):
        words = np.concatenate([ring.subtract(padded[j], bare[j])[p] for j in padded])
        assert len(set(words.tolist())) == len(words)
        counts, expected = np.histogram(words, bins=6, range=(0, q))[0], len(words) / 6
        assert ((counts - expected) ** 2 / expected).sum() < 30, "chi-square with 5 degrees of freedom"


def pad_map(unreadable: tuple[int, ...], words: int, reference: bool = False) -> np.ndarray:
    """How the pads of unreadable dealers enter the values that touch one: columns are words of pads."""
    first, second = pairs(N)
    touched = [k for k in range(len(first)) if {first[k], second[k]} & set(unreadable)]
    touched += [len(first) + i * PARAMETERS.m + part for i in unreadable for part in range(PARAMETERS.m)]
    touched += [len(first) + N * PARAMETERS.m + i for i in unreadable if reference]
    columns = []
    for i in unreadable:
        for word in range(words):
            unit = np.zeros((N, 2, words), np.uint32)
            unit[i, :, word] = 1
            columns.append(blinds(unit, range(N), reference=reference)[0, touched])
    return np.array(columns).T


@pytest.mark.parametrize("unreadable", [(0,), (2, 5), tuple(range(N))])
def test_every_combination_of_values_about_misrepresented_clients_carries_a_pad_that_nobody_knows(unreadable):
    """Full row rank: no linear combination of one responder's values is free of pads, and responders share none."""
    stage = Stage().submit()
    matrix = pad_map(unreadable, stage.sizes.geometry_words)
    assert rank(matrix) == len(matrix)
    views = [shifted(stage.challenged.common.sketches, i, 1 + i) for i in range(N)]
    replies = answers(stage, {i: stage.shown(i, sketches=views[(i + 1) % N]) for i in range(N)})
    seeds = [pad_seed(client.state.dealt.entropy) for client in stage.world.clients.values()]
    used = {
        (i, j): pad_key(dealt_key(seeds[i], j), SKETCH, replies[j].attestation.shown)
        for i in range(N)
        for j in range(N)
        if i != j
    }
    told = {(i, j): replies[i].parts.pad_keys[32 * j : 32 * j + 32] for i, j in used}
    assert len(set(used.values()) | set(told.values())) == 2 * N * (N - 1), "no disclosed key was used by anybody"


def test_clients_shown_the_same_disclose_the_keys_that_were_used():
    stage = Stage().answer()
    seeds = [pad_seed(client.state.dealt.entropy) for client in stage.world.clients.values()]
    for i in range(N):
        used = [pad_key(dealt_key(seeds[i], j), SKETCH, stage.challenged.shown) for j in range(N)]
        assert stage.replies[i].parts.pad_keys == b"".join(used)


def relation_on_the_secret(stage: Stage) -> tuple[list[Residues], list[Residues]]:
    """The victim's first degree test under two challenges: the right values, and what the server computes.

    Its blind is the same, so that the difference is a linear relation on s.
    """
    stage.submit()
    fewer = {i: stage.submissions[i] for i in range(N - 1)}
    second = server_challenge.issue_challenge(stage.round, fewer)
    own = Dealing.draw(stage.client(VICTIM).state.dealt.entropy, stage.sizes)
    secret = Shares.of(Share(own.secrets[:, 0].copy(), own.zeros[:, 0].copy(), b""))
    right = [dealing.test_answers(secret, c.challenge)[:, 0, :1] for c in (stage.challenged, second)]
    shown = {i: server_challenge.challenge_for(stage.challenged, i) for i in (0, 1, 2, 6)}
    first, later = answers(stage, shown), {i: server_challenge.challenge_for(second, i) for i in (3, 4, 5)}
    told = first[VICTIM].parts.pad_keys
    values = {}
    for j, reply in (first | answers(stage, later)).items():
        dealers = tuple(range(N)) if j in first else tuple(range(N - 1))
        sent = (reply.parts.tests, reply.parts.geometry)
        stripped = pads.stripped(sent, dealers, {VICTIM: told[32 * j : 32 * j + 32]}, stage.sizes)
        values[j] = stripped[0][:, VICTIM, :1]
    return right, [opened(values, (1, 2)), opened(values, (3, 4))]


@pytest.mark.usefixtures("unpadded")
def test_without_pads_two_challenges_give_a_linear_relation_on_the_secret():
    right, found = relation_on_the_secret(Stage())
    assert (found[0] == right[0]).all() and (found[1] == right[1]).all()


def test_a_second_challenge_reads_no_second_combination_under_the_same_blind():
    right, found = relation_on_the_secret(Stage())
    assert (found[0] == right[0]).all(), "under the challenge that the dealer answered, its test can be read"
    assert (found[1] != right[1]).all()


def fresh_distances(stage: Stage) -> tuple[Residues, dict[int, SharesReply]]:
    """As above in the recheck: the right ‖u'_0l + δ_l‖², and what clients answer."""
    stage.decide()
    request = server_open.unmask_request(stage.decided)
    for client in stage.world.clients.values():
        client.unmask(request)
    honest = Recheck.decode(recheck.recheck_request(stage.decided), N)
    false = Recheck(shifted(honest.sketches), b"")
    false = replace(false, signature=sign_shown(SERVER, "recheck", stage.plan.digest, false.shown))
    P = recheck._fresh_map(stage.plan, stage.challenged.challenge, decision_of(stage.decided))
    wanted = partial_norms(shifted(true_sketch(stage, P, VICTIM)[None]))[:, 0]
    found = {}
    for i in range(N):
        message = stage.client(i).recheck((honest if i == VICTIM else false).encode())
        found[i] = SharesReply.decode("recheck-reply", message, N, PARAMETERS.m, keys=N)
    return wanted, found


@pytest.mark.usefixtures("unpadded")
def test_without_pads_a_recheck_opens_more_distances():
    wanted, found = fresh_distances(Stage())
    shares = {j: found[j].shares[:, VICTIM] for j in range(1, N)}
    assert (opened(shares, (1, 2, 3)) == wanted).all()


def test_a_recheck_under_another_row_reads_nothing_about_its_owner():
    stage = Stage()
    wanted, found = fresh_distances(stage)
    told = pads.keys_of(found[VICTIM].pad_keys, N)
    words = pads.recheck_pads(told)
    shares = {j: ring.subtract(found[j].shares[:, VICTIM], words[j]) for j in range(1, N)}
    assert not any((opened(shares, chosen) == wanted).any() for chosen in combinations(range(1, N), 3))
    faults = recheck.name_wrapped(stage.decided, found, bytes(32))
    assert {type(fault) for fault in faults} == {InconsistentShares}, "not even an honest server's decoding reads it"


def test_who_was_shown_something_else_is_not_in_anybodys_sum():
    stage = Stage().decide()
    attested = {j: reply.attestation for j, reply in stage.replies.items() if j != VICTIM}
    with pytest.raises(FaultyServer, match="a sum with h0, who signed nothing"):
        stage.client(1).unmask(stage.request(weights_of(*[255] * N), attestations=attested))
    stage.client(1).unmask(stage.request(weights_of(0, *[255] * (N - 1)), attestations=attested))


def test_a_round_with_a_misrepresented_client_goes_on_without_it():
    """To an honest server it looks like a drop-out: nothing about it is opened, and it is not in the sum."""
    stage = Stage().answer()
    left = inspect(stage.challenged, {j: reply for j, reply in stage.replies.items() if j != VICTIM})
    assert left.members == tuple(range(1, N)) and not left.suspects
    assert measure(left, bytes(32)).names == tuple(f"h{i}" for i in range(1, N))
