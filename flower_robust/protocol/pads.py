"""Pads: what a responder sends about a dealer is readable only if both were shown the same (docs/protocol.md, 4).

    K_ij = H(exchange, k_ij, what was shown),    sent = value + PRG(K_ij)       k_ij in dealer i's envelope to j

Responder j computes K_ij from what it was shown itself; dealer i discloses the K_ij of what *it* was shown, in its own
signed reply, having checked its own row of P·y there. Where the two views differ, the disclosed key says nothing of the
one that was used, and the value is uniform to everybody but i and j. A distance carries the pads of both its ends.

A wrong disclosed key, and a wrong pad, contradict the dealer's test values, which are padded with the same stream: what
then happens is a dispute like any other (`server_inspect`, `disputes`).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from flower_robust.commitments.transcript import derived, digest
from flower_robust.masking import ring
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.ring import Residues
from flower_robust.masking.squares import blinds
from flower_robust.masking.stream import uniforms
from flower_robust.protocol.codec import Field, exact
from flower_robust.protocol.sizes import PAD_KEY_BYTES, Sizes
from flower_robust.types import Digest

SKETCH, RECHECK = "sketch", "recheck"
"""The exchanges whose values are padded; a key serves one of them, once."""
Values = tuple[Residues, Residues]
"""One responder's values: of the tests [2, A, 2·repetitions], of the geometry [2, A(A−1)/2 + A·m (+ A)]."""


def pad_seed(entropy: bytes) -> bytes:
    """What a dealer's keys k_ij are drawn from, 32 bytes; it outlives the other secrets until the recheck."""
    return derived(entropy, "pads")


def dealt_key(seed: bytes, receiver: int) -> bytes:
    """k_ij, 32 bytes, for the envelope to one receiver."""
    return derived(seed, f"pad/{receiver}")


def pad_key(dealt: bytes, exchange: str, shown: Digest) -> bytes:
    """K_ij of one exchange, for who was shown this: 32 bytes."""
    return digest(f"pad-key/{exchange}", dealt, shown)


def disclosed(seed: bytes, receivers: Sequence[int], exchange: str, shown: Digest) -> bytes:
    """What dealer i adds to its reply: K_ij of every receiver in order, 32 bytes each."""
    return b"".join(pad_key(dealt_key(seed, j), exchange, shown) for j in receivers)


def keys_of(field: Field, count: int) -> tuple[bytes, ...]:
    """That many keys; ValueError on another length."""
    keys = bytes(exact(field, PAD_KEY_BYTES * count))
    return tuple(keys[start : start + PAD_KEY_BYTES] for start in range(0, len(keys), PAD_KEY_BYTES))


def sketch_pads(keys: Sequence[bytes], sizes: Sizes) -> Residues:
    """One responder's pads about A dealers, [A, 2, m + n + 2·repetitions]: of the geometry, then of the tests."""
    return uniforms(keys, "sketch-pads", sizes.pad_words)


def recheck_pads(keys: Sequence[bytes]) -> Residues:
    """One responder's pads about A dealers' fresh norms, [A, 2, m]."""
    return uniforms(keys, "recheck-pads", PARAMETERS.m)


def padded_tests(tests: Residues, pads: Residues, sizes: Sizes) -> Residues:
    """Values of the tests [2, A, 2·repetitions], as they are sent."""
    return ring.add(tests, np.moveaxis(pads[:, :, sizes.geometry_words :], 1, 0))


def stripped(sent: Values, dealers: Sequence[int], known: Mapping[int, bytes], sizes: Sizes) -> Values:
    """The values about those of the A `dealers` (positions) whose keys are `known`; the others stay unreadable."""
    pads = np.zeros((len(dealers), 2, sizes.pad_words), np.uint32)
    rows = [row for row, dealer in enumerate(dealers) if dealer in known]
    pads[rows] = sketch_pads([known[dealers[row]] for row in rows], sizes)
    tests, geometry = sent
    own = np.moveaxis(pads[:, :, sizes.geometry_words :], 1, 0)
    return ring.subtract(tests, own), ring.subtract(geometry, blinds(pads, dealers, reference=sizes.reference))
