"""The wrapped stock app on a real SuperLink with three SuperNodes."""

import pytest

from flower_robust.commitments import Identity, Roster, RosterEntry
from tests.loopback import Loopback
from tests.wrapping import wrapped_app


@pytest.mark.slow
@pytest.mark.window
def test_the_wrapped_stock_app_runs_on_superlink_and_supernodes(tmp_path):
    identities = [Identity.generate(f"hospital-{i}") for i in range(3)]
    Roster([RosterEntry.of(identity, 128) for identity in identities]).save(tmp_path / "roster.json")
    app = wrapped_app(tmp_path, simulation=False)
    with Loopback(tmp_path / "flower") as flower:
        for i, identity in enumerate(identities):
            path = tmp_path / f"{identity.name}.json"
            identity.save(path)
            held = f'identity="{path}" roster="{tmp_path}/roster.json" audit-folder="{tmp_path}/audit" threshold=1'
            flower.supernode(f"partition-id={i} {held}")
        status, log = flower.run(app, 270, roster=str(tmp_path / "roster.json"))
    assert status == "finished:completed", log + flower.logs()
    assert "Robust aggregation: GeometricMedian(f=1)" in log and "PeerMasking(threshold=1" in log
    assert "train_loss" in log
    assert "eval_acc" in log
