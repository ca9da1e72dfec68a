"""Laws of trust: bounded, order-free, faster lost than gained, proven lies stay."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flower_robust.errors import Certainty, ConfigurationError
from flower_robust.trust import BetaTrust, Evidence, Reputation, TrustState

NAMES = tuple("ABCDEFG")
TRUST = BetaTrust()

MEASURED = st.builds(
    Evidence,
    name=st.just(""),
    certainty=st.sampled_from([None, None, None, Certainty.ACCUSED, Certainty.PROVEN, Certainty.SILENT]),
    weight=st.floats(0, 1),
    distance=st.floats(0, 1e12),
    cosine=st.floats(-1, 1),
)
ABSENT = st.builds(Evidence, name=st.just(""), certainty=st.sampled_from(Certainty))
ROUND = st.lists(st.one_of(MEASURED, ABSENT), min_size=1, max_size=len(NAMES)).map(
    lambda found: [replace(evidence, name=name) for evidence, name in zip(found, NAMES, strict=False)]
)


def after(rounds: list[list[Evidence]], trust: BetaTrust = TRUST) -> TrustState:
    state = trust.init(NAMES)
    for evidences in rounds:
        state = trust.update(state, evidences)
    return state


def agreeing(outlier: str = "", cosine: float = 0.7, distance: float = 1.0) -> list[Evidence]:
    """A round in which everybody agrees, except perhaps the outlier."""
    usual = [Evidence(name, None, 1 / 7, 1.0, 0.7) for name in NAMES]
    return [replace(e, cosine=cosine, distance=distance) if e.name == outlier else e for e in usual]


@settings(max_examples=40, deadline=None)
@given(st.lists(ROUND, max_size=8))
def test_weights_are_in_the_unit_interval_and_zero_in_quarantine(rounds: list[list[Evidence]]) -> None:
    state = after(rounds)
    weights = dict(zip(NAMES, TRUST.weights(state, NAMES), strict=True))
    assert all(0 <= weight <= 1 for weight in weights.values())
    assert {name for name, weight in weights.items() if weight == 0} >= set(TRUST.quarantined(state))
    assert set(TRUST.excluded(state)) <= set(TRUST.quarantined(state))


@settings(max_examples=40, deadline=None)
@given(ROUND, st.randoms(use_true_random=False))
def test_the_order_of_evidence_does_not_matter(evidences: list[Evidence], random: object) -> None:
    shuffled = list(evidences)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert after([shuffled]) == after([evidences])


@settings(max_examples=40, deadline=None)
@given(ROUND)
def test_no_evidence_no_change(evidences: list[Evidence]) -> None:
    heard = {evidence.name for evidence in evidences}
    state = after([evidences])
    assert all(state[name] == TRUST.init(NAMES)[name] for name in NAMES if name not in heard)


@settings(max_examples=40, deadline=None)
@given(st.lists(ROUND, max_size=6), st.lists(ROUND, max_size=6))
def test_a_proven_lie_stays_until_a_person_pardons(before: list[list[Evidence]], later: list[list[Evidence]]) -> None:
    state = after([*before, [Evidence("A", Certainty.PROVEN)], *later])
    assert "A" in TRUST.excluded(state)
    assert TRUST.weights(state, ["A"]) == [0.0]
    pardoned = TRUST.pardon(state, "A")
    assert "A" not in TRUST.quarantined(pardoned)
    assert pardoned["A"].mean == TRUST.init(["A"])["A"].mean


@settings(max_examples=40, deadline=None)
@given(st.lists(ROUND, max_size=6))
def test_joining_changes_nobody_else(rounds: list[list[Evidence]]) -> None:
    state = after(rounds)
    joined = TRUST.join(state, ["new", *NAMES])
    assert {name: joined[name] for name in NAMES} == state.reputations
    assert joined["new"] == TRUST.init(["new"])["new"]


def test_agreement_is_worth_more_than_opposition() -> None:
    state = after([agreeing("A", cosine=-0.9)] * 10)
    assert state["A"].mean < TRUST.quarantine < state["B"].mean


def test_a_single_odd_round_costs_no_quarantine() -> None:
    state = after([agreeing()] * 10 + [agreeing("A", cosine=-1.0, distance=100.0)])
    assert "A" not in TRUST.quarantined(state)


@pytest.mark.parametrize("period", [1, 2, 5, 10])
def test_trust_is_lost_faster_than_it_is_gained(period: int) -> None:
    attacks, behaves = [agreeing("A", cosine=-1.0)] * period, [agreeing()] * period
    state = after([agreeing()] * 20 + (attacks + behaves) * (40 // period))
    assert state["A"].mean < 0.65
    assert state["B"].mean > 0.9


def test_an_outlier_earns_it_back() -> None:
    state = after([agreeing("A", cosine=-1.0)] * 20)
    assert TRUST.weights(state, ["A"]) == [0.0]
    for _ in range(40):
        state = TRUST.update(state, agreeing())
    assert TRUST.weights(state, ["A"])[0] > 0.7


@settings(max_examples=40, deadline=None)
@given(st.floats(-1, 1), st.floats(1, 1e9))
def test_distance_alone_never_quarantines(cosine: float, distance: float) -> None:
    state = after([agreeing("A", cosine=max(cosine, 0.3), distance=distance)] * 60)
    assert state["A"].mean > 0.55


def test_where_nobody_agrees_trust_hardly_moves() -> None:
    def quiet(cosine: float) -> list[Evidence]:
        return [Evidence(name, None, 1 / 7, 1.0, cosine if name == "A" else -0.2) for name in NAMES]

    assert after([quiet(-1.0)] * 10)["A"].mean > 0.6


def test_who_was_left_out_has_no_say_in_what_is_usual() -> None:
    def turned(weight: float) -> list[Evidence]:
        """Liars that were left out now turn with three honest ones; two honest ones point elsewhere, as before."""
        cosines = {"A": -0.8, "B": -0.8, "C": -0.1, "D": 0.4, "E": 0.4}
        honest = [Evidence(name, weight=0.2, distance=1.0, cosine=cosine) for name, cosine in cosines.items()]
        return honest + [Evidence(name, weight=weight, distance=1.0, cosine=0.7) for name in "FG"]

    assert TRUST.quarantined(after([turned(0.0)] * 30)) == ()
    assert TRUST.quarantined(after([turned(0.2)] * 30)) == ("A", "B")


def test_what_faults_cost() -> None:
    def cost(certainty: Certainty) -> float:
        before = after([agreeing()] * 10)
        return before["A"].mean - TRUST.update(before, [Evidence("A", certainty)])["A"].mean

    assert 0 < cost(Certainty.SILENT) < cost(Certainty.ACCUSED) < cost(Certainty.PROVEN)


def test_silence_never_falls_below_ignorance_nor_heals() -> None:
    silent = after([[Evidence("A", Certainty.SILENT)]] * 500)
    assert 0.49 < silent["A"].mean < 0.51
    opposed = after([agreeing("A", cosine=-0.9)] * 3)
    assert TRUST.update(opposed, [Evidence("A", Certainty.SILENT)])["A"].mean <= opposed["A"].mean


def test_accusations_add_up_slowly() -> None:
    accused = [replace(e, certainty=Certainty.ACCUSED) if e.name == "A" else e for e in agreeing()]
    assert 0.5 < after([accused] * 50)["A"].mean < after([agreeing()] * 50)["A"].mean


@pytest.mark.parametrize("evidences", [[Evidence("stranger")], [Evidence("A"), Evidence("A")]])
def test_evidence_about_strangers_or_twice_is_refused(evidences: list[Evidence]) -> None:
    with pytest.raises(ConfigurationError):
        TRUST.update(TRUST.init(NAMES), evidences)


@pytest.mark.parametrize(
    "option",
    [
        {"memory": 0.0}, {"memory": 1.0}, {"severity": 0.5}, {"severity": float("nan")}, {"quarantine": 0.5},
        {"readmit": 0.4}, {"accusation": 1.0}, {"prior": (0.0, 1.0)},
    ],
)  # fmt: skip
def test_options_that_cannot_work_are_named(option: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        BetaTrust(**option)  # type: ignore[arg-type]


def test_the_mean_is_the_mean() -> None:
    assert Reputation(3.0, 1.0).mean == 0.75
