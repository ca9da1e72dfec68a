"""Child processes that never outlive who started them: each leads a group of its own, which is ended as a whole."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

_PR_SET_PDEATHSIG = 1
_GRACE = 6.0
"""Seconds between asking a group to end and killing it."""


class Child:
    """One command in its own process group, its output in `log`.

    It gets SIGKILL from the kernel if this process dies (Linux), and `end` or `kill` take its descendants with it.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str], folder: Path) -> None:
        self.command, self.log = list(command), log
        self.began = len(self.output)
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    @property
    def pid(self) -> int:
        """The leader of the group."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._popen.poll()

    @property
    def output(self) -> str:
        """Everything in its log so far; what this child and its descendants wrote starts at index `began`."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def kill(self) -> None:
        """SIGKILL to the whole group at once, as a power failure would."""
        _signal_group(self.pid, signal.SIGKILL)
        self._popen.wait()

    def ask_to_end(self) -> None:
        """SIGTERM to the whole group; `end` waits for it."""
        _signal_group(self.pid, signal.SIGTERM)

    def end(self) -> None:
        """End the group: SIGTERM, then SIGKILL for what is left after a few seconds."""
        self.ask_to_end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_GRACE)
        self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
