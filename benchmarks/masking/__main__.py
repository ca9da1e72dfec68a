"""The growth table: `python -m benchmarks.masking --json FILE` over n and d, each cell in its own process.

Seconds are the fastest of the repeats; peaks come from one more round under tracemalloc. The exponents are
least-squares slopes in log-log; beside them those of the largest term of the cost.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.masking.costs import Federation, masked_round

CLIENTS = (5, 10, 20, 50, 100)
PARAMETERS = (10**5, 10**6, 10**7)
EXPECTED = {
    ("client_seconds", "d"): 1.0,
    ("server_seconds", "d"): 1.0,
    ("client_seconds", "n"): 1.0,
    ("server_seconds", "n"): 1.0,
    ("sent", "d"): 1.0,
    ("sent", "n"): 1.0,
    ("received", "n"): 1.0,
}
"""At large d or n: clients deal and sketch O(n), the server hashes and sketches O(n·d) and relays O(n²) envelopes."""


def cell(n: int, d: int, repeats: int) -> dict[str, object]:
    """One row of the table."""
    federation = Federation(n, d)
    masked_round(Federation(5, 5000), 0)
    runs = [masked_round(federation, number) for number in range(repeats)]
    weighed = masked_round(federation, repeats, weigh_memory=True)
    row = asdict(min(runs, key=lambda costs: costs.client_seconds + costs.server_seconds))
    return row | {
        "client_seconds": min(c.client_seconds for c in runs),
        "server_seconds": min(c.server_seconds for c in runs),
        "client_peak": weighed.client_peak,
        "server_peak": weighed.server_peak,
    }


def exponents(rows: list[dict[str, float]]) -> dict[str, float]:
    """Fitted slopes at the largest value of the other variable that has at least three cells."""
    found = {}
    for quantity, variable in EXPECTED:
        other = "d" if variable == "n" else "n"
        for fixed in sorted({row[other] for row in rows}, reverse=True):
            line = sorted((row[variable], row[quantity]) for row in rows if row[other] == fixed)
            if len(line) >= 3:
                x, y = np.log(np.array(line, float)).T
                found[f"{quantity} in {variable} at {other}={fixed:g}"] = float(np.polyfit(x, y, 1)[0])
                break
    return found


HEAD = "    n         d   client s  server s   MB up  MB down  client peak/y  server peak MB  held MB"


def line(r: dict[str, float]) -> str:
    """One row, for a person."""
    return (
        f"{r['n']:5.0f} {r['d']:9.0f} {r['client_seconds']:10.3f} {r['server_seconds']:9.3f} {r['sent'] / 1e6:7.2f}"
        f" {r['received'] / 1e6:8.2f} {r['client_peak'] / (8 * r['d']):14.2f} {r['server_peak'] / 1e6:15.1f}"
        f" {r['held'] / 1e6:8.0f}"
    )


def main() -> int:
    """Run the cells that fit `--memory` and print table and exponents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--parameters", type=float, nargs="+", default=PARAMETERS)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--memory", type=float, default=8.0, help="skip cells whose y's alone are more GB than this")
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--cell", type=int, nargs=2, default=None, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cell is not None:
        print(json.dumps(cell(*args.cell, args.repeats)))
        return 0
    rows = []
    print(HEAD)
    for n, d in ((n, int(d)) for n in args.clients for d in args.parameters):
        if 8e-9 * n * d > args.memory:
            print(f"skipped n={n} d={d}: the y's alone are {8e-9 * n * d:.1f} GB", file=sys.stderr)
            continue
        command = [sys.executable, "-m", "benchmarks.masking", "--cell", str(n), str(d), "--repeats", str(args.repeats)]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(line(rows[-1]), flush=True)
    for what, slope in exponents(rows).items():
        quantity, _, variable, *_ = what.split()
        print(f"{what}: {slope:.2f} (expected at large {variable}: {EXPECTED[quantity, variable]:.0f})")
    if args.json is not None:
        args.json.write_text(json.dumps({"rows": rows, "exponents": exponents(rows)}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
