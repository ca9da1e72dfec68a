"""The hospital app masked: as good as unmasked, the same liars named, and features standardised by private sums."""

from pathlib import Path

import numpy as np
import pytest
import torch

from clients.tampering import MASKED_TAMPERINGS, TAMPERINGS
from flower_robust.errors import ConfigurationError
from server.standardisation import federated_standardisation
from tests.simulated import settings_for, simulate

LIARS = {"hospital-01", "hospital-02"}
LIES = {"nan": "MalformedReply", "wrong-shape": "MalformedReply", "bad-signature": "BadSignature"}


def run(out: Path, **options: object):
    return simulate(out, arms="robust", malicious=2, **options)


@pytest.mark.parametrize("attack", ["sign-flip", "label-flip"])
def test_masked_and_unmasked_models_are_as_good(tmp_path: Path, attack: str) -> None:
    masked, _ = run(tmp_path / "masked", attack=attack, rounds=3, threshold="auto")
    shown, _ = run(tmp_path / "shown", attack=attack, rounds=3, threshold=0)
    assert abs(masked["robust"]["accuracy"] - shown["robust"]["accuracy"]) <= 0.01
    assert abs(masked["robust"]["auc"] - shown["robust"]["auc"]) <= 0.01
    for name, trust in shown["robust"]["trust"].items():
        assert masked["robust"]["trust"][name] == pytest.approx(trust, abs=0.1)


@pytest.mark.parametrize("attack", LIES)
def test_lies_about_a_masked_submission_are_proven_and_their_tellers_out(tmp_path: Path, attack: str) -> None:
    metrics, lines = run(tmp_path, attack=attack, rounds=2, threshold=2)
    found = {(f["culprit"], f["kind"], f["certainty"]) for f in lines[1]["report"]["faults"]}
    assert found == {(liar, LIES[attack], "proven") for liar in LIARS}
    assert set(metrics["robust"]["quarantined"]) == LIARS
    assert not LIARS & set(lines[2]["report"]["expected"])


def test_every_lie_has_its_masked_counterpart_but_the_one_that_makes_no_sense() -> None:
    assert TAMPERINGS.keys() - MASKED_TAMPERINGS.keys() == {"norm-lie"}
    with pytest.raises(ConfigurationError, match="attack: found 'norm-lie', required threshold 0"):
        settings_for(attack="norm-lie", malicious=2, threshold=2, out="x")


def test_a_threshold_that_cannot_work_is_named() -> None:
    with pytest.raises(ConfigurationError, match="found 5, required at least 1 and 2t \\+ 1 <= n = 10"):
        settings_for(threshold=5, out="x")
    with pytest.raises(ConfigurationError, match="standardise: found 'federated', required a threshold above 0"):
        settings_for(standardise="federated", out="x")


def test_federated_standardisation_is_that_of_the_pooled_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watched(*given):
        seen.append(federated_standardisation(*given))
        return seen[0]

    monkeypatch.setattr("server.app.federated_standardisation", watched)
    simulate(tmp_path, arms="robust", attack="none", rounds=1, threshold="auto")
    raw = settings_for(threshold="auto", out="x").federation()
    rows = torch.cat([hospital.train.X for hospital in raw.hospitals]).double().numpy()
    (scale,) = seen
    deviation = rows.std(axis=0, ddof=1)
    np.testing.assert_array_less(np.abs(scale.mean - rows.mean(axis=0)), 0.02 * deviation)
    np.testing.assert_allclose(scale.deviation, deviation, rtol=0.05)
