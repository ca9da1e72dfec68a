"""`python -m benchmarks.deployment [--nodes 6] [--json FILE]`: rounds on a real SuperLink, plain and wrapped.

Starts a SuperLink with TLS and SuperNode authentication and the SuperNodes on loopback. First the profile of an
exchange, then plain FedAvg and the wrapped strategy, one round each in turn, in one run. All processes share this
machine's cores: seconds are those of a federation whose members are as slow as a share of it.
"""

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.deployment.profile import profile, show
from deployments.loopback.federation import ENVIRONMENT, Federation, FederationError, Run
from flower_robust.provisioning import Participant, provision

ROOT = Path(__file__).parents[2]
PROFILED, COMPARED = ROOT / "tests" / "deployment" / "app", ROOT / "benchmarks" / "flower_round" / "app"


def profiled(federation: Federation, rounds: int) -> list[dict[str, float]]:
    """The exchanges of one run of the wrapped strategy."""
    out = federation.folder / "profiled"
    out.mkdir()
    config = {"out": str(out), "roster": str(federation.folder / "roster.json"), "rounds": rounds}
    completed(federation.run(PROFILED, config, timeout=300))
    return profile(out / "timing.jsonl")


def compared(federation: Federation, floats: int, pairs: int) -> list[dict[str, object]]:
    """Rounds of plain FedAvg and the wrapped strategy in turn; the first pair is left out."""
    out = federation.folder / "compared.json"
    nodes = len(federation.nodes)
    config = {"clients": nodes, "floats": floats, "pairs": pairs, "f": 1, "out": str(out)}
    completed(federation.run(COMPARED, config, timeout=600))
    return [found for found in json.loads(out.read_text()) if found["pair"] != 0]


def completed(run: Run) -> None:
    """Raises FederationError with the run's log unless it completed."""
    if run.status != "finished:completed":
        raise FederationError(f"run {run.run_id}: {run.status}\n{run.log[-4000:]}")


def show_arms(rounds: list[dict[str, object]]) -> None:
    """Medians and the median ratio of the pairs."""
    seconds = {arm: [float(str(r["seconds"])) for r in rounds if r["arm"] == arm] for arm in ("fedavg", "robust")}
    for arm, found in seconds.items():
        (up, down) = (median(float(str(r[key])) for r in rounds if r["arm"] == arm) / 1e6 for key in ("up", "down"))
        print(f"  {arm:8} {median(found):.2f} s a round, {up:.3f} MB up and {down:.3f} MB down per client")
    ratio = median(ours / plain for ours, plain in zip(seconds["robust"], seconds["fedavg"], strict=True))
    print(f"  ratio    {ratio:.2f}, the median over pairs")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3, help="of the profiled run")
    parser.add_argument("--pairs", type=int, default=5, help="of plain and wrapped rounds; the first is left out")
    parser.add_argument("--floats", type=int, default=1_000_000)
    parser.add_argument("--poll", type=float, default=float(ENVIRONMENT["FLWR_SUPEREXEC_TASK_POLL_INTERVAL"]))
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    ENVIRONMENT["FLWR_SUPEREXEC_TASK_POLL_INTERVAL"] = str(args.poll)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "federation"
        provision(home, ["127.0.0.1"], [Participant.create(f"hospital-{i}") for i in range(args.nodes)], [])
        # The compared app has identities of its own, so no roster is pinned.
        with Federation(home, lambda _, index: {"partition-id": index, "roster": None}) as federation:
            found = profiled(federation, args.rounds)
            print(f"{args.nodes} SuperNodes, SuperExec polls every {args.poll} s: {show(found)}", flush=True)
            rounds = compared(federation, args.floats, args.pairs)
            show_arms(rounds)
    if args.json:
        args.json.write_text(json.dumps({"exchanges": found, "rounds": rounds}, indent=1))


if __name__ == "__main__":
    main()
