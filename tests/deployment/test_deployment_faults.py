"""A real federation on loopback, TLS and SuperNode authentication included, whose hospitals fail on order.

One SuperLink and seven SuperNodes serve three runs: every lie in strict rounds; every death and a delay, then three
rounds with everybody; an unmasked round. Every update is known beforehand, so each round's model is recomputed
from the reported weights; who is blamed, at which step and how surely, is compared with the orders, nobody else may be.
`make deployment-test`.

The liars' run waits for nobody and measures an exchange; how long the others wait for silent hospitals follows from it,
so that a slow machine only takes longer.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from deployments.loopback.federation import Federation, Run
from flower_robust.masking.kernels.library import load_or_build
from flower_robust.provisioning import Participant, provision

pytestmark = [pytest.mark.deployment, pytest.mark.timeout(1800)]

APP = Path(__file__).parent / "app"
NAMES = [f"hospital-{letter}" for letter in "ABCDEFG"]
A, B, C, D, E, F, G = NAMES
PATIENCE, LEAST_PATIENCE, EXCHANGES = 180.0, 15.0, 3.0
"""Seconds that the liars' run waits for a reply; the others wait for EXCHANGES of its slowest exchanges."""
PARAMETERS = 1000
NOISE = 11 / 2**22 + 1e-6
PROVEN, SILENT = "proven", "silent"

LIES = [
    f"{G}:corrupt@enrol:0",
    f"{F}:misdeal@train:1",
    f"{C}:misecho@echo:1",
    f"{E}:refuse@echo:1",
    f"{D}:corrupt@challenge:2",
    f"{B}:corrupt@unmask:2",
]
DEATHS = [
    f"{A}:kill@train:1",
    f"{B}:kill-after@train:1",
    f"{C}:kill@challenge:1",
    f"{E}:late@challenge:1",
    f"{D}:kill@unmask:1",
]
SILENCES = {
    (1, A, "submission"),
    (1, B, "sketch-reply"),
    (1, C, "sketch-reply"),
    (1, E, "sketch-reply"),
    (1, D, "unmask-reply"),
}
"""In which round and at which step who is missed, if DEATHS are all that goes wrong."""


@dataclass(frozen=True)
class Outcome:
    """What a run left behind; rounds count from 1. `came_up`: how often each SuperNode did meanwhile."""

    run: Run
    rounds: list[dict]
    models: list[np.ndarray]
    evaluation_faults: dict[str, list[str]]
    carried_out: set[str]
    came_up: dict[str, int]

    def faults(self, server_round: int) -> set[tuple[str, str, str]]:
        """Culprit, step and certainty; a node that proved no name is "node"."""
        found = self.rounds[server_round - 1]["faults"]
        return {(fault["culprit"].split()[0], fault["step"], fault["certainty"]) for fault in found}

    def silences(self) -> set[tuple[int, str, str]]:
        """Round, name and step of whoever did not answer in time."""
        found = [(report["round"], fault) for report in self.rounds for fault in report["faults"]]
        return {(r, fault["culprit"], fault["step"]) for r, fault in found if fault["kind"] == "NoReply"}

    def accepted(self, server_round: int) -> set[str]:
        return set(self.rounds[server_round - 1]["accepted"])

    def refusals(self, server_round: int) -> dict[str, str]:
        return self.rounds[server_round - 1]["refusals"]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    folder = tmp_path_factory.mktemp("federation") / "folder"
    load_or_build()
    provision(folder, ["127.0.0.1", "localhost"], [Participant.create(name) for name in NAMES], [])

    def node_config(name: str, index: int) -> dict[str, object]:
        return {"partition-id": index, "log": str(folder / "logs" / f"supernode-{name}.log")}

    with Federation(folder, node_config) as federation:
        federation.keep_running(*NAMES)
        yield federation


@pytest.fixture(scope="module")
def liars(federation: Federation) -> Outcome:
    """Two strict rounds with a liar at each step; the SuperLink is killed and restarted in the second."""
    killed: list[bool] = []

    def kill_in_the_second_round(out: Path) -> None:
        if (out / "model-1.npy").exists() and not killed:
            killed.append(True)
            federation.restart_superlink()

    options = {"threshold": 1, "strict": True, "meanwhile": kill_in_the_second_round}
    outcome = run(federation, 2, LIES, reply_timeout=PATIENCE, **options)
    assert killed, "the run ended before the SuperLink was killed"
    return outcome


