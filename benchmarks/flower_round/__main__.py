"""`python -m benchmarks.flower_round [--json FILE]`: seconds and bytes of a round, plain, wrapped and masked.

All arms run in one `flwr run` simulation, one round each in turn, with clients that train for no time. The first turn
pays for enrolment, imports and Ray's workers and is left out. Bar: the unmasked ratio of medians is at most 1.3.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

from flower_robust.commands._superlink import SimulationSuperLink

APP = Path(__file__).parent / "app"
BAR = 1.3


def measured(clients: int, floats: int, pairs: int, rule: str, f: int, timeout: float) -> list[dict[str, float | str]]:
    """What the app wrote. Raises RuntimeError with Flower's log if the run did not end in time."""
    with tempfile.TemporaryDirectory() as folder, SimulationSuperLink() as superlink:
        out = Path(folder) / "rounds.json"
        config = {"clients": clients, "floats": floats, "pairs": pairs, "rule": rule, "f": f, "out": str(out)}
        run_id, end = superlink.submit(APP, config, clients), time.monotonic() + timeout
        while not out.exists():
            if time.monotonic() > end or superlink.status(run_id).startswith("finished:failed"):
                raise RuntimeError(superlink.log(run_id)[-4000:])
            time.sleep(3)
        time.sleep(1)
        return list(json.loads(out.read_text()))


def summary(rounds: list[dict[str, float | str]]) -> dict[str, dict[str, float]]:
    """Medians of every arm over all pairs but the first."""
    figures = {}
    for arm in ("fedavg", "robust", "masked"):
        later = [found for found in rounds if found["arm"] == arm and found["pair"] != 0]
        figures[arm] = {key: median(float(found[key]) for found in later) for key in ("seconds", "up", "down")}
    return figures


def show(figures: dict[str, dict[str, float]]) -> None:
    """A line for each arm and one for the ratios."""
    for arm, row in figures.items():
        print(
            f"  {arm:8} {row['seconds']:.3f} s, {row['up'] / 1e6:.3f} MB up, {row['down'] / 1e6:.3f} MB down per client"
        )
    wrapped, masked = (figures[arm]["seconds"] / figures["fedavg"]["seconds"] for arm in ("robust", "masked"))
    upload = figures["masked"]["up"] / figures["fedavg"]["up"]
    print(f"  seconds over fedavg: robust {wrapped:.2f} (bar {BAR}), masked {masked:.2f}; masked upload {upload:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--floats", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--rule", default="geometric-median")
    parser.add_argument("--f", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds")
    parser.add_argument("--json", type=Path, default=None, help="write all rounds and the summary here")
    given = parser.parse_args()
    rounds = measured(given.clients, given.floats, given.pairs, given.rule, given.f, given.timeout)
    print(f"{given.clients} clients, {given.floats} float32, {given.rule}, f={given.f}, {given.pairs - 1} pairs")
    show(summary(rounds))
    if given.json:
        given.json.write_text(json.dumps({"rounds": rounds, "medians": summary(rounds)}, indent=2) + "\n")


if __name__ == "__main__":
    main()
