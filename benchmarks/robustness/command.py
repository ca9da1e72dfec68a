"""`flower-robust bench robustness` and `python -m benchmarks.robustness`: run a grid, then report what is finished."""

import argparse
from collections.abc import Iterable, Sequence

from benchmarks.robustness.bars import bars_table, misses_table
from benchmarks.robustness.cells import grid
from benchmarks.robustness.defences import DEFENCES
from benchmarks.robustness.page import report, rewritten
from benchmarks.robustness.plots import plot_all
from benchmarks.robustness.presets import DEFENCE_SETS, SETTINGS, THREAT_SETS
from benchmarks.robustness.results import Results
from benchmarks.robustness.runner import read_runs, run_grid
from benchmarks.robustness.threats import THREATS
from flower_robust.errors import ConfigurationError

RESULTS = "cells.jsonl"


def bench(args: argparse.Namespace) -> int:
    """Run the cells that the options ask for and `--out` does not hold yet; write table.md, the plots and `--page`."""
    settings = [s for name in _chosen("settings", args.settings, SETTINGS) for s in SETTINGS[name]]
    settings = [s for s in settings if args.where in s.name]
    threats = _expanded("threats", args.threats, THREAT_SETS, THREATS)
    defences = _expanded("defences", args.defences, DEFENCE_SETS, DEFENCES)
    if not settings or args.seeds < 1 or args.workers < 1:
        raise ConfigurationError("bench robustness", "no setting, seed or worker", "at least one of each")
    path = args.out / RESULTS
    if not args.report_only:
        for done, planned in run_grid(
            grid(settings, threats, defences, range(args.seeds)), path, args.workers, args.data_dir
        ):
            print(f"\r{done}/{planned} cells", end="", flush=True)
    if not path.exists():
        raise ConfigurationError("out", str(path), "a file with finished cells: run some without --report-only")
    runs = read_runs(path)
    results = Results(runs)
    (args.out / "table.md").write_text(report(results), encoding="utf-8")
    if args.page is not None:
        args.page.write_text(rewritten(args.page.read_text(encoding="utf-8"), results), encoding="utf-8")
    print(f"\n{bars_table(results)}\n\n{misses_table(results)}")
    print(f"\n{args.out}: {RESULTS}, table.md, {len(plot_all(results, args.out))} plots")
    return 0


def _chosen(option: str, given: str, allowed: Iterable[str]) -> list[str]:
    names = [name.strip() for name in given.split(",") if name.strip()]
    if unknown := [name for name in names if name not in set(allowed)]:
        raise ConfigurationError(option, unknown[0], f"of {', '.join(sorted(allowed))}")
    return names


def _expanded(option: str, given: str, sets: dict[str, tuple[str, ...]], known: Iterable[str]) -> Sequence[str]:
    names = _chosen(option, given, [*sets, *known])
    return list(dict.fromkeys(n for name in names for n in sets.get(name, (name,))))
