"""Ending a program together with everything it started: Flower gives its simulation a session of its own."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")


def end_with_descendants(child: subprocess.Popen[bytes], patience: float) -> None:
    """Ask `child` and its descendants to end, wait `patience` seconds, then kill those that are left, until none is."""
    family = {child.pid, *descendants(child.pid)}
    _send(family, signal.SIGTERM)
    if left := _await_end(child, family, patience):
        _send(left, signal.SIGKILL)
        _await_end(child, left, patience)
    child.wait()


def _await_end(child: subprocess.Popen[bytes], family: set[int], patience: float) -> set[int]:
    """Those of the family, and of what they start meanwhile, that are alive after `patience` seconds."""
    deadline = time.monotonic() + patience
    while (left := _alive(child, family)) and time.monotonic() < deadline:
        family = left.union(*map(descendants, left))
        time.sleep(0.05)
    return left


def descendants(pid: int) -> set[int]:
    """Process ids of the children of `pid`, of their children, and so on."""
    children: dict[int, list[int]] = {}
    for process, parent in _parents().items():
        children.setdefault(parent, []).append(process)
    found, waiting = set[int](), [pid]
    while waiting:
        new = [process for process in children.get(waiting.pop(), []) if process not in found]
        found.update(new)
        waiting += new
    return found


def _parents() -> dict[int, int]:
    if not PROC.is_dir():
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        return {int(pid): int(parent) for pid, parent in (line.split() for line in listed.splitlines())}
    parents = {}
    for folder in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(folder.name)] = int(parent)
    return parents


def _alive(child: subprocess.Popen[bytes], family: set[int]) -> set[int]:
    child.poll()
    return family & _parents().keys()


def _send(pids: Iterable[int], sent: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sent)
