"""Laws of the masked round: exact sums, any drop-outs, and the same decisions as in the clear."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flower_robust.aggregation import (
    CenteredClipping,
    GeometricMedian,
    Geometry,
    Mean,
    Median,
    MultiKrum,
    NearestNeighborMixing,
    Weighting,
)
from flower_robust.errors import NotEnoughShares, RoundAborted
from flower_robust.masking import ring_torch
from flower_robust.protocol import server_challenge, server_inspect, server_open
from flower_robust.protocol.client_unmask import carriers
from flower_robust.protocol.decide import decide
from flower_robust.protocol.server_decide import measure, weigh
from flower_robust.protocol.server_states import ServerRound
from flower_robust.protocol.shown import Offer
from tests.protocol_liars import silent_from
from tests.protocol_world import SERVER, World

STEP = 1 / 2**22


def mean_of(world: World, updates: dict[str, np.ndarray], weights: np.ndarray) -> np.ndarray:
    rows = np.stack([updates[name].astype(np.float64) for name in world.names])
    return weights.astype(np.float64) @ rows / weights.sum()


@pytest.fixture(scope="module")
def decided():
    world = World(n=6, d=5000, t=1)
    plan = world.plan(Mean())
    round, offer = ServerRound(plan, world.roster, world.keys, SERVER), Offer(plan, world.keys).encode()
    updates = world.updates()
    submissions = {
        i: server_challenge.verify_submission(round, name, world.clients[name].submit(offer, updates[name]))
        for i, name in enumerate(world.names)
    }
    challenged = server_challenge.issue_challenge(round, submissions)
    replies = {}
    for i, name in enumerate(world.names):
        reply = world.clients[name].answer_challenge(server_challenge.challenge_for(challenged, i))
        replies[i] = server_inspect.verify_sketch_reply(challenged, name, reply)
    measured = measure(server_inspect.inspect(challenged, replies), bytes(32))
    return world, updates, weigh(measured, Mean(), dict.fromkeys(world.names, 1.0))[0]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([0, 85, 170, 255]), min_size=6, max_size=6), st.data())
def test_the_opened_sum_is_the_integer_weighted_sum_for_every_subset_and_weight(decided, row, data):
    world, updates, base = decided
    weights = np.array([row], np.uint8)
    if carriers(weights[0], 4) < 3:
        return
    chosen = replace(base, weights=weights)
    request = server_open.unmask_request(chosen)
    responders = data.draw(st.sets(st.integers(0, 5), min_size=2))
    states = {i: world.clients[world.names[i]].state for i in responders}
    replies = {}
    for i in responders:
        client = world.clients[world.names[i]]
        replies[i] = server_open.verify_unmask_reply(chosen, world.names[i], client.unmask(request))
        client.state = states[i]
    opened = server_open.open_sum(chosen, replies, bytes(32))
    for device in ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]:
        elsewhere = server_open.open_sum(chosen, replies, bytes(32), ring_torch.opener(torch.device(device)))
        assert (elsewhere.sums == opened.sums).all() and (elsewhere.means == opened.means).all()
    steps = np.abs(opened.means[0] - mean_of(world, updates, weights[0])) / STEP
    assert steps.max() <= 0.5 + 8 + 0.5, "rounding and noise are at most 8.5 steps of C/2^22 each"


STEPS = ("submission", "challenge", "unmask")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([None, None, None, *STEPS]), min_size=7, max_size=7))
def test_any_pattern_of_drop_outs_gives_the_exact_result_or_an_abort_with_numbers(pattern):
    """t = 1: 3 submissions, 3 sketch replies (2t + 1) and 2 unmask replies (t + 1) are enough; nothing less opens."""
    makers = {i: silent_from(step) for i, step in enumerate(pattern) if step is not None}
    world = World(n=7, d=500, t=1, make=makers)
    updates = world.updates()
    left = {step: sum(p is None or STEPS.index(p) > k for p in pattern) for k, step in enumerate(STEPS)}
    needed = {"submission": 3, "challenge": 3, "unmask": 2}
    if all(left[step] >= needed[step] for step in STEPS):
        outcome = world.run(Mean(), updates)
        weights = np.array([255 * (p not in ("submission", "challenge")) for p in pattern])
        assert (outcome.opened.decided.weights[0] == weights).all(), "who discloses no pad keys leaves the sum, alone"
        assert np.abs(outcome.aggregate - mean_of(world, updates, weights)).max() <= 9.5 * STEP
        assert {fault.culprit for fault in outcome.faults} == {f"h{i}" for i in makers}
        return
    with pytest.raises(RoundAborted) as aborted:
        world.run(Mean(), updates)
    reason = aborted.value.reason
    assert isinstance(reason, NotEnoughShares)
    first = next(step for step in STEPS if left[step] < needed[step])
    assert (reason.needed, reason.had) == (needed[first], left[first])


def hospital_updates(world: World, seed: int, iid: bool) -> dict[str, np.ndarray]:
    """Honest rows of different lengths around one direction (or three), and two attackers far off."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((1 if iid else 3, world.d))
    out = {}
    for i, name in enumerate(world.names):
        row = centres[i % len(centres)] + rng.uniform(0.2, 0.8) * rng.standard_normal(world.d)
        row = -3 * row if i < 2 else row
        out[name] = (rng.uniform(0.3, 0.6) * row / np.linalg.norm(row)).astype(np.float32)
    return out


