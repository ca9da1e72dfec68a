"""Geometry against differences taken exactly, and the compiled path against the torch path."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from flower_robust.aggregation import Geometry, geometry, weighted_sum
from flower_robust.aggregation.compiled import over_columns, spans
from flower_robust.aggregation.sums import mixed_rows
from flower_robust.errors import ConfigurationError, NonFiniteRows

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def exact_distances(rows: Tensor) -> np.ndarray:
    """Squared distances in rational arithmetic, rounded once."""
    values = [[Fraction(v) for v in row] for row in rows.double().tolist()]
    return np.array([[float(sum((a - b) ** 2 for a, b in zip(x, y, strict=True))) for y in values] for x in values])


def largest_relative_error(found: Tensor, exact: np.ndarray) -> float:
    return float(np.max(np.abs(found.numpy() - exact) / np.where(exact > 0, exact, 1)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_distances_norms_and_products_are_those_of_rational_arithmetic(dtype: torch.dtype) -> None:
    rows = torch.randn(7, 133, generator=torch.Generator().manual_seed(1)).to(dtype)
    reference = rows[2] * 0.5
    found = Geometry.of(rows, reference)
    assert largest_relative_error(found.squared_distances, exact_distances(rows)) < 1e-12
    assert torch.allclose(found.squared_norms, rows.double().square().sum(1), rtol=1e-13)
    assert found.reference is not None
    assert torch.allclose(found.reference.inner, rows.double() @ reference.double(), rtol=1e-12, atol=1e-12)
    assert found.reference.squared_norm == pytest.approx(float(reference.double().square().sum()), rel=1e-13)


@pytest.mark.parametrize("offset", [1e3, 1e5, 1e7])
def test_a_common_offset_costs_no_digits(offset: float) -> None:
    rows = (offset + torch.randn(8, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(2))).float()
    assert largest_relative_error(Geometry.of(rows).squared_distances, exact_distances(rows)) < 1e-9


@pytest.mark.parametrize("huge", [[0], [3], [0, 7], [0, 4, 7], [0, 1, 4, 7]])
def test_huge_rows_cost_the_others_no_digits(huge: list[int]) -> None:
    """Rows 0, n // 2 and n − 1 make the centre: lying there is the worst that a liar can do."""
    rows = torch.randn(8, 150, generator=torch.Generator().manual_seed(3))
    rows[huge] = rows[huge] * 1e3 + 1e18
    assert largest_relative_error(Geometry.of(rows).squared_distances, exact_distances(rows)) < 1e-9


