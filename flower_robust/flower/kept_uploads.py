"""The client's own y on disk, from its submission until nobody can announce its round any more.

y is what the server got anyway: ciphertext. It is too large for Flower's `Context.state`, which travels with every
message. Files are named by digest, mode 0600, and at most `KEPT` of them remain. Whoever reads one compares its sketch
with what the server shows; only where they differ is the digest computed, which says whether the disk is to blame.
docs/protocol.md, section 4, steps 3 and 7.
"""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from flower_robust.errors import ConfigurationError
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.ring import Residues
from flower_robust.protocol.announcement import REMEMBERED
from flower_robust.protocol.codec import octets
from flower_robust.protocol.replies import upload_digest
from flower_robust.types import Digest

KEPT = 3 * (REMEMBERED + 1)
"""Files of one participant: this round's and those of all rounds that it can still audit, of three runs at a time."""


class KeptUploads:
    """One participant's y's in a folder that may serve several participants.

    Raises ConfigurationError if the folder cannot be made, or belongs to somebody else.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = own_folder(folder, name)

    def save(self, y: Residues, digest: Digest) -> None:
        """Write y, 8 bytes per parameter; older files than the newest `KEPT` go."""
        path = self._path(digest)
        partial = path.with_suffix(".partial")
        try:
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(octets(y))
            partial.replace(path)
        except OSError as error:
            raise ConfigurationError("audit_folder", str(self.folder), f"room for y ({error.strerror})") from None
        for old in sorted(filter(Path.is_file, self.folder.iterdir()), key=_age)[KEPT:]:
            old.unlink(missing_ok=True)

    def load(self, digest: Digest, B: int) -> Residues | None:
        """y uint32 [2, B, N] as the file has it, or None if it was lost or has another length."""
        try:
            words = np.fromfile(self._path(digest), "<u4")
        except OSError:
            return None
        return words.reshape(2, B, PARAMETERS.N) if words.size == 2 * B * PARAMETERS.N else None

    def intact(self, digest: Digest, B: int) -> bool:
        """Whether the file holds what was written."""
        y = self.load(digest, B)
        return y is not None and upload_digest(y) == digest

    def forget(self, digest: Digest) -> None:
        """Delete one file, if it is there."""
        with suppress(OSError):
            self._path(digest).unlink()

    def _path(self, digest: Digest) -> Path:
        return self.folder / f"{digest.hex()}.y"


def own_folder(folder: Path, name: str) -> Path:
    """The folder of one participant, made where it is missing; ConfigurationError as above."""
    own = folder / name.encode().hex()[:200]
    try:
        for part in (folder, own):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
            if part.is_symlink() or part.stat().st_uid != os.getuid():
                raise PermissionError(None, "it belongs to somebody else")
    except OSError as error:
        raise ConfigurationError("audit_folder", str(folder), f"a folder to write to ({error.strerror})") from None
    return own


def _age(path: Path) -> float:
    with suppress(OSError):
        return -path.stat().st_mtime
    return 0.0
