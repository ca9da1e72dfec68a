"""What everybody hashes: the challenge that nobody chose, and labelled seeds drawn from it."""

import hashlib
from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from flower_robust.commitments.encoding import pack
from flower_robust.commitments.identity import Identity
from flower_robust.commitments.keys import KeyAnnouncement
from flower_robust.commitments.statement import CONTEXT, sign_statement, statement
from flower_robust.errors import FaultyServer
from flower_robust.types import Digest, Signature


def challenge_seed(plan_digest: Digest, commitments: Iterable[bytes | memoryview]) -> bytes:
    """H(context, plan digest, every accepted commitment in cohort order), 32 bytes (docs/protocol.md, section 4).

    Fixed by all accepted commitments at once, so that neither the server nor any client chooses it (Fiat, Shamir 1986).
    """
    return digest("challenge-seed", plan_digest, *commitments)


def digest(label: str, *fields: bytes | memoryview) -> Digest:
    """SHA-256 of pack(label, fields...), without a copy: no two field lists and no two labels share a digest."""
    state = hashlib.sha256(pack(CONTEXT + label.encode()))
    for field in fields:
        state.update(len(field).to_bytes(4, "big"))
        state.update(field)
    return Digest(state.digest())


def derived(seed: bytes, label: str) -> bytes:
    """A 32-byte seed for one purpose: H(context, label, seed). Seeds of different labels are independent."""
    return digest("seed/" + label, seed)


def keys_digest(keys: Iterable[KeyAnnouncement]) -> Digest:
    """Digest of the cohort's run keys in cohort order; the plan binds it, so that nobody is shown another set."""
    return digest("run-keys", *(key.encode() for key in keys))


def sign_shown(server: Identity, step: str, plan_digest: Digest, shown: Digest) -> Signature:
    """The server's word on what it shows to everybody at one step: two different ones for a plan convict it."""
    return sign_statement(server, "shown/" + step, plan_digest, shown)


def verify_shown(server_key: bytes, step: str, plan_digest: Digest, shown: Digest, signature: bytes) -> None:
    """Raises FaultyServer unless the plan's server key signed `shown` for this step and plan."""
    try:
        signed = statement("shown/" + step, plan_digest, shown)
        Ed25519PublicKey.from_public_bytes(server_key).verify(bytes(signature), signed)
    except (InvalidSignature, ValueError):
        raise FaultyServer(step, "a signature that does not verify", "one by the plan's server key") from None
