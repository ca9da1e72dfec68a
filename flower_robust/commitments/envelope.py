"""Ciphertexts from a dealer to each receiver, which the dealer can open in public if the receiver lies about one.

    envelope = E ‖ AES-256-GCM(key, plaintext),   E = e·G,   key = HKDF(e·K_receiver, info = route ‖ E)

The dealer signs the digest of every envelope, which authenticates it. Whoever is shown e derives the receiver's key
and sees what the receiver saw; that says nothing of any other envelope, because each has its own e.
docs/protocol.md, section 6.4; Abdalla, Bellare, Rogaway 2001 (DHIES); RFC 7748, RFC 5869.
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

OVERHEAD = 32 + 16
"""Bytes of an envelope beyond its plaintext: E and the AES-GCM tag."""
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
        ends = (self.dealer.encode(), self.receiver.encode())
        return pack(CONTEXT + b"envelope", u64(self.run_id), self.plan_digest, *ends)


def seal(secret: bytes, receiver_key: bytes, route: Route, plaintext: bytes) -> bytes:
    """The envelope around `plaintext`.

    `secret` e: 32 fresh bytes of the operating system's CSPRNG, for this envelope only; `receiver_key`: 32 bytes, the
    receiver's X25519 key of the run.
    """
    private = X25519PrivateKey.from_private_bytes(secret)
    public = private.public_key().public_bytes_raw()
    cipher = AESGCM(_key(private, receiver_key, route, public))
    return public + cipher.encrypt(_NONCE, plaintext, route.encode())


def open_envelope(receiver_secret: bytes, route: Route, envelope: bytes | memoryview) -> bytes:
    """The plaintext, at the receiver. Raises ValueError if it does not open, which the dealer has to answer for."""
    public = bytes(envelope[:32])
    return _opened(X25519PrivateKey.from_private_bytes(receiver_secret), public, route, envelope)


def open_disclosed(secret: bytes, receiver_key: bytes, route: Route, envelope: bytes | memoryview) -> bytes:
    """The plaintext, for anybody to whom the dealer showed e.

    Raises ValueError if e did not seal this envelope or seals nothing readable: then the dealer has proven nothing.
    """
    private = X25519PrivateKey.from_private_bytes(secret)
    if private.public_key().public_bytes_raw() != bytes(envelope[:32]):
        raise ValueError("found another ephemeral key")
    return _opened(private, receiver_key, route, envelope)


def envelope_digest(route: Route, envelope: bytes | memoryview) -> Digest:
    """What the dealer signs of one envelope: SHA-256 over route and bytes."""
    state = hashlib.sha256(route.encode())
    state.update(envelope)
    return Digest(state.digest())


def _opened(private: X25519PrivateKey, peer: bytes, route: Route, envelope: bytes | memoryview) -> bytes:
    key = _key(private, peer, route, bytes(envelope[:32]))
    try:
        return AESGCM(key).decrypt(_NONCE, envelope[32:], route.encode())
    except InvalidTag:
        raise ValueError("found a ciphertext that does not authenticate") from None


def _key(private: X25519PrivateKey, peer: bytes, route: Route, public: bytes) -> bytes:
    shared = private.exchange(X25519PublicKey.from_public_bytes(peer))
    return HKDF(hashes.SHA256(), 32, None, route.encode() + public).derive(shared)
