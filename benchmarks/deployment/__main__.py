"""`python -m benchmarks.deployment [--nodes 6] [--json FILE]`: rounds on a real SuperLink: plain, wrapped, SecAgg+.

Starts a SuperLink with TLS and SuperNode authentication and the SuperNodes on loopback. First the profile of an
exchange, then one round of every arm in turn, in one run. All processes share this machine's cores: seconds are those
of a federation whose members are as slow as a share of it.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.deployment.profile import profile, show
from benchmarks.flower_round import report
from deployments.loopback.federation import ENVIRONMENT, Federation, FederationError, Run
from flower_robust.masking.kernels import library as kernels
from flower_robust.provisioning import Participant, provision

ROOT = Path(__file__).parents[2]
PROFILED, COMPARED = ROOT / "tests" / "deployment" / "app", ROOT / "benchmarks" / "flower_round" / "app"
POLL = "FLWR_SUPEREXEC_TASK_POLL_INTERVAL"


def profiled(federation: Federation, rounds: int) -> list[dict[str, Any]]:
    """The exchanges of one masked run of the wrapped strategy."""
    out = federation.folder / "profiled"
    out.mkdir()
    config = {"out": str(out), "roster": str(federation.folder / "roster.json"), "rounds": rounds, "threshold": 1}
    completed(federation.run(PROFILED, {**config, "evaluate": False}, timeout=300))
    return profile(out / "timing.jsonl")


def compared(federation: Federation, config: dict[str, object], timeout: float) -> list[dict[str, Any]]:
    """Rounds of all arms in turn."""
    out = federation.folder / "compared.json"
    completed(federation.run(COMPARED, {**config, "clients": len(federation.nodes), "out": str(out)}, timeout))
    return list(json.loads(out.read_text()))


def completed(run: Run) -> None:
    """Raises FederationError with the run's log unless it completed."""
    if run.status != "finished:completed":
        raise FederationError(f"run {run.run_id}: {run.status}\n{run.log[-4000:]}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2, help="of the profiled run; 0 leaves it out")
    parser.add_argument("--pairs", type=int, default=4, help="turns of all arms; the first is left out")
    parser.add_argument("--arms", default=",".join(report.ARMS))
    parser.add_argument("--floats", type=int, default=1_000_000)
    parser.add_argument("--poll", type=float, default=float(ENVIRONMENT[POLL]), help="the SuperExecs', seconds")
    parser.add_argument("--timeout", type=float, default=1500.0, help="of the compared run, seconds")
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    ENVIRONMENT[POLL] = str(args.poll)
    kernels.load_or_build()
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "federation"
        provision(home, ["127.0.0.1"], [Participant.create(f"hospital-{i}") for i in range(args.nodes)], [])
        with Federation(home, lambda _, index: {"partition-id": index}) as federation:
            print(f"{args.nodes} SuperNodes, SuperExec polls every {args.poll} s", flush=True)
            if args.rounds:
                found = profiled(federation, args.rounds)
                print(show(found), flush=True)
            config = {"floats": args.floats, "pairs": args.pairs, "arms": args.arms, "f": 1}
            rounds = compared(federation, config, args.timeout)
            report.show(rounds)
    if args.json:
        args.json.write_text(json.dumps({"exchanges": found, "rounds": rounds}, indent=1))


if __name__ == "__main__":
    main()
