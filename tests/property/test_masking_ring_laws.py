"""Laws of the ring, and the torch path against the compiled one, bit for bit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flower_robust.errors import ConfigurationError
from flower_robust.masking import masks, ring, ring_torch
from flower_robust.masking.kernels import elementwise
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.public import PublicElements
from flower_robust.masking.stream import uniform

N = PARAMETERS.N
CPU = torch.device("cpu")
seeds = st.binary(min_size=32, max_size=32)
few = settings(max_examples=40, deadline=None)


@few
@given(seeds)
def test_products_distribute_and_commute(seed: bytes) -> None:
    x, y, z = np.moveaxis(uniform(seed, "test", 3, N), 1, 0)
    left = ring.multiply(ring.add(x, y), z)
    assert (left == ring.add(ring.multiply(x, z), ring.multiply(z, y))).all()
    assert (ring.subtract(left, ring.multiply(y, z)) == ring.multiply(x, z)).all()


@few
@given(seeds, st.integers(0, N - 1))
def test_multiplying_by_a_power_of_x_rotates_with_a_sign(seed: bytes, r: int) -> None:
    x, power = uniform(seed, "test", N), ring.zeros(N)
    power[:, r] = 1
    rotated = np.roll(ring.centred(x), r)
    rotated[:r] *= -1
    assert (ring.centred(ring.multiply(x, power)) == rotated).all()


@few
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20))
def test_any_signed_integer_has_its_residues(integers: list[int]) -> None:
    found = ring.from_integers(np.array(integers, np.int64))
    assert found.tolist() == [[value % q for value in integers] for q in PARAMETERS.primes]


@few
@given(st.lists(st.integers(0, 2**32 - 1), max_size=1200), st.integers(0, 1200), st.sampled_from(PARAMETERS.primes))
def test_words_are_accepted_in_order_and_only_below_the_prime(words: list[int], room: int, q: int) -> None:
    words = [q if k % 97 == 5 else q - 1 + (k % 3) * 2**31 if k % 101 == 7 else word for k, word in enumerate(words)]
    words = [word % 2**32 for word in words]
    wanted = [word & 0x7FFFFFFF for word in words if word & 0x7FFFFFFF < q][:room]
    out = np.empty(room, np.uint32)
    have = elementwise.accept(np.array(words, np.uint32), out, 0, np.uint32(q))
    assert have == len(wanted) and out[:have].tolist() == wanted


@few
@given(seeds)
def test_transforms_are_inverse(seed: bytes) -> None:
    x = uniform(seed, "test", 3, N)
    assert (ring.to_coefficients(ring.to_points(x)) == x).all()
    assert (ring.to_points(ring.to_coefficients(x)) == x).all()


@few
@given(seeds)
def test_the_torch_path_agrees_bit_for_bit(seed: bytes) -> None:
    x = uniform(seed, "test", 3, N)
    on_device = ring_torch.from_residues(x, CPU)
    assert (ring_torch.to_residues(ring_torch.to_points(on_device)) == ring.to_points(x)).all()
    assert (ring_torch.to_residues(ring_torch.to_coefficients(on_device)) == ring.to_coefficients(x)).all()
    assert (ring_torch.centred(on_device).numpy() == ring.centred(x)).all()


@few
@given(seeds, st.lists(st.integers(0, 255), min_size=1, max_size=6))
def test_the_torch_path_unmasks_the_same_integers(seed: bytes, weights: list[int]) -> None:
    ys = [uniform(seed, f"test {i}", 2, N) for i in range(len(weights))]
    a, s = PublicElements(seed, 2), masks.draw_secret(seed)
    total = ring_torch.weighted_sum(weights, ys, CPU)
    assert (ring_torch.to_residues(total) == ring.weighted_sum(weights, ys)).all()
    assert (ring_torch.unmask(total, s, a) == masks.unmask(ring.weighted_sum(weights, ys), s, a)).all()


def test_a_device_that_opens_other_integers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ring_torch.opener(CPU)
    monkeypatch.setattr(ring_torch, "centred", lambda x: x[0] + 1)
    with pytest.raises(ConfigurationError, match="device"):
        ring_torch.opener(CPU)
