"""Laws that rules obey, over the registry."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from flower_robust.aggregation import RULES, GeometricMedian, Geometry, Mixing, RowRule, Rule, Weighting, rule_from_text
from flower_robust.errors import NonFiniteRows

CHAINS = ["nnm >> multikrum", "nnm >> median", "arc >> nnm >> rfa", "nnm >> trimmedmean", "bucketing >> krum"]
ALL = [*RULES, *CHAINS]
ORDERED = {"bucketing", "bucketing >> krum"}
"""Rules that draw from the order of the rows."""
FROM_ZERO = {"centeredclipping", "normclipping", "adaptiveclipping", "arc >> nnm >> rfa"}
"""Rules that shrink towards zero, so that their weights may sum to less than one."""
ABSOLUTE = {"centeredclipping", "normclipping"}
"""Rules with a radius in the rows' own unit."""
ORIGIN = FROM_ZERO | {"comparativeelimination", "companyfilter", "strangerfilter", "foolsgold", "referencetrust"}
"""Rules that see where zero is."""
NO_DEFENCE = {
    "companyfilter",
    "strangerfilter",
    "mean",
    "foolsgold",
    "bucketing",
    "normclipping",
    "adaptiveclipping",
    "centeredclipping",
    "referencetrust",
    "nearestneighbormixing",
}
"""Rules that do not promise to stay among the honest rows when f rows lie far out."""

sizes = st.tuples(st.integers(0, 2), st.integers(0, 6), st.integers(1, 40), st.integers(0, 2**31))


