"""Run the comparison and print it: one table per size, the bars that were set, and the reason where one is missed."""

import argparse
import json
import platform
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.aggregation.memory import in_fresh_process
from benchmarks.aggregation.peers import Contender, contenders, flower_rules
from benchmarks.aggregation.timing import alternate, medians, paired_ratio, profile
from flower_robust.aggregation import RULES, ReferenceTrust, Weighting, rule_from_text

TEXTS = [*RULES, "nnm >> multikrum"]
FULL = [(10, 1_000_000, 1), (50, 1_000_000, 10), (100, 100_000, 20)]
QUICK = [(10, 100_000, 1), (50, 100_000, 10)]
BARS = {
    "MultiKrum": {"byzfl": 4.0, "flower": 4.0},
    "NearestNeighborMixing >> MultiKrum": {"byzfl": 25.0},
    "GeometricMedian": {"byzfl": 5.0},
    "Median": {"peers": 4.0, "reads": 8.0},
    "TrimmedMean": {"peers": 2.0},
    "Mean": {"reads": 1.5},
}
"""At n = 50, d = 1e6: times faster than ByzFL's better path, Flower, the faster peer; reads of the array at most."""
GEOMETRY_READS = 10.0
"""Reads of the array at most of every rule that decides by geometry."""
ROW_RULES_SHARE, WEIGHTING_SHARE = 1.0, 0.25
"""Peak extra memory at most, as a share of the updates."""


def run_size(n: int, d: int, f: int, repeats: int) -> list[dict[str, Any]]:
    """Time every rule and its peers on one array."""
    updates = torch.randn(n, d, generator=torch.Generator().manual_seed(n))
    flower = flower_rules(updates.numpy(), f)
    found = []
    for text in TEXTS:
        rule = rule_from_text(text, f)
        reference = (updates[0],) if isinstance(rule, ReferenceTrust) else ()
        ours: dict[str, Contender] = {"read": updates.sum, "ours": partial(rule, updates, *reference)}
        turns = alternate(ours | contenders(rule.name, updates, f, flower), repeats)
        reads = paired_ratio(turns["ours"], turns["read"])
        found.append({"rule": rule.name, "n": n, "d": d, "f": f, "reads": reads, **medians(turns)})
        print(line(found[-1]), flush=True)
    return found


def line(row: dict[str, Any]) -> str:
    """One rule: milliseconds, reads of the array, and each peer as a multiple of ours."""
    peers = [name for name in row if name.startswith(("byzfl", "flower"))]
    ratios = "  ".join(f"{name} {row[name] * 1e3:.0f} ms = {row[name] / row['ours']:.1f}x" for name in peers)
    return f"  {row['rule']:36s} {row['ours'] * 1e3:8.1f} ms  {row['reads']:6.1f} reads  {ratios}"


def judged(row: dict[str, Any]) -> list[tuple[str, float, float, bool]]:
    """(bar, required, found, met) of one rule."""
    byzfl = min((row[name] for name in row if name.startswith("byzfl")), default=None)
    peers = {"byzfl": byzfl, "flower": row.get("flower")}
    known = [seconds for seconds in peers.values() if seconds is not None]
    times = peers | {"peers": min(known, default=None)}
    decides_by_geometry = isinstance(rule_from_text(row["rule"], row["f"]), Weighting)
    bars = ({"reads": GEOMETRY_READS} if decides_by_geometry else {}) | BARS.get(row["rule"], {})
    result = []
    for bar, required in bars.items():
        if bar == "reads":
            result.append((f"{row['rule']}: reads", required, row["reads"], row["reads"] <= required))
        elif (peer := times[bar]) is not None:
            ratio = peer / row["ours"]
            result.append((f"{row['rule']}: times faster than {bar}", required, ratio, ratio >= required))
    return result


def report_bars(rows: list[dict[str, Any]], parts: dict[str, float]) -> list[dict[str, Any]]:
    """Print the bars and, below them, what a geometry rule cannot go under."""
    bars = [bar for row in rows for bar in judged(row)]
    for name, required, found, met in bars:
        print(f"  {'met   ' if met else 'MISSED'} {name}: required {required:g}, found {found:.1f}")
    read = parts["read"]
    print(
        f"  profile of a geometry rule: read {read * 1e3:.1f} ms, geometry {parts['geometry'] * 1e3:.1f} ms,"
        f" weighted sum {parts['weighted sum'] * 1e3:.1f} ms.\n"
        f"  Mean: torch's own float32 mean of the rows takes {parts['torch mean'] / read:.1f} reads; ours, a"
        f" weighted sum in float64, {parts['weighted sum'] / read:.1f} reads, and one look at the result for NaN.\n"
        f"  Why: {parts['products']:.2e} float64 products and sums at the {parts['peak']:.2e}/s of this machine's own"
        f" matrix product take {parts['least'] * 1e3:.1f} ms = {parts['least'] / read:.1f} reads by themselves;\n"
        "  distances in float32 would halve that and lose the digits that near rows differ in."
    )
    return [dict(zip(("bar", "required", "found", "met"), bar, strict=True)) for bar in bars]


def report_memory(n: int, d: int, f: int) -> list[dict[str, Any]]:
    """Print the peak extra memory of every rule that runs on rows alone."""
    found = []
    for text in TEXTS:
        rule = rule_from_text(text, f)
        share = None if isinstance(rule, ReferenceTrust) else in_fresh_process(text, n, d, f)
        if share is None:
            continue
        allowed = WEIGHTING_SHARE if isinstance(rule, Weighting) else ROW_RULES_SHARE
        print(f"  {'met   ' if share <= allowed else 'MISSED'} {rule.name:36s} {share:6.1%} of at most {allowed:.0%}")
        found.append({"rule": rule.name, "n": n, "d": d, "share": share, "allowed": allowed})
    return found


def main() -> int:
    """Parse, run, print; write the figures where --json says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.aggregation", description=__doc__)
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    parser.add_argument("--quick", action="store_true", help="a tenth of the parameters, fewer repeats")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    repeats = 3 if arguments.quick else 7
    print(f"{platform.machine()}, torch {torch.__version__}, 2 threads, medians of up to {repeats} alternating repeats")
    timed, bars = [], []
    for n, d, f in QUICK if arguments.quick else FULL:
        print(f"n={n} d={d} f={f} float32, {n * d * 4 / 2**20:.0f} MiB")
        rows = run_size(n, d, f, repeats)
        timed += rows
        if n == 50:
            print("bars" + (" (set for d=1000000)" if arguments.quick else ""))
            updates = torch.randn(n, d, generator=torch.Generator().manual_seed(n))
            bars = report_bars(rows, profile(updates, repeats))
            del updates
    n, d, f = (50, 100_000, 10) if arguments.quick else (50, 1_000_000, 10)
    print(f"peak extra memory as a share of the input, n={n} d={d}")
    memory = report_memory(n, d, f)
    if arguments.json:
        arguments.json.write_text(json.dumps({"timed": timed, "bars": bars, "memory": memory}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
