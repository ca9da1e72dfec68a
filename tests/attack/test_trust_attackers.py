"""Trust over whole trainings: attackers end below every honest hospital, and no honest hospital is shut out."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from flower_robust.aggregation import GeometricMedian, MultiKrum, NearestNeighborMixing, Rule
from flower_robust.protocol.decide import decide_rows
from flower_robust.trust import BetaTrust, TrustState

Floats = NDArray[np.float64]
Hospital = tuple[Floats, Floats]
Attack = Callable[[Floats, Floats, np.random.Generator], Floats]
"""(own updates of the attackers, updates of the honest, randomness) -> what the attackers send."""

HEART = Path(__file__).parents[3] / "shared" / "data" / "heart"
TRUST = BetaTrust()


def label_skewed(n: int, concentration: float, seed: int) -> list[Hospital]:
    """n hospitals with records of one noisy linear rule; the share of positive records is Beta distributed."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=12)
    hospitals = []
    for share in rng.beta(concentration, concentration, size=n):
        X = rng.normal(size=(4000, 12))
        y = (X @ truth + rng.logistic(size=len(X)) > 0).astype(float)
        rows = rng.permutation(len(y))
        positive = rows[y[rows] == 1][: round(60 * share)]
        negative = rows[y[rows] == 0][: 60 - len(positive)]
        kept = np.concatenate([positive, negative])
        hospitals.append((np.column_stack([X[kept], np.ones(len(kept))]), y[kept]))
    return hospitals


def local_update(weights: Floats, hospital: Hospital, rng: np.random.Generator) -> Floats:
    X, y = hospital
    trained = weights.copy()
    for _ in range(10):
        rows = rng.integers(len(y), size=16)
        trained -= 0.1 * X[rows].T @ (1 / (1 + np.exp(-X[rows] @ trained)) - y[rows]) / len(rows)
    return trained - weights


def trained(
    hospitals: Sequence[Hospital], rule: Rule, attack: Attack | None = None, attackers: Sequence[int] = (),
    rounds: int = 25, active: Callable[[int], bool] = lambda _: True, seed: int = 0,
) -> tuple[TrustState, set[str]]:  # fmt: skip
    """Trust after a training, and everybody who was ever in quarantine."""
    rng = np.random.default_rng(seed)
    names = [f"h{index}" for index in range(len(hospitals))]
    honest = [index for index in range(len(hospitals)) if index not in attackers]
    state, weights, ever = TRUST.init(names), np.zeros(hospitals[0][0].shape[1]), set[str]()
    for number in range(rounds):
        rows = np.stack([local_update(weights, hospital, rng) for hospital in hospitals])
        if attack is not None and active(number):
            rows[list(attackers)] = attack(rows[list(attackers)], rows[honest], rng)
        aggregate, decision = decide_rows(torch.from_numpy(rows), rule, names, TRUST.weights(state, names))
        state = TRUST.update(state, decision.evidence)
        weights = weights + aggregate.numpy()
        ever |= set(TRUST.quarantined(state))
    return state, ever


def means(state: TrustState, indices: Sequence[int]) -> list[float]:
    return [state[f"h{index}"].mean for index in indices]


ATTACKS: dict[str, Attack] = {
    "sign flip": lambda own, honest, rng: -own,
    "sign flip x10": lambda own, honest, rng: -10 * own,
    "inner product 0.5": lambda own, honest, rng: np.tile(-0.5 * honest.mean(0), (len(own), 1)),
    "inner product 10": lambda own, honest, rng: np.tile(-10 * honest.mean(0), (len(own), 1)),
    "gaussian": lambda own, honest, rng: rng.normal(size=own.shape) * 3 * np.linalg.norm(honest, axis=1).mean(),
    "scaling": lambda own, honest, rng: 10 * own,
}
RULES = [NearestNeighborMixing(f=2) >> MultiKrum(f=2), GeometricMedian(f=2)]
ATTACKERS, HONEST = (3, 7), (0, 1, 2, 4, 5, 6, 8, 9)


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("attack", ATTACKS)
def test_attackers_end_below_every_honest_hospital(attack: str, seed: int, rule: Rule) -> None:
    state, ever = trained(label_skewed(10, 2.0, seed), rule, ATTACKS[attack], ATTACKERS, seed=seed)
    assert max(means(state, ATTACKERS)) < min(means(state, HONEST))
    assert not ever & {f"h{index}" for index in HONEST}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("attack", ["inner product 0.5", "inner product 10"])
def test_inner_product_attackers_are_quarantined(attack: str, seed: int) -> None:
    _, ever = trained(label_skewed(10, 2.0, seed), RULES[0], ATTACKS[attack], ATTACKERS, seed=seed)
    assert {"h3", "h7"} <= ever


@pytest.mark.parametrize("seed", range(2))
def test_flipped_labels_end_below_every_honest_hospital(seed: int) -> None:
    hospitals = label_skewed(10, 2.0, seed)
    for index in ATTACKERS:
        hospitals[index] = (hospitals[index][0], 1 - hospitals[index][1])
    state, ever = trained(hospitals, RULES[0], seed=seed)
    assert max(means(state, ATTACKERS)) < min(means(state, HONEST))
    assert not ever & {f"h{index}" for index in HONEST}


@pytest.mark.parametrize("period", [1, 2, 5])
def test_attacking_now_and_then_does_not_win(period: int) -> None:
    state, _ = trained(
        label_skewed(10, 2.0, 0), RULES[0], ATTACKS["inner product 10"], ATTACKERS, 30,
        active=lambda number: number // period % 2 == 0,
    )  # fmt: skip
    assert max(means(state, ATTACKERS)) < min(means(state, HONEST))


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("concentration", [0.3, 1.0, 10.0])
@pytest.mark.parametrize("seed", range(3))
def test_nobody_honest_is_shut_out(seed: int, concentration: float, rule: Rule) -> None:
    state, ever = trained(label_skewed(10, concentration, seed), rule, rounds=40, seed=seed)
    assert not ever
    assert min(state[name].mean for name in state.names) > TRUST.quarantine


def heart_hospitals() -> list[Hospital]:
    """Cleveland, Hungary, Switzerland, Long Beach: the ten columns that are nearly complete."""
    tables = []
    for place in ("cleveland", "hungarian", "switzerland", "va"):
        lines = (HEART / f"processed.{place}.data").read_text().split()
        table = np.array(
            [[float("nan") if field == "?" else float(field) for field in line.split(",")] for line in lines]
        )
        tables.append(table[~np.isnan(table[:, :10]).any(1)])
    pooled = np.concatenate(tables)[:, :10]
    return [
        (np.column_stack([(t[:, :10] - pooled.mean(0)) / pooled.std(0), np.ones(len(t))]), (t[:, 13] > 0).astype(float))
        for t in tables
    ]


@pytest.mark.skipif(not HEART.exists(), reason="needs the four hospitals' records")
@pytest.mark.parametrize("seed", range(3))
def test_honest_switzerland_is_the_outlier_and_stays(seed: int) -> None:
    state, ever = trained(heart_hospitals(), GeometricMedian(f=1), rounds=40, seed=seed)
    assert not ever
    assert min(means(state, range(4))) == means(state, [2])[0] > 1.5 * TRUST.quarantine
