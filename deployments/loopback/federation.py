"""A SuperLink, its SuperExec and N SuperNodes as a consortium runs them (deployments/README.md), on loopback.

The folder is one that `flower-robust provision` wrote; what each command gets is what the README tells people to type.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from deployments.loopback import commands
from deployments.loopback.children import Child
from deployments.loopback.ports import free_ports
from flower_robust.commitments import Roster
from flower_robust.errors import RobustError

CONNECTION = "loopback"
BIN = Path(sys.executable).parent

ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
    "PYTHONUNBUFFERED": "1",
}
"""SuperExec asks for work once a second unless told otherwise; two of those waits lie in every exchange."""

START_SECONDS = 300.0
"""How long anything may take to start: Flower's commands load for seconds, several at once, on a busy machine."""

RESTART_PAUSE = 15.0
"""Seconds between a SuperNode's end and its restart: a killed one is refused for up to a minute, and every try costs
the others three CPU seconds."""


class FederationError(RobustError):
    """The federation did not come up, or a command of its own failed; nobody is blamed."""


@dataclass(frozen=True, slots=True)
class Run:
    """One `flwr run` as it ended: `status` as Flower prints it, e.g. "finished:completed"."""

    run_id: int
    status: str
    seconds: float
    log: str


class Federation:
    """`with Federation(folder, node_config) as federation: federation.run(app, {...})`.

    `folder` was written by `provision`; `node_config(name, index)` is what a SuperNode gets beside its identity. Every
    process that it started is gone when the block ends, whatever ended it; logs stay in `folder/logs`.
    """

    def __init__(self, folder: Path, node_config: Callable[[str, int], Mapping[str, object]]) -> None:
        self.folder, self.logs = folder.resolve(), folder.resolve() / "logs"
        self.roster = Roster.load(folder / "roster.json")
        self.node_config = node_config
        self.nodes: dict[str, Child] = {}
        self._children: list[Child] = []
        self._stack = contextlib.ExitStack()
        self.port, *ports = free_ports(1 + len(self.roster))
        self._node_ports: dict[str, int] = dict(zip(self.roster.names, ports, strict=True))
        self._restarting: set[str] = set()
        self._ended: dict[str, float] = {}

    def __enter__(self) -> "Federation":
        with contextlib.ExitStack() as stack:
            stack.callback(self._end)
            self._start_superlink()
            self._register()
            for name in self.roster.names:
                self.start_node(name)
            self._wait("the SuperNodes", lambda: all(map(self._is_online, self.nodes)), list(self.nodes.values()))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def address(self) -> str:
        """Where the SuperLink listens."""
        return f"127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What every command of this federation runs with: its own Flower home, and the commands of this Python."""
        path = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"
        return {**os.environ, **ENVIRONMENT, "FLWR_HOME": str(self.folder / "flwr"), "PATH": path}

    def start_node(self, name: str) -> Child:
        """Start a participant's SuperNode; its log is appended to."""
        own, port = self.folder / "participants" / name, self._node_ports[name]
        config = self.node_config(name, list(self._node_ports).index(name))
        self.nodes[name] = self._child(f"supernode-{name}", commands.supernode(own, self.address, port, config))
        return self.nodes[name]

    def kill_node(self, name: str) -> None:
        """SIGKILL to the SuperNode, its SuperExec and its ClientApp, all at once."""
        self.nodes[name].kill()

    def keep_running(self, *names: str) -> None:
        """From now on restart these SuperNodes whenever they end, as a restart policy does.

        One that was killed is refused for up to a minute, until the SuperLink has missed its heartbeats.
        """
        self._restarting |= set(names)

    def wait_online(self, *names: str) -> None:
        """Wait until these SuperNodes are connected, restarting those that `keep_running` names."""
        self._wait(f"SuperNodes {', '.join(names)}", lambda: all(self._is_online(name) for name in names), [])

    def restart_superlink(self) -> None:
        """SIGKILL to the SuperLink, then a new one on the same port and database; SuperExec and SuperNodes go on."""
        self.superlink.kill()
        self._launch_superlink()

    def run(
        self, app: Path, config: Mapping[str, object], timeout: float, meanwhile: Callable[[], None] = lambda: None
    ) -> Run:
        """`flwr run` the app, wait until the run has ended, and say how; `meanwhile` is called while it runs.

        Raises FederationError if the run could not be submitted or has not ended after `timeout` seconds; the run is
        then stopped. `flwr log` ends when the SuperLink is restarted; it is then started again.
        """
        started, run_config = time.monotonic(), commands.toml_pairs(config)
        run_id = int(str(self.flwr("run", str(app), CONNECTION, "--format", "json", "-c", run_config)["run-id"]))
        log = self.logs / f"run-{run_id}.log"
        while not (status := self._status(run_id)).startswith("finished"):
            with self._child(log.stem, ["flwr", "log", str(run_id), CONNECTION, "--stream"]) as stream:
                while stream.exit_code is None:
                    if time.monotonic() - started > timeout:
                        self.flwr("stop", str(run_id), CONNECTION, "--format", "json")
                        raise FederationError(f"run {run_id}: still running after {timeout} s; logs in {self.logs}")
                    meanwhile()
                    self._restart_ended()
                    time.sleep(0.2)
        return Run(run_id, status, time.monotonic() - started, log.read_text(errors="replace") if log.exists() else "")

    def flwr(self, *arguments: str) -> dict[str, object]:
        """The JSON that a `flwr` command prints. Raises FederationError with its output if it failed."""
        command = [str(BIN / "flwr"), *arguments]
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=START_SECONDS
        )
        try:
            answer: dict[str, object] = json.loads(done.stdout)
        except ValueError:
            answer = {}
        if done.returncode or not answer.get("success"):
            raise FederationError(f"flwr {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return answer

    def _start_superlink(self) -> None:
        own = self.folder / "superlink"
        self._write_connection(own)
        self._launch_superlink()
        self.superexec = self._child("superexec", commands.superexec(own, self.address))

    def _launch_superlink(self) -> None:
        own = self.folder / "superlink"
        command = commands.superlink(own, "127.0.0.1", self.port, self.folder / "superlink.db")
        self.superlink = link = self._child("superlink", command)
        self._wait("the SuperLink", lambda: "Uvicorn running" in link.output[link.began :], [link])

    def _write_connection(self, own: Path) -> None:
        self.logs.mkdir(exist_ok=True)
        home = self.folder / "flwr"
        home.mkdir(exist_ok=True)
        lines = ["[superlink]", f'default = "{CONNECTION}"', f"[superlink.{CONNECTION}]", f'address = "{self.address}"']
        (home / "config.toml").write_text("\n".join([*lines, f'root-certificates = "{own / "ca.crt"}"', ""]))

    def _register(self) -> None:
        def register(name: str) -> None:
            _, *arguments = commands.register(self.folder / "superlink", name, CONNECTION)
            self.flwr(*arguments, "--format", "json")

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(register, self.roster.names))

    def _is_online(self, name: str) -> bool:
        node = self.nodes[name]
        return node.exit_code is None and "SuperNode ID:" in node.output[node.began :]

    def _wait(self, what: str, ready: Callable[[], bool], children: Sequence[Child]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            self._restart_ended()
            ended = [child for child in children if child.exit_code is not None]
            if ended or time.monotonic() > deadline:
                tails = "\n".join(child.output[-1500:] for child in ended or children[:1])
                raise FederationError(f"{what} did not come up; logs in {self.logs}\n{tails}")
            time.sleep(0.1)

    def _restart_ended(self) -> None:
        now = time.monotonic()
        for name in self._restarting:
            if self.nodes[name].exit_code is None:
                self._ended.pop(name, None)
            elif now - self._ended.setdefault(name, now) > RESTART_PAUSE:
                self.start_node(name)

    def _status(self, run_id: int) -> str:
        listed = self.flwr("list", CONNECTION, "--run-id", str(run_id), "--format", "json")
        runs = listed["runs"]
        assert isinstance(runs, list)
        return str(runs[0]["status"])

    def _child(self, name: str, command: list[str]) -> Child:
        executable = str(BIN / command[0])
        child = Child([executable, *command[1:]], self.logs / f"{name}.log", self.environment, self.folder)
        self._children.append(child)
        return child

    def _end(self) -> None:
        for child in self._children:
            child.ask_to_end()
        for child in reversed(self._children):
            child.end()
