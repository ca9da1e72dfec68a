"""`python killer.py LOG SENT`: kills its process group, a SuperNode's, once LOG tells of one more message than SENT.

A program of its own, which imports nothing of the app: it outlives the ClientApp that starts it.
"""

import os
import signal
import sys
import time
from pathlib import Path


def sent(log: Path) -> int:
    """Messages that the SuperNode says it has sent."""
    return log.read_text(errors="replace").count("Sent successfully")


if __name__ == "__main__":
    while sent(Path(sys.argv[1])) <= int(sys.argv[2]):
        time.sleep(0.05)
    os.killpg(0, signal.SIGKILL)
