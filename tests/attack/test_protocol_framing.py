"""Liars that make the round void or the honest look guilty: each worked against rounds whose bounds they kept."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flower_robust.aggregation import FoolsGold, GeometricMedian, Geometry, Mean, Median, NormClipping
from flower_robust.errors import (
    Certainty,
    ConfigurationError,
    FaultyServer,
    IsolatingWeights,
    NotEnoughShares,
    RoundAborted,
    TooFewRows,
)
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.thresholds import echoes_needed, survivable, survivable_strict
from flower_robust.protocol import server_decide
from flower_robust.protocol.client import MaskedClient
from flower_robust.protocol.client_unmask import carriers
from flower_robust.protocol.decide import decide
from flower_robust.protocol.replies import SharesReply, SketchReply
from flower_robust.protocol.server_decide import integer_weights
from flower_robust.protocol.shown import Offer
from flower_robust.protocol.sizes import Sizes
from tests import protocol_liars as liars
from tests.attack.test_protocol_cryptanalysis import RootOfTwo
from tests.property.test_protocol_decide import rows_of
from tests.protocol_world import World


def ended(world: World, rule, **terms):
    """The outcome, or how it was aborted: both have faults."""
    try:
        return world.run(rule, **terms)
    except RoundAborted as aborted:
        return aborted


@pytest.mark.parametrize(("n", "t", "who"), [(7, 1, (2, 5)), (11, 2, (1, 4, 7))])
@pytest.mark.parametrize("rule", [Mean(), NormClipping(f=1)])
def test_as_many_roots_as_the_round_corrects_get_nobody_else_named(n, t, who, rule):
    """Every honest distance to a root looks impossible: e of them were more than max(f, t) contradictions."""
    for seed in range(2):
        outcome = ended(World(n=n, t=t, seed=seed, make=dict.fromkeys(who, RootOfTwo)), rule)
        proven = {fault.culprit for fault in outcome.faults if fault.certainty is Certainty.PROVEN}
        assert proven <= {f"h{i}" for i in who}


@pytest.mark.parametrize(
    ("rule", "terms"),
    [(Mean(), {}), (NormClipping(f=0), {}), (GeometricMedian(), {}), (FoolsGold(), {}), (Median(), {"groups": 1})],
)
@pytest.mark.parametrize("guilty", [5, 3])
def test_a_round_that_is_left_with_too_few_ends_in_the_error_tree(rule, terms, guilty):
    with pytest.raises(RoundAborted) as aborted:
        World(n=5, t=1, make=dict.fromkeys(range(guilty), liars.NormLiar)).run(rule, **terms)
    assert isinstance(aborted.value.reason, IsolatingWeights)
    assert str(aborted.value.reason) == f"weights: found {5 - guilty} clients that carry the sum, required 3"
    assert {fault.culprit for fault in aborted.value.faults} == {f"h{i}" for i in range(guilty)}


class Careless(Mean):
    """A rule that does not look at how many rows it gets."""

    def weights(self, geometry):
        return geometry.squared_norms.new_full((geometry.n,), 1 / geometry.n)


def test_a_rule_that_checks_nothing_is_not_asked_about_nobody():
    with pytest.raises(TooFewRows):
        decide(Geometry.of(rows_of(0)).subset([]), Careless(), [], [])


@pytest.mark.parametrize("rule", [Mean(), FoolsGold(), NormClipping(f=0), GeometricMedian(), NormClipping(f=2)])
def test_no_rule_decides_about_nobody(rule):
    geometry = Geometry.of(rows_of(0)).subset([])
    with pytest.raises(TooFewRows):
        decide(geometry, rule, [], [])
    with pytest.raises(TooFewRows):
        rule.weights(geometry)


class ShiftedNorms(MaskedClient):
    """Answers with wrong shares of everybody else's norms."""

    def answer_challenge(self, message):
        sent, sizes = super().answer_challenge(message), Sizes.of(self.state.dealt.plan)
        accepted = self.state.accepted
        A, geometry = len(accepted), SketchReply.decode(sent, len(accepted), sizes).parts.geometry
        for column in (c for c, i in enumerate(accepted) if i != self.state.dealt.position):
            for part in range(PARAMETERS.m):
                geometry = liars.plus(geometry, (A * (A - 1) // 2 + column * PARAMETERS.m + part,), 10**17)
        return liars.answered(self, sent, A, geometry=geometry)


@pytest.mark.parametrize("n", [3, 4])
def test_where_no_wrong_answer_is_corrected_opened_values_accuse_and_prove_nothing(n):
    """n = 3, t = 1: one liar's shares gave both others a norm beyond the bound, and trust was lost for good."""
    outcome = ended(World(n=n, t=1, make={n - 1: ShiftedNorms}), Mean())
    assert len(outcome.faults) == (2 if n == 3 else 0), "with one answer to spare the round is void and blames nobody"
    assert all(fault.certainty is Certainty.ACCUSED for fault in outcome.faults)
    guilty = ended(World(n=n, t=1, make={0: liars.ChangedMind}), Mean())
    assert {(f.culprit, f.certainty) for f in guilty.faults} == {("h0", Certainty.PROVEN)}
    signed = type("TooHigh", (liars.NormLiar,), {"factor": 30.0})
    guilty = ended(World(n=n, t=1, make={0: signed}), Mean())
    assert {(f.culprit, f.certainty) for f in guilty.faults} == {("h0", Certainty.PROVEN)}


class ShiftedFreshNorms(MaskedClient):
    """Answers the recheck with wrong shares of everybody's fresh norms."""

    def recheck(self, message):
        plan, A = self.state.dealt.plan, len(self.state.accepted)
        sent = SharesReply.decode("recheck-reply", super().recheck(message), A, PARAMETERS.m, keys=A)
        wrong = np.array(sent.shares)
        for p, q in enumerate(PARAMETERS.primes):
            wrong[p] = (wrong[p].astype(np.uint64) + 10**8) % np.uint64(q)
        keys = bytes(sent.pad_keys)
        return SharesReply.sign(self.identity, "recheck-reply", plan.digest, sent.request, wrong, keys).encode()


def test_a_recheck_without_slack_accuses_too(monkeypatch):
    monkeypatch.setattr(server_decide, "contradictions", lambda *_: [])
    outcome = ended(World(n=4, t=1, make={2: liars.both(RootOfTwo, ShiftedFreshNorms)}), Mean())
    assert outcome.faults and {fault.certainty for fault in outcome.faults} == {Certainty.ACCUSED}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.just(0.0) | st.floats(1e-100, 1), min_size=1, max_size=12),
    st.integers(1, 12),
    st.floats(1, 1e9),
    st.integers(1, 255),
)
def test_no_weight_is_so_large_that_fewer_than_the_fewest_carry_the_sum(weights, fewest, outlier, cap):
    weights[0] *= outlier
    found = integer_weights(weights, fewest, cap)
    above = above_a_sixth(weights)
    assert set(found) <= {0, 85, 170, 255}
    assert carriers(np.array(found, np.uint8), cap) >= min(fewest, (above > 0).sum())
    order = np.argsort(above, kind="stable")
    assert (np.diff(np.array(found)[order]) >= 0).all()
    assert cap < 3 or ((np.array(found) > 0) == (above > 0)).all()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=12), st.integers(1, 12), st.floats(0.01, 10))
