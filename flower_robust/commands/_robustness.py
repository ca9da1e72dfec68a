"""`flower-robust bench robustness`: rules, attacks and trust in one grid of simulated federations."""

import argparse
from pathlib import Path


def add_robustness(parser: argparse.ArgumentParser) -> None:
    """Options of `flower-robust bench robustness`."""
    parser.add_argument("--settings", default="main", help="of main, corner, heart, single; separated by commas")
    parser.add_argument("--where", default="", metavar="TEXT", help="only settings whose name has TEXT, e.g. 'digits'")
    parser.add_argument("--threats", default="fixed", help="of fixed, adaptive, masked, declared, or single names")
    parser.add_argument("--defences", default="baselines,ours,peers", help="of baselines, ours, peers, or single names")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--data-dir", default="", help="where the four heart files lie; fetched without it")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/robustness"), help="finished cells there are not run again"
    )
    parser.add_argument(
        "--page", type=Path, default=None, metavar="FILE", help="Markdown whose generated tables are drawn anew"
    )
    parser.add_argument("--report-only", action="store_true", help="only tables and plots of what is finished")
