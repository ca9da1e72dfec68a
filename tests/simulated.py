"""The repository's own Flower app in one process: ServerApp and ClientApps are real, only the wires are missing."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flwr.app import Context, Error, Message, RecordDict

from clients.app import app as client_app
from clients.members import SIMULATED
from clients.settings import Settings
from server.app import app as server_app
from tests.flower_double import RUN_ID, FakeGrid

ROOT = Path(__file__).parents[1]
DEFAULTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]


def settings_for(**options: Any) -> Settings:
    """The app's defaults with these options."""
    return Settings.from_config({**DEFAULTS, **{key.replace("_", "-"): value for key, value in options.items()}})


NodeConfig = Callable[[int], dict[str, Any]]


def simulate(
    out: Path, node_config: NodeConfig = lambda i: {"partition-id": i}, **options: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run the app on nodes with these configurations; metrics.json and the journal's lines."""
    config = settings_for(**{"out": str(out), "roster": SIMULATED, **options}).to_config()
    nodes = {100 + i: _node(100 + i, node_config(i), config) for i in range(int(config["hospitals"]))}
    server_app(FakeGrid(nodes), Context(RUN_ID, 1, {}, RecordDict(), config))
    lines = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    return json.loads((out / "metrics.json").read_text()), lines


def _node(node_id: int, node_config: dict[str, Any], config: dict[str, Any]):
    context = Context(RUN_ID, node_id, node_config, RecordDict(), config)

    def answer(message: Message) -> Message:
        try:
            return client_app(message, context)
        except Exception as error:
            return Message(Error(2, str(error)), reply_to=message)

    return answer
