"""Plots of finished cells: worst case per rule, regret heat map, accuracy per round."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.robustness.cells import Setting
from benchmarks.robustness.presets import FIXED
from benchmarks.robustness.report import score, scores
from benchmarks.robustness.simulate import Run


def plot_all(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Write every plot as PNG; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [_worst_cases(runs, folder), _regret(runs, folder)]
    return paths + [_curves(setting, runs, folder) for setting in sorted({run.cell.setting for run in runs})]


def _worst_cases(runs: Sequence[Run], folder: Path) -> Path:
    found = scores(runs)
    settings = sorted({setting for setting, _, _ in found})
    defences = sorted({defence for _, defence, _ in found})
    figure, axes = plt.subplots(figsize=(10, 0.3 * len(defences) * max(1, len(settings) / 4) + 2))
    for j, setting in enumerate(settings):
        worst = [
            min((fmean(found[setting, d, t]) for t in FIXED if (setting, d, t) in found), default=0.0) for d in defences
        ]
        places = [i + 0.8 * j / len(settings) for i in range(len(defences))]
        axes.barh(places, worst, height=0.8 / len(settings), label=setting.name)
    axes.set_yticks([i + 0.4 for i in range(len(defences))], defences)
    axes.set_xlabel("accuracy in the last rounds, worst of the fixed threats")
    axes.legend(fontsize=6)
    return _saved(figure, folder / "worst-case.png")


def _regret(runs: Sequence[Run], folder: Path) -> Path:
    found = scores(runs)
    settings = sorted({setting for setting, _, _ in found})
    defences = sorted({defence for _, defence, _ in found})
    best: dict[tuple[Setting, str], float] = {}
    for (setting, _, threat), values in found.items():
        best[setting, threat] = max(best.get((setting, threat), 0.0), fmean(values))
    columns = [(setting, threat) for setting in settings for threat in FIXED if (setting, threat) in best]
    grid = [[best[s, t] - fmean(found.get((s, d, t), [float("nan")])) for s, t in columns] for d in defences]
    figure, axes = plt.subplots(figsize=(0.16 * len(columns) + 3, 0.3 * len(defences) + 2))
    image = axes.imshow(grid, aspect="auto", cmap="magma_r", vmin=0, vmax=0.5)
    axes.set_yticks(range(len(defences)), defences, fontsize=7)
    axes.set_xticks(range(len(columns)), [f"{s.partition} f={s.f} {t}" for s, t in columns], rotation=90, fontsize=4)
    figure.colorbar(image, label="behind the best of the cell")
    return _saved(figure, folder / "regret.png")


def _curves(setting: Setting, runs: Sequence[Run], folder: Path) -> Path:
    """Each defence under the threat that hurts it most."""
    figure, axes = plt.subplots(figsize=(8, 5))
    mine = [run for run in runs if run.cell.setting == setting and run.cell.threat in FIXED]
    for defence in sorted({run.cell.defence for run in mine}):
        worst = min((run for run in mine if run.cell.defence == defence), key=score)
        width = 2.5 if defence == "default" else 0.8
        axes.plot(worst.accuracy, label=f"{defence}: {worst.cell.threat}", linewidth=width)
    axes.set_title(setting.name)
    axes.set_xlabel("round")
    axes.set_ylabel("test accuracy under its worst threat and seed")
    axes.legend(fontsize=6)
    return _saved(figure, folder / f"curves-{setting.name.replace(' ', '-').replace('=', '')}.png")


def _saved(figure: plt.Figure, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path
