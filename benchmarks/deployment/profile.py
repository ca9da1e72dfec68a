"""Where the seconds of an exchange go, from what each ClientApp wrote down: message sent, process started, app entered.

found      from the server's push until the client's process starts: the SuperNode's and the SuperExec's polls
started    until the app is entered: Python, imports, unpacking the app
worked     the mods and the app
returned   from the last client's answer until the server's next push: SuperNode's and server's polls, the strategy

All but `worked` is Flower's: a fresh process for every message, and polls. The operator sets one of them, the
SuperExecs' FLWR_SUPEREXEC_TASK_POLL_INTERVAL; deployments/README.md, "What an exchange costs", has them all.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

Line = Mapping[str, Any]
PARTS = ("found", "started", "worked", "returned")


def exchanges(path: Path) -> list[list[Line]]:
    """The lines of each exchange, in the order of sending."""
    found: defaultdict[tuple[float, str], list[Line]] = defaultdict(list)
    for text in path.read_text().splitlines():
        line = json.loads(text)
        found[line["round"], line["step"]].append(line)
    return sorted(found.values(), key=lambda lines: min(line["sent"] for line in lines))


def profile(path: Path) -> list[dict[str, Any]]:
    """Seconds of every exchange but the last: the whole, its parts (of the slowest client), CPU of one client."""
    lines = exchanges(path)
    return [_parts(now, min(line["sent"] for line in later)) for now, later in pairwise(lines)]


def _parts(lines: list[Line], end: float) -> dict[str, Any]:
    last = max(lines, key=lambda line: line["left"])
    return {
        "step": last["step"],
        "seconds": end - min(line["sent"] for line in lines),
        "found": last["started"] - last["sent"],
        "started": last["entered"] - last["started"],
        "worked": last["left"] - last["entered"],
        "returned": end - last["left"],
        "cpu": mean(line["cpu"] for line in lines),
    }


def show(found: Sequence[Mapping[str, Any]]) -> str:
    """Medians over the exchanges: a line for each step and one for all."""
    by_step = {
        step: [row for row in found if row["step"] == step] for step in dict.fromkeys(row["step"] for row in found)
    }
    return "\n".join(_line(step, rows) for step, rows in [*by_step.items(), ("all", found)])


def _line(step: str, rows: Sequence[Mapping[str, Any]]) -> str:
    medians = {key: median(row[key] for row in rows) for key in ("seconds", *PARTS, "cpu")}
    parts = ", ".join(f"{part} {medians[part]:.2f}" for part in PARTS)
    cpu = f"{medians['cpu']:.2f} CPU s per client"
    return f"  {step:9} {len(rows)} exchanges, median {medians['seconds']:.2f} s: {parts}; {cpu}"
