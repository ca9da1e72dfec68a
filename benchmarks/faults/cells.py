"""One cell of the table, and what no cell may ever show."""

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PATIENCE = 60
"""Seconds after which a cell counts as hanging; the slowest takes about one."""

HANGS = "HANGS"


class HangError(Exception):
    """The cell did not end."""


@dataclass(frozen=True, slots=True)
class Cell:
    """`count` clients failing in one way at one step: what the round came to.

    `outcome`: "completed", "completed without 2", "aborted: why", "skipped: why" (the model stays, and the run goes on,
    because who caused it is a proven liar and out); `blamed`: the error class and certainty by which
    faulty clients are named; `framed`: honest ones that are; `wrong_sum`: a result that is not the exact expected one.
    """

    protocol: str
    step: str
    kind: str
    count: int
    outcome: str
    blamed: tuple[str, ...]
    framed: tuple[str, ...]
    wrong_sum: bool
    seconds: float

    @property
    def sound(self) -> bool:
        """It ended, nobody honest is blamed and no wrong sum came out."""
        return not self.framed and not self.wrong_sum and self.outcome != HANGS

    @property
    def shown(self) -> str:
        """The cell in the table."""
        flaws = [f"FRAMED {', '.join(self.framed)}"] * bool(self.framed) + ["WRONG SUM"] * self.wrong_sum
        return "; ".join([self.outcome, *_counted(self.blamed), *flaws])


@contextmanager
def patience() -> Iterator[None]:
    """Raises HangError in the block once PATIENCE is over."""

    def give_up(*_: object) -> None:
        raise HangError

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)


def completed(faulty: Iterable[str], included: Iterable[str]) -> str:
    """How a round completed: with everybody, or without some of the faulty."""
    without = set(faulty) - set(included)
    return f"completed without {len(without)}" if without else "completed"


def _counted(blamed: Iterable[str]) -> list[str]:
    kinds = sorted(blamed)
    return [f"{kinds.count(kind)} blamed ({kind})" for kind in dict.fromkeys(kinds)]


def table(cells: list[Cell]) -> str:
    """Markdown: a row for each step and kind, a column for each count."""
    counts = sorted({cell.count for cell in cells})
    lines = ["| step | fault | " + " | ".join(f"{count} of them" for count in counts) + " |"]
    lines.append("|---|---|" + "---|" * len(counts))
    for step, kind in dict.fromkeys((cell.step, cell.kind) for cell in cells):
        row = {cell.count: cell.shown for cell in cells if (cell.step, cell.kind) == (step, kind)}
        lines.append(f"| {step} | {kind} | " + " | ".join(row.get(count, "") for count in counts) + " |")
    return "\n".join(lines)
