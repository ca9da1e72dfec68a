"""Follows a run by its journal: every round as it ends, then both arms side by side."""

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flower_robust.commands._superlink import SimulationSuperLink

TITLES = {"fedavg": "plain FedAvg", "robust": "flower-robust"}
PAUSE_SECONDS = 0.1
PATIENCE_SECONDS = 15.0
"""Without a new line for so long, the runtime is asked whether the run still lives."""


def watch(superlink: SimulationSuperLink, run_id: str, folder: Path, display: "Display") -> str:
    """Show every line of the journal until the run ends; "" or why it failed."""
    read, heard = 0, time.monotonic()
    while True:
        ended = (folder / "metrics.json").exists() or (folder / "failure.json").exists()
        lines = _lines(folder / "rounds.jsonl")
        for line in lines[read:]:
            display.round(line)
        if len(lines) > read:
            read, heard = len(lines), time.monotonic()
        if ended:
            return _failure(folder)
        superlink.require_alive()
        if time.monotonic() - heard > PATIENCE_SECONDS:
            status, heard = superlink.status(run_id), time.monotonic()
            if status.startswith("finished") and not (folder / "metrics.json").exists():
                return _failure(folder) or f"Flower says {status}; the end of its log:\n{superlink.log(run_id)[-3000:]}"
        time.sleep(PAUSE_SECONDS)


class Display:
    """What a person sees."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config, self.console = config, Console(highlight=False)

    def start(self) -> None:
        """What is about to run."""
        c = self.config
        liars = c["malicious"].replace(",", ", ") or "nobody"
        self.console.print(
            f"[bold]{c['hospitals']} hospitals[/bold] on {c['dataset']} ({c['partition']}), {c['model']}, "
            f"{c['rounds']} rounds. Malicious: [red]{liars}[/red] ({c['attack']}). Rule: {c['rule']}, f={c['f']}."
        )
        self.console.print("[dim]Starting Flower (SuperLink, simulation) …[/dim]")

    def round(self, line: Mapping[str, Any]) -> None:
        """One round of one arm."""
        report = line.get("report")
        if line["round"] == 0:
            self.console.print(f"[bold]{TITLES[line['arm']]}[/bold]")
        remarks = f"  {_remarks(report)}" if report else ""
        self.console.print(
            f"  round {line['round']:>3}  accuracy {line['accuracy']:.3f}  AUC {_number(line['auc'])}{remarks}"
        )

    def finish(self, folder: Path) -> None:
        """The arms side by side, pooled and per hospital, and whom ours does not trust."""
        metrics = json.loads((folder / "metrics.json").read_text())
        arms = [arm for arm in TITLES if arm in metrics]
        table = Table(title="Test set, after the last round")
        table.add_column("")
        for arm in arms:
            table.add_column(f"{TITLES[arm]}\naccuracy", justify="right")
            table.add_column("\nAUC", justify="right")
        trust = metrics.get("robust", {}).get("trust", {})
        table.add_column("\ntrust", justify="right")
        for name, scores, mark in _table_rows(metrics, arms):
            cells = [cell for score in scores for cell in (f"{score['accuracy']:.3f}", _number(score["auc"]))]
            table.add_row(name + mark, *cells, f"{trust[name]:.2f}" if name in trust else "")
        self.console.print(table)
        for arm in arms:
            if "aborted" in metrics[arm]:
                self.console.print(f"[red]{TITLES[arm]} broke down: {metrics[arm]['aborted']}[/red]")
        if quarantined := metrics.get("robust", {}).get("quarantined"):
            self.console.print(f"Quarantined: [red]{', '.join(quarantined)}[/red]")
        self.console.print(f"[dim]Run folder: {folder}[/dim]")


def _table_rows(metrics: Mapping[str, Any], arms: list[str]) -> Iterator[tuple[str, list[Mapping[str, Any]], str]]:
    yield "all hospitals", [metrics[arm] for arm in arms], ""
    for name in metrics[arms[0]]["hospitals"]:
        mark = " (malicious)" if name in metrics["malicious"] else ""
        yield name, [metrics[arm]["hospitals"][name] for arm in arms], mark


def _remarks(report: Mapping[str, Any]) -> str:
    faults = [f"{fault['culprit']} ({fault['kind']})" for fault in report["faults"]]
    barred = [name for name, reputation in report["trust"].items() if reputation["quarantined"]]
    shown = [f"[yellow]no step: {escape(report['reason'])}[/yellow]"] if report["reason"] else []
    shown += [f"blamed [red]{', '.join(faults)}[/red]"] if faults else []
    shown += [f"quarantined [red]{', '.join(barred)}[/red]"] if barred else []
    if not shown and report["trust"]:
        least = min(report["trust"], key=lambda name: float(report["trust"][name]["mean"]))
        shown = [f"least trusted {least} {report['trust'][least]['mean']:.2f}"]
    return ", ".join(shown)


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _failure(folder: Path) -> str:
    path = folder / "failure.json"
    return str(json.loads(path.read_text())["error"]) if path.exists() else ""


def _number(value: float | None) -> str:
    return "  –  " if value is None else f"{value:.3f}"
