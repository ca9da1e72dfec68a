"""The command that a person types, through Flower's own runtime, and what it leaves behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sockets import Watch, processes


def simulate(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flower_robust.cli", "simulate", "--out", str(out), *options]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=280, env={**os.environ, "STARTED_BY": str(out.parent)}
    )


@pytest.mark.slow
def test_two_of_seven_hospitals_attack(tmp_path: Path) -> None:
    with Watch(str(tmp_path)) as watch:
        done = simulate(
            tmp_path / "run", "--hospitals", "7", "--attack", "sign-flip", "--malicious", "2", "--rounds", "3"
        )
    assert watch.seen > 3 and not watch.outward, "nothing speaks with, or listens to, another machine"
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["fedavg"]["accuracy"] < 0.5 < 0.9 < metrics["robust"]["accuracy"]
    assert metrics["fedavg"]["auc"] < 0.5 < 0.95 < metrics["robust"]["auc"]
    assert min(metrics["robust"]["trust"], key=metrics["robust"]["trust"].get) in metrics["malicious"]
    assert "round   3" in done.stdout and "plain FedAvg" in done.stdout and "hospital-07" in done.stdout
    assert not left_over(str(tmp_path)), "no process of the run is left"


@pytest.mark.slow
def test_four_of_seven_hospitals_attack_and_the_server_has_fifty_rows(tmp_path: Path) -> None:
    attack = ["--attack", "sign-flip", "--malicious", "4", "--f", "1"]
    reference = ["--rule", "reference", "--root-rows", "50", "--threshold", "1"]
    done = simulate(tmp_path / "run", "--hospitals", "7", "--rounds", "2", *attack, *reference)
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["fedavg"]["accuracy"] < 0.5 < 0.9 < metrics["robust"]["accuracy"]
    rounds = [json.loads(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()]
    reports = [line["report"] for line in rounds if "report" in line]
    assert [report["exchanges"] for report in reports] == [3, 3]
    assert all(report["weights"].get(name, 0) == 0 for report in reports for name in metrics["malicious"])


@pytest.mark.slow
def test_a_missed_quorum_ends_with_exit_code_1(tmp_path: Path) -> None:
    options = [
        "--hospitals",
        "4",
        "--f",
        "1",
        "--attack",
        "nan",
        "--malicious",
        "3",
        "--rounds",
        "2",
        "--arms",
        "robust",
    ]
    done = simulate(tmp_path / "run", *options)
    assert done.returncode == 1
    assert "found 1 accepted of 4 expected" in done.stderr
    assert not left_over(str(tmp_path))


def left_over(marker: str) -> list[str]:
    """Processes whose environment says that the test started them."""
    return [(folder / "cmdline").read_bytes().decode(errors="replace") for folder in processes(marker)]
