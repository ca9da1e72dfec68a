"""The largest resident memory of this process so far."""

import os
import resource
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp.typing import ClientAppCallable


def peak_bytes() -> int:
    """Bytes; Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak_mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """After every message, write this process's peak into a file of its own."""
    reply = call_next(message, context)
    folder = Path(str(context.run_config["out"])).with_suffix(".clients")
    folder.mkdir(exist_ok=True)
    (folder / str(os.getpid())).write_text(str(peak_bytes()))
    return reply
