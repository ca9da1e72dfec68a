"""The masked round's three exchanges and bytes with nothing computed: what no protocol of three exchanges can go below.

The whole upload goes with the first answer, beside the model on its way down; the rest of the download is the second
request; the third carries nothing.
"""

import time
from collections.abc import Iterable

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from flower_robust.flower.grid import collect, push

IDLE = "idle"
PATIENCE = 600.0
"""Seconds."""


def idle_round(grid: Grid, model: int, up: int, down: int) -> None:
    """Ask every node three times; `model`, `up` and `down`: bytes per client, the model's among those that go down."""
    for request, reply in ((model, up), (max(0, down - model), 0), (0, 0)):
        record = ConfigRecord({"pad": bytes(request), "up": reply})
        asked = [Message(RecordDict({IDLE: record}), node_id, MessageType.TRAIN) for node_id in grid.get_node_ids()]
        push(grid, asked)
        answers = sum(1 for _ in collect(grid, asked, time.monotonic() + PATIENCE))
        if answers < len(asked):
            raise RuntimeError(f"an idle exchange: found {answers} answers, required {len(asked)}")


def idle_reply(message: Message) -> Message:
    """As many bytes as were asked for."""
    up = int(message.content.config_records[IDLE]["up"])
    return Message(RecordDict({IDLE: ConfigRecord({"pad": bytes(up)})}), reply_to=message)


def bytes_of(rounds: Iterable[dict[str, float]]) -> tuple[int, int]:
    """Up and down per client in the last masked round; zeros if there was none."""
    last = next((one for one in reversed(list(rounds)) if one["arm"] == "masked"), None)
    return (0, 0) if last is None else (int(last["up"]), int(last["down"]))
