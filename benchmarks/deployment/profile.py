"""Where the seconds of an exchange go, from what each ClientApp wrote down: message sent, process started, app entered.

found      from the server's push until the client's process starts: the SuperNode's and the SuperExec's polls
started    until the app is entered: Python, imports, unpacking the app
worked     the mods and the app
returned   from the last client's answer until the server's next push: SuperNode's and server's polls, the strategy
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from statistics import mean, median

Line = Mapping[str, float]
PARTS = ("found", "started", "worked", "returned")


def exchanges(path: Path) -> list[list[Line]]:
    """The lines of each exchange, in the order of sending."""
    found: defaultdict[tuple[float, str], list[Line]] = defaultdict(list)
    for text in path.read_text().splitlines():
        line = json.loads(text)
        found[line["round"], line["step"]].append(line)
    return sorted(found.values(), key=lambda lines: min(line["sent"] for line in lines))


def profile(path: Path) -> list[dict[str, float]]:
    """Seconds of every exchange but the last: the whole, its parts (of the slowest client), CPU of one client."""
    lines = exchanges(path)
    return [_parts(now, min(line["sent"] for line in later)) for now, later in pairwise(lines)]


def _parts(lines: list[Line], end: float) -> dict[str, float]:
    last = max(lines, key=lambda line: line["left"])
    return {
        "seconds": end - min(line["sent"] for line in lines),
        "found": last["started"] - last["sent"],
        "started": last["entered"] - last["started"],
        "worked": last["left"] - last["entered"],
        "returned": end - last["left"],
        "cpu": mean(line["cpu"] for line in lines),
    }


def show(found: Iterable[Mapping[str, float]]) -> str:
    """Medians over the exchanges, one line."""
    rows = list(found)
    medians = {key: median(row[key] for row in rows) for key in rows[0]}
    parts = ", ".join(f"{part} {medians[part]:.2f}" for part in PARTS)
    return f"{len(rows)} exchanges, median {medians['seconds']:.2f} s: {parts}; {medians['cpu']:.2f} CPU s per client"
