"""The ring against exact integers, and the constants of the parameter set against their definitions."""

import math

import numpy as np
import pytest

from flower_robust.errors import ConfigurationError
from flower_robust.masking import ring
from flower_robust.masking.parameters import PARAMETERS, ParameterSet, check_capacity, check_modulus

N = PARAMETERS.N


def is_prime(v: int) -> bool:
    return all(v % k for k in range(2, math.isqrt(v) + 1))


def exact_product(x: list[int], y: list[int], q: int, k: int) -> int:
    """Coefficient k of x·y in Z_q[X]/(X^N + 1), term by term."""
    low = sum(x[i] * y[k - i] for i in range(k + 1))
    return (low - sum(x[i] * y[N + k - i] for i in range(k + 1, N))) % q


def test_primes_are_the_two_largest_that_split() -> None:
    candidates = (v for v in range((1 << 31) // (2 * N) * 2 * N + 1, 0, -2 * N) if v < 1 << 31 and is_prime(v))
    assert PARAMETERS.primes == (next(candidates), next(candidates))


def test_roots_have_order_2n() -> None:
    for q, root in zip(PARAMETERS.primes, PARAMETERS.roots, strict=True):
        assert pow(root, N, q) == q - 1


def test_points_are_evaluations_at_odd_powers() -> None:
    monomial = ring.zeros(N)
    monomial[:, 1] = 1
    points = ring.to_points(monomial)
    for p, (q, root) in enumerate(zip(PARAMETERS.primes, PARAMETERS.roots, strict=True)):
        assert sorted(points[p].tolist()) == sorted(pow(root, 2 * i + 1, q) for i in range(N))


@pytest.mark.parametrize("edge", ["random", "largest", "sparse"])
def test_product_is_exact(edge: str) -> None:
    rng = np.random.default_rng(7)
    x, y = (ring.from_integers(rng.integers(-(2**62), 2**62, N)) for _ in range(2))
    if edge == "largest":
        for p, q in enumerate(PARAMETERS.primes):
            x[p], y[p] = q - 1, q - 1
    elif edge == "sparse":
        x[:, 1:] = 0
    product = ring.multiply(x, y)
    for p, q in enumerate(PARAMETERS.primes):
        for k in (0, 1, 63, 64, 2047, 4095):
            assert product[p, k] == exact_product(x[p].tolist(), y[p].tolist(), q, k)


def test_residues_and_integers_are_inverse_at_the_ends() -> None:
    half = PARAMETERS.q // 2
    integers = np.array([0, 1, -1, half, -half, half - 1, 1 - half, 2**31, -(2**31)], np.int64)
    assert (ring.centred(ring.from_integers(integers)) == integers).all()


def test_elementwise_product_of_extremes() -> None:
    largest = np.array([[q - 1, q - 1, 1] for q in PARAMETERS.primes], np.uint32)
    assert (ring.multiply_points(largest, largest) == 1)[:, :2].all()


def test_weighted_sum_reduces_once_and_exactly() -> None:
    rng = np.random.default_rng(3)
    elements = [ring.from_integers(rng.integers(-(2**62), 2**62, (3, N))) for _ in range(5)]
    weights = [0, 255, 1, (1 << 20) - 1, 7]
    total = ring.weighted_sum(weights, elements)
    for p, q in enumerate(PARAMETERS.primes):
        exact = sum(w * x[p].astype(np.uint64) for w, x in zip(weights, elements, strict=True)) % np.uint64(q)
        assert (total[p] == exact).all()


def test_capacity_is_what_the_parameter_set_promises() -> None:
    check_capacity(1000, 10**9, 10.0)
    assert PARAMETERS.gain * PARAMETERS.m * (2 * PARAMETERS.unit_norm) ** 2 * 5 // 2 < PARAMETERS.q


@pytest.mark.parametrize(
    ("n", "d", "norm_bound"), [(0, 10, 1.0), (3, 0, 1.0), (3, 1 << 40, 1.0), (3, 10, 0.0), (3, 10, math.inf)]
)
def test_impossible_rounds_are_refused(n: int, d: int, norm_bound: float) -> None:
    with pytest.raises(ConfigurationError):
        check_capacity(n, d, norm_bound)


@pytest.mark.parametrize(
    "too_large", [ParameterSet(scale_bits=24), ParameterSet(m=64), ParameterSet(weight_cap=1 << 40)]
)
def test_parameter_sets_that_overflow_are_refused(too_large: ParameterSet) -> None:
    with pytest.raises(ConfigurationError):
        check_modulus(too_large, 10)
