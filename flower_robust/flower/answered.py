"""What this site answered, on disk before it leaves: one answer per plan and phase, whatever its memory says.

Flower sends a client's reply first and saves its `Context.state` afterwards. A client that dies between the two comes
back with the state of before; without a marker it would answer another request from it, e.g. open a second sum.

    folder/answered/<plan digest>.<phase> = H(answer)         O_EXCL, mode 0600, written before the answer leaves

Of a submission it is H(commitment): that signs y and every envelope, and one plan has one.

In a folder that the site configures, it is on disk by then, and outlives a power failure. The default folder lies among
the temporary files, which need not outlive one; there it outlives the process.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from flower_robust.errors import ConfigurationError, FaultyServer
from flower_robust.flower.kept_uploads import own_folder
from flower_robust.flower.site import Site
from flower_robust.types import Digest

KEPT = 1024
"""Markers of one participant, 32 bytes each: the last 200 rounds or more."""


def answer_once(site: Site, plan: Digest, phase: str, answer: bytes) -> None:
    """Mark this answer, or what determines it, as given; the same may leave again, it tells nobody anything new.

    Raises FaultyServer if another one was given for this plan and phase: no honest server asks for two. And
    ConfigurationError if the marker cannot be written; then nothing may leave.
    """
    folder = own_folder(site.folder, site.identity.name) / "answered"
    mark = hashlib.sha256(answer).digest()
    path = folder / f"{plan.hex()}.{phase}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        _write(path, mark, site.durable)
        _prune(folder)
    except FileExistsError:
        if path.read_bytes() != mark:
            found = "a second request, after one that was answered"
            raise FaultyServer(phase, found, "one request per plan and phase") from None
    except OSError as error:
        required = f"a folder to note answers in ({error.strerror})"
        raise ConfigurationError("audit_folder", str(site.folder), required) from None


def _write(path: Path, mark: bytes, durable: bool) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(mark)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    if durable:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _prune(folder: Path) -> None:
    marks = list(folder.iterdir())
    if len(marks) > KEPT:
        for old in sorted(marks, key=_age)[: len(marks) - KEPT]:
            old.unlink(missing_ok=True)


def _age(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0
