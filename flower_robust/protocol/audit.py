"""Step 7: the clients check, one round later and without an exchange of its own, that the server added up what it got.

    Σ w_i·P'y_i − (P'a)·(Σ w_i·s_i) = P'·(announced sum),        P' from the next round's challenge

The announcement (weights, Σ w_i·s_i, digest of the sum) is bound by the next plan before P' can be known. Each client
checks the row of its own y, everybody checks the equation, and one auditor, drawn by the challenge, gets the sum itself
and checks that its sketch is the announced one. A wrong sum passes with the probability that P' misses a difference.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from flower_robust.commitments.transcript import derived, digest, verify_shown
from flower_robust.errors import EquivocatingServer, FaultyServer, SumOutOfRange
from flower_robust.masking import ring
from flower_robust.masking.fixed_point import check_range
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.public import PublicElements
from flower_robust.masking.ring import Residues
from flower_robust.masking.sketch import SketchMap, public_sums_at, sketch, sketch_map, sketch_shares, sketches
from flower_robust.protocol.client_states import Dealt, Finished
from flower_robust.protocol.codec import Field, decode, encode, exact, fixed, from_server, octets, residues
from flower_robust.protocol.evidence import CHALLENGE, DECISION, Evidence, Signed
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.server_states import Opened
from flower_robust.protocol.shown import Challenge, Weights, decision_digest, sketch_rows
from flower_robust.protocol.sizes import Sizes, terms_of
from flower_robust.protocol.terms import NO_DIGEST
from flower_robust.types import Digest

STEP = "audit"


@dataclass(frozen=True, slots=True, eq=False)
class Announcement:
    """What the server says of the round before: its plan, the decision that was unmasked, Σ w_i·s_i and H(sums)."""

    plan: RoundPlan
    shown: Digest
    weights: Weights
    signature: bytes
    secrets: Residues
    sums_digest: Digest

    @property
    def decision(self) -> Digest:
        """The digest of the announced decision."""
        return decision_digest(self.shown, self.weights)

    @property
    def weighted(self) -> list[int]:
        """Positions, in the announced cohort, of the clients in any sum."""
        return [int(i) for i in np.flatnonzero(self.weights.any(axis=0))]

    def encode(self) -> bytes:
        """About 1 kB + 33 kB per sum."""
        fields = (self.shown, self.weights.tobytes(), self.signature, octets(self.secrets), self.sums_digest)
        return encode("announcement", self.plan.encode(), *fields)

    @classmethod
    def decode(cls, message: Field) -> Self:
        """Inverse of `encode`; ValueError or FaultyServer on anything else."""
        plan, shown, weights, signature, secrets, sums = decode("announcement", message, 6)
        found = RoundPlan.decode(bytes(plan))
        sizes = Sizes.of(found)
        exact(weights, sizes.groups * sizes.n)
        grid = np.frombuffer(weights, np.uint8).reshape(sizes.groups, sizes.n)
        opened = residues(secrets, sizes.groups, PARAMETERS.N)
        return cls(found, Digest(fixed(shown, 32)), grid, fixed(signature, 64), opened, Digest(fixed(sums, 32)))


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What a client kept of the round before: where it ended and, unless it was lost, its own y."""

    finished: Finished
    y: Residues | None


def announce(opened: Opened) -> bytes:
    """The announcement of an opened round, for the next offer; its digest goes into the next plan's terms."""
    challenged = opened.decided.challenged
    return Announcement(
        challenged.round.plan,
        challenged.shown,
        opened.decided.weights,
        opened.decision_signature,
        opened.secrets,
        sums_digest(opened.sums),
    ).encode()


def announcement_digest(announcement: bytes) -> Digest:
    """What the next plan binds; zeros where nothing is announced."""
    return digest("announcement", announcement) if announcement else NO_DIGEST


def sums_digest(sums: npt.NDArray[np.int64]) -> Digest:
    """Digest of the announced integer sums [g, B·N], 8 bytes per coordinate, little endian."""
    return digest("sums", sum_octets(sums))


def sum_octets(sums: npt.NDArray[np.int64]) -> memoryview:
    """The sums as the auditor gets them."""
    return np.ascontiguousarray(sums, "<i8").reshape(-1).view(np.uint8).data


def check_announcement(plan: RoundPlan, encoded: bytes, kept: Kept | None) -> None:
    """Before a client submits: the announcement is the one that the plan binds, and the decision it unmasked itself.

    Raises FaultyServer, and EquivocatingServer with both signed decisions if the server announces another than it
    showed to this client (then it may have opened two sums and can subtract them), or a decision on another challenge
    (then it showed the others another sketch of this client's y, and measured the distance to a point of its choice).
    """
    if announcement_digest(encoded) != terms_of(plan).previous:
        raise FaultyServer("offer", "another announcement", "the one that the plan binds")
    if not encoded:
        return
    found = from_server(lambda: Announcement.decode(encoded), "offer")
    terms = terms_of(found.plan)
    verify_shown(terms.server_key, "decision", found.plan.digest, found.decision, found.signature)
    if kept is None or kept.finished.plan.digest != found.plan.digest:
        return
    ended = kept.finished
    announced = Signed(DECISION, found.decision, found.signature, found.shown + found.weights.tobytes())
    if ended.decision is not None and ended.decision != found.decision:
        evidence = Evidence(found.plan, Signed(DECISION, ended.decision, ended.decision_signature), announced).encode()
        raise EquivocatingServer("offer", "another decision than it asked to unmask", "one decision", evidence)
    if ended.shown is not None and ended.shown != found.shown:
        evidence = Evidence(found.plan, Signed(CHALLENGE, ended.shown, ended.shown_signature), announced).encode()
        raise EquivocatingServer("offer", "a decision on another challenge than it showed", "one challenge", evidence)


