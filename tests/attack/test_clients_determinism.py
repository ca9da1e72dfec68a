"""Same seed, same result; another seed, another one. And a run that cannot go on says so."""

import json
from pathlib import Path

import pytest

from flower_robust.errors import QuorumNotReached
from tests.simulated import simulate

WRITTEN = ("metrics.json", "model.npz", "model-fedavg.npz", "trust.json")
OPTIONS = {"rounds": 2, "attack": "gaussian", "malicious": 2, "partition": "dirichlet", "model": "mlp"}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        simulate(tmp_path / name, seed=seed, **OPTIONS)
    for file in WRITTEN:
        one, two, three = ((tmp_path / name / file).read_bytes() for name in ("one", "two", "three"))
        assert one == two != three, file


def test_the_journal_holds_what_a_reader_needs(tmp_path: Path) -> None:
    metrics, lines = simulate(tmp_path, rounds=2, attack="norm-lie", malicious=1, f=2)
    assert [(line["arm"], line["round"]) for line in lines] == [(a, r) for a in ("fedavg", "robust") for r in range(3)]
    report = lines[-2]["report"]
    assert report["faults"][0]["culprit"] == "hospital-01" and report["faults"][0]["kind"] == "NormMismatch"
    assert "committed" in report["faults"][0]["found"]
    assert len(report["geometry"]["squared_distances"]) == len(report["accepted"]) == len(report["weights"]) == 9
    assert report["trust"]["hospital-01"]["lied"] and 0 < report["trust"]["hospital-02"]["mean"] < 1
    assert lines[-1]["accuracy"] == metrics["robust"]["accuracy"]
    assert lines[-1]["hospitals"].keys() == metrics["fedavg"]["hospitals"].keys()
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["attack"] == "norm-lie" and config["versions"].keys() >= {"flwr", "torch", "flower-robust"}


def test_trust_is_carried_from_one_run_to_the_next(tmp_path: Path) -> None:
    file = tmp_path / "trust.json"
    options = {"rounds": 1, "arms": "robust", "trust_file": str(file), "f": 2}
    simulate(tmp_path / "one", attack="norm-lie", malicious=1, **options)
    metrics, _ = simulate(tmp_path / "two", **options)
    assert metrics["robust"]["quarantined"] == ["hospital-01"]


def test_a_missed_quorum_fails_the_run_and_says_why(tmp_path: Path) -> None:
    with pytest.raises(QuorumNotReached):
        simulate(tmp_path, attack="nan", malicious=6, f=1, rounds=2, arms="robust")
    failure = json.loads((tmp_path / "failure.json").read_text())
    assert failure["kind"] == "QuorumNotReached" and "found 4 accepted of 10 expected" in failure["error"]
    assert not (tmp_path / "metrics.json").exists()


def test_momentum_changes_what_hospitals_send_from_the_second_round(tmp_path: Path) -> None:
    norms = []
    for name, momentum in (("without", 0.0), ("with", 0.9)):
        _, lines = simulate(tmp_path / name, rounds=3, arms="robust", rule="default", momentum=momentum)
        norms.append([line["report"]["geometry"]["squared_norms"] for line in lines[1:]])
    (first, *later), (first_too, *later_too) = norms
    assert first == pytest.approx(first_too, rel=1e-4) and later[-1] != pytest.approx(later_too[-1], rel=0.05)
    assert sum(later_too[-1]) > sum(later[-1])
