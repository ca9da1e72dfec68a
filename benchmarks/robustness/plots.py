"""Plots of finished cells: worst case per rule, regret heat map, accuracy per round."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.robustness.cells import Setting
from benchmarks.robustness.presets import FIXED
from benchmarks.robustness.results import Results, score


def plot_all(results: Results, folder: Path) -> list[Path]:
    """Write every plot as PNG; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [_worst_cases(results, folder), _regret(results, folder)]
    return paths + [_curves(setting, results, folder) for setting in results.settings]


def _defences(results: Results) -> list[str]:
    """Those that ran under all fixed threats somewhere."""
    return sorted({name for s in results.settings for name in results.defences(s) if results.worst(s, name)})


def _worst_cases(results: Results, folder: Path) -> Path:
    settings, defences = results.settings, _defences(results)
    figure, axes = plt.subplots(figsize=(10, 0.3 * len(defences) * max(1, len(settings) / 4) + 2))
    for j, setting in enumerate(settings):
        worst = [found[0] if (found := results.worst(setting, d)) else 0.0 for d in defences]
        places = [i + 0.8 * j / len(settings) for i in range(len(defences))]
        axes.barh(places, worst, height=0.8 / len(settings), label=setting.name)
    axes.set_yticks([i + 0.4 for i in range(len(defences))], defences)
    axes.set_xlabel("accuracy in the last rounds, worst of the fixed threats")
    axes.legend(fontsize=6)
    return _saved(figure, folder / "worst-case.png")


def _regret(results: Results, folder: Path) -> Path:
    defences = _defences(results)
    columns = [(s, t) for s in results.settings for t in FIXED if results.best_peer(s, t)]
    means = [[results.mean(s, d, t) for s, t in columns] for d in defences]
    best = [max((row[k] or 0.0 for row in means), default=0.0) for k in range(len(columns))]
    grid = [[b - (float("nan") if m is None else m) for b, m in zip(best, row, strict=True)] for row in means]
    figure, axes = plt.subplots(figsize=(0.16 * len(columns) + 3, 0.3 * len(defences) + 2))
    if columns:
        image = axes.imshow(grid, aspect="auto", cmap="magma_r", vmin=0, vmax=0.5)
        figure.colorbar(image, label="behind the best of the cell")
    axes.set_yticks(range(len(defences)), defences, fontsize=7)
    axes.set_xticks(range(len(columns)), [f"{s.partition} f={s.f} {t}" for s, t in columns], rotation=90, fontsize=4)
    return _saved(figure, folder / "regret.png")


def _curves(setting: Setting, results: Results, folder: Path) -> Path:
    """Each defence under the threat that hurts it most."""
    figure, axes = plt.subplots(figsize=(8, 5))
    for defence in results.defences(setting):
        if results.worst(setting, defence) is None:
            continue
        runs = [run for threat in FIXED for run in results.runs(setting, defence, threat).values()]
        worst = min(runs, key=score)
        width = 2.5 if defence == "default" else 0.8
        axes.plot(worst.accuracy, label=f"{defence}: {worst.cell.threat}", linewidth=width)
    axes.set_title(setting.name)
    axes.set_xlabel("round")
    axes.set_ylabel("test accuracy under its worst threat and seed")
    if axes.lines:
        axes.legend(fontsize=6)
    return _saved(figure, folder / f"curves-{setting.name.replace(' ', '-').replace('=', '')}.png")


def _saved(figure: plt.Figure, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path
