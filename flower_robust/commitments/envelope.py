"""Authenticated ciphertexts from a dealer to each receiver, which the receiver can open in public if they are bad.

AES-GCM does not commit to its key, so every envelope carries the key's digest. The dealer signs the digest of the whole
envelope; a receiver that shows the key then proves what the dealer sent (DESIGN section 5, blame).
"""

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from flower_robust.commitments.encoding import pack
from flower_robust.commitments.keys import envelope_key
from flower_robust.commitments.statement import CONTEXT
from flower_robust.types import Digest, RosterName

SALT_BYTES = 16
OVERHEAD = SALT_BYTES + 32 + 16
"""Bytes of an envelope beyond its plaintext: salt, key digest, AES-GCM tag."""
_NONCE = bytes(12)
"""One key seals one plaintext (its salt is fresh), so the nonce is constant."""


@dataclass(frozen=True, slots=True)
class Route:
    """Whose envelope to whom, under which plan; bound into key, ciphertext and digest."""

    run_id: int
    plan_digest: Digest
    dealer: RosterName
    receiver: RosterName


class UnreadableError(ValueError):
    """An envelope that its receiver cannot use; `key` is set where showing it proves the dealer wrong."""

    def __init__(self, found: str, key: bytes | None) -> None:
        self.found, self.key = found, key
        super().__init__(found)


def seal(pair_secret: bytes, route: Route, salt: bytes, plaintext: bytes) -> bytes:
    """The envelope: salt (16 bytes) ‖ H(key) (32) ‖ AES-256-GCM(key, plaintext, associated data = the route)."""
    key = _route_key(pair_secret, route, salt)
    return salt + key_digest(key) + AESGCM(key).encrypt(_NONCE, plaintext, _bound(route))


def open_envelope(pair_secret: bytes, route: Route, envelope: bytes) -> tuple[bytes, bytes]:
    """(plaintext, key). Raises UnreadableError: with the key if the dealer sealed nonsense under the key it named,
    without if the two ends do not even agree on the key, which nobody else can tell from a lie."""
    if len(envelope) < OVERHEAD:
        raise UnreadableError(f"{len(envelope)} bytes", None)
    key = _route_key(pair_secret, route, envelope[:SALT_BYTES])
    if envelope[SALT_BYTES : SALT_BYTES + 32] != key_digest(key):
        raise UnreadableError("another key", None)
    return open_with_key(key, route, envelope), key


def open_with_key(key: bytes, route: Route, envelope: bytes) -> bytes:
    """The plaintext, for anybody to whom the receiver showed `key`.

    Raises UnreadableError: with the key if it is the one that the dealer named but opens nothing (the dealer's fault),
    without if it is another key (the fault of whoever showed it).
    """
    if envelope[SALT_BYTES : SALT_BYTES + 32] != key_digest(key):
        raise UnreadableError("another key", None)
    try:
        return AESGCM(key).decrypt(_NONCE, envelope[SALT_BYTES + 32 :], _bound(route))
    except InvalidTag:
        raise UnreadableError("a ciphertext that does not authenticate", key) from None


def envelope_digest(route: Route, envelope: bytes) -> Digest:
    """What the dealer signs of one envelope: SHA-256 over route and bytes."""
    state = hashlib.sha256(_bound(route))
    state.update(envelope)
    return Digest(state.digest())


def key_digest(key: bytes) -> bytes:
    """SHA-256 of the key under its own domain: 32 bytes that fix the key and do not reveal it."""
    return hashlib.sha256(pack(CONTEXT + b"envelope-key-digest", key)).digest()


def _route_key(pair_secret: bytes, route: Route, salt: bytes) -> bytes:
    return envelope_key(pair_secret, route.run_id, route.dealer, route.receiver, route.plan_digest, salt)


def _bound(route: Route) -> bytes:
    return pack(CONTEXT + b"envelope", route.plan_digest, route.dealer.encode(), route.receiver.encode())
