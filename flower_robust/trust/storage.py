"""Trust on disk: one line of SHA-256, one line of JSON; replaced whole or not at all."""

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from flower_robust.errors import ConfigurationError, CorruptFile
from flower_robust.trust.state import Reputation, TrustState

_TYPES = {field.name: field.type for field in fields(Reputation)}


def save_trust(path: str | Path, state: TrustState) -> None:
    """Replace the file at `path` by `state`. A crash at any moment leaves the old file or the new one."""
    path = Path(path)
    with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(_encoded(state))
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def load_trust(path: str | Path) -> TrustState:
    """The state that `save_trust` wrote, bit for bit.

    Raises ConfigurationError if there is no readable file, and CorruptFile if a single byte of it changed; the file is
    only read.
    """
    path = Path(path)
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise ConfigurationError("trust_file", str(path), f"a readable file ({error.strerror})") from None
    checksum, _, body = encoded.partition(b"\n")
    if checksum.decode("latin-1") != hashlib.sha256(body).hexdigest():
        raise CorruptFile(path, f"{len(encoded)} bytes that do not match their checksum", "the trust file as saved")
    try:
        return TrustState({name: _reputation(member) for name, member in json.loads(body).items()})
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        raise CorruptFile(path, "another content than reputations", "a trust file of this version") from None


def _encoded(state: TrustState) -> bytes:
    members = {name: asdict(reputation) for name, reputation in state.reputations.items()}
    body = json.dumps(members, allow_nan=False).encode() + b"\n"
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _reputation(member: dict[str, Any]) -> Reputation:
    if {name: type(value) for name, value in member.items()} != _TYPES:
        raise ValueError("found other fields than a reputation's")
    return Reputation(**member)
