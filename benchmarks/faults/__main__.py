"""`python -m benchmarks.faults [--json FILE]`: the table of faults; exit code 1 if any cell is unsound."""

import argparse
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from benchmarks.faults import masked, network
from benchmarks.faults.cells import Cell, table
from flower_robust import PeerMasking


def parts() -> Iterator[tuple[str, Iterator[Cell]]]:
    """The tables, each with what it shows."""
    masking = PeerMasking(threshold=masked.T, step_timeout=network.TIMEOUT)
    yield f"Unmasked over Flower's messages, n = {network.N}, quorum {network.QUORUM}, MultiKrum(f=1):", network.cells()
    yield f"Masked over Flower's messages, the same, t = {masked.T}:", network.cells(masking)
    yield f"Masked, without a network, n = {masked.N}, t = {masked.T}, MultiKrum(f=1):", masked.cells()


def main() -> int:
    """Run every cell and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the cells to this file")
    args = parser.parse_args()
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    cells: list[Cell] = []
    for title, part in parts():
        cells += (found := list(part))
        print(f"{title}\n\n{table(found)}\n", flush=True)
    if args.json:
        args.json.write_text(json.dumps([asdict(cell) for cell in cells], indent=1))
    unsound = [cell for cell in cells if not cell.sound]
    print(f"\n{len(cells)} cells in {sum(cell.seconds for cell in cells):.0f} s; {len(unsound)} unsound.")
    return int(bool(unsound))


if __name__ == "__main__":
    raise SystemExit(main())
