"""What the server shows in a masked round: a signed part that all see alike, and a part for each alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from flower_robust.commitments import Identity
from flower_robust.commitments.keys import KeyAnnouncement
from flower_robust.commitments.transcript import digest, sign_shown, verify_shown
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
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.replies import Attestation
from flower_robust.protocol.sizes import REPETITIONS, Sizes
from flower_robust.types import Digest

Weights = npt.NDArray[np.uint8]
"""[groups, n]: integer weights 0..255 of the cohort in each opened sum."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a client needs before it submits: the plan, the cohort's run keys, and last round's result if announced."""

    plan: RoundPlan
    keys: tuple[KeyAnnouncement, ...]
    announcement: bytes = b""

    def encode(self) -> bytes:
        """About 0.6 kB + n·170 bytes, and 33 kB per announced sum."""
        return encode("offer", self.plan.encode(), self.announcement, *(key.encode() for key in self.keys))

    @classmethod
    def decode(cls, message: Field) -> Self:
        """Inverse of `encode`; ValueError, FaultyServer or MalformedReply on anything else."""
        plan, announcement, *keys = decode("offer", message)
        found = RoundPlan.decode(bytes(plan))
        if len(keys) != len(found.cohort):
            raise ValueError(f"found {len(keys)} run keys for {len(found.cohort)} members")
        announced = tuple(KeyAnnouncement.decode(bytes(key), "server") for key in keys)
        return cls(found, announced, bytes(announcement))


@dataclass(frozen=True, slots=True, eq=False)
class Challenge:
    """Step 2: the A accepted commitments and P·y of each, [A, 2, m, c]; for one client, its envelopes from each dealer.

    `audit` is what the audit of the round before needs (`audit.AuditShown`), or empty; `audited_sum` is the announced
    sum, which only the auditor gets; `accepted` are positions in the cohort; `reference` [2, m, c] is the sketch of the
    server's own row, where the plan has one, and `opened_row` that row (`PublicRow.opening`), for the auditor.
    """

    accepted: tuple[int, ...]
    commitments: tuple[Field, ...]
    sketches: Residues
    audit: Field
    signature: bytes
    envelopes: tuple[Field, ...]
    audited_sum: Field = b""
    reference: Residues | None = None
    opened_row: Field = b""

    @property
    def shown(self) -> Digest:
        """The digest of everything that all clients must see alike."""
        return shown_digest(self.accepted, self.commitments, self.sketches, self.audit, self.reference)

    def encode(self) -> bytes:
        """About A·(73 kB + 33 kB), and 73 kB with a reference; for the auditor the announced sums and x_r as well."""
        common = (from_positions(self.accepted), octets(self.sketches), self.audit, self.signature, self.audited_sum)
        lists = (encode("list", *self.commitments), encode("list", *self.envelopes))
        reference = () if self.reference is None else (octets(self.reference), self.opened_row)
        return encode("challenge", *common, *lists, *reference)

    @classmethod
    def decode(cls, message: Field, sizes: Sizes, position: int) -> Self:
        """Inverse of `encode` for the member at `position`; ValueError on anything else."""
        fields = decode("challenge", message, 9 if sizes.reference else 7)
        accepted, sketches, audit, signature, audited, commitments, envelopes, *reference = fields
        members = positions(accepted, sizes.n)
        signed, sealed = decode("list", commitments, len(members)), decode("list", envelopes, len(members))
        for dealer, envelope in zip(members, sealed, strict=True):
            exact(envelope, 0 if dealer == position else sizes.envelope_bytes)
        rows = sketch_rows(sketches, len(members))
        public = (sketch_rows(reference[0], 1)[0], reference[1]) if reference else ()
        return cls(members, tuple(signed), rows, audit, fixed(signature, 64), tuple(sealed), audited, *public)


def sketch_rows(field: Field, rows: int) -> Residues:
    """Sketches [rows, 2, m, c]; ValueError on another length or a residue out of range."""
    m, c = PARAMETERS.m, PARAMETERS.c
    found = np.frombuffer(exact(field, 8 * rows * m * c), "<u4").reshape(rows, 2, m, c)
    for p, q in enumerate(PARAMETERS.primes):
        if found[:, p].max(initial=0) >= q:
            raise ValueError(f"found a residue of {found[:, p].max()}, required below {q}")
    return found


def shown_digest(
    accepted: Sequence[int],
    commitments: Sequence[Field],
    sketches: Residues,
    audit: Field,
    reference: Residues | None = None,
) -> Digest:
    """H(context, accepted positions, H(commitments), sketches, audit, sketch of the reference if there is one)."""
    fields = (from_positions(accepted), digest("list", *commitments), octets(sketches), audit)
    return digest("challenge-shown", *fields, *(() if reference is None else (octets(reference),)))


