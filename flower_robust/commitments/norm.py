"""The signed commitment to an unmasked update and its norm (docs/protocol.md, section 4, step 1, unmasked)."""

from dataclasses import dataclass
from typing import Self

from flower_robust.commitments.encoding import f64, from_f64, from_u64, pack, u64, unpack
from flower_robust.commitments.identity import Identity
from flower_robust.commitments.roster import Roster
from flower_robust.commitments.statement import sign_statement, verify_statement
from flower_robust.errors import MalformedReply
from flower_robust.types import Digest, RosterName, Signature

KIND = "norm-commitment"


@dataclass(frozen=True, slots=True)
class SignedNormCommitment:
    """One client's word on its update: which bytes, how long, in which round of which plan.

        signature = Ed25519(pack("flower-robust/v1/norm-commitment", plan digest, round, name, update digest, norm))

    `plan_digest` and `update_digest` are 32 bytes, `norm` is an L2 norm in the model's own unit, `signature` 64 bytes.
    """

    plan_digest: Digest
    round: int
    name: RosterName
    update_digest: Digest
    norm: float
    signature: Signature

    @classmethod
    def sign(cls, identity: Identity, *, plan_digest: Digest, round: int, update_digest: Digest, norm: float) -> Self:
        """The commitment of `identity` to an update with this digest and this norm."""
        fields = _fields(plan_digest, round, identity.name, update_digest, norm)
        signature = sign_statement(identity, KIND, *fields)
        return cls(plan_digest, round, identity.name, update_digest, norm, signature)

    def verify(self, roster: Roster) -> None:
        """Raises UnknownClient or BadSignature, which blame whoever sent it in `self.name`."""
        fields = _fields(self.plan_digest, self.round, self.name, self.update_digest, self.norm)
        verify_statement(roster, self.name, KIND, *fields, signature=self.signature)

    def encode(self) -> bytes:
        """Version byte and the six fields; about 190 bytes."""
        fields = _fields(self.plan_digest, self.round, self.name, self.update_digest, self.norm)
        return pack(*fields, self.signature)

    @classmethod
    def decode(cls, encoded: bytes, sender: str) -> Self:
        """Inverse of `encode`; MalformedReply on anything else, NaN and Inf included, and blames `sender`."""
        try:
            plan, server_round, name, update, norm, signature = unpack(encoded, 6)
            if (len(plan), len(update), len(signature)) != (32, 32, 64):
                raise ValueError("found digests or signature of another length, required 32, 32 and 64 bytes")
            text = RosterName(name.decode())
            round_number, length = from_u64(server_round), from_f64(norm)
        except ValueError as error:
            raise MalformedReply(sender, KIND, f"no commitment ({error})", "an encoded SignedNormCommitment") from None
        return cls(Digest(plan), round_number, text, Digest(update), length, Signature(signature))


def _fields(
    plan_digest: Digest, round: int, name: RosterName, update_digest: Digest, norm: float
) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    return plan_digest, u64(round), name.encode(), update_digest, f64(norm)
