"""What a sketch can be made to believe: its error for every shape of update, and updates that lie about size mod q."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from flower_robust.masking import ring, sketch, squares
from flower_robust.masking.parameters import PARAMETERS, ParameterSet

N, B = PARAMETERS.N, 64
CAP = 4.0 * PARAMETERS.unit_norm**2
"""A partial norm above this is nobody's: four times the bound's square, some eight deviations of an honest one."""


def partial_norms(y: ring.Residues, rng: np.random.Generator, p: ParameterSet = PARAMETERS) -> npt.NDArray[np.float64]:
    """The m estimates of ‖y‖² under a fresh challenge."""
    P = sketch.sketch_map(rng.bytes(32), y.shape[1], p)
    opened = squares.partial_norms(sketch.sketch(P, y)[None])
    return ring.nonnegative(opened)[0] / float(p.gain)


def relative_errors(x: npt.NDArray[np.int64], challenges: int) -> npt.NDArray[np.float64]:
    rng, y, exact = np.random.default_rng(5), ring.from_integers(x.reshape(B, N)), float(x.astype(object) @ x)
    return np.array([partial_norms(y, rng).mean() / exact - 1 for _ in range(challenges)])


def ordinary() -> npt.NDArray[np.int64]:
    return np.rint(np.random.default_rng(1).normal(size=B * N) * 1000).astype(np.int64)


def spike() -> npt.NDArray[np.int64]:
    x = np.zeros(B * N, np.int64)
    x[77] = PARAMETERS.unit_norm
    return x


def tone() -> npt.NDArray[np.int64]:
    return np.tile(np.rint(8000 * np.cos(np.pi * 101 * np.arange(N) / N)).astype(np.int64), B)


@pytest.mark.parametrize(("update", "low", "high"), [(ordinary, 0.010, 0.020), (spike, 0.06, 0.10), (tone, 0.16, 0.26)])
def test_error_of_the_squared_norm(update: object, low: float, high: float) -> None:
    errors = relative_errors(update(), 150)  # type: ignore[operator]
    assert low < errors.std() < high
    assert abs(errors.mean()) < 4 * high / np.sqrt(len(errors))


def fraction(denominator: int, blocks: int, where: slice | list[int]) -> ring.Residues:
    """1/denominator mod q at some coordinates, zero elsewhere: huge, and small after one multiplication."""
    y = ring.zeros(blocks, N)
    for p, q in enumerate(PARAMETERS.primes):
        y[p].reshape(-1)[where] = pow(denominator, -1, q)
    return y


ATTACKS = {
    "half, everywhere": (2, 8, slice(None)),
    "half, two blocks": (2, 2, slice(None)),
    "half, one block": (2, 1, slice(None)),
    "half, one coordinate": (2, 1, [7]),
    "half, four coordinates": (2, 1, [7, 900, 1000, 4000]),
    "third, everywhere": (3, 8, slice(None)),
    "third, one coordinate": (3, 1, [7]),
    "fifth, one coordinate": (5, 1, [7]),
    "sixth, one coordinate": (6, 1, [7]),
    "1/35, one coordinate": (35, 1, [7]),
}


def caught_per_sum(y: ring.Residues, p: ParameterSet, challenges: int) -> float:
    rng = np.random.default_rng(11)
    return float(np.mean([partial_norms(y, rng, p) > CAP for _ in range(challenges)]))


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_fractions_of_q_pass_at_most_once_in_a_thousand(attack: str) -> None:
    """Each ring sum catches them independently with probability >= 1/3, so m let them pass below (2/3)^18 = 7·10⁻⁴."""
    denominator, blocks, where = ATTACKS[attack]
    caught = caught_per_sum(fraction(denominator, blocks, where), replace(PARAMETERS, m=64), 25)
    deviation = np.sqrt(0.25 / (64 * 25))
    assert (1 - (caught + 2 * deviation)) ** PARAMETERS.m < 1e-3
    assert caught > 1 / 3 - 3 * deviation


def test_half_of_q_everywhere_is_caught_three_times_in_eight() -> None:
    caught = caught_per_sum(fraction(2, 8, slice(None)), replace(PARAMETERS, m=64), 50)
    assert caught == pytest.approx(0.375, abs=0.04)


def test_factors_three_and_four_let_a_single_half_pass_too_often() -> None:
    """Why κ, κ' are not ±3, ±4: both must be odd, so one coordinate is caught with 1/4 and passes 16 sums with 1 %."""
    caught = caught_per_sum(fraction(2, 1, [7]), replace(PARAMETERS, m=64, magnitudes=(3, 4)), 25)
    assert (1 - caught) ** 16 > 5e-3


def test_factors_of_one_with_a_hadamard_matrix_let_halves_pass_always() -> None:
    """The counter-example: ±1 factors and a Hadamard transform before the buckets turn every half into an integer."""
    half = [(q + 1) // 2 for q in PARAMETERS.primes]
    rng, passed = np.random.default_rng(2), 0
    for _ in range(20):
        signs = rng.choice([-1, 1], 64).astype(object)
        hadamard = np.array([[-1 if (i & k).bit_count() & 1 else 1 for k in range(64)] for i in range(64)], object)
        mixed = np.stack([(hadamard @ (signs * h)) % q for h, q in zip(half, PARAMETERS.primes, strict=True)])
        integers = ring.centred(mixed.astype(np.uint32))
        passed += int(np.abs(integers).max() <= 64)
    assert passed == 20


def test_a_norm_far_beyond_the_modulus_is_not_small_in_every_sum() -> None:
    """An update of norm 2^34 wraps to uniform values: each is below the cap with probability 2 %, never most of m."""
    x = np.zeros(B * N, np.int64)
    x[: 8 * N] = np.random.default_rng(3).integers(-(2**28), 2**28, 8 * N)
    rng, y = np.random.default_rng(4), ring.from_integers(x.reshape(B, N))
    assert all((partial_norms(y, rng) > CAP).mean() > 0.7 for _ in range(20))
