"""Laws of masked rounds with a reference: decided as unmasked ones, whoever drops out or lies, up to the limit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flower_robust.aggregation import Geometry, Mean, Median, NearestNeighborMixing, ReferenceTrust, Weighting
from flower_robust.errors import (
    ConfigurationError,
    InconsistentShares,
    IsolatingWeights,
    NonZeroSharing,
    RoundAborted,
    Unfollowed,
    WrongShare,
)
from flower_robust.masking import ring
from flower_robust.masking.fixed_point import encode
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.sketch import sketch, sketch_map
from flower_robust.protocol.client import MaskedClient
from flower_robust.protocol.client_memory import recall, remember
from flower_robust.protocol.decide import Decision, decide
from flower_robust.protocol.masked_round import MaskedOutcome
from tests import protocol_liars as liars
from tests.property.test_protocol_round import hospital_updates
from tests.protocol_world import World

TRUSTING = [ReferenceTrust(), NearestNeighborMixing(f=2) >> ReferenceTrust()]


def reference_of(world: World, updates: dict[str, np.ndarray], norm: float, seed: int = 0) -> np.ndarray:
    """What root rows would give: near the honest mean (the first two clients attack), of this length."""
    honest = np.mean([updates[name] for name in world.names[2:]], axis=0, dtype=np.float64)
    row = honest / np.linalg.norm(honest)
    row += 0.5 * np.random.default_rng(seed).standard_normal(world.d) / np.sqrt(world.d)
    return (norm * row / np.linalg.norm(row)).astype(np.float32)


def clear(world: World, updates: dict[str, np.ndarray], rule: Weighting, reference: np.ndarray, round: int = 1):
    """The unmasked round of the same rows: its decision and its aggregate."""
    rows = torch.from_numpy(np.stack([updates[name] for name in world.names]))
    geometry = Geometry.of(rows, torch.from_numpy(reference))
    decision = decide(geometry, rule.reseeded(round), world.names, [1.0] * world.n)
    assert decision.weights is not None
    return decision, (decision.weights @ rows.double()).numpy()


def cosines(decision: Decision) -> torch.Tensor:
    geometry = decision.geometry
    assert geometry.reference is not None
    return geometry.reference.inner / geometry.squared_norms.sqrt() / geometry.reference.squared_norm**0.5


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("norm", [0.3, 2.5])
@pytest.mark.parametrize("iid", [True, False])
@pytest.mark.parametrize("rule", TRUSTING, ids=repr)
def test_masked_and_unmasked_rounds_trust_the_reference_alike(rule: Weighting, iid: bool, norm: float) -> None:
    """2.5 is beyond C = 1: the public row is always C long, the products and the length are those of r."""
    for seed in range(3):
        world = World(n=9, d=8000, t=2, seed=seed)
        updates = hospital_updates(world, seed, iid)
        reference = reference_of(world, updates, norm, seed)
        outcome = world.run(rule, updates, round=seed + 1, reference=reference)
        plain, aggregate = clear(world, updates, rule, reference, seed + 1)
        assert not outcome.faults and not outcome.alarms
        masked = outcome.decision.rule_weights
        assert masked is not None and plain.rule_weights is not None
        assert (cosines(outcome.decision) - cosines(plain)).abs().max() < 0.05
        assert outcome.decision.geometry.reference.squared_norm == pytest.approx(norm**2, rel=1e-5)
        length = float(plain.rule_weights.sum())
        near = 0.02 if rule == ReferenceTrust() else 0.06  # one exchanged near-tie among NNM's 7 neighbours
        assert torch.allclose(masked / masked.sum(), plain.rule_weights / length, atol=near)
        assert float(masked.sum()) == pytest.approx(length, rel=0.1), "the lengths of rows, as the sketch has them"
        assert cosine(outcome.aggregate, aggregate) > 0.9, "thirds"
        assert 0.85 < np.linalg.norm(outcome.aggregate) / np.linalg.norm(aggregate) < 1.02
        assert np.linalg.norm(outcome.aggregate) <= norm * 1.001


def cosine_errors(cosine: float, challenges: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Errors of ⟨u, v⟩ / (‖u‖·‖v‖) and of ⟨u, v⟩ / (‖u‖·‖x_r‖) for two updates of d = 8000 at this cosine."""
    rng, d = np.random.default_rng(0), 8000
    x, beside = rng.standard_normal((2, d)) / np.sqrt(d)
    r = cosine * x + np.sqrt(1 - cosine**2) * (beside - x * (beside @ x) / (x @ x))
    rows = [encode((0.5 * row).astype(np.float32), 1.0, bytes(32)).x for row in (x, r)]
    exact = [float(np.linalg.norm(row.astype(np.float64))) for row in rows]
    true = float(rows[0].astype(np.float64) @ rows[1]) / exact[0] / exact[1]
    found = []
    for _ in range(challenges):
        P = sketch_map(rng.bytes(32), len(rows[0]) // PARAMETERS.N)
        blocks = (ring.from_integers(row.reshape(-1, PARAMETERS.N)) for row in rows)
        u, v = (ring.centred(sketch(P, y)).astype(np.float64).reshape(-1) for y in blocks)
        along = float(u @ v) / np.linalg.norm(u)
        exactly = exact[1] * (float(PARAMETERS.gain) * PARAMETERS.m) ** 0.5
        found.append((along / np.linalg.norm(v) - true, along / exactly - true))
    return np.array(found).T[0], np.array(found).T[1]


@pytest.mark.parametrize(("cosine", "least"), [(0.99, 20.0), (0.8, 3.0), (0.3, 1.0)])
def test_both_lengths_from_the_sketches_cancel_their_distortion(cosine: float, least: float) -> None:
    """Why ⟨x, r⟩ is scaled by ‖r‖/√N_r: with the exact length beside the sketched one the error is `least` as large."""
    ours, mixed = cosine_errors(cosine)
    assert ours.std() < 0.012 and mixed.std() > least * ours.std()
    assert abs(ours.mean()) < 4 * max(ours.std(), 1e-3) / np.sqrt(len(ours)) + 1e-4


def test_the_cosines_are_those_of_the_sketches_in_which_distortions_cancel() -> None:
    """A row that is the reference has cosine 1, its opposite −1, whatever their lengths: not 1 ± 2 %, as lengths."""
    for seed in range(3):
        world = World(n=7, d=8000, t=1, seed=seed)
        updates = world.updates()
        reference = np.float32(1.7) * updates["h3"]
        updates["h4"] = np.float32(-0.5) * updates["h3"]
        found = cosines(world.run(Mean(), updates, reference=reference).decision)
        assert found[3] > 0.9995 and found[4] < -0.9995


@pytest.mark.parametrize("norm", [1e-2, 1e-6, 1e-12, 1e6])
def test_a_reference_of_any_length_is_compared_by_its_direction(norm: float) -> None:
    """2.4e-7 is one fixed-point step at C = 1: a row rounded to it would be nothing."""
    world = World(n=7, t=1)
    updates = world.updates()
    reference = (norm / 0.5 * updates["h1"]).astype(np.float32)
    outcome = world.run(ReferenceTrust(), updates, reference=reference)
    plain, aggregate = clear(world, updates, ReferenceTrust(), reference)
    assert (cosines(outcome.decision) - cosines(plain)).abs().max() < 0.02
    assert cosine(outcome.aggregate, aggregate) > 0.99
    assert np.linalg.norm(outcome.aggregate) == pytest.approx(np.linalg.norm(aggregate), rel=0.02)


@pytest.mark.parametrize(("sign", "found"), [(-1, 0), (0, 0), (1, 2)])
def test_where_too_few_rows_point_with_the_reference_the_round_ends_as_an_unmasked_one_of_zero(sign, found) -> None:
    """Three must carry a sum; nobody is blamed, nothing is opened, and trust hears what was decided."""
    world = World(n=7, t=1)
    updates = world.updates()
    updates |= {name: -row for name, row in updates.items() if sign == 1 and name not in ("h0", "h1")}
    reference = (sign * world.updates()["h0"]).astype(np.float32)
    outcome = world.run(ReferenceTrust(), updates, reference=reference)
    plain, _ = clear(world, updates, ReferenceTrust(), reference)
    assert outcome.opened is None and outcome.share == 0 and not outcome.aggregate.any()
    assert isinstance(outcome.reason, Unfollowed) and (outcome.reason.found, outcome.reason.required) == (found, 3)
    assert "ReferenceTrust(): found" in str(outcome.reason) and not outcome.faults and not outcome.alarms
    assert [e.weight for e in outcome.decision.evidence] == pytest.approx([e.weight for e in plain.evidence], abs=0.05)
    assert [e.cosine for e in outcome.decision.evidence] == pytest.approx([e.cosine for e in plain.evidence], abs=0.05)


def test_a_reference_that_only_clients_in_quarantine_follow_ends_the_round() -> None:
    """As unmasked: a decision that nobody has a say in is no decision."""
    world = World(n=7, t=1)
    with pytest.raises(RoundAborted) as aborted:
        world.run(ReferenceTrust(), trust=dict.fromkeys(world.names, 0.0), reference=world.updates()["h0"])
    assert isinstance(aborted.value.reason, IsolatingWeights)


def test_a_rule_that_needs_a_reference_says_so() -> None:
    with pytest.raises(RoundAborted) as aborted:
        World(n=7, t=1).run(ReferenceTrust())
    assert isinstance(aborted.value.reason, ConfigurationError)
    assert "the server's own update for ReferenceTrust" in str(aborted.value.reason)


def test_a_rule_that_ignores_the_reference_decides_as_without_one() -> None:
    world = World(n=7, t=1)
    updates = world.updates()
    outcome = world.run(Mean(), updates, reference=updates["h0"])
    assert outcome.opened.decided.weights[0].tolist() == [255] * 7
    expected = np.mean([updates[name].astype(np.float64) for name in world.names], axis=0)
    assert np.abs(outcome.aggregate - expected).max() <= 10 / 2**22 + 0.01 * np.abs(expected).max()


class WrongReference(MaskedClient):
    """Shifts its share of client 3's distance to the reference."""

    def answer_challenge(self, message):
        sent, A = super().answer_challenge(message), len(self.state.accepted)
        old = liars.SketchReply.decode(sent, A, liars.Sizes.of(self.state.dealt.plan)).parts.geometry
        assert old.shape[1] == A * (A - 1) // 2 + A * 18 + A
        return liars.answered(self, sent, A, geometry=liars.plus(old, (old.shape[1] - A + 3,), 10**17))


class NonZeroToReference(MaskedClient):
    """Shares 10^12 in place of the zero that blinds its own distance to the reference."""

    def submit(self, message, update):
        sent = super().submit(message, update)
        word = liars.PARAMETERS.m + self.state.dealt.position
        return liars.resubmitted(
            self, sent, shares=lambda _, share: replace(share, zeros=liars.plus(share.zeros, (word,), 10**12))
        )


def honest_outcome(world: World, **options) -> tuple[MaskedOutcome, MaskedOutcome]:
    """The round of this world, and the one in which all of its clients are honest."""
    updates = world.updates()
    reference = (0.4 * updates["h1"] / np.linalg.norm(updates["h1"])).astype(np.float32)
    everybody = World(n=world.n, t=world.t, seed=world.seed)
    given = {"updates": updates, "reference": reference, **options}
    return world.run(ReferenceTrust(), **given), everybody.run(ReferenceTrust(), **given)


@pytest.mark.parametrize(
    ("liar", "blame"),
    [
        (WrongReference, WrongShare),
        (NonZeroToReference, NonZeroSharing),
        (liars.misdealer(1, words="zeros"), NonZeroSharing),
        (liars.WrongPads, WrongShare),
        (liars.wrong_keys(0), InconsistentShares),
        (liars.WrongDistances, WrongShare),
    ],
)
def test_each_lie_is_its_liars_and_no_product_moves(liar, blame) -> None:
    """Decoded values are exact: those of the clients that are left are the honest round's, bit for bit."""
    outcome, honest = honest_outcome(World(n=7, t=1, make={2: liar}))
    assert {fault.culprit: type(fault) for fault in outcome.faults} == {"h2": blame}
    assert not outcome.alarms
    if liar in (WrongReference, liars.WrongDistances):
        rows = [honest.decision.names.index(name) for name in outcome.decision.names]
        assert (outcome.decision.geometry.reference.inner == honest.decision.geometry.reference.inner[rows]).all()
    assert np.linalg.norm(outcome.aggregate - honest.aggregate) < 0.25 * np.linalg.norm(honest.aggregate)


def test_as_many_liars_about_the_reference_as_decoding_corrects() -> None:
    """n = 9, t = 2 corrects two; a third voids the round."""
    outcome, honest = honest_outcome(World(n=9, t=2, make=dict.fromkeys((5, 6), WrongReference)))
    assert {fault.culprit for fault in outcome.faults} == {"h5", "h6"}
    rows = [honest.decision.names.index(name) for name in outcome.decision.names]
    assert (outcome.decision.geometry.reference.inner == honest.decision.geometry.reference.inner[rows]).all()
    with pytest.raises(RoundAborted):
        honest_outcome(World(n=9, t=2, make=dict.fromkeys((5, 6, 7), WrongReference)))


def test_coordinate_rules_on_group_means_look_at_no_reference() -> None:
    world = World(n=9, t=1)
    updates = world.updates()
    outcomes = [world.run(Median(f=1), updates, groups=3, reference=r) for r in (None, updates["h0"])]
    expected = np.mean([updates[name].astype(np.float64) for name in world.names], axis=0)
    for outcome in outcomes:
        assert outcome.opened.means.shape == (3, world.d)
        assert np.linalg.norm(outcome.aggregate - expected) < 0.4 * np.linalg.norm(expected)
    assert np.linalg.norm(outcomes[0].aggregate - outcomes[1].aggregate) < 0.4 * np.linalg.norm(expected)


def test_a_client_that_lives_for_one_message_takes_the_round_up_where_it_was() -> None:
    world = World(n=5, t=1)
    world.run(Mean(), reference=world.updates()["h1"])
    for client in world.clients.values():
        assert client.state is not None and client.state.dealt.plan.masking.has_reference
        kept = recall(remember(client.state), client._run_key)
        assert kept.dealt.plan == client.state.dealt.plan and remember(kept) == remember(client.state)


@pytest.mark.parametrize("strict", [False, True])
def test_drop_outs_at_every_step(strict: bool) -> None:
    gone = {1: liars.silent_from("submission"), 4: liars.silent_from("challenge")}
    gone |= {} if strict else {6: liars.silent_from("unmask")}
    outcome, honest = honest_outcome(World(n=8, t=1, make=gone), strict=strict)
    assert {fault.culprit for fault in outcome.faults} == {f"h{i}" for i in gone}
    assert outcome.decision.names == tuple(n for n in honest.decision.names if n not in ("h1", "h4"))
    weights = outcome.opened.decided.weights[0]
    assert [int(i) for i in np.flatnonzero(weights == 0)] == [1, 4]


def test_rounds_with_and_without_a_reference_audit_each_other() -> None:
    world, previous = World(n=7, t=1), None
    reference = world.updates()["h1"]
    for round in (1, 2, 3, 4):
        rule, given = (ReferenceTrust(), reference) if round in (2, 3) else (Mean(), None)
        outcome = world.run(rule, previous=previous, round=round, reference=given, strict=round == 3)
        assert not outcome.faults and not outcome.alarms
        previous = outcome.opened


def test_a_reference_that_cannot_be_one_is_the_callers_mistake() -> None:
    world = World(n=5, t=1)
    for bad in (np.ones(world.d - 1), np.full(world.d, np.nan)):
        with pytest.raises(ConfigurationError, match="reference: found"):
            world.run(ReferenceTrust(), reference=bad.astype(np.float32))
    plan, row = world.planned(ReferenceTrust(), 1, None, np.ones(world.d, np.float32))
    assert row is not None and "salt" not in repr(row)
    with pytest.raises(RoundAborted, match="the row with the digest"):
        world.run(ReferenceTrust(), plan=plan)
