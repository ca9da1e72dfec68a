"""One participant's keys: the identity that signs what it commits to, and the key that its SuperNode connects with."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
)

from flower_robust.commitments import Identity, RosterEntry
from flower_robust.errors import ConfigurationError, CorruptFile
from flower_robust.provisioning.files import Content
from flower_robust.types import RosterName

_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FIELDS = {"name", "public_key", "rows", "supernode_key"}


@dataclass(frozen=True, slots=True)
class PublicPart:
    """What a participant hands to whoever keeps the roster: nothing in it is secret.

    `entry` is its line in the roster; `supernode_key` the OpenSSH line of its SuperNode's P-384 public key.
    """

    entry: RosterEntry
    supernode_key: bytes

    @property
    def line(self) -> bytes:
        """The file that `flwr supernode register` takes."""
        return self.supernode_key + b"\n"

    def encode(self) -> bytes:
        """The file that is handed over, JSON."""
        fields = {
            "name": self.entry.name,
            "public_key": self.entry.public_key.hex(),
            "rows": self.entry.rows,
            "supernode_key": self.supernode_key.decode(),
        }
        return (json.dumps(fields, indent=2) + "\n").encode()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Inverse of `encode`; ConfigurationError if there is no file or a field is refused, else CorruptFile."""
        try:
            fields = json.loads(path.read_bytes())
            if not isinstance(fields, dict) or fields.keys() != _FIELDS:
                raise TypeError
            name, key = folder_name(fields["name"]), bytes.fromhex(fields["public_key"])
            return cls(RosterEntry(name, key, fields["rows"]), _checked_key(path, fields["supernode_key"]))
        except OSError as error:
            found = f"a readable file ({error.strerror})"
            raise ConfigurationError("participants", str(path), found) from None
        except ConfigurationError:
            raise
        except (ValueError, TypeError, RecursionError):
            raise CorruptFile(path, "no public part", f"JSON with exactly {', '.join(sorted(_FIELDS))}") from None


@dataclass(frozen=True, slots=True)
class Participant:
    """Both secret keys of one participant, and its public part; prints without the secrets."""

    public: PublicPart
    identity: Identity
    supernode_key: bytes

    @classmethod
    def create(cls, name: str, rows: int = 0) -> Self:
        """Fresh keys from the operating system's CSPRNG. ConfigurationError on a name that no folder can have."""
        identity, key = Identity.generate(folder_name(name)), ec.generate_private_key(ec.SECP384R1())
        line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        return cls(PublicPart(RosterEntry.of(identity, rows), line), identity, secret)

    def files(self, folder: Path) -> dict[Path, Content]:
        """What the participant keeps, and the public part that it hands over."""
        name = self.public.entry.name
        return {
            folder / "identity.json": self.identity,
            folder / "supernode.key": self.supernode_key,
            folder / "supernode.pub": self.public.line,
            folder / f"{name}.public.json": self.public.encode(),
        }

    def __repr__(self) -> str:
        return f"Participant({self.public.entry.name!r}, keys=<redacted>)"


def folder_name(name: object) -> RosterName:
    """`name`, if a folder can have it: 1 to 64 letters, digits, dots, dashes, underscores, a letter or digit first."""
    if not isinstance(name, str) or not _FOLDER_NAME.fullmatch(name):
        raise ConfigurationError("name", name, "1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit")
    return RosterName(name)


def _checked_key(path: Path, line: str) -> bytes:
    try:
        key = load_ssh_public_key(line.encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise ConfigurationError(f"supernode_key in {path}", line[:40], "an OpenSSH line of a P-384 public key")
    return line.encode()
