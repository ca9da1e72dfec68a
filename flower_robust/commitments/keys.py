"""Once per run: an ephemeral X25519 key, signed by the identity, to which peers seal their envelopes."""

from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from flower_robust.commitments.encoding import from_u64, pack, u64, unpack
from flower_robust.commitments.identity import Identity
from flower_robust.commitments.roster import Roster
from flower_robust.commitments.statement import sign_statement, verify_statement
from flower_robust.errors import MalformedReply, StaleCommitment
from flower_robust.types import Digest, RosterName, Signature

KIND = "run-key"
_PROBE = X25519PrivateKey.from_private_bytes(b"\x01" * 32)


@dataclass(frozen=True, slots=True)
class KeyAnnouncement:
    """One client's X25519 key for one run, on the word of its identity key.

        signature = Ed25519(pack("flower-robust/v1/run-key", run id, roster digest, name, public key))

    `public_key` is 32 bytes, `signature` 64.
    """

    run_id: int
    roster_digest: Digest
    name: RosterName
    public_key: bytes
    signature: Signature

    def verify(self, roster: Roster, run_id: int, name: str) -> None:
        """Raises UnknownClient, BadSignature, StaleCommitment or MalformedReply; each blames `name`, who sent it."""
        if (self.name, self.run_id, self.roster_digest) != (name, run_id, roster.digest):
            found = f"a key of {self.name} for run {self.run_id}"
            raise StaleCommitment(name, KIND, found, f"a key of {name} for run {run_id} and this roster")
        fields = (u64(self.run_id), self.roster_digest, self.name.encode(), self.public_key)
        verify_statement(roster, self.name, KIND, *fields, signature=self.signature)
        if not _contributes(self.public_key):
            raise MalformedReply(name, KIND, "a point of small order", "an X25519 public key (RFC 7748, section 6.1)")

    def encode(self) -> bytes:
        """Version byte and the five fields; about 170 bytes."""
        return pack(u64(self.run_id), self.roster_digest, self.name.encode(), self.public_key, self.signature)

    @classmethod
    def decode(cls, encoded: bytes, sender: str) -> Self:
        """Inverse of `encode`; MalformedReply on anything else, and blames `sender`."""
        try:
            run_id, roster_digest, name, public_key, signature = unpack(encoded, 5)
            if (len(roster_digest), len(public_key), len(signature)) != (32, 32, 64):
                raise ValueError("found digest, key or signature of another length, required 32, 32 and 64 bytes")
            text = RosterName(name.decode())
            return cls(from_u64(run_id), Digest(roster_digest), text, public_key, Signature(signature))
        except ValueError as error:
            raise MalformedReply(sender, KIND, f"no key announcement ({error})", "an encoded KeyAnnouncement") from None


@dataclass(frozen=True, slots=True, repr=False)
class RunKey:
    """A client's own X25519 key for one run. Prints without its secret."""

    secret: bytes
    announcement: KeyAnnouncement

    @classmethod
    def create(cls, identity: Identity, run_id: int, roster_digest: Digest, entropy: bytes) -> Self:
        """The key whose secret is `entropy`: 32 bytes of the operating system's CSPRNG, used for nothing else."""
        public = X25519PrivateKey.from_private_bytes(entropy).public_key().public_bytes_raw()
        fields = (u64(run_id), roster_digest, identity.name.encode(), public)
        signature = sign_statement(identity, KIND, *fields)
        return cls(entropy, KeyAnnouncement(run_id, roster_digest, identity.name, public, signature))

    def __repr__(self) -> str:
        return f"RunKey({self.announcement.name!r}, public_key={self.announcement.public_key.hex()}, secret=<redacted>)"


def _contributes(public_key: bytes) -> bool:
    try:
        _PROBE.exchange(X25519PublicKey.from_public_bytes(public_key))
    except ValueError:
        return False
    return True
