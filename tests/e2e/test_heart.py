"""The four real hospitals: published figures, what one liar does, and that honest Switzerland stays."""

import statistics
from pathlib import Path

import pytest

from benchmarks.heart import FLAMBY, Training, flamby, settings_for, train_fedavg, train_robust

HEART = Path(__file__).parents[3] / "shared" / "data" / "heart"
pytestmark = pytest.mark.skipif(not HEART.is_dir(), reason=f"the UCI heart files are not at {HEART}")


def auc(run: Training) -> float:
    area = run.evaluate()["auc"]
    assert area is not None
    return area


def test_fedavg_without_attack_is_flamby_s() -> None:
    found = flamby(HEART, seeds=range(42, 47))
    assert {name: round(value, 3) for name, value in found.items()} == pytest.approx(FLAMBY, abs=0.02)


@pytest.mark.parametrize(("attack", "broken"), [("label-flip", (0.60, 0.74)), ("sign-flip", (0.0, 0.3))])
def test_one_liar_ruins_fedavg_and_not_ours(attack: str, broken: tuple[float, float]) -> None:
    settings = settings_for(HEART, attack=attack, malicious="cleveland", f=1)
    assert broken[0] <= auc(train_fedavg(settings)) <= broken[1]
    ours = train_robust(settings)
    assert auc(ours) >= 0.86
    assert ours.trust is not None
    means = {name: ours.trust[name].mean for name in ours.trust.names}
    assert min(means, key=means.__getitem__) == "cleveland"


def test_honest_switzerland_is_not_shut_out() -> None:
    plain, ours = [], []
    for seed in range(3):
        settings = settings_for(HEART, f=1, seed=seed)
        plain.append(train_fedavg(settings))
        ours.append(train_robust(settings))
    for run in ours:
        assert run.trust is not None
        assert not run.trust["switzerland"].quarantined and run.trust["switzerland"].mean > 0.5

    def mean_accuracy(runs: list[Training]) -> float:
        return statistics.mean(run.evaluate()["hospitals"]["switzerland"]["accuracy"] for run in runs)

    assert mean_accuracy(ours) >= mean_accuracy(plain) - 0.03
