"""On heart, with one liar of four hospitals: whom do the two hospitals that are not in dispute agree with?

    python -m benchmarks.robustness.witnesses DIR --seeds 8

A liar L and the honest hospital P that it points away from most accuse each other: x_L and x_P swapped give the same
accusation, so a judge of directions has only the others to go by. They side with P where, in the mean of ten rounds,

    Σ_{j ≠ L, P} cos(x_P, x_j) > Σ_{j ≠ L, P} cos(x_L, x_j)
"""

import argparse
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.robustness.cells import Cell, Setting
from benchmarks.robustness.defences import EARLY, Defence, Defender
from benchmarks.robustness.presets import ADAPTIVE, DECLARED, FIXED, HEART, QUIET
from benchmarks.robustness.results import DEFAULT, markdown, separated
from benchmarks.robustness.simulate import simulate
from flower_robust.aggregation import Geometry
from flower_robust.aggregation.foolsgold import cosines

SETTING = HEART[0]
LOUD = tuple(t for t in (*FIXED, *ADAPTIVE, *DECLARED) if t != "none" and t.split("@")[0] not in QUIET)


class Watched(Defender):
    """A defender that remembers the cosines of the first ten rounds."""

    def __init__(self, defence: Defence, setting: Setting, sizes: Sequence[int]) -> None:
        super().__init__(defence, setting, sizes)
        self.cosines = torch.zeros(setting.n, setting.n, dtype=torch.float64)

    def aggregate(self, rows: Tensor, reference: Tensor, biased: int, generator: torch.Generator) -> Tensor:
        """As `Defender` does."""
        if self.decided < EARLY:
            self.cosines += cosines(Geometry.of(rows)) / EARLY
        return super().aggregate(rows, reference, biased, generator)


def side_with_the_honest(c: Tensor) -> bool:
    """Whether the witnesses agree more with the accused honest hospital than with the liar, who comes last."""
    liar = len(c) - 1
    accused = int(c[liar, :liar].argmin())
    witnesses = [j for j in range(liar) if j != accused]
    return bool(c[accused, witnesses].sum() > c[liar, witnesses].sum())


def judged(threats: Sequence[str], seed: int, data_dir: str) -> list[tuple[str, bool, bool]]:
    """Threat, whether the liar's trust is last after ten rounds, whether the witnesses side with the honest one."""
    watched: list[Watched] = []

    def make(defence: Defence, setting: Setting, rows: Sequence[int]) -> Defender:
        watched.append(Watched(defence, setting, rows))
        return watched[-1]

    runs = simulate([Cell(SETTING, threat, DEFAULT, seed) for threat in threats], data_dir, make=make)
    seen = zip(threats, runs, watched, strict=True)
    return [(threat, separated(run), side_with_the_honest(one.cosines)) for threat, run, one in seen]


def table(found: Sequence[tuple[str, bool, bool]]) -> str:
    """By threat: runs, and in how many trust and the witnesses tell the liar."""
    rows = []
    for threat in [*dict.fromkeys(threat for threat, _, _ in found), "all"]:
        mine = [(last, side) for name, last, side in found if threat in (name, "all")]
        counts = [len(mine), sum(last for last, _ in mine), sum(side for _, side in mine)]
        misled = sum(not last and not side for last, side in mine)
        rows.append([threat, *map(str, counts), f"{misled} of {counts[0] - counts[1]}"])
    header = ["threat", "runs", "liar's trust last", "witnesses side with the honest one"]
    return markdown([*header, "of the runs that trust gets wrong: witnesses side with the liar"], rows)


def main(arguments: Sequence[str]) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.robustness.witnesses", description=__doc__)
    parser.add_argument("data_dir", help="the folder with the heart files")
    parser.add_argument("--seeds", type=int, default=8)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(table([one for seed in range(args.seeds) for one in judged(LOUD, seed, args.data_dir)]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
