"""The run folder: written whole, replaced only on request, and what is not ours is left as it was."""

import json
from pathlib import Path

import numpy as np
import pytest

from flower_robust.errors import ConfigurationError, CorruptFile
from server.journal import Journal, prepare


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def finished(folder: Path) -> Path:
    journal = Journal.start(folder, {"seed": 1})
    journal.round("robust", 1, {"accuracy": 0.5})
    journal.model("robust", {"w": np.arange(3.0)})
    journal.finish({"robust": {"accuracy": 0.5}})
    return folder


def test_a_new_or_empty_folder_is_taken(tmp_path: Path) -> None:
    prepare(tmp_path / "a" / "b", replace=False)
    assert contents(tmp_path / "a" / "b") == {}
    prepare(tmp_path / "a" / "b", replace=False)


def test_an_earlier_run_is_replaced_only_on_request(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run")
    before = contents(folder)
    with pytest.raises(ConfigurationError, match="--replace"):
        prepare(folder, replace=False)
    assert contents(folder) == before
    prepare(folder, replace=True)
    assert contents(folder) == {}


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("thesis.tex", "years of work", ConfigurationError),
        ("config.json", "{ damaged", CorruptFile),
        ("config.json", '{"format": "another program"}', CorruptFile),
        ("config.json", "[]", CorruptFile),
    ],
)
@pytest.mark.parametrize("replace", [False, True])
def test_what_is_not_ours_is_left_as_it_was(tmp_path: Path, name: str, text: str, error: type, replace: bool) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(error):
        prepare(tmp_path, replace)
    assert contents(tmp_path) == {name: text.encode()}


def test_a_foreign_file_beside_a_run_protects_it(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match=r"notes\.txt"):
        prepare(folder, replace=True)
    assert (folder / "notes.txt").read_text() == "mine" and (folder / "metrics.json").exists()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ConfigurationError, match="required a folder"):
        prepare(tmp_path / "out", replace=True)


def test_the_journal_keeps_every_line_and_the_model(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run")
    assert json.loads((folder / "rounds.jsonl").read_text()) == {"arm": "robust", "round": 1, "accuracy": 0.5}
    assert np.array_equal(np.load(folder / "model.npz")["w"], np.arange(3.0))
    again = finished(tmp_path / "again")
    assert (folder / "model.npz").read_bytes() == (again / "model.npz").read_bytes()
