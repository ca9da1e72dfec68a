"""The bench's simulator equals training client by client, its grid resumes, a few cells have the order they must."""

import dataclasses
from pathlib import Path

import pytest
import torch

from benchmarks.robustness.bars import bars_table, misses_table
from benchmarks.robustness.cells import Cell, Course, Setting, grid
from benchmarks.robustness.command import bench
from benchmarks.robustness.learners import batches, initial_weights, sgd_step
from benchmarks.robustness.loud import cost_table, costly_verdicts, costs
from benchmarks.robustness.page import SECTION, SECTIONS, report, rewritten
from benchmarks.robustness.peers import PEERS, Content, FlowerMultiKrum
from benchmarks.robustness.results import Results, score
from benchmarks.robustness.rows import load_pool
from benchmarks.robustness.runner import read_runs, run_grid
from benchmarks.robustness.simulate import Run, simulate
from benchmarks.robustness.tables import masked_table
from clients.datasets import Rows
from clients.models import build_model, from_vector, to_vector
from clients.task import Schedule, train
from flower_robust.errors import ConfigurationError

SHORT = Course(rounds=12, steps=5, batch_size=16, learning_rate=0.3)
BREAST = Setting("breast-cancer", "logistic", "dirichlet-0.5", 10, 2)
DIGITS = Setting("digits", "mlp", "dirichlet-0.5", 10, 4)


@pytest.mark.parametrize("setting", [BREAST, DIGITS], ids=lambda s: s.model)
def test_batched_training_is_training_client_by_client(setting: Setting) -> None:
    pool = load_pool(setting, setting.n, 0)
    start, layers = initial_weights(setting.model, pool.X.shape[2], pool.classes, 0)
    local, course = start.repeat(setting.n, 1), Course(1, 6, 16, 0.1)
    drawn = [batches(rows, course.steps, course.batch_size, 100 + i) for i, rows in enumerate(pool.owners)]
    for step in range(course.steps):
        chosen = [torch.from_numpy(rows[step]) for rows, _ in drawn]
        X, y = torch.stack([pool.X[0, c] for c in chosen]), torch.stack([pool.y[0, c] for c in chosen])
        sgd_step(local, layers, X, y, torch.stack([share[step] for _, share in drawn]), course.learning_rate)
    for i, rows in enumerate(pool.owners):
        model = build_model(setting.model, tuple(pool.X.shape[2:]), pool.classes, 0)
        model.load_state_dict(from_vector(start, model.state_dict()))
        train(model, Rows(pool.X[0, rows], pool.y[0, rows]), Schedule(6, 16, 0.1), 100 + i)
        assert torch.allclose(local[i], to_vector(model.state_dict()), atol=1e-5)


def test_paired_cells_share_every_draw() -> None:
    alone = simulate([Cell(BREAST, "foe-2", "mean", 3)], course=SHORT)[0]
    beside = simulate(
        [Cell(BREAST, t, d, 3) for t in ("label-flip", "foe-2") for d in ("default", "mean")], course=SHORT
    )
    assert beside[3].accuracy == pytest.approx(alone.accuracy, abs=0.01)


def test_cells_of_different_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="share setting"):
        simulate([Cell(BREAST, "none", "mean", 0), Cell(BREAST, "foe-2", "mean", 0)])


def test_a_known_order() -> None:
    runs = simulate(
        [Cell(DIGITS, "foe-10", d, 0) for d in ("fedavg", "mean", "default", "byzfl nnm+multikrum")], course=SHORT
    )
    scores = {run.cell.defence: score(run) for run in runs}
    assert scores["fedavg"] < 0.2 and scores["mean"] < 0.2
    assert scores["default"] > 0.7


def test_trust_separates_attackers_from_honest_hospitals() -> None:
    course = dataclasses.replace(SHORT, rounds=20)
    for run in simulate([Cell(DIGITS, t, "default", 0) for t in ("foe-2", "sign-flip", "alie-10")], course=course):
        assert max(run.trust[6:]) < min(run.trust[:6])
        assert not any(run.quarantined[:6])


def test_nobody_honest_is_quarantined_without_an_attack() -> None:
    for setting in (BREAST, DIGITS, dataclasses.replace(DIGITS, partition="dirichlet-0.1")):
        run = simulate([Cell(setting, "none", "default", 0)], course=SHORT)[0]
        assert not any(run.quarantined)


