"""The bench's masked cells with a reference: what unmasked ones score, also where a round opens nothing."""

import pytest

from benchmarks.robustness.cells import Cell, Course, Setting
from benchmarks.robustness.results import score
from benchmarks.robustness.simulate import simulate

CLEAR, HIDDEN = "reference with trust", "reference with trust masked"


@pytest.mark.parametrize("f", [2, 4])
def test_masked_rounds_follow_the_root_rows_as_unmasked_ones_do(f: int) -> None:
    setting, course = Setting("breast-cancer", "logistic", "dirichlet-0.5", 10, f), Course(8, 5, 16, 0.3)
    clear, masked = simulate([Cell(setting, "foe-2@colluders", d, 0) for d in (CLEAR, HIDDEN)], course=course)
    assert score(masked) == pytest.approx(score(clear), abs=0.03) and score(masked) > 0.85
    assert masked.trust == pytest.approx(clear.trust, abs=0.1)


def test_a_round_that_opens_nothing_leaves_the_model_as_it_is() -> None:
    """Nine of ten flip their sign: one points with the root rows, and five must carry a sum."""
    setting = Setting("breast-cancer", "logistic", "iid", 10, 9)
    (run,) = simulate([Cell(setting, "sign-flip", HIDDEN, 0)], course=Course(3, 5, 16, 0.3))
    assert len(set(run.accuracy)) == 1
