"""Who takes part: names, public keys, declared rows. A file both sides hold, pinned by its digest."""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Self

from flower_robust.commitments.encoding import pack, u64
from flower_robust.commitments.identity import Identity, checked_name
from flower_robust.errors import ConfigurationError, CorruptFile
from flower_robust.types import Digest, RosterName

KEY_BYTES = 32
LARGEST = 2.0
"""How many median participants one participant can count for."""


@dataclass(frozen=True, slots=True)
class RosterEntry:
    """One participant: its name, its Ed25519 public key (32 bytes) and how many rows of records it declares."""

    name: RosterName
    public_key: bytes
    rows: int = 0

    def __post_init__(self) -> None:
        checked_name(self.name)
        if len(self.public_key) != KEY_BYTES:
            raise ConfigurationError(f"public_key of {self.name}", f"{len(self.public_key)} bytes", "32 bytes")
        if type(self.rows) is not int or not 0 <= self.rows < 2**63:
            raise ConfigurationError(f"rows of {self.name}", self.rows, "a whole number of at least 0")

    @classmethod
    def of(cls, identity: Identity, rows: int = 0) -> Self:
        """The entry that `identity` hands to whoever keeps the roster."""
        return cls(identity.name, identity.public_key, rows)


class Roster:
    """The participants, in order; names and keys are unique.

    ConfigurationError names the duplicate or the malformed entry.
    """

    def __init__(self, entries: Iterable[RosterEntry]) -> None:
        self.entries = tuple(entries)
        if not self.entries:
            raise ConfigurationError("roster", "no entries", "at least one participant")
        _refuse_duplicates("name", [entry.name for entry in self.entries])
        _refuse_duplicates("public_key", [entry.public_key.hex() for entry in self.entries])
        self._by_name = {entry.name: entry for entry in self.entries}
        self._by_key = {entry.public_key: entry.name for entry in self.entries}

    @classmethod
    def load(cls, path: str | Path, digest: bytes | None = None) -> Self:
        """The roster in the file at `path`.

        With `digest` (32 bytes) any other roster is refused. Raises ConfigurationError if the file is missing, its
        entries are refused or its digest is another; CorruptFile if it is no roster at all.
        """
        path = Path(path)
        try:
            text = path.read_bytes()
        except OSError as error:
            raise ConfigurationError("roster", str(path), f"a readable roster file ({error.strerror})") from None
        roster = cls(_parsed(path, text))
        if digest is not None and roster.digest != digest:
            raise ConfigurationError("roster", f"{path} with digest {roster.digest.hex()}", f"digest {digest.hex()}")
        return roster

    def save(self, path: str | Path) -> None:
        """Write the roster as JSON, all of it or nothing."""
        path = Path(path)
        members = [{"name": e.name, "public_key": e.public_key.hex(), "rows": e.rows} for e in self.entries]
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.name, delete=False) as file:
            file.write(json.dumps({"participants": members}, indent=2, ensure_ascii=False) + "\n")
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)

    @cached_property
    def digest(self) -> Digest:
        """SHA-256 of the canonical encoding: the same for every file that lists the same entries in this order."""
        packed = (pack(entry.name.encode(), entry.public_key, u64(entry.rows)) for entry in self.entries)
        return Digest(hashlib.sha256(pack(b"flower-robust/v1/roster", *packed)).digest())

    @property
    def names(self) -> tuple[RosterName, ...]:
        """The names, in the roster's order."""
        return tuple(entry.name for entry in self.entries)

    def sizes(self, names: Iterable[str]) -> tuple[float, ...]:
        """What each of `names` counts in an average: `capped_sizes` of the rows that the roster declares."""
        return capped_sizes([self[name].rows for name in names], [entry.rows for entry in self.entries])

    def name_of(self, public_key: bytes) -> RosterName | None:
        """Whose key this is, or None."""
        return self._by_key.get(public_key)

    def __getitem__(self, name: str) -> RosterEntry:
        return self._by_name[RosterName(name)]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[RosterEntry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return f"Roster({len(self)} participants, digest={self.digest.hex()[:16]})"


def capped_sizes(rows: Sequence[int], everybody: Sequence[int]) -> tuple[float, ...]:
    """What participants with these rows count in an average: rows beside the median of everybody's, within bounds.

        size_i = clip(rows_i / median_j rows_j, 1/2, 2)          1 each where anybody declares no rows

    The bounds are what a lie about rows can gain, and what a small participant keeps.
    """
    if not all(everybody):
        return (1.0,) * len(rows)
    usual = median(everybody)
    return tuple(min(LARGEST, max(1 / LARGEST, count / usual)) for count in rows)


def _refuse_duplicates(what: str, values: list[str]) -> None:
    if repeated := sorted({value for value in values if values.count(value) > 1}):
        raise ConfigurationError("roster", f"{what} {repeated[0]} twice", f"every {what} once")


def _parsed(path: Path, text: bytes) -> list[RosterEntry]:
    required = '{"participants": [{"name", "public_key", "rows"}, ...]}'
    try:
        members = json.loads(text)["participants"]
        if not isinstance(members, list):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CorruptFile(path, "no roster", f"JSON {required}") from None
    return [_entry(path, index, member) for index, member in enumerate(members)]


def _entry(path: Path, index: int, member: object) -> RosterEntry:
    if not isinstance(member, dict) or member.keys() != {"name", "public_key", "rows"}:
        raise ConfigurationError(f"roster {path} participant {index}", member, 'exactly "name", "public_key", "rows"')
    try:
        key = bytes.fromhex(member["public_key"])
    except (ValueError, TypeError):
        found = member["public_key"]
        raise ConfigurationError(f"public_key of participant {index} in {path}", found, "64 hex digits") from None
    return RosterEntry(member["name"], key, member["rows"])