@dataclass(frozen=True, slots=True, eq=False)
class Unmask:
    """Step 5: the decision, as signed by the server, and what makes it safe to open.

    `weights` [g, n]; `attestations`: by position, what other clients signed that they were shown; `echoes`: by
    position, signatures on this decision (strict rounds; empty while they are still being asked for).
    """

    weights: Weights
    attestations: Mapping[int, Attestation]
    echoes: Mapping[int, bytes]
    signature: bytes

    @classmethod
    def sign(
        cls,
        server: Identity,
        plan_digest: Digest,
        shown: Digest,
        weights: Weights,
        attestations: Mapping[int, Attestation],
        echoes: Mapping[int, bytes],
    ) -> Self:
        """The server's request."""
        signature = sign_shown(server, "decision", plan_digest, decision_digest(shown, weights))
        return cls(weights, attestations, echoes, signature)

    def verify(self, server_key: bytes, plan_digest: Digest, shown: Digest) -> Digest:
        """The digest of the decision; FaultyServer unless the server signed it."""
        decision = decision_digest(shown, self.weights)
        verify_shown(server_key, "decision", plan_digest, decision, self.signature)
        return decision

    def encode(self) -> bytes:
        """g·n + 200 bytes per attestation + 70 per echo."""
        attested = table((p, self.attestations[p].encode()) for p in sorted(self.attestations))
        echoed = table((p, self.echoes[p]) for p in sorted(self.echoes))
        return encode("unmask", self.weights.tobytes(), attested, echoed, self.signature)

    @classmethod
    def decode(cls, message: Field, sizes: Sizes) -> Self:
        """Inverse of `encode`; ValueError on anything else."""
        weights, attested, echoed, signature = decode("unmask", message, 4)
        exact(weights, sizes.groups * sizes.n)
        attestations = {p: Attestation.decode(row) for p, row in from_table(attested, sizes.n).items()}
        echoes = {p: fixed(row, 64) for p, row in from_table(echoed, sizes.n).items()}
        grid = np.frombuffer(weights, np.uint8).reshape(sizes.groups, sizes.n)
        return cls(grid, attestations, echoes, fixed(signature, 64))


def decision_digest(shown: Digest, weights: Weights) -> Digest:
    """H(context, digest of the challenge, weights): what is signed, echoed and announced as the decision."""
    return digest("decision", shown, bytes(weights.shape[0].to_bytes(2, "big")), weights.tobytes())


@dataclass(frozen=True, slots=True, eq=False)
class Dispute:
    """To one dealer: what its receivers signed about its shares, for it to clear itself.

    `statements`: by receiver (position), its attestation, its tests [2, A, 2·repetitions] and its complaints.
    """

    statements: Mapping[int, tuple[Attestation, Residues, tuple[int, ...]]]

    def encode(self) -> bytes:
        """About 0.3 kB + 32·A bytes per receiver."""
        return encode("dispute", table((p, _statement(*self.statements[p])) for p in sorted(self.statements)))

    @classmethod
    def decode(cls, message: Field, accepted: int, n: int) -> Self:
        """Inverse of `encode`; ValueError on anything else."""
        (rows,) = decode("dispute", message, 1)
        found = {}
        for receiver, row in from_table(rows, n).items():
            attestation, tests, complaints = decode("statement", row, 3)
            values = residues(tests, accepted, 2 * REPETITIONS)
            found[receiver] = (Attestation.decode(attestation), values, positions(complaints, n))
        return cls(found)


def _statement(attestation: Attestation, tests: Residues, complaints: tuple[int, ...]) -> bytes:
    return encode("statement", attestation.encode(), octets(tests), from_positions(complaints))


@dataclass(frozen=True, slots=True, eq=False)
class Recheck:
    """After a void sum: fresh sketches [A, 2, m, c] of the same submissions, drawn from the void decision."""

    sketches: Residues
    signature: bytes

    @property
    def shown(self) -> Digest:
        """The digest of what all clients must see alike."""
        return digest("recheck-shown", octets(self.sketches))

    def encode(self) -> bytes:
        """73 kB per accepted client."""
        return encode("recheck", octets(self.sketches), self.signature)

    @classmethod
    def decode(cls, message: Field, accepted: int) -> Self:
        """Inverse of `encode`; ValueError on anything else."""
        sketches, signature = decode("recheck", message, 2)
        return cls(sketch_rows(sketches, accepted), fixed(signature, 64))
