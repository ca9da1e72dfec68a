"""The table of drop-outs and liars, against the inequality it comes from."""

import argparse
import itertools

import pytest

from flower_robust.commands import survives as command
from flower_robust.errors import ConfigurationError
from flower_robust.masking.thresholds import default_threshold, echoes_needed, survivable, survivable_strict, survives


@pytest.mark.parametrize("n", range(3, 31))
def test_pairs_are_exactly_the_frontier(n: int) -> None:
    t = default_threshold(n)
    inside = {pair for pair in itertools.product(range(n + 1), repeat=2) if survives(n, t, *pair)}
    frontier = {(x, e) for x, e in inside if (x + 1, e) not in inside and (x + 2, e - 1) not in inside - {(x, e)}}
    assert set(survivable(n, t)) <= inside
    assert inside == {(x, e) for a, b in survivable(n, t) for e in range(b + 1) for x in range(a + 1)}
    assert set(survivable(n, t)) >= {pair for pair in frontier if pair[1] == 0}


@pytest.mark.parametrize("n", range(3, 31))
@pytest.mark.parametrize("f", [0, 3])
def test_strict_pairs_are_those_that_leave_echoes_enough(n: int, f: int) -> None:
    t = default_threshold(n)
    pairs = itertools.product(range(n + 1), repeat=2)
    inside = {pair for pair in pairs if survives(n, t, *pair) and n - pair[0] >= echoes_needed(n, t, f)}
    table = survivable_strict(n, t, f)
    assert inside == {(x, e) for a, b in table for e in range(b + 1) for x in range(a + 1)}
    assert not any(p != q and p[0] <= q[0] and p[1] <= q[1] for p in table for q in table)
    assert 2 * echoes_needed(n, t, f) > n + max(f, t), "two such sets share an honest client"


@pytest.mark.parametrize(("n", "t"), [(2, 1), (4, 2), (5, 0)])
def test_thresholds_that_cannot_open_are_refused(n: int, t: int) -> None:
    with pytest.raises(ConfigurationError):
        survivable(n, t)


def test_command_prints_every_cohort(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args([])) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 28
    assert lines[8].split() == ["10", "2", "(5,0)", "(3,1)", "(1,2)"]
    assert command.run(parser.parse_args(["--strict", "--clients", "10", "--byzantine", "4"])) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["10", "2", "(2,1)", "(1,2)"]
