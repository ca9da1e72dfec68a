"""`python -m benchmarks.flower_round [--json FILE]`: a round of plain FedAvg, wrapped, masked, and Flower's SecAgg+.

All arms run in one `flwr run` simulation, one round each in turn, with clients that train for no time. The first turn
pays for enrolment, imports and Ray's workers and is left out. Ratios are medians over turns. `idle` is the masked
round's exchanges and bytes with nothing computed: Flower's own share.

`--clients 50 --arms fedavg,masked --pairs 3` shows how a larger federation fares: seconds and peak memory.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.flower_round.report import ARMS, medians, show
from flower_robust.commands._superlink import SimulationSuperLink
from flower_robust.masking.kernels import library as kernels

APP = Path(__file__).parent / "app"
Figures = dict[str, Any]


def measured(config: dict[str, object], timeout: float) -> Figures:
    """What the app wrote, and everybody's peak memory. Raises RuntimeError with Flower's log if it did not end."""
    kernels.share()
    with tempfile.TemporaryDirectory() as folder, SimulationSuperLink() as superlink:
        out = Path(folder) / "rounds.json"
        run_id = superlink.submit(APP, {**config, "out": str(out)}, int(str(config["clients"])))
        end = time.monotonic() + timeout
        while not out.exists():
            if time.monotonic() > end or superlink.status(run_id).startswith("finished:failed"):
                raise RuntimeError(superlink.log(run_id)[-4000:])
            time.sleep(3)
        rounds = list(json.loads(out.read_text()))
        clients = sorted(int(path.read_text()) for path in out.with_suffix(".clients").iterdir())
        server = max(int(one["server_peak"]) for one in rounds)
    return {"rounds": rounds, "medians": medians(rounds), "server_peak": server, "client_peaks": clients}


def show_memory(found: Figures) -> None:
    """Peaks of resident memory: Flower's simulation runs all clients in a few worker processes."""
    clients = found["client_peaks"]
    print(
        f"  peak memory: server process {found['server_peak'] / 1e6:.0f} MB, {len(clients)} processes for all clients, "
        f"the largest {clients[-1] / 1e6:.0f} MB"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--floats", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=8, help="turns; the first is left out")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--rule", default="geometric-median")
    parser.add_argument("--f", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds")
    parser.add_argument("--json", type=Path, default=None, help="write all rounds and the figures here")
    given = parser.parse_args()
    config = {key: getattr(given, key) for key in ("clients", "floats", "pairs", "arms", "rule", "f")}
    found = measured(config, given.timeout)
    print(f"{given.clients} clients, {given.floats} float32, {given.rule}, f={given.f}, {given.pairs - 1} turns")
    show(found["rounds"])
    show_memory(found)
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
