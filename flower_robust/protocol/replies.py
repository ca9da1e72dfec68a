"""What clients send in a masked round, after their submission too: typed, signed, and bound to what they were shown."""

from dataclasses import dataclass
from typing import Self

from flower_robust.commitments import Identity, Roster, sign_statement, verify_statement
from flower_robust.commitments.masked import MaskedNormCommitment, NormOpening
from flower_robust.commitments.transcript import digest
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.ring import Residues
from flower_robust.protocol.codec import (
    Field,
    decode,
    encode,
    exact,
    fixed,
    from_positions,
    from_table,
    octets,
    positions,
    residues,
    table,
)
from flower_robust.protocol.sizes import REPETITIONS, Sizes
from flower_robust.types import Digest, RosterName, Signature


@dataclass(frozen=True, slots=True, eq=False)
class Submission:
    """Step 1: the commitment, y [2, B, N] (8 bytes per parameter) and one envelope per peer (the own one is empty)."""

    commitment: MaskedNormCommitment
    upload: Residues
    envelopes: tuple[Field, ...]

    def encode(self) -> bytes:
        """About 8·B·N + n·33 kB."""
        return encode("submission", self.commitment.encode(), octets(self.upload), *self.envelopes)

    @classmethod
    def decode(cls, message: Field, sizes: Sizes, position: int, sender: str) -> Self:
        """Inverse of `encode` for the member at `position`; ValueError or MalformedReply on anything else."""
        commitment, upload, *envelopes = decode("submission", message, 2 + sizes.n)
        for receiver, envelope in enumerate(envelopes):
            exact(envelope, 0 if receiver == position else sizes.envelope_bytes)
        words = residues(upload, sizes.B, PARAMETERS.N)
        return cls(MaskedNormCommitment.decode(bytes(commitment), sizes.n, sender), words, tuple(envelopes))


def upload_digest(upload: Residues) -> Digest:
    """SHA-256 of y, as the commitment signs it."""
    return digest("upload", octets(upload))


@dataclass(frozen=True, slots=True)
class Attestation:
    """The signed part of a sketch reply, enough to show others what its sender was shown.

    signature = Ed25519(pack(".../sketch-reply", plan, name, shown, H(tests), H(geometry), H(complaints)))
    """

    shown: Digest
    tests: Digest
    geometry: Digest
    complaints: Digest
    signature: Signature

    @classmethod
    def sign(cls, identity: Identity, plan_digest: Digest, shown: Digest, parts: tuple[Digest, Digest, Digest]) -> Self:
        """`identity`'s word that it was shown `shown` and answered these parts."""
        tests, geometry, complaints = parts
        fields = (plan_digest, identity.name.encode(), shown, tests, geometry, complaints)
        return cls(shown, tests, geometry, complaints, sign_statement(identity, "sketch-reply", *fields))

    def verify(self, roster: Roster, name: RosterName, plan_digest: Digest) -> None:
        """Raises UnknownClient or BadSignature, which blame whoever sent it in this name."""
        fields = (plan_digest, name.encode(), self.shown, self.tests, self.geometry, self.complaints)
        verify_statement(roster, name, "sketch-reply", *fields, signature=self.signature)

    def encode(self) -> bytes:
        """192 bytes."""
        return self.shown + self.tests + self.geometry + self.complaints + self.signature

    @classmethod
    def decode(cls, field: Field) -> Self:
        """Inverse of `encode`; ValueError on another length."""
        encoded = fixed(field, 192)
        shown, tests, geometry, complaints = (Digest(encoded[start : start + 32]) for start in range(0, 128, 32))
        return cls(shown, tests, geometry, complaints, Signature(encoded[128:]))


@dataclass(frozen=True, slots=True, eq=False)
class SketchReply:
    """Step 3: what one client computed from its shares of the A accepted dealers.

    `tests` [2, A, 2·repetitions]: its values of the degree test, then of the zero test; `geometry`
    [2, A(A−1)/2 + A·m]: its blinded shares of distances and partial norms; `opening`: of its own norm commitment;
    `complaints`: dealers (positions in the cohort) whose envelope did not open; `shown_signature`: what the server
    signed, sent back so that two different ones meet.
    """

    attestation: Attestation
    tests: Residues
    geometry: Residues
    opening: NormOpening
    complaints: tuple[int, ...]
    shown_signature: bytes

    @classmethod
    def sign(
        cls,
        identity: Identity,
        plan_digest: Digest,
        shown: Digest,
        shown_signature: bytes,
        tests: Residues,
        geometry: Residues,
        opening: NormOpening,
        complaints: tuple[int, ...],
    ) -> Self:
        """The reply of `identity`."""
        parts = _part_digests(tests, geometry, opening, complaints)
        attestation = Attestation.sign(identity, plan_digest, shown, parts)
        return cls(attestation, tests, geometry, opening, complaints, shown_signature)

    def encode(self) -> bytes:
        """About 0.5 kB + 8·(A²/2 + A·(m + 4)) bytes."""
        parts = (octets(self.tests), octets(self.geometry), self.opening.encode(), from_positions(self.complaints))
        return encode("sketch-reply", self.attestation.encode(), *parts, self.shown_signature)

    @classmethod
    def decode(cls, message: Field, accepted: int, n: int) -> Self:
        """Inverse of `encode` for a cohort of n with A accepted; ValueError on anything else."""
        attestation, tests, geometry, opening, complaints, signature = decode("sketch-reply", message, 6)
        values = accepted * (accepted - 1) // 2 + accepted * PARAMETERS.m
        found = cls(
            Attestation.decode(attestation),
            residues(tests, accepted, 2 * REPETITIONS),
            residues(geometry, values),
            NormOpening.decode(bytes(opening)),
            positions(complaints, n),
            fixed(signature, 64),
        )
        signed = (found.attestation.tests, found.attestation.geometry, found.attestation.complaints)
        if signed != _part_digests(found.tests, found.geometry, found.opening, found.complaints):
            raise ValueError("found parts that are not the signed ones")
        return found


