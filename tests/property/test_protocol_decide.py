"""Laws of the decision: what geometry says is what the rows say; trust multiplies and never inflates."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from flower_robust.aggregation import (
    CenteredClipping,
    CompanyFilter,
    GeometricMedian,
    Geometry,
    Krum,
    Mean,
    Median,
    MultiKrum,
    NearestNeighborMixing,
    NormClipping,
    ReferenceTrust,
    Rule,
    StrangerFilter,
    TrimmedMean,
    Weighting,
    weighted_sum,
)
from flower_robust.errors import BadSignature, Certainty, NoReply, TooFewRows
from flower_robust.protocol.decide import (
    cosines_to_others,
    decide,
    decide_rows,
    distances_to_sum,
    fault_evidence,
    with_faults,
)
from flower_robust.trust import Evidence

WEIGHTINGS = [
    Mean(), Krum(f=1), MultiKrum(f=1), GeometricMedian(f=1), NearestNeighborMixing(f=1) >> MultiKrum(f=1),
    CenteredClipping(f=1), NormClipping(f=1),
]  # fmt: skip
SEEDS = st.integers(0, 2**32 - 1)


def rows_of(seed: int, n: int = 7, d: int = 20) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.rand(n, 1, generator=generator, dtype=torch.float64) * 3
    return lengths * torch.randn(n, d, generator=generator, dtype=torch.float64) + 0.3


def trust_of(seed: int, n: int = 7) -> list[float]:
    found: list[float] = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist()
    return found


def names_of(n: int) -> list[str]:
    return [f"h{index}" for index in range(n)]


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.booleans())
def test_distances_to_the_sum_are_those_of_the_rows(seed: int, whole: bool) -> None:
    rows, weights = rows_of(seed), torch.tensor(trust_of(seed), dtype=torch.float64)
    weights = weights / weights.sum() if whole else weights / 7
    expected = torch.linalg.vector_norm(rows - weights @ rows, dim=1)
    torch.testing.assert_close(distances_to_sum(Geometry.of(rows), weights), expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_cosines_are_those_of_the_rows(seed: int) -> None:
    rows = rows_of(seed)
    heard = torch.tensor(trust_of(seed), dtype=torch.float64).round()
    for h in (torch.ones(7, dtype=torch.float64), heard):
        directions = h[:, None] * rows / rows.norm(dim=1, keepdim=True)
        expected = torch.cosine_similarity(rows, directions.sum(0) - directions)
        torch.testing.assert_close(cosines_to_others(Geometry.of(rows), h), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rule", [MultiKrum(f=1), Median()], ids=repr)
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_from_quarantine_nobody_turns_the_centre(rule: Rule, seed: int) -> None:
    rows, trust = rows_of(seed), [1.0] * 5 + [0.0] * 2
    copies = torch.cat([rows[:5], rows[:1].expand(2, -1)])
    others = torch.cat([rows[:5], -rows[:1].expand(2, -1)])
    seen = [decide_rows(sent, rule, names_of(7), trust)[1].evidence[:5] for sent in (rows, others, copies)]
    before, *after = ([evidence.cosine for evidence in found] for found in seen)
    for found in after:
        assert found == pytest.approx(before, rel=1e-6, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.floats(1e-3, 1e3))
def test_shouting_does_not_turn_the_centre(seed: int, factor: float) -> None:
    rows = rows_of(seed)
    louder = rows.clone()
    louder[0] *= factor
    before, after = cosines_to_others(Geometry.of(rows)), cosines_to_others(Geometry.of(louder))
    torch.testing.assert_close(before, after, rtol=1e-5, atol=1e-5)


def unaccused(geometry: Geometry, rule_weights: torch.Tensor | None) -> torch.Tensor:
    """The cosines of the evidence: those whom the rule keeps are cleared, up to the usual, of what the others say."""
    everybody = cosines_to_others(geometry)
    if rule_weights is None or 2 * int((rule_weights > 0).sum()) < geometry.n:
        return everybody
    kept = rule_weights > 0
    among_kept, usual = cosines_to_others(geometry, kept.double()), everybody[kept].quantile(0.5)
    pairs = zip(everybody.tolist(), among_kept.tolist(), kept.tolist(), strict=True)
    return torch.tensor([max(c, min(k, float(usual))) if stays else c for c, k, stays in pairs], dtype=torch.float64)


def test_who_is_left_out_accuses_nobody_who_stays() -> None:
    rows = torch.cat([rows_of(0, n=1) + 0.3 * rows_of(1, n=5), -20 * rows_of(0, n=1) + rows_of(2, n=1)])
    _, decision = decide_rows(rows, StrangerFilter(1), names_of(6), [1.0] * 6)
    assert decision.rule_weights is not None and decision.rule_weights[5] == 0
    seen = torch.tensor([evidence.cosine for evidence in decision.evidence], dtype=torch.float64)
    before = cosines_to_others(decision.geometry)
    torch.testing.assert_close(seen, unaccused(decision.geometry, decision.rule_weights))
    assert (seen >= before).all() and (seen[:5] > before[:5]).any() and seen[5] == before[5]


@pytest.mark.parametrize("rule", [CompanyFilter(2), TrimmedMean(2)], ids=repr)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_to_be_against_who_is_in_quarantine_is_no_fault(rule: Rule, seed: int) -> None:
    unit = lambda rows: rows / rows.norm(dim=1, keepdim=True)  # noqa: E731
    rare, rows = unit(torch.randn(11, 4000, generator=torch.Generator().manual_seed(seed)).double()).split([1, 10])
    rows[:2] = unit(0.8**0.5 * rare + 0.2**0.5 * rows[:2])
    rows[-2:] = unit(-0.55 * rare + 0.83 * rows[-2:])
    found = [decide_rows(rows, rule, names_of(10), [1.0] * 8 + [t] * 2)[1].evidence for t in (1.0, 0.0)]
    assert all(evidence.company > 0 for evidence in found[0][:2])
    assert all(evidence.company == 0 for evidence in found[1])


@pytest.mark.parametrize("rule", [MultiKrum(f=1), Median(), ReferenceTrust()], ids=repr)
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_the_servers_own_update_has_half_the_say(rule: Rule, seed: int) -> None:
    rows, reference = rows_of(seed), rows_of(seed + 1)[0]
    _, decision = decide_rows(rows, rule, names_of(7), [1.0] * 7, reference)
    to_others = unaccused(Geometry.of(rows), decision.rule_weights)
    to_reference = torch.cosine_similarity(rows, reference[None])
    assert decision.geometry.reference is not None
    found = decision.geometry.reference.cosines(decision.geometry.squared_norms)
    torch.testing.assert_close(found, to_reference, rtol=1e-6, atol=1e-6)
    seen = torch.tensor([evidence.cosine for evidence in decision.evidence], dtype=torch.float64)
    torch.testing.assert_close(seen, (to_others + to_reference) / 2, rtol=1e-6, atol=1e-6)


def test_a_reference_of_zeros_says_nothing() -> None:
    rows = torch.cat([rows_of(5, n=6), torch.zeros(1, 20, dtype=torch.float64)])
    with_zeros, without, with_some = (
        [evidence.cosine for evidence in decide_rows(rows, MultiKrum(f=1), names_of(7), [1.0] * 7, r)[1].evidence]
        for r in (torch.zeros(20, dtype=torch.float64), None, rows[0])
    )
    assert with_zeros == without
    assert with_some[6] == 0


def test_the_zero_update_and_the_lonely_one_have_cosine_zero() -> None:
    rows = torch.cat([rows_of(0, n=3), torch.zeros(1, 20, dtype=torch.float64)])
    assert cosines_to_others(Geometry.of(rows))[3] == 0
    assert cosines_to_others(Geometry.of(rows[:1])).tolist() == [0.0]


@pytest.mark.parametrize("rule", WEIGHTINGS, ids=repr)
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_equal_trust_changes_nothing(rule: Weighting, seed: int) -> None:
    geometry = Geometry.of(rows_of(seed))
    decision = decide(geometry, rule, names_of(7), [0.7] * 7)
    torch.testing.assert_close(decision.weights, rule.weights(geometry))
    torch.testing.assert_close(decision.rule_weights, rule.weights(geometry))


@pytest.mark.parametrize("rule", WEIGHTINGS, ids=repr)
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_trust_multiplies_and_never_inflates(rule: Weighting, seed: int) -> None:
    geometry, trust = Geometry.of(rows_of(seed)), trust_of(seed)
    given_weights, weights = rule.weights(geometry), decide(geometry, rule, names_of(7), trust).weights
    assert weights is not None
    product = given_weights * torch.tensor(trust, dtype=torch.float64)
    torch.testing.assert_close(weights * product.sum(), product * weights.sum())
    if float(given_weights.sum()) < 1 - 1e-9:
        assert bool((weights <= given_weights + 1e-12).all())
    else:
        assert float(weights.sum()) == pytest.approx(1)


@pytest.mark.parametrize("rule", WEIGHTINGS, ids=repr)
@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_rows_without_trust_neither_weigh_nor_vote(rule: Weighting, seed: int) -> None:
    rows, trust = rows_of(seed), [0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    decision = decide(Geometry.of(rows), rule, names_of(7), trust)
    alone = decide(decision.geometry.subset(range(1, 7)), rule, names_of(6), trust[1:])
    assert decision.weights is not None
    assert alone.weights is not None
    assert decision.weights[0] == 0
    torch.testing.assert_close(decision.weights[1:], alone.weights)
    assert [evidence.name for evidence in decision.evidence] == names_of(7)


def test_where_rows_are_scarce_the_distrusted_still_vote() -> None:
    rows = rows_of(1, n=5)
    decision = decide(Geometry.of(rows), Krum(f=1), names_of(5), [0.0, 1.0, 1.0, 1.0, 1.0])
    torch.testing.assert_close(decision.rule_weights, Krum(f=1).weights(Geometry.of(rows)))


def test_the_rule_may_choose_only_the_distrusted() -> None:
    rows = rows_of(1, n=5)
    chosen = int(Krum(f=1).weights(Geometry.of(rows)).argmax())
    decision = decide(Geometry.of(rows), Krum(f=1), names_of(5), [0.0 if i == chosen else 1.0 for i in range(5)])
    assert decision.weights is not None
    assert float(decision.weights.sum()) == 0


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(TooFewRows):
        decide(Geometry.of(rows_of(1, n=4)), Krum(f=1), names_of(4), [1.0] * 4)


@pytest.mark.parametrize("rule", [GeometricMedian(f=1), NearestNeighborMixing(f=1) >> Mean()], ids=repr)
def test_rows_are_summed_with_the_decided_weights(rule: Any) -> None:
    rows, trust = rows_of(3).float(), trust_of(3)
    aggregate, decision = decide_rows(rows, rule, names_of(7), trust)
    assert decision.weights is not None
    torch.testing.assert_close(aggregate, weighted_sum(decision.weights, rows))
    distance = float((rows[2] - aggregate).norm())
    assert decision.evidence[2].distance == pytest.approx(distance, rel=1e-4)


def test_a_row_rule_sees_only_trusted_rows_and_still_gives_evidence() -> None:
    rows = rows_of(4)
    aggregate, decision = decide_rows(rows, Median(f=2), names_of(7), [0.0, *[0.5] * 6])
    torch.testing.assert_close(aggregate, Median(f=2)(rows[1:]))
    assert decision.weights is None
    assert decision.evidence[0].distance == pytest.approx(float((rows[0] - aggregate).norm()))
    assert decision.evidence[0].weight is None


def test_faults_become_evidence_by_their_surest() -> None:
    faults = [NoReply("h1", "x", "", ""), BadSignature("h1", "x", "", ""), BadSignature("node 5", "x", "", "")]
    assert fault_evidence(faults, names_of(3)) == [Evidence("h1", Certainty.PROVEN)]
    decided = [Evidence("h0", None, 0.5, 1.0, 0.2), Evidence("h1", None, 0.5, 1.0, 0.2)]
    assert with_faults(decided, faults, names_of(3)) == [decided[0], Evidence("h1", Certainty.PROVEN, 0.5, 1.0, 0.2)]
