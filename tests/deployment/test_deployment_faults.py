"""A real federation on loopback, TLS and SuperNode authentication included, whose hospitals fail on order.

One SuperLink and seven SuperNodes serve every run below, in order. Every update is known beforehand, so each round's
model is recomputed from the reported weights; nobody but those who failed may be blamed. `make deployment-test`.

The first run measures an exchange; what the others wait for silent hospitals follows from it, so that a slow machine
only takes longer.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from deployments.loopback.federation import Federation, Run
from flower_robust.masking.kernels.library import load_or_build
from flower_robust.provisioning import Participant, provision

pytestmark = [pytest.mark.deployment, pytest.mark.timeout(900)]

APP = Path(__file__).parent / "app"
NAMES = [f"hospital-{letter}" for letter in "ABCDEFG"]
A, B, C, D, E, F, G = NAMES
PATIENCE, LEAST_PATIENCE, EXCHANGES = 120.0, 15.0, 3.0
"""Seconds that the first run waits for a reply; the others wait for EXCHANGES median exchanges of the first."""
PARAMETERS = 1000
NOISE = 11 / 2**22 + 1e-6


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
def clean(federation: Federation) -> "Outcome":
    """Three masked rounds with everybody; the SuperLink is killed and restarted in the third."""
    killed: list[bool] = []

    def kill_in_the_third_round(out: Path) -> None:
        if (out / "model-2.npy").exists() and not killed:
            killed.append(True)
            federation.restart_superlink()

    outcome = run(federation, 3, [], threshold=1, reply_timeout=PATIENCE, meanwhile=kill_in_the_third_round)
    assert killed, "the run ended before the SuperLink was killed"
    return outcome


@pytest.fixture(scope="module")
def patience(clean: "Outcome") -> float:
    """Seconds to wait for a reply, from what exchanges took."""
    steps = ("exchange", "sketch-reply", "unmask-reply")
    found = [report["seconds"][step] for report in clean.rounds[:2] for step in steps]
    return max(LEAST_PATIENCE, EXCHANGES * median(found))


@dataclass(frozen=True)
class Outcome:
    """What a run left behind."""

    run: Run
    rounds: list[dict]
    models: list[np.ndarray]
    carried_out: set[str] = field(default_factory=set)

    def faults(self, server_round: int) -> set[tuple[str, str]]:
        return {(f["culprit"], f["certainty"]) for f in self.rounds[server_round - 1]["faults"]}

    def blamed(self) -> set[str]:
        """Everybody who is blamed by name; a node that proved no name stays a node."""
        culprits = {culprit for report in range(len(self.rounds)) for culprit, _ in self.faults(report + 1)}
        return {culprit for culprit in culprits if not culprit.startswith("node ")}

    def accepted(self, server_round: int) -> set[str]:
        return set(self.rounds[server_round - 1]["accepted"])


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
    out = federation.folder / f"out-{len(list(federation.folder.glob('out-*')))}"
    out.mkdir()
    config = {
        "rounds": rounds,
        "parameters": PARAMETERS,
        "roster": str(federation.folder / "roster.json"),
        "out": str(out),
        "faults": " ".join(orders),
        "reply-timeout": reply_timeout,
        "wait": reply_timeout,
        "evaluate": evaluate,
        "threshold": threshold,
        "strict": strict,
        "hold-after": hold_after,
    }
    done = federation.run(APP, config, 120 + rounds * 4 * reply_timeout, lambda: meanwhile(out))
    lines = (out / "rounds.jsonl").read_text().splitlines() if (out / "rounds.jsonl").exists() else []
    models = [np.load(path) for path in sorted(out.glob("model-*.npy"))]
    carried_out = {path.name for path in (out / "carried-out").glob("*")}
    outcome = Outcome(done, [json.loads(line) for line in lines], models, carried_out)
    assert done.status == "finished:completed", done.log
    assert len(outcome.rounds) == rounds and carried_out == set(orders)
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


def test_three_masked_rounds_complete_with_everybody_though_the_superlink_dies(clean: Outcome) -> None:
    for server_round in (1, 2, 3):
        assert clean.accepted(server_round) == set(NAMES)
        assert clean.faults(server_round) == set()
        assert not clean.rounds[server_round - 1]["refusals"]
        assert clean.rounds[server_round - 1]["exchanges"] == 3


def test_no_disk_of_the_federation_holds_a_part_of_an_update(federation: Federation, clean: Outcome) -> None:
    updates = [update_of(name, server_round).astype(np.float32) for name in NAMES for server_round in (1, 2, 3)]
    pieces = [update[start : start + 4].tobytes() for update in updates for start in (0, 400, 996)]
    pieces += [f"{update[0]:.6f}".encode() for update in updates]
    (federation.folder / "control").write_bytes(b"before" + updates[0].tobytes() + b"after")
    assert files_with(federation.folder, pieces) == [federation.folder / "control"], "an update is on somebody's disk"


def test_a_liar_at_each_step_and_a_slow_one_cost_nobody_else_a_strict_round(
    federation: Federation, patience: float
) -> None:
    first = [f"{G}:corrupt@enrol:0", f"{F}:misdeal@train:1", f"{E}:late@challenge:1"]
    second = [f"{D}:corrupt@challenge:2", f"{C}:corrupt@unmask:2"]
    outcome = run(federation, 2, [*first, *second], threshold=1, strict=True, reply_timeout=patience)
    assert outcome.accepted(1) == {A, B, C, D}
    assert outcome.faults(1) >= {(F, "proven"), (E, "silent")}
    assert "dispute" in outcome.rounds[0]["seconds"] and "echo" in outcome.rounds[0]["seconds"]
    assert outcome.accepted(2) == {A, B, C, E}, "a proven liar is asked again, or an honest one is not"
    assert outcome.faults(2) >= {(D, "proven"), (C, "proven")}
    assert outcome.blamed() <= {C, D, E, F, G}


def test_supernodes_killed_at_each_step_are_missed_and_rejoin(federation: Federation, patience: float) -> None:
    orders = [f"{A}:kill@train:1", f"{B}:kill-after@train:1", f"{C}:kill@challenge:1", f"{D}:kill@unmask:1"]

    def let_go_once_all_are_back(out: Path) -> None:
        if (out / "model-1.npy").exists() and not (out / "go").exists():
            federation.wait_online(*NAMES)
            (out / "go").touch()

    before = starts(federation)
    options = {"threshold": 1, "reply_timeout": patience, "hold_after": 1, "meanwhile": let_go_once_all_are_back}
    outcome = run(federation, 3, orders, **options)
    assert starts(federation) == {name: before[name] + (name in {A, B, C, D}) for name in NAMES}
    assert outcome.accepted(1) == {D, E, F, G}, "who died after the sketch shares is lost, or who died before is not"
    assert outcome.accepted(3) == set(NAMES), "a SuperNode that came back takes no part"
    assert outcome.blamed() <= {A, B, C, D}
    assert {certainty for r in (1, 2, 3) for _, certainty in outcome.faults(r)} == {"silent"}


def test_an_unmasked_round_with_a_liar_and_a_killed_supernode(federation: Federation, patience: float) -> None:
    orders = [f"{F}:corrupt@train:1", f"{A}:kill@evaluate:1"]
    outcome = run(federation, 1, orders, evaluate=True, reply_timeout=patience)
    assert outcome.accepted(1) == set(NAMES) - {F}
    assert outcome.faults(1) == {(F, "proven")}