def test_no_other_thirds_with_everybody_in_them_are_nearer(weights, fewest, scale):
    above, found = above_a_sixth(weights), np.array(integer_weights(weights, fewest, 4)) / 85
    assert integer_weights([7 * w for w in weights], fewest, 4) == (85 * found).tolist()
    other = np.rint(3 * np.minimum(1, above / scale))
    if ((other > 0) == (above > 0)).all():
        assert angle(found, above) <= angle(other, above) + 1e-5


def above_a_sixth(weights: list[float]) -> np.ndarray:
    """The weights; 0 for those below a sixth of the median positive one."""
    values = np.array(weights)
    return np.where(values >= np.median(values[values > 0]) / 6, values, 0.0) if values.any() else values


def angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))


def test_one_far_above_the_others_silences_none_of_them() -> None:
    assert integer_weights([1e6, 1.05, 1.02, 1, 0.99, 0.95, 0.9], 3, 4) == [255] + [85] * 6


def test_sizes_survive_the_rounding() -> None:
    """Four hospitals, three of which must carry the sum: declared rows between half and twice the median."""
    assert integer_weights([0.5, 0.66, 1.34, 1.55], 3, 4) == [85, 85, 255, 255]


def test_a_vanishing_weight_is_no_company() -> None:
    assert integer_weights([1.0] * 8 + [1e-9] * 2, 9, 4) == [255] * 8 + [0] * 2
    world = World(n=10, t=4)
    updates = world.updates(spread=0.1)
    for name in ("h0", "h1"):
        updates[name] = -updates["h5"]
    with pytest.raises(RoundAborted, match="found 8 clients that carry the sum, required 9"):
        world.run(GeometricMedian(f=2), updates)


