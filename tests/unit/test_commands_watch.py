"""What a person sees of a run."""

import pytest

from flower_robust.commands._watch import Display

REPORT = {"faults": [], "trust": {"h0": {"mean": 0.9, "quarantined": False}}, "reason": None}
LINE = {"round": 3, "arm": "robust", "accuracy": 0.5, "auc": None}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "least trusted h0 0.90"),
        ({"reason": "rule [x]: found 2, required 3"}, "no step: rule [x]: found 2, required 3"),
        ({"faults": [{"culprit": "h1", "kind": "NoReply"}]}, "blamed h1 (NoReply)"),
        ({"trust": {"h0": {"mean": 0.1, "quarantined": True}}}, "quarantined h0"),
    ],
)
def test_a_rounds_line_says_what_became_of_it(
    change: dict[str, object], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    Display({}).round({**LINE, "report": {**REPORT, **change}})
    assert capsys.readouterr().out == f"  round   3  accuracy 0.500  AUC   –    {said}\n"
