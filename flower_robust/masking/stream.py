"""Streams of words from a 32-byte seed: AES-256 in counter mode, one key per label.

    key = SHA-256("flower-robust/v1/stream" ‖ 0 ‖ label ‖ 0 ‖ index ‖ seed),   words = AES-CTR(key, 0), little endian

A key serves one label and one index only, so counters never meet. Used for public streams (a, D, the challenge) and for
secret ones (s, e, shares) alike; a secret seed comes from the operating system (`fresh_seed`).
"""

import hashlib
import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from flower_robust.masking.kernels import elementwise
from flower_robust.masking.ring import Residues, planes

SEED_BYTES = 32
_DOMAIN = b"flower-robust/v1/stream\0"
_ZEROS = bytes(1 << 20)
_SPARE = 64
"""Extra words per draw of residues; one in 16,000 is rejected."""
_CHUNK = 1 << 14
"""Words that are drawn at a time, so that a long draw does not exist twice."""


def fresh_seed() -> bytes:
    """32 bytes from the operating system's CSPRNG."""
    return os.urandom(SEED_BYTES)


class Stream:
    """The words of one (seed, label, index). Advances as it is read."""

    def __init__(self, seed: bytes, label: str, index: int = 0) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"seed: found {len(seed)} bytes, required {SEED_BYTES}")
        key = hashlib.sha256(_DOMAIN + label.encode() + b"\0" + index.to_bytes(8, "little") + seed).digest()
        self._cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def __repr__(self) -> str:
        return "Stream(<redacted>)"

    def octets(self, count: int) -> npt.NDArray[np.uint8]:
        """The next `count` bytes."""
        out = np.empty(count + 15, np.uint8)
        view = memoryview(out.data)
        for start in range(0, count, len(_ZEROS)):
            size = min(len(_ZEROS), count - start)
            self._cipher.update_into(memoryview(_ZEROS)[:size], view[start:])
        return out[:count]

    def first(self, words: int) -> bytes:
        """The next words as bytes, for many short streams: no array is made."""
        return self._cipher.update(_ZEROS[: 4 * words])

    def words(self, count: int) -> npt.NDArray[np.uint32]:
        """The next `count` words of 32 bits."""
        return self.octets(4 * count).view(np.uint32)

    def residues_into(self, out: Residues, q: int) -> None:
        """Fill flat `out` with independent uniform residues modulo q: 31-bit candidates, those not below q rejected."""
        have, room = 0, out.shape[0]
        while have < room:
            have = elementwise.accept(self.words(min(room - have + _SPARE, _CHUNK)), out, have, np.uint32(q))


def uniform(seed: bytes, label: str, *shape: int) -> Residues:
    """Uniform residues [2, *shape]; plane p is read from the stream (seed, label, p)."""
    out = np.empty((2, *shape), np.uint32)
    for p, plane in enumerate(planes()):
        Stream(seed, label, p).residues_into(out[p].reshape(-1), plane.q)
    return out


def uniforms(seeds: Sequence[bytes], label: str, count: int) -> Residues:
    """Uniform residues [K, 2, count]: many short draws at once, each from one stream (seed, label, 0).

    Plane p is the first `count` candidates below q_p among the p-th `count` + 64 words. More than 64 rejected ones have
    probability below 2^-700.
    """
    room = count + _SPARE
    words = np.frombuffer(b"".join(Stream(seed, label).first(2 * room) for seed in seeds), np.uint32)
    candidates = (words & np.uint32(0x7FFFFFFF)).reshape(len(seeds), 2, room)
    out = candidates[:, :, :count].copy()
    for p, plane in enumerate(planes()):
        for k in np.flatnonzero((out[:, p] >= plane.q).any(axis=1)):
            drawn = candidates[k, p]
            out[k, p] = drawn[drawn < plane.q][:count]
    return out
