"""Step 7: the clients check, one round later and without an exchange of its own, that the server added up what it got.

    Σ w_i·P'y_i − (P'a)·(Σ w_i·s_i) = P'·(announced sum),        P' from the next round's challenge

The announcement (weights, Σ w_i·s_i, digest of the sum) is bound by the next plan before P' can be known. Each client
checks the row of its own y, everybody checks the equation, and one auditor, drawn by the challenge, gets the sum itself
and checks that its sketch is the announced one. A wrong sum passes with the probability that P' misses a difference.
"""

import numpy as np
import numpy.typing as npt

from flower_robust.commitments.transcript import derived
from flower_robust.errors import FaultyServer, SumOutOfRange
from flower_robust.masking import ring
from flower_robust.masking.fixed_point import check_range
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.public import PublicElements
from flower_robust.masking.ring import Residues
from flower_robust.masking.sketch import SketchMap, public_sums_at, sketch, sketch_map, sketch_shares, sketches
from flower_robust.protocol.announcement import Announcement, sums_digest
from flower_robust.protocol.client_states import Dealt, Ended
from flower_robust.protocol.codec import Field, decode, encode, exact, from_server, octets
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.server_states import Opened
from flower_robust.protocol.shown import Challenge, sketch_rows
from flower_robust.protocol.sizes import Sizes, terms_of
from flower_robust.types import Digest

STEP = "audit"


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


def audited_upload(dealt: Dealt) -> Digest | None:
    """The digest of this client's y in the announced round; None if it knows of none."""
    ended = _audited_round(dealt)
    return None if ended is None else ended.upload


def check_audit(dealt: Dealt, shown: Challenge, challenge: bytes, own: Residues | None) -> None:
    """At every client, before it answers the challenge; `own`: the y of `audited_upload`, if it is not lost.

    Raises FaultyServer if the equation does not hold, if this client's own row is not P' of the y it kept, or if this
    client is the auditor and the announced sum is missing or is not what the sketch says.
    """
    if not dealt.announcement:
        return
    found = from_server(lambda: Announcement.decode(dealt.announcement), STEP)
    P, sizes = _audit_map(found.plan, challenge), Sizes.of(found.plan)
    rows, sums = from_server(lambda: _decoded(shown.audit, len(found.weighted), sizes.groups), STEP)
    if (_expected(found, P, challenge, rows) != sums).any():
        raise FaultyServer(STEP, "a sum that is not the weighted sum of the submissions", "Σ w·P'y − P'a·Σ w·s")
    if own is not None and dealt.name in found.named:
        _check_own_row(P, rows[found.named.index(dealt.name)], own, dealt.name)
    if auditor(challenge, shown.accepted) == dealt.position:
        _check_sum(found, P, sums, shown.audited_sum)


def audit_report(dealt: Dealt, own: Residues | None) -> str:
    """What became of the audit of the round before: "done", or why it was less than whole."""
    if not dealt.announcement:
        return "nothing announced"
    if dealt.name not in Announcement.decode(dealt.announcement).named:
        return "done, not in the sum"
    if own is not None:
        return "done"
    without_memory = audited_upload(dealt) is None
    return f"own row skipped: {'restarted without memory of its y' if without_memory else 'its y was lost'}"


def _audited_round(dealt: Dealt) -> Ended | None:
    if not dealt.announcement:
        return None
    announced = Announcement.decode(dealt.announcement).plan.digest
    return next((ended for ended in dealt.past if ended.plan.digest == announced), None)


def _expected(found: Announcement, P: SketchMap, challenge: bytes, rows: Residues) -> Residues:
    sizes = Sizes.of(found.plan)
    weights = [[int(row[i]) for i in found.weighted] for row in found.weights]
    summed = np.stack([ring.weighted_sum(row, list(rows)) for row in weights])
    A = public_sums_at(derived(challenge, STEP), PublicElements(terms_of(found.plan).seed_a, sizes.B))
    return sketch_shares(P, A, summed, np.ascontiguousarray(np.moveaxis(found.secrets, 1, 0)))


def _check_own_row(P: SketchMap, row: Residues, own: Residues, name: str) -> None:
    if (sketch(P, own) != row).any():
        raise FaultyServer(STEP, f"another submission of {name} in the sum", "the one it sent")


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
