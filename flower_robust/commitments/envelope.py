"""Ciphertexts from a dealer to each receiver that either end can open in public when the other one lies.

    envelope = E ‖ H(key) ‖ AES-256-GCM(key, plaintext),   E = e·G,   key = HKDF(e·K_receiver, info = route ‖ E)

The dealer signs the digest of every envelope, which authenticates it. A receiver that shows `key` proves a bad
plaintext (AES-GCM does not commit to its key, so the envelope carries the key's digest); a dealer that shows `e` proves a
good one, if a receiver complains without cause (DESIGN section 5). One envelope's key says nothing of another (RFC 5869).
"""

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from flower_robust.commitments.encoding import pack, u64
from flower_robust.commitments.statement import CONTEXT
from flower_robust.types import Digest, RosterName

OVERHEAD = 32 + 32 + 16
"""Bytes of an envelope beyond its plaintext: E, key digest, AES-GCM tag."""
_NONCE = bytes(12)
"""One key seals one plaintext (e is fresh), so the nonce is constant."""


@dataclass(frozen=True, slots=True)
class Route:
    """Whose envelope to whom, under which plan; bound into key, ciphertext and digest."""

    run_id: int
    plan_digest: Digest
    dealer: RosterName
    receiver: RosterName

    def encode(self) -> bytes:
        """Canonical bytes."""
        return pack(
            CONTEXT + b"envelope", u64(self.run_id), self.plan_digest, self.dealer.encode(), self.receiver.encode()
        )


class UnreadableError(ValueError):
    """An envelope that cannot be used; `key` is set where showing it proves the dealer wrong."""

    def __init__(self, found: str, key: bytes | None = None) -> None:
        self.found, self.key = found, key
        super().__init__(found)


def seal(secret: bytes, receiver_key: bytes, route: Route, plaintext: bytes) -> bytes:
    """The envelope around `plaintext`.

    `secret` e: 32 fresh bytes of the operating system's CSPRNG, for this envelope only; `receiver_key`: 32 bytes, the
    receiver's X25519 key of the run.
    """
    private = X25519PrivateKey.from_private_bytes(secret)
    public = private.public_key().public_bytes_raw()
    key = _key(private, receiver_key, route, public)
    return public + key_digest(key) + AESGCM(key).encrypt(_NONCE, plaintext, route.encode())


def open_envelope(receiver_secret: bytes, route: Route, envelope: bytes) -> tuple[bytes, bytes]:
    """(plaintext, key), at the receiver.

    Raises UnreadableError: with the key if the dealer sealed nonsense under the key it named, without it if the two
    ends do not even agree on the key, which only the dealer can clear up.
    """
    if len(envelope) < OVERHEAD:
        raise UnreadableError(f"{len(envelope)} bytes")
    public = bytes(envelope[:32])
    try:
        key = _key(X25519PrivateKey.from_private_bytes(receiver_secret), public, route, public)
    except ValueError:
        raise UnreadableError("a point of small order") from None
    return open_with_key(key, route, envelope), key


def open_with_key(key: bytes, route: Route, envelope: bytes) -> bytes:
    """The plaintext, for anybody to whom the receiver showed `key`.

    Raises UnreadableError: with the key if it is the one that the dealer named but opens nothing (the dealer's fault),
    without it if it is another key (the fault of whoever showed it).
    """
    if bytes(envelope[32:64]) != key_digest(key):
        raise UnreadableError("another key")
    try:
        return AESGCM(key).decrypt(_NONCE, bytes(envelope[64:]), route.encode())
    except InvalidTag:
        raise UnreadableError("a ciphertext that does not authenticate", key) from None


def open_with_secret(secret: bytes, receiver_key: bytes, route: Route, envelope: bytes) -> bytes:
    """The plaintext, for anybody to whom the dealer showed e; UnreadableError if e did not seal this envelope."""
    private = X25519PrivateKey.from_private_bytes(secret)
    public = private.public_key().public_bytes_raw()
    if public != envelope[:32]:
        raise UnreadableError("another ephemeral key")
    return open_with_key(_key(private, receiver_key, route, public), route, envelope)


def envelope_digest(route: Route, envelope: bytes) -> Digest:
    """What the dealer signs of one envelope: SHA-256 over route and bytes."""
    state = hashlib.sha256(route.encode())
    state.update(envelope)
    return Digest(state.digest())


def key_digest(key: bytes) -> bytes:
    """SHA-256 of the key under its own domain: 32 bytes that fix the key and do not reveal it."""
    return hashlib.sha256(pack(CONTEXT + b"envelope-key", key)).digest()


def _key(private: X25519PrivateKey, peer: bytes, route: Route, public: bytes) -> bytes:
    shared = private.exchange(X25519PublicKey.from_public_bytes(peer))
    return HKDF(hashes.SHA256(), 32, None, route.encode() + public).derive(shared)
