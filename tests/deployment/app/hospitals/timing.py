"""When a message was sent, its ClientApp started, entered its mods and left them: one line each, for the profile."""

import json
import os
import time
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp.typing import ClientAppCallable

from hospitals.steps import round_of, step_of


def timing_mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Write the four moments, seconds since the epoch, once the reply is there."""
    entered, step, server_round = time.time(), step_of(message), round_of(message)
    reply = call_next(message, context)
    moments = {"sent": message.metadata.created_at, "started": started(), "entered": entered, "left": time.time()}
    line = {"node": context.node_id, "step": step, "round": server_round, "cpu": time.process_time(), **moments}
    with (Path(str(context.run_config["out"])) / "timing.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    return reply


def started() -> float:
    """When this process was started, from /proc (Linux)."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return time.time() - uptime + ticks / os.sysconf("SC_CLK_TCK")
