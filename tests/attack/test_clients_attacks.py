"""Every attack of the registry against the whole app: real training, real attackers, plain FedAvg beside ours."""

from pathlib import Path

import pytest

from clients.attacks import ATTACKS, Attack
from clients.tampering import TAMPERINGS
from tests.simulated import simulate

LIARS = {"hospital-01", "hospital-02"}
LIES = {
    "nan": "NonFiniteUpdate",
    "inf": "NonFiniteUpdate",
    "wrong-shape": "MalformedReply",
    "example-count": "ExampleCountLie",
    "norm-lie": "NormMismatch",
    "bad-signature": "BadSignature",
}
RUINOUS = ["sign-flip", "ipm-10", "nan", "inf", "wrong-shape", "example-count", "norm-lie", "bad-signature"]


def run(tmp_path: Path, attack: str, **options: object):
    return simulate(tmp_path, attack=attack, malicious=2, rounds=4, **options)


@pytest.mark.parametrize("attack", [name for name in ATTACKS if name != "none"])
def test_ours_holds_blames_nobody_honest_and_proves_lies_at_once(tmp_path: Path, attack: str) -> None:
    metrics, lines = run(tmp_path, attack, arms="robust")
    assert metrics["robust"]["accuracy"] > 0.9 and metrics["robust"]["auc"] > 0.95
    assert set(metrics["robust"]["quarantined"]) <= LIARS
    assert all(fault["culprit"] in LIARS for line in lines[1:] for fault in line["report"]["faults"])
    if attack in LIES:
        first = {(f["culprit"], f["kind"], f["certainty"]) for f in lines[1]["report"]["faults"]}
        assert first == {(liar, LIES[attack], "proven") for liar in LIARS}
        assert set(metrics["robust"]["quarantined"]) == LIARS


def test_a_replayed_reply_is_stale_from_the_second_round(tmp_path: Path) -> None:
    _, lines = run(tmp_path, "replay", arms="robust")
    faults = {line["round"]: {(f["culprit"], f["kind"]) for f in line["report"]["faults"]} for line in lines[1:]}
    assert faults[1] == set() and faults[2] == {(liar, "StaleCommitment") for liar in LIARS}


@pytest.mark.parametrize("attack", RUINOUS)
def test_the_same_attack_ruins_plain_fedavg(tmp_path: Path, attack: str) -> None:
    metrics, _ = run(tmp_path, attack, arms="fedavg")
    assert "aborted" in metrics["fedavg"] or metrics["fedavg"]["accuracy"] < 0.8


def test_every_attack_says_what_it_does_and_every_tampering_is_used() -> None:
    assert {attack.tampering for attack in ATTACKS.values()} - {""} == TAMPERINGS.keys()
    assert all(isinstance(attack, Attack) and attack.about and attack.strength > 0 for attack in ATTACKS.values())
