"""The wrapped stock app under `flwr run`, with Ray."""

import pytest

from flower_robust.commitments import Identity, Roster, RosterEntry
from tests.loopback import Loopback
from tests.wrapping import wrapped_app


@pytest.mark.slow
@pytest.mark.window
def test_the_wrapped_stock_app_runs_in_simulation(tmp_path):
    identities = [Identity.generate(f"hospital-{i}") for i in range(3)]
    for identity in identities:
        identity.save(tmp_path / f"{identity.name}.json")
    Roster([RosterEntry.of(identity, 128) for identity in identities]).save(tmp_path / "roster.json")
    app = wrapped_app(tmp_path, simulation=True)
    with Loopback(tmp_path / "flower", simulation=True) as flower:
        status, log = flower.run(app, 120, nodes=3, roster=str(tmp_path / "roster.json"), keys=str(tmp_path))
    assert status == "finished:completed", log + flower.logs()
    assert "Robust aggregation: GeometricMedian(f=1)" in log and "PeerMasking(threshold=1" in log
    assert "train_loss" in log
    assert "eval_acc" in log
