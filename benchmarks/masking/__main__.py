"""The growth table: `python -m benchmarks.masking --json FILE` over n and d, each cell in its own process.

Seconds are the fastest of the repeats; peaks come from one more round under tracemalloc. The exponents are
least-squares slopes in log-log; beside them those of the term that is largest at that end of the table.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.masking.costs import Federation, masked_round
from flower_robust.masking.parameters import PARAMETERS as RING
from flower_robust.protocol.sizes import Sizes

CLIENTS = (5, 10, 20, 50, 100)
PARAMETERS = (10**5, 10**6, 10**7)
EXPECTED = (
    ("client_seconds", "d", min, 1, "masking: d"),
    ("client_seconds", "n", max, 0, "masking: d"),
    ("client_seconds", "n", min, 2, "dealing to n receivers with degree t = (n - 1) / 4, and shares of n² distances"),
    ("server_seconds", "d", max, 1, "hashing and sketching: n·d"),
    ("server_seconds", "n", max, 1, "hashing and sketching: n·d"),
    ("server_seconds", "n", min, 2, "relaying n² envelopes, decoding n² distances"),
    ("sent", "d", min, 1, "8 bytes a parameter"),
    ("sent", "n", max, 0, "8 bytes a parameter"),
    ("sent", "n", min, 1, "an envelope for each peer"),
    ("received", "d", max, 0, "sketches do not grow"),
    ("received", "n", min, 1, "a sketch and an envelope of each peer"),
    ("client_peak", "d", min, 1, "the upload"),
    ("server_peak", "d", max, 1, "one opened sum"),
    ("server_peak", "n", max, 0, "what is streamed is not held"),
)
"""Quantity, variable, at which end of the other one, the exponent of the largest term there, and that term."""


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


def exponents(rows: list[dict[str, float]]) -> list[dict[str, object]]:
    """Least-squares slopes in log-log, each at the least or largest value of the other variable with three cells."""
    found: list[dict[str, object]] = []
    for quantity, variable, end, expected, term in EXPECTED:
        other = "d" if variable == "n" else "n"
        lines = {
            fixed: sorted((r[variable], r[quantity]) for r in rows if r[other] == fixed) for fixed in _of(rows, other)
        }
        long = [fixed for fixed, points in lines.items() if len(points) >= 3]
        if long:
            fixed = end(long)
            x, y = np.log(np.array(lines[fixed], float)).T
            slope = float(np.polyfit(x, y, 1)[0])
            at = f"{quantity} in {variable} at {other}={fixed:g}"
            found.append({"what": at, "fitted": slope, "expected": expected, "term": term})
    return found


def _of(rows: list[dict[str, float]], variable: str) -> list[float]:
    return sorted({row[variable] for row in rows})


def client_parts(n: int, d: int) -> dict[str, float]:
    """What must exist at once at a client, over its y of 8·d bytes: no order of work needs less than the upload when it
    submits, nor less than the shares when it answers the challenge."""
    sizes = Sizes.of(Federation(n, d).plan(0))
    polynomials = (sizes.t + 1) * sizes.secret_words + (2 * sizes.t + 1) * sizes.zero_words
    found = {
        "y in whole blocks": sizes.upload_bytes,
        "envelopes": (n - 1) * sizes.envelope_bytes,
        "polynomials that are dealt": 8 * polynomials,
        "then: shares of all dealers": n * sizes.share_bytes,
        "the sketch of a": 8 * RING.m * RING.N,
    }
    return {part: size / (8 * d) for part, size in found.items()}


HEAD = "    n         d   client s  server s   MB up  MB down  client peak/y  upload/y  server peak MB  held MB"


def line(r: dict[str, float]) -> str:
    """One row, for a person."""
    return (
        f"{r['n']:5.0f} {r['d']:9.0f} {r['client_seconds']:10.3f} {r['server_seconds']:9.3f} {r['sent'] / 1e6:7.2f}"
        f" {r['received'] / 1e6:8.2f} {r['client_peak'] / (8 * r['d']):14.2f} {r['sent'] / (8 * r['d']):9.2f}"
        f" {r['server_peak'] / 1e6:15.1f}"
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
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"no figures for n={n} d={d}: exit code {done.returncode} {done.stderr[-200:]}", file=sys.stderr)
            continue
        rows.append(json.loads(done.stdout))
        print(line(rows[-1]), flush=True)
    for row in rows:
        if row["client_peak"] > 4 * 8 * row["d"]:
            parts = ", ".join(f"{part} {size:.2f}" for part, size in client_parts(row["n"], row["d"]).items())
            print(f"a client's memory over its y at n={row['n']} d={row['d']}: {parts}")
    for slope in exponents(rows):
        print(f"{slope['what']}: {slope['fitted']:.2f}, largest term {slope['expected']} ({slope['term']})")
    if args.json is not None:
        args.json.write_text(json.dumps({"rows": rows, "exponents": exponents(rows)}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