RULES = [MultiKrum(f=2), NearestNeighborMixing(f=2) >> MultiKrum(f=2), GeometricMedian(f=2), CenteredClipping(f=2)]


@pytest.mark.parametrize("iid", [True, False])
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_masked_and_unmasked_rounds_choose_alike(rule: Weighting, iid: bool):
    for seed in range(12):
        world = World(n=9, d=8000, t=2, seed=seed)
        updates = hospital_updates(world, seed, iid)
        outcome = world.run(rule, updates, round=seed + 1)
        rows = torch.from_numpy(np.stack([updates[name] for name in world.names]))
        clear = decide(Geometry.of(rows), rule.reseeded(seed + 1), world.names, [1.0] * world.n)
        masked, plain = outcome.decision.rule_weights, clear.rule_weights
        assert masked is not None and plain is not None
        if (plain == 0).any() and len(set(plain[plain > 0].tolist())) == 1:
            check_choice(masked, plain, Geometry.of(rows))
        else:
            within = 0.021  # the sketch's error; one exchanged near-tie among NNM's 7 neighbours moves 1/49
            assert torch.allclose(masked, plain, atol=within), "weights differ by more than the sketch's error"
        clipped = float(plain.sum())
        assert float(masked.sum()) == pytest.approx(clipped, abs=0.02)


def check_choice(masked: torch.Tensor, plain: torch.Tensor, geometry: Geometry) -> None:
    """The same set, or sets whose exchanged members' scores differ by less than the sketch's error."""
    left, right = set(plain.nonzero().flatten().tolist()), set(masked.nonzero().flatten().tolist())
    if left == right:
        return
    nearest = torch.sort(geometry.squared_distances, dim=1).values[:, 1 : geometry.n - 3].sum(1)
    for a, b in zip(sorted(left - right), sorted(right - left), strict=True):
        assert abs(nearest[a] - nearest[b]) <= 0.06 * nearest[a], "not a tie: the sketch chose someone else"


def test_the_geometry_is_the_clear_one_within_the_sketchs_error():
    world = World(n=9, d=60_000, t=2)
    updates = hospital_updates(world, 0, iid=True)
    outcome = world.run(MultiKrum(f=2), updates)
    clear = Geometry.of(torch.from_numpy(np.stack([updates[name] for name in world.names])))
    off = ~torch.eye(9, dtype=torch.bool)
    ratio = (outcome.decision.geometry.squared_distances / clear.squared_distances)[off]
    assert (ratio - 1).abs().max() < 0.1
    assert (outcome.decision.geometry.squared_norms / clear.squared_norms - 1).abs().max() < 0.1


def test_a_clipping_rules_missing_mass_is_mass_on_zero():
    world = World(n=7, d=4000, t=1)
    updates = world.updates(norm=0.9)
    outcome = world.run(CenteredClipping(f=1, radius=0.2), updates)
    assert outcome.decision.weights is not None
    weights = outcome.decision.weights.numpy()
    assert weights.sum() < 0.9
    expected = weights @ np.stack([updates[name].astype(np.float64) for name in world.names])
    assert np.linalg.norm(outcome.aggregate - expected) <= 0.01 * np.linalg.norm(expected) + 1e-4


def test_coordinate_rules_see_group_means_of_disjoint_groups():
    world = World(n=9, t=1)
    updates = world.updates()
    outcome = world.run(Median(f=1), updates, groups=3)
    groups = outcome.opened.decided.weights
    assert ((groups > 0).sum(axis=0) == 1).all() and ((groups > 0).sum(axis=1) == 3).all()
    means = np.stack([mean_of(world, updates, row) for row in groups])
    assert np.abs(outcome.aggregate - np.median(means, axis=0)).max() <= 10 * STEP


def test_trust_and_quarantine_weigh_the_masked_sum():
    world = World(n=7, t=1)
    updates, trust = world.updates(), dict.fromkeys(world.names, 1.0) | {"h0": 0.6, "h1": 0.0}
    outcome = world.run(Mean(), updates, trust)
    weights = outcome.opened.decided.weights[0]
    assert weights.tolist() == [170, 0, 255, 255, 255, 255, 255]
    assert np.abs(outcome.aggregate - mean_of(world, updates, weights)).max() <= 10 * STEP


def test_three_rounds_of_a_run_with_audits_and_a_late_return():
    world = World(n=7, t=1)
    previous, absent = None, world.clients["h5"]
    for round in (1, 2, 3):
        world.clients["h5"] = silent_client(absent) if round == 2 else absent
        outcome = world.run(MultiKrum(f=1), previous=previous, round=round, strict=round == 3)
        assert {fault.culprit for fault in outcome.faults} == ({"h5"} if round == 2 else set())
        assert not outcome.alarms
        previous = outcome.opened


def silent_client(client):
    """Stands in for a client that is away for a round."""

    class Away:
        def submit(self, message, update):
            return None

    return Away()
