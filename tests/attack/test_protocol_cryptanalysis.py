"""Attacks found by reading the masked round as its enemy: each worked, or works where its defence is taken away."""

import math
from dataclasses import replace

import numpy as np
import pytest

from flower_robust.aggregation import GeometricMedian, Mean, Median, NormClipping
from flower_robust.commitments.masked import NormOpening
from flower_robust.commitments.transcript import derived
from flower_robust.errors import (
    Certainty,
    EquivocatingServer,
    FaultyServer,
    NormBoundExceeded,
    RoundAborted,
    SumOutOfRange,
    WrongShare,
)
from flower_robust.masking import ring
from flower_robust.masking.fixed_point import sign_bits
from flower_robust.masking.masks import add_noise
from flower_robust.masking.parameters import PARAMETERS, ParameterSet
from flower_robust.masking.public import PublicElements
from flower_robust.protocol import client_unmask, server_challenge, server_decide, server_inspect, server_open
from flower_robust.protocol.audit import auditor
from flower_robust.protocol.client import MaskedClient
from flower_robust.protocol.evidence import Evidence
from flower_robust.protocol.replies import SketchReply
from flower_robust.protocol.server_states import Opened
from flower_robust.protocol.sizes import Sizes, terms_of
from tests.protocol_liars import answered, resubmitted
from tests.protocol_stage import N, Stage, weights_of
from tests.protocol_world import SERVER, World


def small_updates(world: World) -> dict[str, np.ndarray]:
    """Independent updates of about 40 fixed-point steps per coordinate: what a server gets that plans a huge C."""
    rng = np.random.default_rng(world.seed)
    step = world.norm_bound / PARAMETERS.unit_norm
    return {name: (40 * step * rng.standard_normal(world.d)).astype(np.float32) for name in world.names}


def opened_with(world: World, row: tuple[int, ...]) -> tuple[Stage, np.ndarray]:
    """The integer sum that clients open under these weights, the signs D undone."""
    stage = Stage(world=world).decide()
    chosen = replace(stage.decided, weights=weights_of(*row))
    request = server_open.unmask_request(chosen)
    replies = {
        i: server_open.verify_unmask_reply(chosen, name, world.clients[name].unmask(request))
        for i, name in enumerate(world.names)
    }
    total = server_open.open_sum(chosen, replies, bytes(32)).sums[0][: world.d]
    bits = sign_bits(terms_of(stage.plan).seed_signs, world.d)
    return stage, total * (1 - 2 * np.unpackbits(bits, bitorder="little")[: world.d].astype(np.int64))


def correlations(world: World, guess: np.ndarray) -> list[float]:
    return [abs(float(np.corrcoef(guess, world.updates()[name])[0, 1])) for name in world.names]