def _part_digests(
    tests: Residues, geometry: Residues, opening: NormOpening, complaints: tuple[int, ...]
) -> tuple[Digest, Digest, Digest]:
    return (
        digest("tests", octets(tests)),
        digest("geometry", octets(geometry), opening.encode()),
        digest("complaints", from_positions(complaints)),
    )


@dataclass(frozen=True, slots=True)
class Echo:
    """Strict rounds: one client's signature on the one decision that it will unmask."""

    decision: Digest
    signature: Signature

    @classmethod
    def sign(cls, identity: Identity, plan_digest: Digest, decision: Digest) -> Self:
        """The echo of `identity`."""
        fields = (plan_digest, identity.name.encode(), decision)
        return cls(decision, sign_statement(identity, "echo", *fields))

    def verify(self, roster: Roster, name: RosterName, plan_digest: Digest) -> None:
        """Raises UnknownClient or BadSignature, which blame whoever sent it in this name."""
        fields = (plan_digest, name.encode(), self.decision)
        verify_statement(roster, name, "echo", *fields, signature=self.signature)

    def encode(self) -> bytes:
        """96 bytes and the head."""
        return encode("echo", self.decision, self.signature)

    @classmethod
    def decode(cls, message: Field) -> Self:
        """Inverse of `encode`; ValueError on anything else."""
        decision, signature = decode("echo", message, 2)
        return cls(Digest(fixed(decision, 32)), Signature(fixed(signature, 64)))


@dataclass(frozen=True, slots=True, eq=False)
class SharesReply:
    """Shares that answer one signed request: "unmask-reply", of Σ w_i·s_i (step 5), or "recheck-reply", of fresh norms.

    signature = Ed25519(pack(".../<kind>", plan, name, digest of the request, H(shares)))
    """

    kind: str
    request: Digest
    shares: Residues
    signature: Signature

    @classmethod
    def sign(cls, identity: Identity, kind: str, plan_digest: Digest, request: Digest, shares: Residues) -> Self:
        """The reply of `identity`."""
        fields = (plan_digest, identity.name.encode(), request, digest(kind, octets(shares)))
        return cls(kind, request, shares, sign_statement(identity, kind, *fields))

    def verify(self, roster: Roster, name: RosterName, plan_digest: Digest) -> None:
        """Raises UnknownClient or BadSignature, which blame whoever sent it in this name."""
        fields = (plan_digest, name.encode(), self.request, digest(self.kind, octets(self.shares)))
        verify_statement(roster, name, self.kind, *fields, signature=self.signature)

    def encode(self) -> bytes:
        """The shares, 8 bytes per word, and about 150 bytes."""
        return encode(self.kind, self.request, octets(self.shares), self.signature)

    @classmethod
    def decode(cls, kind: str, message: Field, *shape: int) -> Self:
        """Inverse of `encode` for shares [2, *shape]; ValueError on anything else."""
        request, shares, signature = decode(kind, message, 3)
        words = residues(shares, *shape)
        return cls(kind, Digest(fixed(request, 32)), words, Signature(fixed(signature, 64)))


@dataclass(frozen=True, slots=True)
class Disclosure:
    """A dealer's answer to a dispute: by receiver, the secret e of an envelope whose receiver signed a falsehood."""

    dispute: Digest
    secrets: dict[int, bytes]
    signature: Signature

    @classmethod
    def sign(cls, identity: Identity, plan_digest: Digest, dispute: Digest, secrets: dict[int, bytes]) -> Self:
        """The disclosure of `identity`."""
        fields = (plan_digest, identity.name.encode(), dispute, table(sorted(secrets.items())))
        return cls(dispute, secrets, sign_statement(identity, "disclosure", *fields))

    def verify(self, roster: Roster, name: RosterName, plan_digest: Digest) -> None:
        """Raises UnknownClient or BadSignature, which blame whoever sent it in this name."""
        fields = (plan_digest, name.encode(), self.dispute, table(sorted(self.secrets.items())))
        verify_statement(roster, name, "disclosure", *fields, signature=self.signature)

    def encode(self) -> bytes:
        """About 40 bytes per receiver and 150."""
        return encode("disclosure", self.dispute, table(sorted(self.secrets.items())), self.signature)

    @classmethod
    def decode(cls, message: Field, n: int) -> Self:
        """Inverse of `encode`; ValueError on anything else."""
        dispute, rows, signature = decode("disclosure", message, 3)
        secrets = {receiver: fixed(secret, 32) for receiver, secret in from_table(rows, n).items()}
        return cls(Digest(fixed(dispute, 32)), secrets, Signature(fixed(signature, 64)))

    def __repr__(self) -> str:
        return f"Disclosure(receivers={sorted(self.secrets)}, secrets=<redacted>)"