@pytest.fixture(scope="module")
def patience(liars: Outcome) -> float:
    """Seconds to wait for a reply, from what exchanges took in the round in which nobody died."""
    steps = ("sketch-reply", "dispute", "echo", "unmask-reply")
    return max(LEAST_PATIENCE, EXCHANGES * max(liars.rounds[0]["seconds"][step] for step in steps))


@pytest.fixture(scope="module")
def deaths(federation: Federation, patience: float) -> Outcome:
    """A round in which SuperNodes die, one to which they come back, and three with everybody."""

    def let_go_once_all_are_back(out: Path) -> None:
        if (out / "model-1.npy").exists() and not (out / "go").exists():
            federation.wait_online(*NAMES)
            (out / "go").touch()

    options = {"threshold": 1, "hold_after": 1, "meanwhile": let_go_once_all_are_back}
    return in_time(
        patience,
        lambda timeout: run(federation, 5, DEATHS, reply_timeout=timeout, **options),
        lambda outcome: outcome.silences() == SILENCES,
    )


def in_time(patience: float, attempt: Callable[[float], Outcome], is_in_time: Callable[[Outcome], bool]) -> Outcome:
    """A machine that was busier than when it was measured, so that others were late too, gets twice the time, twice."""
    for timeout in (patience, 2 * patience):
        if is_in_time(outcome := attempt(timeout)):
            return outcome
    return attempt(4 * patience)


def run(
    federation: Federation,
    rounds: int,
    orders: list[str],
    *,
    reply_timeout: float,
    threshold: int = 0,
    strict: bool = False,
    evaluate: bool = False,
    hold_after: int = 0,
    meanwhile: Callable[[Path], None] = lambda out: None,
) -> Outcome:
    """One `flwr run` with these orders. Checks what holds whatever fails: it completes, and every model is exact."""
    federation.wait_online(*NAMES)
    before = starts(federation)
    out = federation.folder / f"out-{len(list(federation.folder.glob('out-*')))}"
    out.mkdir()
    config = {
        "rounds": rounds,
        "parameters": PARAMETERS,
        "roster": str(federation.folder / "roster.json"),
        "out": str(out),
        "faults": " ".join(orders),
        "reply-timeout": reply_timeout,
        "wait": PATIENCE,
        "evaluate": evaluate,
        "threshold": threshold,
        "strict": strict,
        "hold-after": hold_after,
    }
    done = federation.run(APP, config, 300 + rounds * 6 * reply_timeout, lambda: meanwhile(out))
    assert done.status == "finished:completed", done.log
    reports = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    assert len(reports) == rounds
    models = [np.load(out / f"model-{server_round}.npy") for server_round in range(rounds + 1)]
    evaluation_faults = json.loads((out / "finished.json").read_text())["evaluation-faults"]
    carried_out = {path.name for path in (out / "carried-out").glob("*")}
    came_up = {name: count - before[name] for name, count in starts(federation).items()}
    outcome = Outcome(done, reports, models, evaluation_faults, carried_out, came_up)
    assert_exact(outcome)
    return outcome


def assert_exact(outcome: Outcome) -> None:
    """new - old is the weighted mean of the known updates, for every round that accepted anybody."""
    for report, old, new in zip(outcome.rounds, outcome.models, outcome.models[1:], strict=False):
        weights = report["weights"] or {}
        total = sum(weights.values())
        mean = sum((w / total * update_of(name, report["round"]) for name, w in weights.items()), np.zeros(PARAMETERS))
        assert np.allclose(new - old, mean, atol=NOISE), report["round"]


def update_of(name: str, server_round: int) -> np.ndarray:
    """What the app sends, from the app's own file, which no package holds."""
    scope: dict = {}
    exec((APP / "hospitals" / "task.py").read_text(), scope)
    return scope["update_of"](name, server_round, PARAMETERS).astype(np.float64)


