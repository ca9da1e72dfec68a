"""Child processes of the loopback federation are gone when whoever started them is."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deployments.loopback.children import Child
from deployments.loopback.ports import free_ports

GRANDCHILD = (
    "import subprocess, time; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); time.sleep(600)"
)
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + GRANDCHILD


def started(code: str, folder: Path) -> tuple[Child, int]:
    """A child and its own child's pid."""
    child = Child([sys.executable, "-c", code], folder / "log", os.environ, folder)
    return child, int(awaited(lambda: child.output[child.began :].strip()))


def awaited(ask, seconds: float = 20.0):
    end = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


@pytest.mark.parametrize("code", [GRANDCHILD, STUBBORN])
def test_end_takes_the_whole_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr("deployments.loopback.children._GRACE", 0.3)
    child, grandchild = started(code, tmp_path)
    child.end()
    assert child.exit_code is not None
    assert awaited(lambda: gone(grandchild))


def test_kill_gives_nobody_time(tmp_path: Path) -> None:
    child, grandchild = started(GRANDCHILD, tmp_path)
    child.kill()
    assert child.exit_code == -signal.SIGKILL
    assert awaited(lambda: gone(grandchild))


def test_the_block_ends_the_child_whatever_happens(tmp_path: Path) -> None:
    child, grandchild = started(GRANDCHILD, tmp_path)
    with pytest.raises(RuntimeError), child:
        raise RuntimeError
    assert awaited(lambda: gone(grandchild))


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal")
def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from deployments.loopback.children import Child; "
        f"c = Child(['sleep', '600'], Path({str(tmp_path / 'log')!r}), os.environ, Path('.')); "
        "print(c.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert not gone(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert awaited(lambda: gone(pid))


def test_output_counts_from_where_the_child_began(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("earlier\n")
    child = Child([sys.executable, "-c", "print('later')"], tmp_path / "log", os.environ, tmp_path)
    awaited(lambda: child.exit_code is not None)
    assert child.output[child.began :] == "later\n"


def test_free_ports_are_different() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
