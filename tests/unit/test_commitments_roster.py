"""Rosters and identities on disk: what is refused, and with which words."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from flower_robust.commitments import Identity, Roster, RosterEntry
from flower_robust.errors import ConfigurationError, CorruptFile

IDENTITIES = [
    Identity.from_seed(name, bytes([index]) * 32) for index, name in enumerate(("Basel", "Budapest", "Long Beach"))
]
ROSTER = Roster(RosterEntry.of(identity, rows) for identity, rows in zip(IDENTITIES, (123, 294, 200), strict=True))


def written(path: Path, participants: object) -> Path:
    path.write_text(json.dumps({"participants": participants}))
    return path


def members(**changes: object) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = [{"name": e.name, "public_key": e.public_key.hex(), "rows": e.rows} for e in ROSTER]
    entries[1].update(changes)
    return entries


def test_a_saved_roster_loads_as_it_was(tmp_path: Path) -> None:
    ROSTER.save(tmp_path / "roster.json")
    loaded = Roster.load(tmp_path / "roster.json", ROSTER.digest)
    assert loaded.entries == ROSTER.entries
    assert [path.name for path in tmp_path.iterdir()] == ["roster.json"]


def test_lookups() -> None:
    assert ROSTER["Budapest"].rows == 294
    assert ROSTER.name_of(IDENTITIES[2].public_key) == "Long Beach"
    assert ROSTER.name_of(bytes(32)) is None
    assert "Vienna" not in ROSTER


def test_sizes_are_rows_beside_the_median_within_bounds() -> None:
    assert ROSTER.sizes(["Budapest", "Basel"]) == (294 / 200, 123 / 200)
    boast = Roster([*ROSTER, RosterEntry.of(Identity.from_seed("Boaster", bytes([9]) * 32), 10**12)])
    assert boast.sizes(["Boaster", "Basel"]) == (2.0, 0.5) and max(boast.sizes(ROSTER.names)) < 1.2
    undeclared = Roster([*ROSTER, RosterEntry.of(Identity.from_seed("Vienna", bytes([9]) * 32))])
    assert undeclared.sizes(ROSTER.names) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("changes", [{"rows": 295}, {"name": "Vienna"}, {"public_key": "ab" * 32}])
def test_every_field_is_in_the_digest(tmp_path: Path, changes: dict[str, object]) -> None:
    path = written(tmp_path / "roster.json", members(**changes))
    with pytest.raises(ConfigurationError, match=ROSTER.digest.hex()):
        Roster.load(path, ROSTER.digest)


def test_the_order_of_participants_is_in_the_digest() -> None:
    assert Roster(reversed(ROSTER.entries)).digest != ROSTER.digest


@pytest.mark.parametrize(
    ("participants", "words"),
    [
        ([], "no entries"),
        (members(name="Basel"), "name Basel twice"),
        (members(public_key=IDENTITIES[0].public_key.hex()), "public_key .* twice"),
        (members(public_key="zz" * 32), "64 hex digits"),
        (members(public_key="ab" * 31), "31 bytes"),
        (members(public_key=7), "64 hex digits"),
        (members(rows=-1), "rows of Budapest"),
        (members(rows=True), "rows of Budapest"),
        (members(rows=2.5), "rows of Budapest"),
        (members(name=""), "name"),
        (members(name="a\nb"), "printable"),
        (members(name="x" * 129), "128 bytes"),
        (members(name=5), "name"),
        (members(colour="red"), "participant 1"),
        (["Basel"], "participant 0"),
    ],
)
def test_bad_entries_are_named(tmp_path: Path, participants: object, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Roster.load(written(tmp_path / "roster.json", participants))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b'{"participants": 3}', b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_is_no_roster_is_corrupt_and_left_alone(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "roster.json"
    path.write_bytes(text)
    with pytest.raises(CorruptFile, match="roster"):
        Roster.load(path)
    assert path.read_bytes() == text


def test_a_missing_roster_names_its_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        Roster.load(tmp_path / "nowhere.json")


def test_an_identity_survives_its_file_which_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "identity.json"
    IDENTITIES[0].save(path)
    loaded = Identity.load(path)
    assert (loaded.name, loaded.public_key) == ("Basel", IDENTITIES[0].public_key)
    assert loaded.sign(b"x") == IDENTITIES[0].sign(b"x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_identity_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "identity.json"
    IDENTITIES[0].save(path)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="does not exist yet"):
        IDENTITIES[1].save(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text", ["", "{}", '{"name": "A"}', '{"name": "A", "secret_key": "abcd"}', '{"name": 3, "secret_key": 4}']
)
def test_a_broken_identity_file_is_corrupt(tmp_path: Path, text: str) -> None:
    path = tmp_path / "identity.json"
    path.write_text(text)
    with pytest.raises(CorruptFile) as refusal:
        Identity.load(path)
    assert "abcd" not in str(refusal.value)


def test_secrets_are_not_printed() -> None:
    identity = Identity.from_seed("Basel", b"\x17" * 32)
    assert "17" * 32 not in repr(identity)
    assert "<redacted>" in repr(identity)


def test_fresh_identities_differ() -> None:
    assert Identity.generate("A").public_key != Identity.generate("A").public_key
