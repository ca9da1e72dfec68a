"""What one dealer shares, and how a share lies in its envelope (DESIGN section 4, step 1).

degree t:     s_0 ... s_{N−1}, blinds of the degree test
degree 2t:    sharings of zero: m for the own norms, one per peer, m for the norms of a recheck, zero-test blinds
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from flower_robust.commitments.envelope import Route
from flower_robust.commitments.transcript import derived
from flower_robust.masking.decoding import test_values
from flower_robust.masking.masks import draw_secret
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.ring import Residues
from flower_robust.masking.sharing import share, share_zero
from flower_robust.masking.stream import uniform
from flower_robust.protocol.codec import Field, exact, octets, residues
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.sizes import REPETITIONS, Sizes


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """One receiver's part of one dealing: `secret` [2, N + repetitions], `zeros` [2, 2m + n + repetitions]."""

    secret: Residues
    zeros: Residues

    def encode(self) -> bytes:
        """The words of both, 4 bytes each; about 33 kB."""
        return b"".join((octets(self.secret), octets(self.zeros)))

    @classmethod
    def decode(cls, plaintext: Field, sizes: Sizes) -> Self:
        """Inverse of `encode`; ValueError on another length or a residue out of range."""
        exact(plaintext, sizes.share_bytes)
        view = memoryview(plaintext)
        cut = 8 * sizes.secret_words
        return cls(residues(view[:cut], sizes.secret_words), residues(view[cut:], sizes.zero_words))

    @classmethod
    def missing(cls, sizes: Sizes) -> Self:
        """Zeros, in place of a share that did not open."""
        return cls(np.zeros((2, sizes.secret_words), np.uint32), np.zeros((2, sizes.zero_words), np.uint32))


def own_secret(entropy: bytes) -> Residues:
    """s [2, N] of the dealer with this entropy (32 bytes)."""
    return draw_secret(derived(entropy, "secret"))


def deal(entropy: bytes, sizes: Sizes) -> list[Share]:
    """The n shares of one dealing, all of it drawn from `entropy`."""
    blinds = uniform(derived(entropy, "degree-blinds"), "blinds", REPETITIONS)
    values = np.concatenate([own_secret(entropy), blinds], axis=1)
    secrets = share(values, sizes.t, sizes.n, derived(entropy, "shares"))
    zeros = share_zero(sizes.zero_words, 2 * sizes.t, sizes.n, derived(entropy, "zeros"))
    return [Share(secrets[j], zeros[j]) for j in range(sizes.n)]


def envelope_secret(entropy: bytes, receiver: int) -> bytes:
    """The secret e of the envelope to one receiver, 32 bytes."""
    return derived(entropy, f"envelope/{receiver}")


def route(plan: RoundPlan, dealer: int, receiver: int) -> Route:
    """Whose envelope to whom."""
    return Route(plan.run_id, plan.digest, plan.cohort[dealer], plan.cohort[receiver])


def test_answers(shares: Sequence[Share], challenge: bytes) -> Residues:
    """One responder's values of both tests for A dealers, [2, A, 2·repetitions] (DESIGN section 5).

        Σ_k ρ_k·⟨v⟩_k + ⟨blind⟩       ρ from the challenge, once per repetition

    Repetition r counts the blinds before its own among the tested words, which keeps every blind tested as well.
    """
    secrets = np.stack([share.secret for share in shares])
    zeros = np.stack([share.zeros for share in shares])
    columns = [_columns(secrets, challenge, "degree"), _columns(zeros, challenge, "zero")]
    return np.concatenate(columns, axis=2)


def _columns(shares: Residues, challenge: bytes, label: str) -> Residues:
    first_blind = shares.shape[2] - REPETITIONS
    ends = range(first_blind + 1, first_blind + REPETITIONS + 1)
    return np.stack([test_values(shares[:, :, :end], challenge, f"{label}/{end}") for end in ends], axis=2)


def tested_secrets(shares: Sequence[Share]) -> Residues:
    """The shares of s, [A, 2, N]."""
    return np.stack([share.secret[:, : PARAMETERS.N] for share in shares])


def geometry_zeros(shares: Sequence[Share], n: int) -> Residues:
    """The zero shares that blind norms and distances, [A, 2, m + n]."""
    return np.stack([share.zeros[:, : PARAMETERS.m + n] for share in shares])


def recheck_zeros(shares: Sequence[Share], n: int) -> Residues:
    """The zero shares that blind the norms of a recheck, [A, 2, m]."""
    start = PARAMETERS.m + n
    return np.stack([share.zeros[:, start : start + PARAMETERS.m] for share in shares])
