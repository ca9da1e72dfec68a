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
    """After a message that made this process larger, write its peak into a file of its own."""
    before, reply = peak_bytes(), call_next(message, context)
    file = Path(str(context.run_config["out"])).with_suffix(".clients") / str(os.getpid())
    if peak_bytes() > before or not file.exists():
        file.parent.mkdir(exist_ok=True)
        file.write_text(str(peak_bytes()))
    return reply