def test_duplicates_are_at_distance_zero_exactly() -> None:
    rows = torch.randn(9, 1000, generator=torch.Generator().manual_seed(4)) + 1e4
    rows[5] = rows[1]
    D = Geometry.of(rows).squared_distances
    assert D[1, 5] == 0 and D[5, 1] == 0
    assert int((D == 0).sum()) == 9 + 2


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 11, 50])
@pytest.mark.parametrize("d", [0, 1, 2, 15, 2048, 5001])
def test_compiled_and_torch_paths_agree(n: int, d: int) -> None:
    rows = torch.randn(n, d, generator=torch.Generator().manual_seed(n * 7 + d)) * 3 + 1
    reference = torch.randn(d, generator=torch.Generator().manual_seed(5))
    measured = Geometry.of(rows, reference)
    assert measured.reference is not None
    centred, norms, inner = geometry._measure_with_torch(rows, reference)
    assert torch.allclose(measured.squared_distances, geometry._distances(rows, centred), rtol=1e-10, atol=1e-10)
    assert torch.allclose(measured.squared_norms, norms, rtol=1e-12)
    assert torch.allclose(measured.reference.inner, inner, rtol=1e-10, atol=1e-9)
    pairs = torch.tensor([[0, n - 1], [n // 2, 0]])
    assert torch.allclose(
        geometry._pair_distances(rows, pairs), geometry._pair_distances_with_torch(rows, pairs), rtol=1e-12
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", DTYPES)
def test_cuda_gives_the_geometry_of_the_cpu(dtype: torch.dtype) -> None:
    rows = (torch.randn(13, 100_001) + 5).to(dtype)
    here, there = Geometry.of(rows), Geometry.of(rows.cuda())
    assert torch.allclose(here.squared_distances, there.squared_distances, rtol=1e-10)
    weights = torch.rand(13, dtype=torch.float64)
    assert torch.allclose(weighted_sum(weights, rows), weighted_sum(weights, rows.cuda()).cpu())


def test_layouts_that_are_not_contiguous_are_read_right() -> None:
    wide = torch.randn(40, 6, generator=torch.Generator().manual_seed(6))
    expected = Geometry.of(wide.T.contiguous()).squared_distances
    assert torch.allclose(Geometry.of(wide.T).squared_distances, expected, rtol=1e-12)
    assert torch.equal(
        weighted_sum(torch.ones(6).double(), wide.T), weighted_sum(torch.ones(6).double(), wide.T.contiguous())
    )


def test_mixing_a_geometry_is_measuring_mixed_rows() -> None:
    generator = torch.Generator().manual_seed(7)
    rows = torch.randn(10, 300, dtype=torch.float64, generator=generator) + 2
    M = torch.rand(6, 10, dtype=torch.float64, generator=generator)
    for mixing in (M, M / M.sum(1, keepdim=True)):
        mixed = Geometry.of(rows, rows[0]).mixed(mixing)
        measured = Geometry.of(mixing @ rows, rows[0])
        assert torch.allclose(mixed.squared_distances, measured.squared_distances, rtol=1e-9, atol=1e-9)
        assert torch.allclose(mixed.squared_norms, measured.squared_norms, rtol=1e-10)
        assert mixed.reference is not None and measured.reference is not None
        assert torch.allclose(mixed.reference.inner, measured.reference.inner, rtol=1e-10)
    assert torch.allclose(mixed_rows(M, rows), M @ rows, rtol=1e-12)


def test_a_subset_is_the_geometry_of_these_rows() -> None:
    rows = torch.randn(6, 40, generator=torch.Generator().manual_seed(8))
    found, expected = Geometry.of(rows, rows[1]).subset([4, 0, 2]), Geometry.of(rows[[4, 0, 2]], rows[1])
    assert torch.allclose(found.squared_distances, expected.squared_distances)
    assert torch.allclose(found.gram, expected.gram)
    assert found.reference is not None and expected.reference is not None
    assert torch.allclose(found.reference.inner, expected.reference.inner)


def test_gram_is_the_matrix_of_inner_products() -> None:
    rows = torch.randn(6, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    assert torch.allclose(Geometry.of(rows).gram, rows @ rows.T, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weighted_sums_are_formed_in_float64(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(10)
    rows = (torch.randn(13, 20_011, generator=generator) * 100).to(dtype)
    weights = torch.rand(13, dtype=torch.float64, generator=generator)
    weights[[2, 12]] = 0
    found = weighted_sum(weights, rows)
    assert found.dtype == dtype
    assert torch.allclose(
        found.double(), (weights @ rows.double()).to(dtype).double(), rtol=2e-7 if dtype == torch.float32 else 1e-12
    )


def test_a_row_of_weight_zero_is_not_read() -> None:
    rows = torch.ones(3, 10)
    rows[1] = float("inf")
    assert torch.equal(weighted_sum(torch.tensor([0.5, 0.0, 0.5]), rows), torch.ones(10))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_rows_are_named(dtype: torch.dtype, bad: float) -> None:
    rows = torch.zeros(6, 3000, dtype=dtype)
    rows[0, 2999] = rows[4, 0] = bad
    with pytest.raises(NonFiniteRows) as caught:
        Geometry.of(rows)
    assert caught.value.rows == (0, 4)


@pytest.mark.parametrize(
    "wrong", [torch.zeros(3), torch.zeros(0, 4), torch.zeros(2, 2, dtype=torch.int64), torch.zeros(1, 2, 3)]
)
def test_what_is_not_rows_of_floats_is_refused(wrong: Tensor) -> None:
    with pytest.raises(ConfigurationError, match="updates"):
        Geometry.of(wrong)


def test_a_reference_that_does_not_fit_is_refused() -> None:
    for reference in (torch.zeros(5), torch.full((4,), float("nan"))):
        with pytest.raises(ConfigurationError, match="reference"):
            Geometry.of(torch.zeros(3, 4), reference)


@pytest.mark.parametrize(("d", "width", "parts"), [(0, 16, 2), (1, 16, 4), (100, 16, 2), (1600, 16, 7)])
def test_spans_cover_the_columns_once(d: int, width: int, parts: int) -> None:
    found = spans(d, width, parts)
    assert [column for start, stop in found for column in range(start, stop)] == list(range(d))
    assert len(found) <= parts and all(start % width == 0 for start, _ in found)


def test_threads_are_those_of_torch() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert len(over_columns(lambda start, stop: stop - start, 1000, 10)) == 3
    finally:
        torch.set_num_threads(before)
