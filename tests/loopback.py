"""Real Flower processes on loopback: each test owns ports, FLWR_HOME and processes, and ends them by pid."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Self

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[1]
ONE_PORT = version("flwr") >= "1.41"
"""Since then one port serves SuperNodes, too; before, they had a gRPC port of their own."""
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


@dataclass
class Loopback:
    """A SuperLink (with Ray behind it if `simulation`), the SuperNodes that a test adds, and the `flwr` command."""

    folder: Path
    simulation: bool = False
    processes: list[subprocess.Popen] = field(default_factory=list)
    port: int = field(default_factory=lambda: free_port())

    def __enter__(self) -> Self:
        (self.folder / "home").mkdir(parents=True)
        connection = f'[superlink]\ndefault = "loopback"\n[superlink.loopback]\naddress = "127.0.0.1:{self.port}"\n'
        (self.folder / "home/config.toml").write_text(connection + "insecure = true\n")
        self.fleet_port = self.port if ONE_PORT else free_port()
        options = ["--simulation"] if self.simulation else []
        options += [] if ONE_PORT else ["--fleet-api-address", f"127.0.0.1:{self.fleet_port}"]
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        self.start("flower-superlink", "--insecure", *address, "--database", str(self.folder / "state.db"), *options)
        self._await_health(60)
        return self

    def __exit__(self, *error: object) -> None:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            for process in self.processes:
                end_group(process, sign)
            self._await_end(5)

    def start(self, program: str, *arguments: str) -> subprocess.Popen:
        """A process in a group of its own, its output in a log of the folder."""
        log = (self.folder / f"{program}-{len(self.processes)}.log").open("w")
        command = [str(BIN / program), *arguments]
        process = subprocess.Popen(
            command, env=self.environment, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
        )
        self.processes.append(process)
        return process

    def supernode(self, node_config: str) -> subprocess.Popen:
        address = ["--superlink", f"127.0.0.1:{self.fleet_port}", "--port", str(free_port())]
        return self.start("flower-supernode", "--insecure", *address, "--node-config", node_config)

    def run(self, app: Path, timeout: float, nodes: int | None = None, **config: object) -> tuple[str, str]:
        """`flwr run` the app: its status, e.g. `finished:completed`, at its end or after `timeout` s, and its log."""
        options = [f"{key.replace('_', '-')}={json.dumps(value)}" for key, value in config.items()]
        simulated = f"num-supernodes={nodes} client-resources-num-cpus=1"
        federation = ["--federation-config", simulated] if nodes else []
        started = self.flwr("run", str(app), "loopback", *federation, "-c", " ".join(options), "--format", "json")
        run_id, end, status = str(json.loads(started)["run-id"]), time.monotonic() + timeout, "unknown"
        while not status.startswith("finished") and time.monotonic() < end:
            time.sleep(2)
            listed = json.loads(self.flwr("list", "loopback", "--run-id", run_id, "--format", "json"))
            status = listed["runs"][0]["status"]
        return status, self.flwr("log", run_id, "loopback", "--show")

    def flwr(self, *arguments: str) -> str:
        command = [str(BIN / "flwr"), *arguments]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, cwd=self.folder
        )
        if done.returncode:
            raise RuntimeError(f"{arguments}: {done.stdout}{done.stderr}\n{self.logs()}")
        return done.stdout

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()}" for path in sorted(self.folder.glob("*.log")))

    @property
    def environment(self) -> dict[str, str]:
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        ours = {"PATH": path, "FLWR_HOME": str(self.folder / "home"), "PYTHONPATH": str(ROOT), "TMPDIR": "/tmp"}
        return {**os.environ, **QUIET, **ours}

    def _await_health(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=1):
                    return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError(self.logs())

    def _await_end(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(process.poll() is None for process in self.processes):
            time.sleep(0.1)


def end_group(process: subprocess.Popen, sign: signal.Signals) -> None:
    """Signal the process and whatever it started."""
    try:
        os.killpg(process.pid, sign)
    except ProcessLookupError:
        return


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
