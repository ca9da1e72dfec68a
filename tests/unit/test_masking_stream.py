"""Expansion of seeds: published constants where there are some, exact laws of the distributions elsewhere."""

import hashlib

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from flower_robust.masking.kernels import elementwise
from flower_robust.masking.masks import add_noise, draw_secret
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.public import GROUP, PublicElements
from flower_robust.masking.stream import Stream, fresh_seed, uniform

SEED = bytes(range(32))


def test_words_are_aes_ctr_under_the_derived_key() -> None:
    key = hashlib.sha256(b"flower-robust/v1/stream\0" + b"a\0" + (5).to_bytes(8, "little") + SEED).digest()
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    expected = encryptor.update(bytes(3 << 20))
    stream = Stream(SEED, "a", 5)
    assert stream.octets(7).tobytes() + stream.octets((3 << 20) - 7).tobytes() == expected


def test_streams_differ_by_seed_label_and_index() -> None:
    streams = [Stream(SEED, "a"), Stream(SEED, "a", 1), Stream(SEED, "b"), Stream(bytes(32), "a")]
    assert len({s.octets(16).tobytes() for s in streams}) == len(streams)


def test_a_seed_of_another_length_is_refused_and_never_printed() -> None:
    with pytest.raises(ValueError, match="31 bytes"):
        Stream(bytes(31), "a")
    assert SEED.hex() not in repr(Stream(SEED, "a"))
    assert fresh_seed() != fresh_seed()


def test_rejection_keeps_exactly_the_candidates_below_q() -> None:
    q = PARAMETERS.primes[0]
    words = np.array([q - 1, q, q + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 5], np.uint32)
    out = np.zeros(4, np.uint32)
    assert elementwise.accept(words, out, 0, np.uint32(q)) == 3
    assert out[:3].tolist() == [q - 1, 0, 5]


def test_residues_are_below_their_prime_and_spread() -> None:
    drawn = uniform(SEED, "x", 1 << 18)
    for p, q in enumerate(PARAMETERS.primes):
        counts = np.bincount(drawn[p] >> np.uint32(27), minlength=16)
        assert drawn[p].max() < q
        assert ((counts - (1 << 14)) ** 2 / (1 << 14)).sum() < 60


def test_public_elements_are_the_same_whatever_d_is() -> None:
    short, long = PublicElements(SEED, 3), PublicElements(SEED, GROUP + 5)
    first = next(iter(long.groups()))
    assert (short.points(1, slice(0, 3)) == long.points(1, first)[:3]).all()
    assert [(b.start, b.stop) for b in long.groups()] == [(0, GROUP), (GROUP, GROUP + 5)]


def test_noise_is_the_difference_of_two_popcounts() -> None:
    x = np.arange(-8192, 8192, dtype=np.int32)
    octets = Stream(SEED, "e").octets(2 * x.size).tolist()
    expected = [int(v) + a.bit_count() - b.bit_count() for v, a, b in zip(x, octets[::2], octets[1::2], strict=True)]
    assert add_noise(x, SEED).tolist() == expected


def test_noise_has_the_moments_of_a_centred_binomial() -> None:
    e = add_noise(np.zeros(1 << 20, np.int32), SEED).astype(np.float64)
    assert abs(e.mean()) < 0.01
    assert abs((e**2).mean() - PARAMETERS.eta / 2) < 0.03
    assert np.abs(e).max() <= PARAMETERS.eta


def test_secrets_are_fresh_and_repeatable() -> None:
    assert (draw_secret(SEED) == draw_secret(SEED)).all()
    assert (draw_secret(SEED) != draw_secret(bytes(32))).mean() > 0.99
