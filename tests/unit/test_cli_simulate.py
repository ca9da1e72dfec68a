"""The command line: every mistake is one line on stderr and exit code 2, and Flower is never started."""

from pathlib import Path

import pytest

from flower_robust.cli import main
from flower_robust.commands import simulate


@pytest.fixture(autouse=True)
def no_flower(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: object) -> None:
        raise AssertionError("Flower was started")

    monkeypatch.setattr(simulate, "SimulationSuperLink", started)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "mnist"], "dataset: found 'mnist', required one of breast-cancer, digits, heart"),
        (["--attack", "nuke"], "attack: found 'nuke', required one of none, label-flip"),
        (["--rule", "magic"], "rule: found 'magic', required one of"),
        (["--rule", "krum", "--f", "4"], "f: found 4, required 0 to 3 (Krum(f=4) needs 11 hospitals, there are 10)"),
        (["--f", "-1"], "f: found '-1', required a whole number of at least 0"),
        (["--attack", "nan", "--malicious", "20"], "malicious: found 20, required 1 to 9 of 10 hospitals"),
        (["--model", "cnn"], "model: found 'cnn', required logistic or mlp"),
        (["--partition", "natural"], "partition: found 'natural', required iid or dirichlet"),
        (["--rounds", "-2"], "rounds: found '-2', required a whole number of at least 1"),
        (["--dataset", "heart", "--data-dir", "/nowhere"], "data-dir: found '/nowhere', required an existing folder"),
        (["--app", "/nowhere"], "app: found '/nowhere', required a folder with pyproject.toml, clients/ and server/"),
    ],
)
def test_options_that_cannot_work(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *options, "--out", str(tmp_path / "run")]) == 2
    found = capsys.readouterr().err
    assert message in found and found.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_wrong_checksum_is_found_before_flower_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for hospital in ("cleveland", "hungarian", "switzerland", "va"):
        (tmp_path / f"processed.{hospital}.data").write_text("1,2,3\n")
    options = ["--dataset", "heart", "--data-dir", str(tmp_path), "--out", str(tmp_path / "run")]
    assert main(["simulate", *options]) == 2
    assert "processed.cleveland.data: found SHA-256" in capsys.readouterr().err


def test_a_corrupt_trust_file_is_found_and_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trust = tmp_path / "trust.json"
    trust.write_bytes(b"damaged")
    assert main(["simulate", "--trust-file", str(trust), "--out", str(tmp_path / "run")]) == 2
    assert "the file was left as it was" in capsys.readouterr().err and trust.read_bytes() == b"damaged"


def test_a_foreign_folder_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert main(["simulate", "--out", str(tmp_path), "--replace"]) == 2
    assert "out: found" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and "simulate" in shown and "_superlink" not in shown


def test_a_command_that_does_not_exist_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["simulat"])
    assert ended.value.code == 2 and "simulat" in capsys.readouterr().err
