"""The table of faults: what each cell must come to. `python -m benchmarks.faults` prints all of it."""

import pytest

from benchmarks.faults import masked, network
from benchmarks.faults.cells import Cell, table
from flower_robust import PeerMasking

SILENCES = {"silent (killed, late)", "raises"}


@pytest.mark.parametrize(("phase", "kind"), [(p, k) for p in ("enrol", "train", "evaluate") for k in network.kinds(p)])
def test_unmasked_two_of_seven_cost_only_themselves(phase: str, kind: str) -> None:
    cell = network.cell(phase, kind, network.kinds(phase)[kind], 2)
    assert cell.sound, cell.shown
    assert cell.outcome == ("completed" if phase == "evaluate" else "completed without 2")
    assert len(cell.blamed) == 2
    assert all(blame.endswith("silent" if kind in SILENCES else "proven") for blame in cell.blamed)


@pytest.mark.parametrize(("phase", "kind"), [(p, k) for p in network.MASKED_PHASES for k in network.kinds(p)])
def test_masked_over_flower_two_of_seven_cost_only_themselves(phase: str, kind: str) -> None:
    masking = PeerMasking(threshold=1, step_timeout=0.2, strict=phase == "echo")
    cell = network.cell(phase, kind, network.kinds(phase)[kind], 2, masking)
    assert cell.sound, cell.shown
    assert cell.outcome == ("completed without 2" if phase in {"enrol", "train", "challenge"} else "completed")
    assert len(cell.blamed) == 2
    assert all(blame.endswith("silent" if kind in SILENCES else "proven") for blame in cell.blamed)


@pytest.mark.parametrize("phase", ["enrol", "train"])
def test_unmasked_below_the_quorum_aborts_and_names_the_missing(phase: str) -> None:
    cell = network.cell(phase, "raises", network.kinds(phase)["raises"], 3)
    assert cell.sound and cell.outcome.startswith("aborted: round") and "required quorum 5" in cell.outcome
    assert len(cell.blamed) == 3


@pytest.mark.parametrize(("step", "kind"), masked.FAULTS)
def test_masked_two_of_seven_cost_only_themselves(step: str, kind: str) -> None:
    cell = masked.cell(step, kind, masked.FAULTS[step, kind], 2)
    assert cell.sound, cell.shown
    assert cell.outcome.startswith("completed")
    assert len(cell.blamed) == 2
    if kind not in SILENCES:
        assert all(blame.endswith("proven") for blame in cell.blamed)


@pytest.mark.parametrize(("step", "count"), [("submission", 5), ("challenge", 5), ("echo", 5)])
def test_masked_silence_beyond_the_threshold_aborts_and_says_what_was_needed(step: str, count: int) -> None:
    kind = "silent (killed, late)"
    cell = masked.cell(step, kind, masked.FAULTS[step, kind], count)
    assert cell.sound and cell.outcome.startswith("aborted") and "required" in cell.outcome
    assert len(cell.blamed) == count


def test_masked_liars_beyond_what_can_be_corrected_abort_and_frame_nobody() -> None:
    for step, kind in [("challenge", "wrong distance shares"), ("unmask", "wrong shares of the sum")]:
        cell = masked.cell(step, kind, masked.FAULTS[step, kind], 3)
        assert cell.sound and cell.outcome.startswith("aborted"), cell.shown


def test_an_unsound_cell_is_seen() -> None:
    """The judge itself: the wrong sum, the framed client and the hang that it exists to find."""
    sound = Cell("masked", "unmask", "x", 1, "completed", (), (), False, 0.0)
    assert sound.sound
    for field, value in (("framed", ("h0",)), ("wrong_sum", True), ("outcome", "HANGS")):
        unsound = Cell(**{**{f: getattr(sound, f) for f in Cell.__dataclass_fields__}, field: value})
        assert not unsound.sound
    assert "WRONG SUM" in table([Cell("masked", "s", "k", 1, "completed", (), (), True, 0.0)])


def test_the_judge_recomputes_the_sum() -> None:
    """A model that moved by anything else than the reported weights say is a wrong sum."""
    world = masked.World(n=masked.N, t=masked.T)
    updates = world.updates()
    outcome = world.run(masked.MultiKrum(f=1), updates)
    assert masked.exact(world, outcome, updates)
    updates["h0"] = updates["h0"] + 1e-3
    assert not masked.exact(world, outcome, updates)