def residue(total: np.ndarray, modulus: int) -> np.ndarray:
    return (total + modulus // 2) % modulus - modulus // 2


def make_world() -> World:
    world = World(n=N, t=1)
    updates = small_updates(world)
    world.updates = lambda: updates  # type: ignore[method-assign,assignment]
    return world


def test_one_weight_a_step_above_all_others_would_isolate_a_client_and_is_refused(monkeypatch):
    """255·v_0 + 254·Σ v_i is v_0 modulo 254, for any number of clients: no colluder, no second sum, one request."""
    world = make_world()
    with monkeypatch.context() as patched:
        patched.setattr(client_unmask, "check_weights", lambda *_: None)
        _, total = opened_with(world, (255, *[254] * (N - 1)))
        found = correlations(world, residue(total, 254))
    assert found[0] > 0.95 and max(found[1:]) < 0.1
    with pytest.raises(FaultyServer, match="tell one client from the others"):
        opened_with(make_world(), (255, *[254] * (N - 1)))


@pytest.mark.parametrize("row", [(255, *[170] * (N - 1)), (170, *[255] * (N - 1)), (85, *[255] * (N - 1))])
def test_the_weights_that_clients_open_leave_no_residue_of_anybody(row):
    """Modulo the others' common weight (2 or 3 units) the noise is uniform up to 2^-16."""
    world = make_world()
    _, total = opened_with(world, row)
    units = total // PARAMETERS.weight_unit
    assert (units * PARAMETERS.weight_unit == total).all()
    assert max(correlations(world, residue(units, row[1] // PARAMETERS.weight_unit))) < 4 / np.sqrt(world.d)


def test_the_noise_hides_residues_modulo_two_and_three_and_no_more():
    """The largest Fourier coefficient of e modulo g, counted exactly, is cos(π/g)^16."""
    counts = np.array([float(np.prod([(16 - i) / (i + 1) for i in range(k)])) for k in range(17)]) / 2**16
    values = np.arange(17) - 8
    for g, most in ((2, 1e-12), (3, 2**-16 + 1e-9)):
        assert abs((counts * np.exp(2j * np.pi * values / g)).sum()) <= most
    assert abs((counts * np.exp(2j * np.pi * values / 5)).sum()) > 0.03
    noise = add_noise(np.zeros(1 << 20, np.int32), b"\x11" * 32)
    assert np.abs(np.bincount(noise + 8, minlength=17) / (1 << 20) - counts).max() < 5e-3


ROOTS = (2017207885, 2147287043)
"""Square roots of 2 modulo q1 and q2."""


class RootOfTwo(MaskedClient):
    """Submits one coordinate of 2^20·√2 mod q and nothing else, not even noise: its square is always 2^41."""

    def submit(self, message, update):
        sent = super().submit(message, 0 * update)
        noise = add_noise(np.zeros(self._y[0].size, np.int32), derived(self.state.dealt.entropy, "noise"))
        spike = np.zeros((2, noise.size), np.uint32)
        spike[:, 0] = [root * 2**20 % q for root, q in zip(ROOTS, PARAMETERS.primes, strict=True)]
        bare = ring.subtract(self._y, ring.from_integers(noise.reshape(self._y[0].shape)))
        lie = NormOpening(2**41, self.state.dealt.opening.salt)
        return resubmitted(self, sent, upload=ring.add(bare, spike.reshape(bare.shape)), opening=lie)


def test_the_roots_are_roots():
    assert [root * root % q for root, q in zip(ROOTS, PARAMETERS.primes, strict=True)] == [2, 2]


@pytest.mark.parametrize(
    ("rule", "terms"), [(Mean(), {}), (NormClipping(f=1), {}), (GeometricMedian(f=1), {}), (Median(f=1), {"groups": 3})]
)
def test_a_huge_update_with_a_small_square_contradicts_its_distances_and_is_named(rule, terms):
    world = World(n=10, t=1, make={2: RootOfTwo})
    outcome = world.run(rule, **terms)
    assert {(f.culprit, type(f), f.certainty) for f in outcome.faults} == {("h2", NormBoundExceeded, Certainty.PROVEN)}
    assert (outcome.opened.decided.weights[:, 2] == 0).all()


def test_without_that_check_one_client_voids_every_round_and_is_never_named(monkeypatch):
    """Every norm passes, the first ones and those of the recheck, for every challenge: their squares are small."""
    monkeypatch.setattr(server_decide, "contradictions", lambda *_: [])
    for seed in range(2):
        with pytest.raises(RoundAborted) as aborted:
            World(n=7, t=1, seed=seed, make={2: RootOfTwo}).run(Mean())
        assert isinstance(aborted.value.reason, SumOutOfRange)
        assert not aborted.value.faults


def test_honest_distances_never_contradict_honest_norms():
    """The triangle inequality is exact in the sketch's space: spikes, zeros and opposites included."""
    world = World(n=7, t=1)
    updates = world.updates(norm=1.0)
    spike = np.zeros(world.d, np.float32)
    spike[5] = 1
    updates |= {"h0": spike, "h1": -spike, "h2": 0 * spike, "h3": -updates["h4"]}
    for seed in range(3):
        world = World(n=7, t=1, seed=seed)
        assert not world.run(Mean(), updates).faults


def forged_sum(opened: Opened, lie: np.ndarray) -> Opened:
    """Any announced sum and a Σ w·s that fits it in block 0: a_0 is a unit, so s' = s + (true − lie)/a_0."""
    plan = opened.decided.challenged.round.plan
    B = lie.shape[1] // PARAMETERS.N
    a = PublicElements(terms_of(plan).seed_a, B)
    inverse = np.empty((2, PARAMETERS.N), np.uint32)
    for p, q in enumerate(PARAMETERS.primes):
        inverse[p] = [pow(int(v), -1, q) for v in a.points(p, slice(0, B))[0]]
    wanted = ring.from_integers((opened.sums - lie)[0, : PARAMETERS.N])
    shift = ring.to_coefficients(ring.multiply_points(ring.to_points(wanted), inverse))
    secrets = ring.add(opened.secrets, shift[:, None])
    moved = ring.to_points(ring.subtract(secrets, opened.secrets)[:, 0])
    sums = np.array(opened.sums)
    for b in range(B):
        there = np.stack([a.points(p, slice(0, B))[b] for p in range(2)])
        change = ring.to_coefficients(ring.multiply_points(there, moved))
        block = slice(b * PARAMETERS.N, (b + 1) * PARAMETERS.N)
        sums[0, block] = ring.centred(ring.subtract(ring.from_integers(opened.sums[0, block]), change))
    return replace(opened, sums=sums, secrets=secrets)


def refusals(world: World, previous: Opened) -> dict[int, str]:
    stage = Stage(world=world, previous=previous, round=2).submit()
    found = {}
    for i, name in enumerate(world.names):
        try:
            world.clients[name].answer_challenge(server_challenge.challenge_for(stage.challenged, i))
        except FaultyServer as refusal:
            found[i] = refusal.found
    watcher = auditor(stage.challenged.challenge, stage.challenged.accepted)
    assert set(found) <= {watcher}
    return found


def test_a_server_that_makes_up_the_sum_in_one_block_gives_itself_away_in_the_next():
    """The equation holds for any sum and a fitting Σ w·s; in the second block that sum is then uniform modulo q."""
    world = World(n=N, t=1)
    opened = world.run(Mean()).opened
    assert opened.sums.shape[1] == 2 * PARAMETERS.N, "a small model has two blocks, the second one padding"
    lie = np.array(opened.sums)
    lie[0, : world.d] = 10**6
    forged = forged_sum(opened, lie)
    assert (forged.sums[0, : world.d] == 10**6).all()
    assert all("opened sum" in found for found in refusals(world, forged).values())
    assert len(refusals(World(n=N, t=1), opened)) == 0


def test_with_a_single_block_any_sum_passes_the_audit(monkeypatch):
    monkeypatch.setattr(ParameterSet, "blocks", lambda self, d: -(-d // self.N))
    world = World(n=N, t=1)
    opened = world.run(Mean()).opened
    lie = np.array(opened.sums)
    lie[0, : world.d] = 10**6
    assert refusals(world, forged_sum(opened, lie)) == {}


def test_a_decision_on_another_challenge_than_a_client_was_shown_convicts_the_server(monkeypatch):
    """h0 sees its true sketch; the six others see it shifted, all alike, and unmask; h0 looks like a drop-out."""
    stage = Stage().submit()
    sketches = np.array(stage.challenged.common.sketches)
    sketches[0] = ring.add(sketches[0], ring.from_integers(np.full(sketches[0].shape[1:], 1000)))
    with monkeypatch.context() as patched:
        patched.setattr(server_challenge, "sketches", lambda *_: sketches)
        challenged = server_challenge.issue_challenge(stage.round, stage.submissions)
    stage.client(0).answer_challenge(server_challenge.challenge_for(stage.challenged, 0))
    replies = {}
    for i, name in list(enumerate(stage.world.names))[1:]:
        answer = stage.world.clients[name].answer_challenge(server_challenge.challenge_for(challenged, i))
        replies[i] = server_inspect.verify_sketch_reply(challenged, name, answer)
    measured = server_decide.measure(server_inspect.inspect(challenged, replies), bytes(32))
    decided, _ = server_decide.weigh(measured, Mean(), dict.fromkeys(stage.world.names, 1.0))
    request = server_open.unmask_request(decided)
    shares = {
        i: server_open.verify_unmask_reply(decided, name, stage.world.clients[name].unmask(request))
        for i, name in list(enumerate(stage.world.names))[1:]
    }
    opened = server_open.open_sum(decided, shares, bytes(32))
    after = Stage(world=stage.world, previous=opened, round=2)
    with pytest.raises(EquivocatingServer, match="another challenge") as caught:
        after.client(0).submit(after.offer.encode(), stage.world.updates()["h0"])
    said = Evidence.decode(caught.value.evidence).verify()
    assert f"signed the challenge {stage.challenged.shown.hex()}, and a decision on another one" in said
    assert SERVER.public_key.hex() in said and decided.weights[0].tolist() == [0] + 6 * [255]
    after.client(1).submit(after.offer.encode(), stage.world.updates()["h1"])


class Coordinated(MaskedClient):
    """Clients 6, 7 and 8 add a polynomial of degree 2t = 4 that vanishes at clients 0 to 3: D_01 grows by 10^16."""

    def answer_challenge(self, message):
        sent = super().answer_challenge(message)
        old = SketchReply.decode(sent, len(self.state.accepted), Sizes.of(self.state.dealt.plan))
        me, geometry = self.state.dealt.position, np.array(old.parts.geometry)
        for p, q in enumerate(PARAMETERS.primes):
            there = math.prod(me + 1 - (h + 1) for h in range(4))
            at_zero = math.prod(-(h + 1) for h in range(4))
            geometry[p, 0] = (int(geometry[p, 0]) + 10**16 * there * pow(at_zero, -1, q)) % q
        return answered(self, sent, len(self.state.accepted), geometry=geometry)


def test_one_liar_more_than_decoding_corrects_can_frame_honest_clients_if_they_coordinate():
    """n = 9, t = 2 corrects two. Three that agree look like the majority: the limit that docs/protocol.md states."""
    honest = World(n=9, t=2).run(Mean())
    outcome = World(n=9, t=2, make=dict.fromkeys((6, 7, 8), Coordinated)).run(Mean())
    assert {(fault.culprit, type(fault)) for fault in outcome.faults} == {("h4", WrongShare), ("h5", WrongShare)}
    two = World(n=9, t=2, make=dict.fromkeys((6, 7), Coordinated)).run(Mean())
    assert {(fault.culprit, type(fault)) for fault in two.faults} == {("h6", WrongShare), ("h7", WrongShare)}
    moved, kept = (float(o.decision.geometry.squared_distances[0, 1]) for o in (outcome, honest))
    unit = 1 / (float(PARAMETERS.gain) * PARAMETERS.m * PARAMETERS.unit_norm**2)
    assert moved - kept == pytest.approx(10**16 * unit, rel=1e-6)