@pytest.mark.parametrize("where", ["centre", "direction"])
def test_one_client_at_the_centre_neither_voids_the_round_nor_carries_it(where):
    for seed in range(2):
        world = World(n=10, t=2, seed=seed)
        updates = world.updates(spread=0.3)
        common = np.random.default_rng(seed).standard_normal(world.d)
        updates["h3"] = (common * 0.5 / np.linalg.norm(common) / np.sqrt(1.09)).astype(np.float32)
        if where == "centre":
            updates["h3"] = np.mean([updates[name] for name in world.names if name != "h3"], axis=0)
        row = world.run(GeometricMedian(f=1), updates).opened.decided.weights[0]
        assert row[3] == 255 and (row > 0).all()


def quiet(to: int) -> type[MaskedClient]:
    """Misdeals to one client and does not answer the dispute."""
    return type("Quiet", (liars.misdealer(to),), {"answer_dispute": lambda self, message: None})


@pytest.mark.parametrize(("n", "t", "who"), [(9, 2, {7: quiet(0), 8: quiet(1)}), (10, 2, {9: liars.misdealer(0)})])
def test_who_gave_no_share_may_still_echo_so_liars_do_not_void_a_strict_round(n, t, who):
    """Each silent misdealer takes one honest client out of the sum, and both of them were not asked for echoes."""
    away = {i: liars.silent_from("challenge") for i in range(1, 4)} if n == 10 else {}
    outcome = World(n=n, t=t, make={**who, **away}).run(Mean(), strict=True)
    assert not outcome.alarms and {fault.culprit for fault in outcome.faults} <= {f"h{i}" for i in {**who, **away}}


@pytest.mark.parametrize(("away", "opened"), [(3, True), (4, False)])
def test_a_strict_round_survives_what_its_table_says_and_no_more(away, opened):
    n, t = 10, 2
    assert max(drop_outs for drop_outs, _ in survivable_strict(n, t)) == 3 and (5, 0) in survivable(n, t)
    make = {i: liars.silent_from("challenge") for i in range(away)}
    if opened:
        assert World(n=n, t=t, make=make).run(Mean(), strict=True).opened
        return
    with pytest.raises(RoundAborted) as aborted:
        World(n=n, t=t, make=make).run(Mean(), strict=True)
    assert isinstance(aborted.value.reason, NotEnoughShares)
    assert (aborted.value.reason.needed, aborted.value.reason.had) == (echoes_needed(n, t, 0), 6)


def test_a_model_whose_sums_no_message_can_hold_is_refused_by_server_and_client():
    with pytest.raises(ConfigurationError, match=r"d: found 536870912, required d·groups below 2\^29"):
        World(n=9, t=1, d=1 << 29).plan(Mean())
    with pytest.raises(ConfigurationError, match="at most 178952874"):
        World(n=9, t=1, d=1 << 28).plan(Median(f=1), groups=3)
    World(n=9, t=1, d=(1 << 29) - PARAMETERS.N).plan(Mean())
    world = World(n=5, t=1)
    plan = world.plan(Mean())
    huge = replace(plan, masking=replace(plan.masking, d=1 << 29))
    with pytest.raises(FaultyServer, match="d·groups"):
        world.clients["h0"].submit(Offer(huge, world.keys).encode(), world.updates()["h0"])