def audit_shown(previous: Opened, challenge: bytes) -> bytes:
    """The server's side: P'y_i of every client in the sum and P' of the announced sums; 73 kB each."""
    submissions = previous.decided.challenged.submissions
    weighted = [int(i) for i in np.flatnonzero(previous.decided.weights.any(axis=0))]
    P = _audit_map(previous.decided.challenged.round.plan, challenge)
    rows = sketches(P, [submissions[i].upload for i in weighted])
    return encode("audit", octets(rows), octets(_sketched_sums(P, previous.sums)))


def auditor(challenge: bytes, accepted: tuple[int, ...]) -> int:
    """The position of the one client that gets the announced sum."""
    return accepted[int.from_bytes(derived(challenge, "auditor"), "big") % len(accepted)]


def check_audit(dealt: Dealt, announcement: bytes, shown: Challenge, challenge: bytes, kept: Kept | None) -> None:
    """At every client, before it answers the challenge.

    Raises FaultyServer if the equation does not hold, if this client's own row is not P' of the y it kept, or if this
    client is the auditor and the announced sum is missing or is not what the sketch says.
    """
    if not announcement:
        return
    found = from_server(lambda: Announcement.decode(announcement), STEP)
    P, sizes = _audit_map(found.plan, challenge), Sizes.of(found.plan)
    rows, sums = from_server(lambda: _decoded(shown.audit, len(found.weighted), sizes.groups), STEP)
    if (_expected(found, P, challenge, rows) != sums).any():
        raise FaultyServer(STEP, "a sum that is not the weighted sum of the submissions", "Σ w·P'y − P'a·Σ w·s")
    _check_own_row(found, P, rows, dealt, kept)
    if auditor(challenge, shown.accepted) == dealt.position:
        _check_sum(found, P, sums, shown.audited_sum)


def _expected(found: Announcement, P: SketchMap, challenge: bytes, rows: Residues) -> Residues:
    sizes = Sizes.of(found.plan)
    weights = [[int(row[i]) for i in found.weighted] for row in found.weights]
    summed = np.stack([ring.weighted_sum(row, list(rows)) for row in weights])
    A = public_sums_at(derived(challenge, STEP), PublicElements(terms_of(found.plan).seed_a, sizes.B))
    return sketch_shares(P, A, summed, np.ascontiguousarray(np.moveaxis(found.secrets, 1, 0)))


def _check_own_row(found: Announcement, P: SketchMap, rows: Residues, dealt: Dealt, kept: Kept | None) -> None:
    if kept is None or kept.y is None or kept.finished.plan.digest != found.plan.digest:
        return
    if kept.finished.position not in found.weighted:
        return
    if (sketch(P, kept.y) != rows[found.weighted.index(kept.finished.position)]).any():
        raise FaultyServer(STEP, f"another submission of {dealt.name} in the sum", "the one it sent")


def _check_sum(found: Announcement, P: SketchMap, sums: Residues, audited: Field) -> None:
    sizes = Sizes.of(found.plan)
    words = from_server(lambda: np.frombuffer(exact(audited, sizes.groups * sizes.upload_bytes), "<i8"), STEP)
    announced = words.reshape(sizes.groups, -1)
    if sums_digest(announced) != found.sums_digest:
        raise FaultyServer(STEP, "another sum than the announced one", "the announced sum")
    if (_sketched_sums(P, announced) != sums).any():
        raise FaultyServer(STEP, "a sum that is not what its sketch says", "P' of the announced sum")
    for total, row in zip(announced, found.weights, strict=True):
        _check_plausible(total, int(row.sum()))


def _check_plausible(total: npt.NDArray[np.int64], total_weight: int) -> None:
    """Σ w·y − a·s' for a wrong s' is uniform modulo q: it passes every equation, and is no sum of updates."""
    try:
        check_range(total, total_weight)
    except SumOutOfRange as wrong:
        raise FaultyServer(STEP, str(wrong), "a sum of clipped updates") from None


def _sketched_sums(P: SketchMap, sums: npt.NDArray[np.int64]) -> Residues:
    return sketches(P, [ring.from_integers(total.reshape(-1, PARAMETERS.N)) for total in sums])


def _decoded(audit: Field, weighted: int, groups: int) -> tuple[Residues, Residues]:
    rows, sums = decode("audit", audit, 2)
    return sketch_rows(rows, weighted), sketch_rows(sums, groups)


def _audit_map(plan: RoundPlan, challenge: bytes) -> SketchMap:
    return sketch_map(derived(challenge, STEP), Sizes.of(plan).B)
