"""Names that every layer shares: identities and byte strings by what they mean. Imports the standard library alone."""

from typing import NewType

RosterName = NewType("RosterName", str)
"""A participant, by the name the roster gives it. Trust, blame and bans attach to it, never to a Flower node id."""

Digest = NewType("Digest", bytes)
"""A SHA-256 digest, 32 bytes."""

Signature = NewType("Signature", bytes)
"""An Ed25519 signature, 64 bytes (RFC 8032)."""
