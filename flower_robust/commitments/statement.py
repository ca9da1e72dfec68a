"""The one place where statements are signed and verified.

    signature = Ed25519(key, pack("flower-robust/v1/" + kind, field_1, field_2, ...))

Each kind of statement is its own domain: a signature on one kind never verifies as another (RFC 8032, section 8.3).
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from flower_robust.commitments.encoding import pack
from flower_robust.commitments.identity import Identity
from flower_robust.commitments.roster import Roster
from flower_robust.errors import BadSignature, UnknownClient
from flower_robust.types import RosterName, Signature

CONTEXT = b"flower-robust/v1/"


def sign_statement(identity: Identity, kind: str, *fields: bytes) -> Signature:
    """`identity`'s signature, 64 bytes, over the kind and the fields in order."""
    return identity.sign(statement(kind, *fields))


def verify_statement(roster: Roster, name: str, kind: str, *fields: bytes, signature: bytes) -> RosterName:
    """`name` as a roster name, once its key verified the signature.

    Raises UnknownClient if the roster has no such name and BadSignature if the key did not sign these fields as this
    kind; either blames whoever sent it in that name.
    """
    if name not in roster:
        raise UnknownClient(name, kind, "a name that is not in the roster", f"one of {len(roster.names)} roster names")
    entry = roster[name]
    try:
        Ed25519PublicKey.from_public_bytes(entry.public_key).verify(bytes(signature), statement(kind, *fields))
    except InvalidSignature:
        raise BadSignature(name, kind, "a signature that does not verify", f"one by the roster key of {name}") from None
    return entry.name


def statement(kind: str, *fields: bytes) -> bytes:
    """The bytes that are signed."""
    return pack(CONTEXT + kind.encode(), *fields)
