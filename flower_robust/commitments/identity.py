"""A participant's signing key. Ed25519, RFC 8032."""

import json
import os
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flower_robust.errors import ConfigurationError, CorruptFile
from flower_robust.types import RosterName, Signature

NAME_BYTES = 128
"""Longest roster name, in UTF-8 bytes."""


class Identity:
    """A roster name and the Ed25519 key that speaks for it.

    Prints without its secret. One identity per participant and federation; the roster lists its public key.
    """

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self.name = checked_name(name)
        self._key = key
        self.public_key: bytes = key.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, name: str) -> Self:
        """A fresh key from the operating system's CSPRNG."""
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, name: str, seed: bytes) -> Self:
        """The key of RFC 8032 section 5.1.5 for a 32-byte secret `seed`."""
        if len(seed) != 32:
            raise ConfigurationError("seed", f"{len(seed)} bytes", "32 bytes")
        return cls(name, Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The identity that `save` wrote; ConfigurationError if there is no file, CorruptFile if it is another."""
        path = Path(path)
        try:
            fields = json.loads(path.read_bytes())
            return cls.from_seed(fields["name"], bytes.fromhex(fields["secret_key"]))
        except OSError as error:
            raise ConfigurationError("identity", str(path), f"a readable identity file ({error.strerror})") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            # The parser's own message could quote the secret.
            raise CorruptFile(path, "no identity", 'JSON with "name" and "secret_key" (64 hex digits)') from None

    def save(self, path: str | Path) -> None:
        """Write name and secret key, readable by the owner alone; an existing file is never overwritten."""
        fields = {"name": self.name, "secret_key": self._key.private_bytes_raw().hex()}
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise ConfigurationError("identity", str(path), "a path that does not exist yet") from None
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(fields, indent=2) + "\n")

    def sign(self, message: bytes) -> Signature:
        """Ed25519 signature of `message`, 64 bytes. Protocol statements go through `sign_statement`."""
        return Signature(self._key.sign(message))

    def __repr__(self) -> str:
        return f"Identity(name={self.name!r}, public_key={self.public_key.hex()}, secret_key=<redacted>)"


def checked_name(name: object) -> RosterName:
    """`name`, if it is 1 to 128 bytes of printable UTF-8 without surrounding blanks; else ConfigurationError."""
    if not isinstance(name, str) or not name.isprintable() or name.strip() != name:
        raise ConfigurationError("name", name, "a printable name without surrounding blanks")
    if not 0 < len(name.encode()) <= NAME_BYTES:
        raise ConfigurationError("name", name, f"1 to {NAME_BYTES} bytes of UTF-8")
    return RosterName(name)