def rows_for(rule: Rule, extra: int, d: int, seed: int, scale: float = 1.0) -> Tensor:
    n = rule.min_rows() + 1 + extra
    return scale * torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def aggregate(rule: Rule, rows: Tensor, reference: Tensor | None = None) -> Tensor:
    if not isinstance(rule, Weighting):
        return rule(rows)
    return rule(rows, torch.linspace(1, 2, rows.shape[1]).double() if reference is None else reference)


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-6) -> bool:
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1e-12))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 20), st.integers(0, 2**31), st.randoms(use_true_random=False))
def test_two_points_with_half_of_the_rows_each_have_their_middle_as_median(
    k: int, d: int, seed: int, shuffle: Any
) -> None:
    points = torch.randn(2, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    order = [0, 1] * k
    shuffle.shuffle(order)
    assert close(GeometricMedian()(points[order]), points.mean(0))


@pytest.mark.parametrize("name", [name for name in ALL if name not in ORDERED])
@settings(max_examples=6, deadline=None)
@given(size=sizes, shuffle=st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(name: str, size: tuple[int, int, int, int], shuffle: object) -> None:
    f, extra, d, seed = size
    rule = rule_from_text(name, f)
    rows = rows_for(rule, extra, d + 3, seed)
    order = list(range(len(rows)))
    shuffle.shuffle(order)  # type: ignore[attr-defined]
    found = aggregate(rule, rows[order])
    assert any(close(found, aggregate(rule, near), 1e-5) for near in hairs(rows))


def hairs(rows: Tensor) -> Iterator[Tensor]:
    """The rows, and rows a hair's breadth from them: where mixed rows tie, the order decides, and so does a hair."""
    yield rows
    for seed in range(12):
        noise = torch.randn(rows.shape, dtype=rows.dtype, generator=torch.Generator().manual_seed(seed))
        yield rows * (1 + 1e-9 * noise)


@pytest.mark.parametrize("name", [name for name in ALL if name not in ORIGIN])
@settings(max_examples=4, deadline=None)
@given(size=sizes, offset=st.floats(-100, 100))
def test_a_common_offset_moves_the_aggregate_by_itself(
    name: str, size: tuple[int, int, int, int], offset: float
) -> None:
    f, extra, d, seed = size
    rule = rule_from_text(name, f)
    rows = rows_for(rule, extra, d + 3, seed)
    assert (aggregate(rule, rows + offset) - offset - aggregate(rule, rows)).abs().max() < 1e-6


@pytest.mark.parametrize("name", [name for name in ALL if name not in ABSOLUTE])
@settings(max_examples=4, deadline=None)
@given(size=sizes, exponent=st.integers(-40, 40))
def test_the_unit_does_not_matter(name: str, size: tuple[int, int, int, int], exponent: int) -> None:
    f, extra, d, seed = size
    rule, unit = rule_from_text(name, f), 2.0**exponent
    rows, reference = rows_for(rule, extra, d, seed), torch.ones(d).double()
    assert close(aggregate(rule, rows * unit, reference * unit), aggregate(rule, rows, reference) * unit)


@pytest.mark.parametrize("name", [name for name in ALL if isinstance(rule_from_text(name), Weighting)])
@settings(max_examples=4, deadline=None)
@given(size=sizes)
def test_weightings_are_blind_to_rotations(name: str, size: tuple[int, int, int, int]) -> None:
    f, extra, d, seed = size
    rule = rule_from_text(name, f)
    assert isinstance(rule, Weighting)
    rows = rows_for(rule, extra, d + 3, seed)
    reference = torch.linspace(1, 2, d + 3).double()
    turn = torch.linalg.qr(torch.randn(d + 3, d + 3, generator=torch.Generator().manual_seed(seed)).double()).Q
    turned = Geometry.of(rows @ turn, reference @ turn)
    assert torch.allclose(rule.weights(turned), rule.weights(Geometry.of(rows, reference)), atol=1e-7)


@pytest.mark.parametrize("name", [name for name in ALL if isinstance(rule_from_text(name), Weighting)])
@settings(max_examples=6, deadline=None)
@given(size=sizes)
def test_weights_lie_on_the_simplex_and_give_the_aggregate(name: str, size: tuple[int, int, int, int]) -> None:
    f, extra, d, seed = size
    rule = rule_from_text(name, f)
    assert isinstance(rule, Weighting)
    rows = rows_for(rule, extra, d, seed)
    reference = torch.linspace(1, 2, d).double()
    weights = rule.weights(Geometry.of(rows, reference))
    assert weights.dtype == torch.float64 and weights.shape == (len(rows),) and bool((weights >= 0).all())
    if name in FROM_ZERO:
        assert float(weights.sum()) <= 1 + 1e-12
    elif name != "referencetrust":
        assert float(weights.sum()) == pytest.approx(1, abs=1e-12)
    assert close(weights @ rows, aggregate(rule, rows, reference), 1e-9)


@pytest.mark.parametrize("name", [name for name in ALL if isinstance(rule_from_text(name), Mixing)])
@settings(max_examples=4, deadline=None)
@given(size=sizes)
def test_mixings_have_rows_on_the_simplex(name: str, size: tuple[int, int, int, int]) -> None:
    f, extra, d, seed = size
    rule = rule_from_text(name, f)
    assert isinstance(rule, Mixing)
    M = rule.mixing(Geometry.of(rows_for(rule, extra, d, seed)))
    assert bool((M >= 0).all()) and bool((M.sum(1) <= 1 + 1e-12).all())
    assert rule.rows_needed(M.shape[0]) <= M.shape[1]


@pytest.mark.parametrize("name", [name for name in ALL if name not in NO_DEFENCE])
@settings(max_examples=4, deadline=None)
@given(size=sizes, far=st.sampled_from([1e3, 1e9, 1e15, 1e30]), together=st.booleans())
def test_f_far_rows_do_not_move_the_aggregate_out_of_the_honest_rows(
    name: str, size: tuple[int, int, int, int], far: float, together: bool
) -> None:
    _, extra, d, seed = size
    rule = rule_from_text(name, 2)
    rows = rows_for(rule, extra + 2, d + 3, seed)
    lies = far * (torch.ones(2, d + 3) if together else torch.tensor([[1.0], [-1.0]]).expand(2, d + 3))
    if name == "bucketing >> krum":
        lies = lies[:1]  # a liar spoils its bucket; two may share none
    rows[: len(lies)] = lies + rows[: len(lies)]
    honest = rows[len(lies) :]
    reach = (honest - honest.mean(0)).norm(dim=1).max()
    slack = 2.0 if name in ("median", "trimmedmean", "meanaroundmedian") else 1.5
    assert (aggregate(rule, rows) - honest.mean(0)).norm() <= slack * reach * (d + 3) ** 0.5


@pytest.mark.parametrize("name", ["median", "trimmedmean", "meanaroundmedian", "bulyan", "nnm >> median"])
@settings(max_examples=4, deadline=None)
@given(size=sizes)
def test_coordinate_rules_stay_between_the_honest_values(name: str, size: tuple[int, int, int, int]) -> None:
    f, extra, d, seed = size
    rule = rule_from_text(name, f)
    assert isinstance(rule, RowRule)
    rows = rows_for(rule, extra, d, seed)
    rows[:f] = 1e12
    found = rule(rows)
    assert bool((found <= rows[f:].max(0).values + 1e-9).all()) and bool((found >= rows[f:].min(0).values - 1e-9).all())


@pytest.mark.parametrize("name", [name for name in ALL if name not in {*ABSOLUTE, "referencetrust"}])
@settings(max_examples=6, deadline=None)
@given(size=sizes)
def test_identical_rows_give_that_row(name: str, size: tuple[int, int, int, int]) -> None:
    f, extra, d, seed = size
    rule = rule_from_text(name, f)
    rows = rows_for(rule, extra, d, seed)
    assert close(aggregate(rule, rows[:1].repeat(len(rows), 1)), rows[0], 1e-12)
    assert bool((aggregate(rule, torch.zeros_like(rows)) == 0).all())


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=4, deadline=None)
@given(size=sizes)
def test_ties_and_duplicates_leave_a_finite_answer_that_repeats(name: str, size: tuple[int, int, int, int]) -> None:
    f, extra, d, seed = size
    rule = rule_from_text(name, f)
    rows = rows_for(rule, extra, d, seed).sign()
    rows[::2] = rows[0].clone()
    first = aggregate(rule, rows)
    assert bool(torch.isfinite(first).all()) and torch.equal(first, aggregate(rule, rows))
    assert bool((first <= rows.max() + 1).all()) or name == "referencetrust"


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@settings(max_examples=2, deadline=None)
@given(size=sizes)
def test_dtype_is_kept_and_the_callers_rows_are_left_alone(
    name: str, dtype: torch.dtype, size: tuple[int, int, int, int]
) -> None:
    f, extra, d, seed = size
    rule = rule_from_text(name, f)
    rows = (rows_for(rule, extra, d, seed) * 10).to(dtype).requires_grad_()
    kept, version = rows.detach().clone(), rows._version
    found = aggregate(rule, rows, torch.ones(d, dtype=dtype))
    assert found.dtype == dtype and found.shape == (d,) and not found.requires_grad
    assert torch.equal(rows.detach(), kept) and rows._version == version
    expected = aggregate(rule, kept.double(), torch.ones(d).double())
    digits = {torch.float16: 2e-3, torch.bfloat16: 1e-2, torch.float32: 1e-6, torch.float64: 1e-15}[dtype]
    assert (found.double() - expected).abs().max() <= digits * expected.abs().max().clamp(min=1e-3)


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=4, deadline=None)
@given(size=sizes, bad=st.sampled_from([float("nan"), float("inf"), float("-inf")]), draw=st.integers(0, 10**6))
def test_rows_that_are_not_finite_are_refused_by_index(
    name: str, size: tuple[int, int, int, int], bad: float, draw: int
) -> None:
    f, extra, d, seed = size
    rule = rule_from_text(name, f)
    rows = rows_for(rule, extra, d, seed)
    wrong = sorted({draw % len(rows), draw // 7 % len(rows)})
    for row in wrong:
        rows[row, draw % d] = bad
    with pytest.raises(NonFiniteRows) as caught:
        aggregate(rule, rows)
    assert caught.value.rows == tuple(wrong)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("d", [0, 1])
def test_the_fewest_rows_and_the_fewest_columns_are_enough(name: str, d: int) -> None:
    for f in (0, 2):
        rule = rule_from_text(name, f)
        rows = torch.arange(float(rule.min_rows() * d)).reshape(rule.min_rows(), d)
        assert aggregate(rule, rows, torch.ones(d)).shape == (d,)
