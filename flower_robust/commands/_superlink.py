"""A SuperLink in simulation mode for one run, on a free loopback port and with its own FLWR_HOME; ended by its pid."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from flower_robust.commands._processes import end_with_descendants
from flower_robust.errors import ConfigurationError, RobustError

ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
"""No telemetry, no update check; without clusters, Ray listens on loopback, not on the address that faces 8.8.8.8."""
CLUSTER_FILE = "ray_bootstrap_config.yaml"
"""Ray asks the network which cloud it runs in, whether or not it may report that, unless its home holds this file."""
CONNECTION = "here"
START_SECONDS = 120.0
GRACE_SECONDS = 10.0
SHORT = 16


class FlowerRuntimeError(RobustError):
    """Flower's runtime did not start, did not take the run, or ended it."""


class SimulationSuperLink:
    """Context manager: the SuperLink runs inside the `with`, and nothing of it is left behind."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="flower-robust-", dir=_short_folder()))
        self.port = _free_port()
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        caches = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        own = dict.fromkeys(("HOME", "FLWR_HOME", "RAY_TMPDIR"), str(self.home))
        self.environment = {**os.environ, **ENVIRONMENT, **own, "PATH": programs, "XDG_CACHE_HOME": caches}
        self._link: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        connection = f'[superlink.{CONNECTION}]\naddress = "127.0.0.1:{self.port}"\ninsecure = true\n'
        (self.home / CLUSTER_FILE).write_text("{}\n")
        (self.home / "config.toml").write_text(f'[superlink]\ndefault = "{CONNECTION}"\n\n{connection}')
        options = ["--insecure", "--simulation", "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.home / "superlink.log").open("wb") as log:
            self._link = subprocess.Popen(
                [_program("flower-superlink"), *options],
                env=self.environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            self._await_health()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._link is not None:
            end_with_descendants(self._link, GRACE_SECONDS)
        shutil.rmtree(self.home, ignore_errors=True)

    def submit(self, app: Path, config: Mapping[str, object], hospitals: int) -> str:
        """Start a run of the app in this folder and return its id. Raises FlowerRuntimeError with what Flower said."""
        options = self.home / "run.toml"
        options.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in config.items()))
        federation = f"num-supernodes={hospitals} client-resources-num-cpus=1"
        reply = self._flwr("run", str(app), CONNECTION, "--run-config", str(options), "--federation-config", federation)
        return str(reply["run-id"])

    def status(self, run_id: str) -> str:
        """The run's status as `flwr list` says it, e.g. running or finished:failed."""
        runs = self._flwr("list", CONNECTION, "--run-id", run_id).get("runs")
        return str(runs[0]["status"]) if isinstance(runs, list) and runs else "unknown"

    def log(self, run_id: str) -> str:
        """What the run has printed so far."""
        shown = subprocess.run(
            [_program("flwr"), "log", run_id, CONNECTION, "--show"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
        )
        return shown.stdout + shown.stderr

    def require_alive(self) -> None:
        """Raises FlowerRuntimeError, with the last lines of its log, if the SuperLink has ended."""
        if self._link is None or self._link.poll() is not None:
            log = (self.home / "superlink.log").read_text(errors="replace").splitlines()[-5:]
            raise FlowerRuntimeError(f"flower-superlink ended: {' / '.join(log)}")

    def _await_health(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.require_alive()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2):
                    return
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                time.sleep(0.1)
        raise FlowerRuntimeError(f"flower-superlink did not answer on port {self.port} within {START_SECONDS:.0f} s")

    def _flwr(self, *arguments: str) -> dict[str, object]:
        done = subprocess.run(
            [_program("flwr"), *arguments, "--format", "json"],
            env=self.environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=START_SECONDS,
        )
        try:
            reply: dict[str, object] = json.loads(done.stdout)
        except ValueError:
            reply = {"success": False, "error-message": done.stdout + done.stderr}
        if not reply.get("success"):
            raise FlowerRuntimeError(f"flwr {arguments[0]}: {' '.join(str(reply.get('error-message')).split())}")
        return reply


def _program(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise ConfigurationError("flwr", name, "Flower's programs installed (pip install 'flower-robust[app]')")
    return found


def _short_folder() -> str:
    """Ray's sockets lie 66 characters below this folder, and a socket's path has at most 107."""
    usual = tempfile.gettempdir()
    return usual if len(usual) <= SHORT else "/tmp"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
