"""Files written once: nothing is overwritten, secrets are readable by their owner alone."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from flower_robust.commitments import Identity, Roster
from flower_robust.errors import ConfigurationError

Content = bytes | Identity | Roster

SECRET, PUBLIC = 0o600, 0o644
"""Modes of a file that only its owner reads, and of one that everybody may."""

SECRET_SUFFIXES = frozenset({".key", ".secret"})


def refuse_existing(option: str, paths: Iterable[Path]) -> None:
    """Raises ConfigurationError that names the first path that already exists."""
    for path in paths:
        if path.exists():
            raise ConfigurationError(option, str(path), "a folder without it: nothing is overwritten")


def write_all(option: str, contents: Mapping[Path, Content]) -> None:
    """Write every file, or none where one of them exists already. Folders are made, mode 0700.

    Raises ConfigurationError if a file exists or a folder cannot be made.
    """
    refuse_existing(option, contents)
    for path, content in contents.items():
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, content)
        except OSError as error:
            raise ConfigurationError(option, str(path), f"a place to write to ({error.strerror})") from None


def _write(path: Path, content: Content) -> None:
    if not isinstance(content, bytes):
        return content.save(path)
    mode = SECRET if path.suffix in SECRET_SUFFIXES else PUBLIC
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    return None
