"""What one dealer shares, and how a share lies in its envelope (docs/protocol.md, section 4, step 1).

degree t:     s_0 ... s_{N−1}, blinds of the degree test
degree 2t:    sharings of zero: m for the own norms, one per peer (in the own place: for the distance to a reference),
              m for the norms of a recheck, zero-test blinds
not shared:   the key of the receiver's pads, which it shares with the dealer alone (`pads`)
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from flower_robust.commitments.envelope import Route
from flower_robust.commitments.transcript import derived
from flower_robust.masking import ring
from flower_robust.masking.decoding import test_values
from flower_robust.masking.masks import draw_secret
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.ring import Residues
from flower_robust.masking.sharing import polynomials, share_of
from flower_robust.masking.stream import uniform
from flower_robust.protocol.client_states import Held
from flower_robust.protocol.codec import Field, exact, octets, residues
from flower_robust.protocol.pads import dealt_key, pad_seed
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.sizes import PAD_KEY_BYTES, REPETITIONS, Sizes


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """One receiver's part of one dealing: `secret` [2, N + repetitions], `zeros` [2, 2m + n + repetitions] and
    `pad_key`, 32 bytes."""

    secret: Residues
    zeros: Residues
    pad_key: bytes

    def encode(self) -> bytes:
        """The words of both, 4 bytes each, and the key; about 33 kB."""
        return b"".join((octets(self.secret), octets(self.zeros), self.pad_key))

    @classmethod
    def decode(cls, plaintext: Field, sizes: Sizes) -> Self:
        """Inverse of `encode`; ValueError on another length or a residue out of range."""
        exact(plaintext, sizes.share_bytes)
        view = memoryview(plaintext)
        cut, end = 8 * sizes.secret_words, -PAD_KEY_BYTES
        secret, zeros = residues(view[:cut], sizes.secret_words), residues(view[cut:end], sizes.zero_words)
        return cls(secret, zeros, bytes(view[end:]))


@dataclass(slots=True, eq=False, repr=False)
class Shares:
    """One responder's shares of A dealings: `secrets` [A, 2, N + repetitions], `zeros` [A, 2, 2m + n + repetitions] and
    one pad key each. Zeros where a share did not open."""

    secrets: Residues
    zeros: Residues
    pad_keys: list[bytes]

    @classmethod
    def none(cls, A: int, sizes: Sizes) -> Self:
        """Room for A of them."""
        secrets = np.zeros((A, 2, sizes.secret_words), np.uint32)
        return cls(secrets, np.zeros((A, 2, sizes.zero_words), np.uint32), [bytes(PAD_KEY_BYTES)] * A)

    @classmethod
    def of(cls, share: Share) -> Self:
        """A single one."""
        return cls(share.secret[None], share.zeros[None], [share.pad_key])

    def put(self, row: int, share: Share) -> None:
        """Copy one in."""
        self.secrets[row], self.zeros[row], self.pad_keys[row] = share.secret, share.zeros, share.pad_key

    def held(self, sizes: Sizes) -> Held:
        """What later steps need of them."""
        start, end = sizes.geometry_words, sizes.geometry_words + PARAMETERS.m
        return Held(self.secrets[:, :, : PARAMETERS.N], self.zeros[:, :, start:end].copy(), tuple(self.pad_keys))

    def __repr__(self) -> str:
        return "Shares(<redacted>)"


def own_secret(entropy: bytes) -> Residues:
    """s [2, N] of the dealer with this entropy (32 bytes)."""
    return draw_secret(derived(entropy, "secret"))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Dealing:
    """One dealer's polynomials: `secrets` [2, t + 1, N + repetitions] and `zeros` [2, 2t + 1, 2m + n + repetitions].

    Shares are computed one receiver at a time, so that no client holds n of them.
    """

    secrets: Residues
    zeros: Residues
    pad_seed: bytes

    @classmethod
    def draw(cls, entropy: bytes, sizes: Sizes) -> Self:
        """All of it from `entropy`."""
        blinds = uniform(derived(entropy, "degree-blinds"), "blinds", REPETITIONS)
        values = np.concatenate([own_secret(entropy), blinds], axis=1)
        secrets = polynomials(values, sizes.t, sizes.n, derived(entropy, "shares"))
        zeros = polynomials(ring.zeros(sizes.zero_words), 2 * sizes.t, sizes.n, derived(entropy, "zeros"))
        return cls(secrets, zeros, pad_seed(entropy))

    def share(self, receiver: int) -> Share:
        """What goes into the envelope to one receiver."""
        zeros = share_of(self.zeros, receiver)
        return Share(share_of(self.secrets, receiver), zeros, dealt_key(self.pad_seed, receiver))

    def __repr__(self) -> str:
        return "Dealing(<redacted>)"


def envelope_secret(entropy: bytes, receiver: int) -> bytes:
    """The secret e of the envelope to one receiver, 32 bytes."""
    return derived(entropy, f"envelope/{receiver}")


def route(plan: RoundPlan, dealer: int, receiver: int) -> Route:
    """Whose envelope to whom."""
    return Route(plan.run_id, plan.digest, plan.cohort[dealer], plan.cohort[receiver])


def test_answers(shares: Shares, challenge: bytes) -> Residues:
    """One responder's values of both tests for A dealers, [2, A, 2·repetitions] (docs/protocol.md, section 6.4).

        Σ_k ρ_k·⟨v⟩_k + ⟨blind⟩       ρ from the challenge, once per repetition

    Repetition r counts the blinds before its own among the tested words, which keeps every blind tested as well.
    """
    columns = [_columns(shares.secrets, challenge, "degree"), _columns(shares.zeros, challenge, "zero")]
    return np.concatenate(columns, axis=2)


def _columns(shares: Residues, challenge: bytes, label: str) -> Residues:
    first_blind = shares.shape[2] - REPETITIONS
    ends = range(first_blind + 1, first_blind + REPETITIONS + 1)
    return np.stack([test_values(shares[:, :, :end], challenge, f"{label}/{end}") for end in ends], axis=2)
