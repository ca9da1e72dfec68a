"""Masking and unmasking any weighted sum: exact up to the noise, whatever the subset, the weights and the size."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flower_robust.errors import NonFiniteRows, SumOutOfRange
from flower_robust.masking import fixed_point, masks, ring
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.public import PublicElements

SEEDS = [bytes([i]) * 32 for i in range(64)]
few = settings(max_examples=60, deadline=None)
weight_vectors = st.lists(st.integers(0, 255), min_size=1, max_size=6).filter(any)


def masked_cohort(n: int, d: int) -> tuple[list[fixed_point.Encoded], list[ring.Residues], list[ring.Residues]]:
    """Encoded updates (some beyond the bound 1.0), secrets and masked updates."""
    rng = np.random.default_rng(n * 10_007 + d)
    a = PublicElements(SEEDS[0], PARAMETERS.blocks(d))
    updates = [(rng.normal(size=d) * rng.uniform(0.1, 3) / np.sqrt(d)).astype(np.float32) for _ in range(n)]
    encoded = [fixed_point.encode(u, 1.0, SEEDS[1]) for u in updates]
    secrets = [masks.draw_secret(SEEDS[2 + i]) for i in range(n)]
    ys = [masks.mask(e.x, s, a, SEEDS[32 + i]) for i, (e, s) in enumerate(zip(encoded, secrets, strict=True))]
    return encoded, secrets, ys


@few
@given(weight_vectors, st.sampled_from([1, 4095, 4096, 4097, 9000]))
def test_opened_sum_is_the_integer_weighted_sum_up_to_the_noise(weights: list[int], d: int) -> None:
    encoded, secrets, ys = masked_cohort(len(weights), d)
    a = PublicElements(SEEDS[0], PARAMETERS.blocks(d))
    opened = masks.unmask(ring.weighted_sum(weights, ys), ring.weighted_sum(weights, secrets), a)
    exact = sum(w * e.x.astype(np.int64) for w, e in zip(weights, encoded, strict=True))
    assert np.abs(opened - exact).max() <= PARAMETERS.eta * sum(weights)
    mean = fixed_point.decode(opened, d, sum(weights), 1.0, SEEDS[1])
    clipped = [fixed_point.decode(e.x.astype(np.int64), d, 1, 1.0, SEEDS[1]) for e in encoded]
    expected = sum(w * u.astype(np.float64) for w, u in zip(weights, clipped, strict=True)) / sum(weights)
    assert np.abs(mean - expected).max() <= (PARAMETERS.eta + 1) / PARAMETERS.unit_norm


@few
@given(st.integers(1, 20_000), st.floats(1e-3, 1e3), st.floats(1e-6, 1e6))
def test_encoding_clips_rounds_and_returns(d: int, length: float, bound: float) -> None:
    update = np.random.default_rng(d).normal(size=d)
    update = (update * length / np.linalg.norm(update)).astype(np.float32)
    encoded = fixed_point.encode(update, bound, SEEDS[0])
    returned = fixed_point.decode(encoded.x.astype(np.int64), d, 1, bound, SEEDS[0])
    step = bound / PARAMETERS.unit_norm
    assert np.abs(returned - update * min(1.0, bound / encoded.norm)).max() <= step * 0.51 + 1e-6 * bound
    assert encoded.clipped_norm <= bound * (1 + 1e-12)
    assert encoded.norm == pytest.approx(length, rel=1e-5)
    assert (encoded.x[d:] == 0).all()
    assert np.abs(encoded.x).max() <= PARAMETERS.unit_norm


def test_signs_are_balanced_and_undone() -> None:
    ones = np.full(40_000, 1.0, np.float32)
    x = fixed_point.encode(ones, 1e6, SEEDS[3]).x[: ones.size]
    assert abs(np.sign(x).mean()) < 0.02


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_updates_that_are_not_finite_are_refused(bad: float) -> None:
    update = np.ones(10, np.float32)
    update[3] = bad
    with pytest.raises(NonFiniteRows):
        fixed_point.encode(update, 1.0, SEEDS[0])


@few
@given(st.integers(0, 4095), st.integers(1, 255), st.booleans())
def test_a_sum_that_no_clipped_updates_have_is_refused(coordinate: int, weight: int, negative: bool) -> None:
    total: npt.NDArray[np.int64] = np.zeros(4096, np.int64)
    bound = weight * (PARAMETERS.unit_norm + PARAMETERS.eta)
    total[coordinate] = -bound if negative else bound
    fixed_point.check_range(total, weight)
    total[coordinate] += -1 if negative else 1
    with pytest.raises(SumOutOfRange) as error:
        fixed_point.check_range(total, weight)
    assert error.value.coordinate == coordinate


def test_a_masked_update_looks_uniform_and_hides_its_length() -> None:
    a, x = PublicElements(SEEDS[0], 8), np.zeros(8 * 4096, np.int32)
    quiet = masks.mask(x, masks.draw_secret(SEEDS[1]), a, SEEDS[2])
    for p, q in enumerate(PARAMETERS.primes):
        counts = np.bincount((quiet[p].reshape(-1).astype(np.int64) * 64) // q, minlength=64)
        assert ((counts - 512) ** 2 / 512).sum() < 120
