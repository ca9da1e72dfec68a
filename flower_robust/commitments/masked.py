"""The signed commitment to a masked update: its residues, its envelopes and, hidden until the challenge, its norm."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from flower_robust.commitments.encoding import from_u64, pack, u64, unpack
from flower_robust.commitments.identity import Identity
from flower_robust.commitments.roster import Roster
from flower_robust.commitments.statement import CONTEXT, sign_statement, verify_statement
from flower_robust.errors import DigestMismatch, MalformedReply
from flower_robust.types import Digest, RosterName, Signature

KIND = "masked-norm-commitment"
SALT_BYTES = 32


@dataclass(frozen=True, slots=True)
class NormOpening:
    """The squared norm Σ x² of the integers x that a client masked, and the salt (32 bytes) that hid it."""

    squared_norm: int
    salt: bytes

    def commitment(self, plan_digest: Digest, name: str) -> bytes:
        """H(context, plan digest, name, Σ x², salt), 32 bytes: hides the norm until it is opened, fixes it before."""
        fields = (plan_digest, name.encode(), u64(self.squared_norm), self.salt)
        return hashlib.sha256(pack(CONTEXT + b"norm", *fields)).digest()

    def encode(self) -> bytes:
        """8 + 32 bytes."""
        return u64(self.squared_norm) + self.salt

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """Inverse of `encode`; ValueError on another length."""
        if len(encoded) != 8 + SALT_BYTES:
            raise ValueError(f"found an opening of {len(encoded)} bytes, required {8 + SALT_BYTES}")
        return cls(from_u64(encoded[:8]), encoded[8:])

    def __repr__(self) -> str:
        return "NormOpening(<redacted>)"


@dataclass(frozen=True, slots=True)
class MaskedNormCommitment:
    """One client's word on its masked update.

        signature = Ed25519(pack("flower-robust/v1/masked-norm-commitment",
                                 plan digest, name, H(y), H(envelope_1) ‖ ... ‖ H(envelope_n), norm commitment))

    `upload_digest` and `norm_commitment` are 32 bytes; `envelope_digests` is n × 32 bytes in the order of the cohort.
    Run, round, cohort and model are bound through the plan digest.
    """

    plan_digest: Digest
    name: RosterName
    upload_digest: Digest
    envelope_digests: bytes
    norm_commitment: bytes
    signature: Signature

    @classmethod
    def sign(
        cls,
        identity: Identity,
        *,
        plan_digest: Digest,
        upload_digest: Digest,
        envelope_digests: Sequence[Digest],
        norm_commitment: bytes,
    ) -> Self:
        """The commitment of `identity` to this upload, these envelopes and this hidden norm."""
        digests = b"".join(envelope_digests)
        fields = (plan_digest, identity.name.encode(), upload_digest, digests, norm_commitment)
        signature = sign_statement(identity, KIND, *fields)
        return cls(plan_digest, identity.name, upload_digest, digests, norm_commitment, signature)

    def envelope_digest(self, receiver: int) -> Digest:
        """The digest of the envelope to cohort member number `receiver`."""
        return Digest(self.envelope_digests[32 * receiver : 32 * receiver + 32])

    def verify(self, roster: Roster) -> None:
        """Raises UnknownClient or BadSignature, which blame whoever sent it in `self.name`."""
        verify_statement(roster, self.name, KIND, *self._fields(), signature=self.signature)

    def check_opening(self, opening: NormOpening) -> None:
        """Raises DigestMismatch if `opening` is not what was committed: the client changed its mind."""
        if opening.commitment(self.plan_digest, self.name) != self.norm_commitment:
            raise DigestMismatch(self.name, KIND, "another norm or salt", "the committed norm")

    def encode(self) -> bytes:
        """Version byte and the six fields; about 250 + 32·n bytes."""
        return pack(*self._fields(), self.signature)

    @staticmethod
    def length(n: int, name: str) -> int:
        """How long the commitment of `name` is in a cohort of n."""
        return 1 + 6 * 4 + 3 * 32 + len(name.encode()) + 32 * n + 64

    @classmethod
    def decode(cls, encoded: bytes, n: int, sender: str) -> Self:
        """Inverse of `encode` for a cohort of n; MalformedReply on anything else, and blames `sender`."""
        try:
            plan, name, upload, envelopes, norm, signature = unpack(encoded, 6)
            if (len(plan), len(upload), len(envelopes), len(norm), len(signature)) != (32, 32, 32 * n, 32, 64):
                raise ValueError("found a digest or signature of another length")
            text = RosterName(name.decode())
        except ValueError as error:
            raise MalformedReply(sender, KIND, f"no commitment ({error})", "an encoded MaskedNormCommitment") from None
        return cls(Digest(plan), text, Digest(upload), envelopes, norm, Signature(signature))

    def _fields(self) -> tuple[bytes, bytes, bytes, bytes, bytes]:
        name = self.name.encode()
        return self.plan_digest, name, self.upload_digest, self.envelope_digests, self.norm_commitment