def files_with(folder: Path, needles: list[bytes]) -> list[Path]:
    """Files below the folder that hold any of these bytes: logs, databases, run folders, what clients keep."""
    contents = ((path, path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path, content in contents if any(needle in content for needle in needles)]


def starts(federation: Federation) -> dict[str, int]:
    """How often each SuperNode was started and came up."""
    return {name: federation.nodes[name].output.count("SuperNode ID:") for name in NAMES}


def test_a_liar_at_each_step_is_proven_and_costs_nobody_else_a_strict_round_though_the_superlink_dies(
    liars: Outcome,
) -> None:
    assert liars.carried_out == set(LIES) and not any(liars.came_up.values())
    absent = (G, "enrol", SILENT)
    assert liars.faults(1) == {
        ("node", "enrol", PROVEN),
        absent,
        (F, "dispute", PROVEN),
        (C, "echo", PROVEN),
        (E, "echo", SILENT),
    }
    assert liars.accepted(1) == {A, B, C, D, E}
    assert liars.refusals(1) == {E: "on order"} and liars.rounds[0]["exchanges"] == 5
    assert set(liars.rounds[1]["expected"]) == {A, B, D, E}, "a proven liar is asked again, or an honest one is not"
    assert liars.faults(2) == {absent, (D, "sketch-reply", PROVEN), (B, "unmask-reply", PROVEN)}
    assert liars.accepted(2) == {A, B, E}
    assert liars.rounds[1]["exchanges"] == 4


def test_supernodes_killed_at_each_step_and_a_slow_one_are_missed(deaths: Outcome) -> None:
    assert deaths.carried_out == set(DEATHS)
    assert deaths.faults(1) == {(name, step, SILENT) for _, name, step in SILENCES}
    assert deaths.accepted(1) == {D, F, G}, "who died after the sketch shares is lost, or who died before is not"


def test_killed_supernodes_say_that_they_lost_their_run_key_and_rejoin(deaths: Outcome) -> None:
    assert deaths.came_up == {name: int(name in {A, B, C, D}) for name in NAMES}
    assert deaths.faults(2) == {(name, "submission", SILENT) for name in (A, B, C, D)}
    assert deaths.refusals(2).keys() == {A, B, C, D} and all("no run key" in why for why in deaths.refusals(2).values())
    assert deaths.accepted(2) == {E, F, G}


def test_three_masked_rounds_complete_with_everybody(deaths: Outcome) -> None:
    for server_round in (3, 4, 5):
        report = deaths.rounds[server_round - 1]
        assert deaths.accepted(server_round) == set(NAMES)
        assert deaths.faults(server_round) == set() and not report["refusals"]
        assert report["exchanges"] == 3
        audits = [audit.split(",")[0] for audit in report["audits"].values()]
        assert audits == ["done"] * len(NAMES)


def test_no_disk_of_the_federation_holds_a_part_of_an_update(federation: Federation, deaths: Outcome) -> None:
    updates = [update_of(name, server_round).astype(np.float32) for name in NAMES for server_round in (1, 2, 3, 4, 5)]
    pieces = [update[start : start + 4].tobytes() for update in updates for start in (0, 400, 996)]
    pieces += [f"{update[0]:.6f}".encode() for update in updates]
    (federation.folder / "control").write_bytes(b"before" + updates[0].tobytes() + b"after")
    assert files_with(federation.folder, pieces) == [federation.folder / "control"], "an update is on somebody's disk"


def test_an_unmasked_round_with_a_liar_and_a_killed_supernode(federation: Federation, patience: float) -> None:
    orders = [f"{F}:corrupt@train:1", f"{A}:kill@evaluate:1"]
    outcome = in_time(
        patience,
        lambda timeout: run(federation, 1, orders, evaluate=True, reply_timeout=timeout),
        lambda outcome: not outcome.silences() and outcome.evaluation_faults == {"1": [A]},
    )
    assert outcome.carried_out == set(orders)
    assert outcome.accepted(1) == set(NAMES) - {F}
    assert outcome.faults(1) == {(F, "norm-commitment", PROVEN)}
    assert outcome.evaluation_faults == {"1": [A]}
