"""Runs a grid: cells that share setting and seed together, groups in parallel, one JSON line per finished cell.

A run that was cut off goes on where it stopped: finished cells are read from the file and not run again.
"""

import json
import multiprocessing
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import groupby, islice
from pathlib import Path

import torch

from benchmarks.robustness.cells import Cell, Setting
from benchmarks.robustness.simulate import Run, simulate

CELLS_AT_ONCE = 40


def run_grid(cells: Iterable[Cell], path: Path, workers: int, data_dir: str = "") -> Iterator[tuple[int, int]]:
    """Run what `path` does not hold yet; yields (finished, planned) after every group of cells."""
    done = {run.cell for run in read_runs(path)} if path.exists() else set()
    planned = [cell for cell in dict.fromkeys(cells) if cell not in done]
    groups = list(_groups(planned))
    path.parent.mkdir(parents=True, exist_ok=True)
    finished = 0
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for runs in pool.imap_unordered(_simulated, [(group, data_dir) for group in groups]):
            with path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(asdict(run)) + "\n" for run in runs)
            finished += len(runs)
            yield finished, len(planned)


def read_runs(path: Path) -> list[Run]:
    """The finished cells of a file; a last line that was cut off is not one."""
    runs = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            fields = json.loads(line)
            cell = fields.pop("cell")
            runs.append(Run(Cell(**{**cell, "setting": Setting(**cell["setting"])}), **fields))
    return runs


def _groups(cells: list[Cell]) -> Iterator[list[Cell]]:
    """Seeds first, so that a grid that is cut off has whole seeds of everything."""

    def shared(cell: Cell) -> tuple[object, ...]:
        return cell.seed, cell.setting, cell.threat != "none"

    for _, members in groupby(sorted(cells, key=shared), key=shared):
        while chunk := list(islice(members, CELLS_AT_ONCE)):
            yield chunk


def _simulated(work: tuple[list[Cell], str]) -> list[Run]:
    torch.set_num_threads(1)
    return simulate(*work)
