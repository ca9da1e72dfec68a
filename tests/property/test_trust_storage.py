"""Trust on disk: restored exactly, or refused with the file left as it was."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flower_robust.errors import ConfigurationError, CorruptFile
from flower_robust.trust import BetaTrust, Reputation, TrustState, load_trust, save_trust, storage

FINITE = st.floats(allow_nan=False, allow_infinity=False)
REPUTATIONS = st.builds(Reputation, FINITE, FINITE, FINITE, FINITE, st.booleans(), st.booleans(), st.integers(0))
STATES = st.dictionaries(st.text(max_size=12), REPUTATIONS, max_size=5).map(TrustState)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trust")


@settings(max_examples=40, deadline=None)
@given(state=STATES)
def test_a_restart_restores_exactly(folder: Path, state: TrustState) -> None:
    save_trust(folder / "trust", state)
    restored = load_trust(folder / "trust")
    assert restored == state
    assert restored.names == state.names


@settings(max_examples=40, deadline=None)
@given(state=STATES, draw=st.data())
def test_a_single_changed_byte_is_found(folder: Path, state: TrustState, draw: st.DataObject) -> None:
    path = folder / "changed"
    save_trust(path, state)
    broken = bytearray(path.read_bytes())
    broken[draw.draw(st.integers(0, len(broken) - 1))] ^= draw.draw(st.integers(1, 255))
    path.write_bytes(broken)
    with pytest.raises(CorruptFile, match="changed"):
        load_trust(path)
    assert path.read_bytes() == broken


@settings(max_examples=40, deadline=None)
@given(state=STATES, draw=st.data())
def test_a_cut_file_is_found(folder: Path, state: TrustState, draw: st.DataObject) -> None:
    path = folder / "cut"
    save_trust(path, state)
    whole = path.read_bytes()
    path.write_bytes(whole[: draw.draw(st.integers(0, len(whole) - 1))])
    before = path.read_bytes()
    with pytest.raises(CorruptFile):
        load_trust(path)
    assert path.read_bytes() == before


@settings(max_examples=40, deadline=None)
@given(content=st.binary(max_size=200))
def test_another_file_is_refused(folder: Path, content: bytes) -> None:
    path = folder / "other"
    path.write_bytes(content)
    with pytest.raises(CorruptFile):
        load_trust(path)


@pytest.mark.parametrize("body", [b"[]", b"3", b'{"A": {}}', b'{"A": 1}', b"{", b"[" * 100_000])
def test_a_checksum_does_not_make_it_trust(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "forged"
    path.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    with pytest.raises(CorruptFile):
        load_trust(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        load_trust(tmp_path / "nowhere")


def test_a_crash_while_saving_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trust"
    old = BetaTrust().init(["A"])
    save_trust(path, old)

    def crash(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(storage.os, "fsync", crash)
    with pytest.raises(OSError, match="disk full"):
        save_trust(path, BetaTrust().init(["A", "B"]))
    assert load_trust(path) == old
    assert [file.name for file in tmp_path.iterdir()] == ["trust"]


def test_not_a_number_is_never_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        save_trust(tmp_path / "trust", TrustState({"A": Reputation(float("nan"), 1.0)}))
    assert not list(tmp_path.iterdir())