def test_masked_rounds_decide_as_unmasked_ones_do() -> None:
    course = Course(rounds=4, steps=5, batch_size=16, learning_rate=0.1)
    clear, masked = simulate(
        [Cell(BREAST, "foe-2@colluders", d, 0) for d in ("default", "default masked")], course=course
    )
    assert masked.trust == pytest.approx(clear.trust, abs=0.05) and max(masked.trust[8:]) < min(masked.trust[:8])
    assert score(masked) == pytest.approx(score(clear), abs=0.03)


def test_the_sorted_partition_gives_each_hospital_at_most_three_classes() -> None:
    pool = load_pool(Setting("digits", "mlp", "sorted", 17, 4), 13, 0)
    assert max(len(set(pool.y[0, rows].tolist())) for rows in pool.owners[:13]) <= 3
    assert sorted(i for rows in pool.owners[:13] for i in rows.tolist()) == list(range(pool.y.shape[1]))


def test_a_grid_goes_on_where_it_stopped(tmp_path) -> None:
    path, cells = tmp_path / "cells.jsonl", list(grid([BREAST], ["none", "foe-2"], ["fedavg", "mean"], [0]))
    list(run_grid(cells[:2], path, workers=1))
    with path.open("a") as file:
        file.write('{"cell": {"cut off')
    first = read_runs(path)
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")))
    assert len(first) == 2
    assert list(run_grid(cells, path, workers=1))[-1] == (2, 2)
    assert {run.cell for run in read_runs(path)} == set(cells)
    assert "breast-cancer logistic dirichlet-0.5 n=10 f=2" in report(Results(read_runs(path)))


RUNS = [
    Run(
        Cell(dataclasses.replace(DIGITS, f=2), threat, defence, seed),
        [accuracy] * 5,
        0.0,
        0.0,
        [],
        trust,
        quarantined,
        trust,
    )
    for seed in (0, 1)
    for trust, quarantined in [([0.9] * 8 + [0.2] * 2, [0] * 10)]
    for defence, quiet, hurt in (
        ("fedavg", 0.97, 0.2),
        ("mean", 0.97, 0.5),
        ("default", 0.95, 0.93),
        ("byzfl median", 0.9, 0.96),
    )
    for threat, accuracy in (("none", quiet), ("foe-2", hurt))
]


def test_every_miss_of_a_bar_is_listed() -> None:
    missed = misses_table(Results(RUNS))
    assert "no attack: within .01 of FedAvg | digits mlp dirichlet-0.5 n=10 f=2 | -0.020" in missed
    assert "regret: at most 0.02 | digits mlp dirichlet-0.5 n=10 f=2, foe-2 | +0.0300" in missed
    assert missed.count("\n") == 3
    assert "loud: attackers' trust last after ten rounds | 1 of 1" in bars_table(Results(RUNS))


def test_trust_that_comes_late_and_honest_ones_in_quarantine_are_misses() -> None:
    late = [dataclasses.replace(r, early_trust=[0.5] * 10, quarantined=[0, 1, *[0] * 8]) for r in RUNS]
    missed = misses_table(Results(late))
    assert "loud: attackers' trust last after ten rounds | foe-2, digits and breast-cancer | 0 of 2 runs" in missed
    assert "no attack: nobody in quarantine | digits mlp dirichlet-0.5 n=10 f=2 | 2 of 2 seeds" in missed
    assert "attack: nobody honest in quarantine | digits mlp dirichlet-0.5 n=10 f=2, foe-2 | 2 of 2 seeds" in missed


HEART = Setting("heart", "logistic", "natural", 4, 1)


def heart_run(threat: str, defence: str, accuracy: float, trust: tuple[float, ...] = ()) -> Run:
    early = list(trust)
    return Run(Cell(HEART, threat, defence, 0), [accuracy] * 5, 0.0, 0.0, [], early, [0] * 4, early)


@pytest.mark.parametrize(("averaged", "bar"), [(0.69, "1/1"), (0.71, "")])
def test_an_attack_is_costly_by_what_averaging_loses_to_it(averaged: float, bar: str) -> None:
    runs = [
        heart_run("sign-flip", "honest only", 0.75),
        heart_run("label-flip", "mean", averaged),
        heart_run("label-flip@declared", "default with reference", 0.7, (0.9, 0.8, 0.7, 0.2)),
        heart_run("label-flip", "default", 0.7, (0.9, 0.8, 0.2, 0.3)),
        heart_run("mimic", "default", 0.7, (0.9, 0.8, 0.2, 0.3)),
    ]
    results = Results(runs)
    assert [round(lost, 2) for lost, _ in costs(results, "default", "heart")] == [round(0.75 - averaged, 2)]
    assert cost_table(results).splitlines()[2] == f"| 0.05 and more | {'0/1' if bar else ''} | {bar} |"
    assert [(verdict.cell, verdict.met) for verdict in costly_verdicts(results)] == (
        [("default, heart", False), ("default with reference, heart", True)] if bar else []
    )


