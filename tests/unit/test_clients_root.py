"""`--rule reference --root-rows N`: rows that no hospital has, trained on by the server, masked and unmasked."""

from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord

from clients.datasets import Federation, load_federation
from clients.models import build_model
from clients.task import seed_for, train
from flower_robust.errors import ConfigurationError
from server.root import RootTraining
from server.rules import rule_of
from tests.simulated import settings_for, simulate


def rows_of(federation: Federation) -> set[bytes]:
    """Every training row of every hospital."""
    return {x.numpy().tobytes() for h in federation.hospitals for x in h.train.X}


@pytest.mark.parametrize("partition", ["iid", "dirichlet"])
def test_root_rows_are_training_rows_that_no_hospital_keeps(partition: str) -> None:
    options = {"hospitals": 5, "partition": partition, "seed": 3, "standardise": "none"}
    whole, left = load_federation("digits", **options), load_federation("digits", root_rows=50, **options)
    assert whole.root is None and left.root is not None and len(left.root) == 50
    root = {x.numpy().tobytes() for x in left.root.X}
    assert not root & rows_of(left) and root | rows_of(left) == rows_of(whole)
    assert torch.equal(whole.pooled_test.X, left.pooled_test.X), "nobody is tested on other rows than before"
    assert len(set(left.root.y.tolist())) > 5
    other = load_federation("digits", root_rows=50, **{**options, "seed": 4})
    assert other.root is not None and not torch.equal(other.root.X, left.root.X)


def test_which_rows_are_set_aside_hangs_on_the_seed_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a draw of its own: with and without root rows the same hospitals have the same tests."""
    drawn, default_rng = [], np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", lambda *seed: drawn.append(seed) or default_rng(*seed))
    load_federation("breast-cancer", hospitals=4, partition="iid", seed=7, root_rows=20)
    assert ([7, 2],) in drawn


@pytest.mark.parametrize("standardise", ["pooled", "hospital", "none"])
def test_root_rows_are_standardised_as_hospitals_are(standardise: str) -> None:
    root = load_federation("breast-cancer", hospitals=4, partition="iid", standardise=standardise, root_rows=50).root
    assert root is not None
    assert bool((root.X.mean(0).abs() < 0.7).all()) == (standardise != "none")
    if standardise == "none":
        federation = load_federation("breast-cancer", hospitals=4, partition="iid", standardise="none", root_rows=50)
        scaled = federation.standardised(root.X.mean(0).double().numpy(), root.X.std(0).double().numpy()).root
        assert scaled is not None and torch.allclose(scaled.X.mean(0), torch.zeros(30), atol=1e-3)


@pytest.mark.parametrize("count", [1, 420, 1000])
def test_root_rows_that_leave_nothing_are_refused(count: int) -> None:
    with pytest.raises(ConfigurationError, match=f"root-rows: found {count}, required 0, or 2 and more that leave"):
        settings_for(root_rows=count)


def test_a_rule_that_needs_them_is_refused_without() -> None:
    with pytest.raises(ConfigurationError, match="root-rows: found 0, required rows that the server trains on itself"):
        rule_of("nnm >> reference", 1, 10)
    assert rule_of("reference", 1, 10, 50).needs_reference
    settings = settings_for(root_rows=50)
    assert settings.to_config()["root-rows"] == 50 and settings.federation().root is not None


def test_the_servers_update_is_what_a_hospital_with_its_rows_would_send() -> None:
    settings = settings_for(root_rows=50, momentum=0.5)
    federation = settings.federation()
    model = build_model(settings.model, federation.shape, federation.classes, settings.seed)
    arrays, found, updates = ArrayRecord(model.state_dict()), RootTraining(settings, federation), []
    for server_round in (1, 2):
        sent = found(server_round, arrays).to_torch_state_dict()
        local = build_model(settings.model, federation.shape, federation.classes, settings.seed)
        train(local, federation.root, settings.schedule, seed_for(settings.seed, server_round, "root"))
        updates.append({n: t - model.state_dict()[n] for n, t in local.state_dict().items()})
        for name, tensor in sent.items():
            mean = updates[0][name] if server_round == 1 else (updates[0][name] + 2 * updates[1][name]) / 3
            assert torch.allclose(tensor, mean, atol=1e-6)


@pytest.mark.parametrize("malicious", [2, 4])
def test_masked_and_unmasked_runs_follow_the_root_rows_even_against_a_majority(malicious: int, tmp_path: Path) -> None:
    """Seven hospitals, t = 1: three honest ones carry a sum. Averaging is lost in either case."""
    options = {"hospitals": 7, "rule": "reference", "root_rows": 50, "rounds": 3, "seed": 1}
    attack = {"attack": "sign-flip", "malicious": malicious, "arms": "robust", "f": 1}
    found = {}
    for threshold in (0, 1):
        folder = tmp_path / str(threshold)
        metrics, lines = simulate(folder, threshold=threshold, standardise="pooled", **options, **attack)
        found[threshold] = metrics["robust"]
        for line in lines[1:]:
            weights = line["report"]["weights"]
            assert all(weights.get(name, 0) == 0 for name in metrics["malicious"]) and line["report"]["reason"] is None
            assert line["report"]["exchanges"] == (3 if threshold else 1)
    assert found[0]["accuracy"] > 0.9 and abs(found[1]["accuracy"] - found[0]["accuracy"]) <= 0.015
    assert abs(found[1]["auc"] - found[0]["auc"]) <= 0.01
