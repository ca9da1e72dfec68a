"""Columns in order: sorting networks, selection, and the compiled path against numpy and torch."""

from itertools import product

import numpy as np
import pytest
import torch

from flower_robust.aggregation import order
from flower_robust.aggregation.networks import needed, odd_even_mergesort, selection
from flower_robust.errors import NonFiniteRows


def run_network(pairs: list[tuple[int, int]], values: tuple[int, ...]) -> list[int]:
    lane = list(values)
    for low, high in pairs:
        lane[low], lane[high] = min(lane[low], lane[high]), max(lane[low], lane[high])
    return lane


@pytest.mark.parametrize("n", range(1, 13))
def test_networks_sort_every_zero_one_sequence(n: int) -> None:
    """The zero-one principle: a network that sorts all of them sorts everything."""
    pairs = odd_even_mergesort(n)
    assert all(run_network(pairs, bits) == sorted(bits) for bits in product((0, 1), repeat=n))


@pytest.mark.parametrize("n", range(1, 11))
def test_pruned_networks_place_the_ranks_that_were_asked_for(n: int) -> None:
    first, last = (n - 1) // 2, n // 2 + 1
    pairs = needed(odd_even_mergesort(n), range(first, last))
    assert all(run_network(pairs, bits)[first:last] == sorted(bits)[first:last] for bits in product((0, 1), repeat=n))


def test_selection_needs_fewer_comparisons_than_sorting() -> None:
    assert len(selection(50, 24, 26)) < len(selection(50, 0, 50))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 13, 33])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_windows_are_those_of_a_sort(n: int, dtype: torch.dtype) -> None:
    rows = torch.randn(n, 1501, dtype=dtype, generator=torch.Generator().manual_seed(n))
    ordered = np.sort(rows.double().numpy(), axis=0)
    for first, last in [(0, n), ((n - 1) // 2, n // 2 + 1), (n // 4, n - n // 4)]:
        found = order.window_mean(rows, first, last)
        assert found.dtype == dtype
        np.testing.assert_allclose(found.numpy(), ordered[first:last].mean(0), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(
            found.numpy(), order._window_with_torch(rows, first, last).numpy(), rtol=1e-6, atol=1e-7
        )


def nearest_to_median(column: np.ndarray, keep: int) -> float:
    """The definition, one column at a time; of equal distances the lower value."""
    middle = float(np.median(column))
    return float(np.mean(sorted(sorted(column), key=lambda x: abs(x - middle))[:keep]))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 11])
def test_nearest_mean_is_the_definition_for_every_count(n: int) -> None:
    rows = torch.randint(-4, 5, (n, 300), generator=torch.Generator().manual_seed(n)).double()
    for keep in range(1, n + 1):
        expected = [nearest_to_median(column, keep) for column in rows.numpy().T]
        np.testing.assert_allclose(order.nearest_mean(rows, keep).numpy(), expected, atol=1e-12)
        np.testing.assert_allclose(order._nearest_with_torch(rows, keep).numpy(), expected, atol=1e-12)


def test_nearest_mean_sees_only_the_rows_it_is_given() -> None:
    rows = torch.randn(9, 100, generator=torch.Generator().manual_seed(1))
    chosen = [7, 1, 4, 2]
    assert torch.equal(order.nearest_mean(rows, 2, chosen), order.nearest_mean(rows[chosen], 2))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_dtypes_are_rounded_once(dtype: torch.dtype) -> None:
    rows = torch.randn(6, 4000, generator=torch.Generator().manual_seed(2)).to(dtype)
    expected = np.median(rows.float().numpy(), axis=0)
    assert torch.equal(order.window_mean(rows, 2, 4), torch.from_numpy(expected).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("column", [0, 5000, 9999])
def test_non_finite_rows_are_named(dtype: torch.dtype, bad: float, column: int) -> None:
    rows = torch.zeros(5, 10_000, dtype=dtype)
    rows[3, column] = bad
    for aggregate in (lambda: order.window_mean(rows, 2, 3), lambda: order.nearest_mean(rows, 3)):
        with pytest.raises(NonFiniteRows) as caught:
            aggregate()
        assert caught.value.rows == (3,)
