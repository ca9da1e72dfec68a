"""What everybody hashes: the challenge that nobody chose, and labelled seeds drawn from it."""

import hashlib
from collections.abc import Iterable

from flower_robust.commitments.encoding import pack
from flower_robust.commitments.statement import CONTEXT
from flower_robust.types import Digest


def challenge_seed(plan_digest: Digest, commitments: Iterable[bytes]) -> bytes:
    """H(context, plan digest, every accepted commitment in cohort order), 32 bytes (DESIGN section 4, step 2).

    Fixed by all accepted commitments at once, so that neither the server nor any client chooses it (Fiat, Shamir 1986).
    """
    return digest("challenge", plan_digest, *commitments)


def digest(label: str, *fields: bytes) -> Digest:
    """SHA-256 over the labelled fields; no two field lists and no two labels share a digest."""
    return Digest(hashlib.sha256(pack(CONTEXT + label.encode(), *fields)).digest())


def bulk_digest(label: str, body: bytes | memoryview) -> Digest:
    """SHA-256 of one large body behind its label, without a copy of the body."""
    state = hashlib.sha256(pack(CONTEXT + label.encode()))
    state.update(body)
    return Digest(state.digest())


def derived(seed: bytes, label: str) -> bytes:
    """A 32-byte seed for one purpose: H(context, label, seed). Seeds of different labels are independent."""
    return digest("seed/" + label, seed)
