"""Measure this package beside what it is compared with: `bench masking`, `bench robustness`."""

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path

from flower_robust.commands._robustness import add_robustness
from flower_robust.errors import ConfigurationError

CHECKOUT = Path(__file__).parents[2]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `flower-robust bench`."""
    subjects = parser.add_subparsers(dest="subject", required=True, metavar="SUBJECT")
    masking = subjects.add_parser("masking", help="a masked round beside Flower's SecAgg+, per party, in one process")
    masking.add_argument("--clients", type=int, default=10, metavar="n")
    masking.add_argument("--parameters", type=float, default=1e6, metavar="d")
    masking.add_argument("--repeats", type=int, default=3, help="rounds of each, taken in turn; the fastest counts")
    masking.add_argument("--json", type=Path, default=None, metavar="FILE")
    add_robustness(
        subjects.add_parser("robustness", help="rules, attacks and trust in a grid of simulated federations")
    )


def run(args: argparse.Namespace) -> int:
    """Print the comparison; `masking` writes it to --json, `robustness` to --out."""
    if not (CHECKOUT / "benchmarks" / args.subject).is_dir():
        raise ConfigurationError("bench", "an installation without benchmarks", "a checkout of the repository")
    sys.path.insert(0, str(CHECKOUT))
    if args.subject == "robustness":
        return int(import_module("benchmarks.robustness.command").bench(args))
    if args.clients < 5 or args.parameters < 1 or args.repeats < 1:
        raise ConfigurationError("bench", "too few clients, parameters or repeats", "5, 1 and 1 at least")
    from benchmarks.masking.compare import compare

    found = compare(args.clients, int(args.parameters), args.repeats)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=2) + "\n")
    print(summary(found))
    return 0


def summary(found: dict[str, object]) -> str:
    """Three lines for a person."""
    masked, peer, ratio = (found[key] for key in ("masked", "secagg_plus", "ratio_to_secagg_plus"))
    assert isinstance(masked, dict) and isinstance(peer, dict) and isinstance(ratio, dict)
    lines = [f"n = {found['clients']}, d = {found['parameters']}, two threads"]
    for party in ("client", "server"):
        seconds = f"{party}_seconds"
        lines.append(f"  {party}: {masked[seconds]:.3f} s, SecAgg+ {peer[seconds]:.3f} s, ratio {ratio[party]:.2f}")
    return "\n".join(lines)
