"""The unmasked round: a client commits to its update, the server checks it before it aggregates. numpy only.

Each check raises its own ClientFault and blames `sender`: the roster name whose key opened the exchange, never a name
that the message merely claims.
"""

import math

import numpy as np

from flower_robust.commitments import Arrays, Identity, Roster, SignedNormCommitment, update_digest, update_norm
from flower_robust.commitments.digest import is_float
from flower_robust.errors import (
    DigestMismatch,
    FaultyServer,
    MalformedReply,
    NonFiniteUpdate,
    NormBoundExceeded,
    NormMismatch,
    OversizedReply,
    ReplayedCommitment,
    StaleCommitment,
    UnknownClient,
)
from flower_robust.protocol.plan import RoundPlan

COMMITMENT_BYTES = 400
"""No commitment is longer: five fixed fields and a name of at most 128 bytes."""

TOLERANCE = 1e-5
"""Relative difference allowed between two float64 accumulations of one norm, and above C after clipping in float32."""

_STEP = "commitment"


def clip_update(arrays: Arrays, norm_bound: float) -> Arrays:
    """The update, shortened to C where it is longer; integer arrays as they are.

        x * min(1, C / |x|)

    Raises NonFiniteUpdate if it holds NaN or Inf: this client's own training diverged, and nothing is sent.
    """
    norm = update_norm(arrays)
    if not math.isfinite(norm):
        raise NonFiniteUpdate("this client", "clip", f"norm {norm}", "finite values")
    if norm <= norm_bound:
        return arrays
    factor = norm_bound / norm
    return {name: np.multiply(a, factor).astype(a.dtype) if is_float(a) else a for name, a in arrays.items()}


def commit_update(plan: RoundPlan, identity: Identity, arrays: Arrays, norm: float | None = None) -> bytes:
    """The encoded SignedNormCommitment of `identity` to `arrays`, about 200 bytes.

    `norm` is the L2 norm of what enters the geometry, by default of all floating-point arrays. Raises FaultyServer if
    the plan did not ask this client.
    """
    if identity.name not in plan.cohort:
        raise FaultyServer("plan", f"a cohort without {identity.name}", "a plan that asks this client")
    return SignedNormCommitment.sign(
        identity,
        plan_digest=plan.digest,
        round=plan.round,
        update_digest=update_digest(arrays),
        norm=update_norm(arrays) if norm is None else norm,
    ).encode()


def verify_update(
    plan: RoundPlan, roster: Roster, sender: str, encoded: bytes, arrays: Arrays, norm: float
) -> SignedNormCommitment:
    """The commitment, once everything about it holds: author, signature, freshness, digest, norm, bound.

    `arrays` are what arrived, `norm` their L2 norm as recomputed by the server, where it aggregates. Raises
    OversizedReply, MalformedReply, UnknownClient, ReplayedCommitment (another name's commitment), BadSignature,
    StaleCommitment, DigestMismatch, NonFiniteUpdate, NormMismatch or NormBoundExceeded; each blames `sender`.
    """
    commitment = _opened(plan, roster, sender, encoded)
    if commitment.plan_digest != plan.digest or commitment.round != plan.round:
        found = f"a commitment to round {commitment.round} of plan {commitment.plan_digest.hex()[:16]}"
        raise StaleCommitment(sender, _STEP, found, f"round {plan.round} of plan {plan.digest.hex()[:16]}")
    arrived = _digest(sender, arrays)
    if commitment.update_digest != arrived:
        raise DigestMismatch(sender, _STEP, f"arrays {arrived.hex()[:16]}", f"{commitment.update_digest.hex()[:16]}")
    _check_norm(plan, sender, commitment.norm, norm)
    return commitment


def check_layout(sender: str, arrays: Arrays, model: Arrays) -> None:
    """Raises MalformedReply unless `arrays` have the model's names, dtypes and shapes."""
    found, required = ({name: (a.dtype.str, a.shape) for name, a in some.items()} for some in (arrays, model))
    if wrong := sorted(found.items() ^ required.items()):
        name = wrong[0][0]
        raise MalformedReply(sender, "update", f"{name}: {found.get(name)}", f"{required.get(name)}")


def _opened(plan: RoundPlan, roster: Roster, sender: str, encoded: bytes) -> SignedNormCommitment:
    if len(encoded) > COMMITMENT_BYTES:
        raise OversizedReply(sender, _STEP, f"{len(encoded)} bytes", f"at most {COMMITMENT_BYTES}")
    commitment = SignedNormCommitment.decode(encoded, sender)
    if sender not in plan.cohort:
        raise UnknownClient(sender, _STEP, "a sender that was not asked", "a member of the cohort")
    if commitment.name != sender:
        raise ReplayedCommitment(sender, _STEP, f"a commitment in the name {commitment.name!r}", "one's own")
    commitment.verify(roster)
    return commitment


def _digest(sender: str, arrays: Arrays) -> bytes:
    try:
        return update_digest(arrays)
    except TypeError as error:
        raise MalformedReply(sender, "update", str(error), "arrays of numbers") from None


def _check_norm(plan: RoundPlan, sender: str, claimed: float, norm: float) -> None:
    if not math.isfinite(norm):
        raise NonFiniteUpdate(sender, "norm", f"norm {norm}", "finite values")
    if not np.isclose(claimed, norm, rtol=TOLERANCE, atol=0.0):
        raise NormMismatch(sender, "norm", f"committed {claimed!r}, arrived {norm!r}", "the norm of what arrived")
    if norm > plan.norm_bound * (1 + TOLERANCE):
        raise NormBoundExceeded(sender, "norm", f"norm {norm!r}", f"at most C = {plan.norm_bound!r}")
