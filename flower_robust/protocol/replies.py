"""What clients send in a masked round, after their submission too: typed, signed, and bound to what they were shown."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from flower_robust.commitments import Identity, Roster, sign_statement, verify_statement
from flower_robust.commitments.masked import MaskedNormCommitment, NormOpening
from flower_robust.commitments.transcript import digest
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.ring import Residues
from flower_robust.protocol.codec import (
    Field,
    Frame,
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
from flower_robust.protocol.sizes import PAD_KEY_BYTES, REPETITIONS, Sizes
from flower_robust.types import Digest, RosterName, Signature


@dataclass(frozen=True, slots=True, eq=False)
class Submission:
    """Step 1: the commitment, y [2, B, N] (8 bytes per parameter) and one envelope per peer (the own one is empty)."""

    commitment: MaskedNormCommitment
    upload: Residues
    envelopes: tuple[Field, ...]

    @staticmethod
    def frame(sizes: Sizes, position: int, name: str) -> Frame:
        """The message to fill: commitment, y, envelopes; about 8·B·N + n·33 kB."""
        envelopes = [0 if receiver == position else sizes.envelope_bytes for receiver in range(sizes.n)]
        return Frame("submission", (MaskedNormCommitment.length(sizes.n, name), sizes.upload_bytes, *envelopes))

    def encode(self) -> bytes:
        """The message of what is there already."""
        return encode("submission", self.commitment.encode(), octets(self.upload), *self.envelopes)

    @classmethod
    def decode(cls, message: Field, sizes: Sizes, position: int, sender: str) -> Self:
        """Inverse of `encode` for the member at `position`; ValueError or MalformedReply on anything else."""
        commitment, upload, *envelopes = decode("submission", message, 2 + sizes.n)
        for receiver, envelope in enumerate(envelopes):
            exact(envelope, 0 if receiver == position else sizes.envelope_bytes)
        words = residues(upload, sizes.B, PARAMETERS.N)
        return cls(MaskedNormCommitment.decode(bytes(commitment), sizes.n, sender), words, tuple(envelopes))


def upload_of(field: Field, sizes: Sizes) -> Residues:
    """y [2, B, N] where it lies, in its field of a frame or of a message that this client made: a view."""
    return np.frombuffer(field, "<u4").reshape(2, sizes.B, PARAMETERS.N)


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
class SketchParts:
    """What one client computed from its shares of the A accepted dealers, padded (`pads`).

    `tests` [2, A, 2·repetitions]: its values of the degree test, then of the zero test; `geometry`
    [2, A(A−1)/2 + A·m (+ A)]: its blinded shares of distances and partial norms (and distances to the reference);
    `opening`: of its own norm commitment; `complaints`: dealers (positions in the cohort) whose envelope did not
    open; `pad_keys`: 32 bytes per accepted client, under which that one padded what concerns this one if both were
    shown the same.
    """

    tests: Residues
    geometry: Residues
    opening: NormOpening
    complaints: tuple[int, ...]
    pad_keys: bytes

    @property
    def digests(self) -> tuple[Digest, Digest, Digest]:
        """What an attestation signs of it."""
        return (
            digest("tests", octets(self.tests)),
            digest("geometry", octets(self.geometry), self.opening.encode(), self.pad_keys),
            digest("complaints", from_positions(self.complaints)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class SketchReply:
    """Step 3: parts, signed; `shown_signature`: what the server signed, sent back so that two different ones meet."""

    attestation: Attestation
    parts: SketchParts
    shown_signature: bytes

    @classmethod
    def sign(
        cls, identity: Identity, plan_digest: Digest, shown: Digest, shown_signature: bytes, parts: SketchParts
    ) -> Self:
        """The reply of `identity`."""
        return cls(Attestation.sign(identity, plan_digest, shown, parts.digests), parts, shown_signature)

    def encode(self) -> bytes:
        """About 0.5 kB + 8·(A²/2 + A·(m + 8)) bytes, and 8·A with a reference."""
        tests, geometry, opening = octets(self.parts.tests), octets(self.parts.geometry), self.parts.opening.encode()
        parts = (tests, geometry, opening, from_positions(self.parts.complaints), self.parts.pad_keys)
        return encode("sketch-reply", self.attestation.encode(), *parts, self.shown_signature)

    @classmethod
    def decode(cls, message: Field, accepted: int, sizes: Sizes) -> Self:
        """Inverse of `encode` with A accepted; ValueError on anything else."""
        attestation, tests, geometry, opening, complaints, keys, signature = decode("sketch-reply", message, 7)
        parts = SketchParts(
            residues(tests, accepted, 2 * REPETITIONS),
            residues(geometry, sizes.opened_words(accepted)),
            NormOpening.decode(bytes(opening)),
            positions(complaints, sizes.n),
            fixed(keys, PAD_KEY_BYTES * accepted),
        )
        found = cls(Attestation.decode(attestation), parts, fixed(signature, 64))
        if parts.digests != (found.attestation.tests, found.attestation.geometry, found.attestation.complaints):
            raise ValueError("found parts that are not the signed ones")
        return found


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

    signature = Ed25519(pack(".../<kind>", plan, name, digest of the request, H(shares, pad keys)))

    The shares of a recheck are padded; `pad_keys` then holds 32 bytes per accepted client, as in a sketch reply.
    """

    kind: str
    request: Digest
    shares: Residues
    pad_keys: bytes
    signature: Signature

    @classmethod
    def sign(
        cls,
        identity: Identity,
        kind: str,
        plan_digest: Digest,
        request: Digest,
        shares: Residues,
        pad_keys: bytes = b"",
    ) -> Self:
        """The reply of `identity`."""
        fields = (plan_digest, identity.name.encode(), request, digest(kind, octets(shares), pad_keys))
        return cls(kind, request, shares, pad_keys, sign_statement(identity, kind, *fields))

    def verify(self, roster: Roster, name: RosterName, plan_digest: Digest) -> None:
        """Raises UnknownClient or BadSignature, which blame whoever sent it in this name."""
        fields = (plan_digest, name.encode(), self.request, digest(self.kind, octets(self.shares), self.pad_keys))
        verify_statement(roster, name, self.kind, *fields, signature=self.signature)

    def encode(self) -> bytes:
        """The shares, 8 bytes per word, and about 150 bytes."""
        return encode(self.kind, self.request, octets(self.shares), self.pad_keys, self.signature)

    @classmethod
    def decode(cls, kind: str, message: Field, *shape: int, keys: int = 0) -> Self:
        """Inverse of `encode` for shares [2, *shape] and so many pad keys; ValueError on anything else."""
        request, shares, pad_keys, signature = decode(kind, message, 4)
        words, disclosed = residues(shares, *shape), fixed(pad_keys, PAD_KEY_BYTES * keys)
        return cls(kind, Digest(fixed(request, 32)), words, disclosed, Signature(fixed(signature, 64)))


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
