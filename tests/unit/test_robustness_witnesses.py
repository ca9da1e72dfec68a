"""Who accuse each other cannot be told apart but by what the others say: then trust ranks neither below the other."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.robustness.witnesses import LOUD, side_with_the_honest, table
from flower_robust.aggregation import Geometry, default_rule
from flower_robust.protocol.decide import decide
from flower_robust.trust import BetaTrust

NAMES = ["accused", "b", "c", "liar"]


def feud(lean: float, length: float, along: float) -> torch.Tensor:
    """Two that accuse each other, and two witnesses: `lean` in favour of the first, `along` with each other."""
    accused = torch.tensor([length, 0.0, 0.0], dtype=torch.float64)
    witnesses = [torch.tensor([lean, along, side], dtype=torch.float64) for side in (0.5, -0.5)]
    return torch.stack([accused, *witnesses, -accused])


@settings(max_examples=20, deadline=None)
@given(length=st.floats(0.1, 1.0), along=st.floats(0.1, 2.0))
def test_where_witnesses_take_no_side_trust_ranks_neither_below_the_other(length: float, along: float) -> None:
    trust, rule = BetaTrust(), default_rule(1)
    state = trust.init(NAMES)
    for _ in range(10):
        geometry = Geometry.of(feud(0.0, length, along))
        state = trust.update(state, decide(geometry, rule, NAMES, trust.weights(state, NAMES)).evidence)
    assert abs(state["accused"].mean - state["liar"].mean) < 1e-9
    assert not trust.quarantined(state)


@settings(max_examples=20, deadline=None)
@given(lean=st.floats(0.1, 2.0), length=st.floats(0.1, 1.0), along=st.floats(0.1, 2.0))
def test_witnesses_side_with_whom_they_resemble(lean: float, length: float, along: float) -> None:
    for sign in (1, -1):
        rows = torch.nn.functional.normalize(feud(sign * lean, length, along))
        assert side_with_the_honest(rows @ rows.T) is (sign > 0)


def test_the_table_counts_runs_that_the_witnesses_mislead() -> None:
    lines = table([("a", True, True), ("a", False, False), ("b", False, True)]).splitlines()
    assert lines[2:] == ["| a | 2 | 1 | 1 | 1 of 1 |", "| b | 1 | 0 | 1 | 0 of 1 |", "| all | 3 | 1 | 2 | 1 of 2 |"]
    assert "label-flip" in LOUD and "mimic" not in LOUD and "none" not in LOUD
