"""Figures of the arms, and their ratios, from the rounds that the app wrote."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

Rounds = Sequence[Mapping[str, Any]]
ARMS = ("fedavg", "robust", "masked", "secagg+", "idle")
KEYS = ("seconds", "up", "down", "exchanges")
BARS = {
    ("robust", "fedavg", "seconds"): 1.3,
    ("masked", "secagg+", "seconds"): 0.6,
    ("masked", "fedavg", "up"): 2.2,
}
"""Highest ratio of the first arm to the second; a masked round takes at most `MOST_EXCHANGES`."""
MOST_EXCHANGES = 4


def of(rounds: Rounds, arm: str) -> Rounds:
    """The rounds of one arm in the order of turns; the first turn, which sets up, is left out."""
    return sorted((one for one in rounds if one["arm"] == arm and one["pair"] != 0), key=lambda one: one["pair"])


def medians(rounds: Rounds) -> dict[str, dict[str, float]]:
    """Medians of every arm that ran, over all turns but the first."""
    ran = [arm for arm in ARMS if of(rounds, arm)]
    return {arm: {key: median(one[key] for one in of(rounds, arm)) for key in KEYS} for arm in ran}


def ratio(rounds: Rounds, arm: str, other: str, key: str) -> float:
    """The median over turns of arm / other."""
    return median(one[key] / peer[key] for one, peer in zip(of(rounds, arm), of(rounds, other), strict=True))


def steps(rounds: Rounds) -> dict[str, float]:
    """Median seconds of the masked round's exchanges, and of what the server does between and after them."""
    names = {"exchange": "train", "sketch-reply": "sketch shares", "unmask-reply": "unmask"}
    masked = of(rounds, "masked")
    found = {shown: median(one["steps"][step] for one in masked) for step, shown in names.items()}
    between = median(one["seconds"] - sum(one["steps"][step] for step in names) for one in masked)
    return {**found, "server between": between}


def show(rounds: Rounds) -> None:
    """A line for each arm, for each ratio and for the masked round's exchanges."""
    figures = medians(rounds)
    for arm, row in figures.items():
        over = f", {ratio(rounds, arm, 'fedavg', 'seconds'):5.2f} x fedavg" if "fedavg" in figures else ""
        megabytes = f"{row['up'] / 1e6:.3f} MB up, {row['down'] / 1e6:.3f} MB down per client"
        print(f"  {arm:8} {row['seconds']:7.3f} s{over}; {megabytes}; {row['exchanges']:.0f} exchanges")
    for (arm, other, key), bar in BARS.items():
        if arm in figures and other in figures:
            print(f"  {arm} / {other}, {key}: {ratio(rounds, arm, other, key):.2f} (bar {bar})")
    if "idle" in figures and "secagg+" in figures:
        floor = ratio(rounds, "idle", "secagg+", "seconds")
        print(
            f"  idle / secagg+, seconds: {floor:.2f}, what three exchanges and these bytes take with nothing computed"
        )
    if "masked" in figures:
        print(f"  masked: {figures['masked']['exchanges']:.0f} exchanges a round (bar {MOST_EXCHANGES})")
        print("  masked, seconds: " + ", ".join(f"{name} {seconds:.3f}" for name, seconds in steps(rounds).items()))