def test_masked_runs_are_held_against_unmasked_ones_of_the_same_defence_and_seeds() -> None:
    runs = [
        heart_run("none", "default", 0.75),
        heart_run("none", "default masked", 0.73),
        heart_run("none", "reference with trust masked", 0.70),
        dataclasses.replace(
            heart_run("none", "reference with trust", 0.70), cell=Cell(HEART, "none", "reference with trust", 1)
        ),
    ]
    assert "none | default | 0.750 | 0.730 | -0.020 | 1 |" in masked_table(Results(runs))
    assert "reference" not in masked_table(Results(runs))
    missed = (
        "| masked rounds: within .01 of unmasked | heart logistic natural n=4 f=1, default, none | -0.020, 1 seeds |"
    )
    assert missed in misses_table(Results(runs))


def test_flowers_multikrum_averages_whom_it_selects_by_their_rows() -> None:
    rows = torch.cat([torch.ones(4, 3), 50 * torch.ones(1, 3)]) * torch.tensor([[1.0], [1.0], [2.0], [2.0], [1.0]])
    found = FlowerMultiKrum(1)(rows, torch.tensor([10.0, 20.0, 30.0, 40.0, 1000.0]))
    assert torch.allclose(found, torch.full((3,), 1.7))


def test_ascent_raises_the_loss_that_the_model_has() -> None:
    cells = [Cell(DIGITS, t, "mean", 0) for t in ("mimic", "ascent", "ascent@colluders")]
    honest, everything, own = (score(run) for run in simulate(cells, course=SHORT))
    assert everything < own < honest - 0.3


def test_honest_only_hears_nobody_who_lies() -> None:
    first, second = simulate([Cell(BREAST, t, "honest only", 0) for t in ("sign-flip", "foe-10")], course=SHORT)
    assert first.accuracy == second.accuracy and score(first) > 0.9


def test_the_page_is_drawn_from_results_and_says_what_it_does_not_know() -> None:
    results = Results(RUNS)
    page = "before\n<!-- table: no-attack -->\nold | 0.1\n<!-- end -->\nafter\n"
    drawn = rewritten(page, results)
    assert drawn.startswith("before\n") and drawn.endswith("after\n") and "0.970 | 0.950 | -0.020" in drawn
    assert "old" not in drawn and rewritten(drawn, results) == drawn
    with pytest.raises(ConfigurationError, match="section 'speed'"):
        rewritten(page.replace("no-attack", "speed"), results)


def test_the_documentation_shows_every_section() -> None:
    page = (Path(__file__).parents[2] / "docs" / "robustness.md").read_text(encoding="utf-8")
    assert {match["name"] for match in SECTION.finditer(page)} == set(SECTIONS)


def test_flowers_median_and_trimmed_mean_are_byzfls() -> None:
    import numpy as np
    from flwr.serverapp.strategy.fedtrimmedavg import trim_mean

    rows = torch.randn(10, 50, generator=torch.Generator().manual_seed(0))
    assert np.allclose(trim_mean(rows.numpy(), 0.2), PEERS["byzfl trmean"](2)(rows, torch.ones(10)).numpy(), atol=1e-6)
    assert np.allclose(
        np.median(rows.numpy(), axis=0), PEERS["byzfl median"](2)(rows, torch.ones(10)).numpy(), atol=1e-6
    )
    assert Content(rows[0], 1.0).to_numpy_ndarrays()[0].shape == (50,)


def test_unknown_names_are_refused_in_one_line(tmp_path) -> None:
    import argparse

    given = {
        "settings": "main",
        "where": "",
        "threats": "fixed",
        "defences": "nobody",
        "seeds": 1,
        "workers": 1,
        "page": None,
    }
    with pytest.raises(ConfigurationError, match="defences: found 'nobody'"):
        bench(argparse.Namespace(**given, out=tmp_path, data_dir="", report_only=False))
    with pytest.raises(ConfigurationError, match="finished cells"):
        bench(argparse.Namespace(**{**given, "defences": "default"}, out=tmp_path, data_dir="", report_only=True))
