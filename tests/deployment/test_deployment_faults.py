"""A real federation on loopback, TLS and SuperNode authentication included, whose hospitals fail on order.

One SuperLink and seven SuperNodes serve every run below, in order. Every update is known beforehand, so each round's
model is recomputed from the reported weights; nobody but those who failed may be blamed. `make deployment-test`.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from deployments.loopback.federation import Federation, Run
from flower_robust.masking.kernels.library import load_or_build
from flower_robust.provisioning import Participant, provision

pytestmark = [pytest.mark.deployment, pytest.mark.timeout(900)]

APP = Path(__file__).parent / "app"
NAMES = [f"hospital-{letter}" for letter in "ABCDEFG"]
A, B, C, D, E, F, G = NAMES
REPLY_TIMEOUT = 45.0
"""Seconds; an exchange takes eight on two cores of its own, and every silent client costs this."""
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
    threshold: int = 0,
    evaluate: bool = False,
    reply_timeout: float = REPLY_TIMEOUT,
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
        "wait": REPLY_TIMEOUT,
        "evaluate": evaluate,
        "threshold": threshold,
    }
    done = federation.run(APP, config, 120 + rounds * 3 * reply_timeout, lambda: meanwhile(out))
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


def test_three_masked_rounds_complete_with_everybody(federation: Federation) -> None:
    outcome = run(federation, 3, [], threshold=1)
    for server_round in (1, 2, 3):
        assert outcome.accepted(server_round) == set(NAMES)
        assert outcome.faults(server_round) == set()
        assert not outcome.rounds[server_round - 1]["refusals"]
    updates = [update_of(name, server_round).astype(np.float32) for name in NAMES for server_round in (1, 2, 3)]
    pieces = [update[start : start + 4].tobytes() for update in updates for start in (0, 400, 996)]
    pieces += [f"{update[0]:.6f}".encode() for update in updates]
    (federation.folder / "control").write_bytes(b"before" + updates[0].tobytes() + b"after")
    assert files_with(federation.folder, pieces) == [federation.folder / "control"], "an update is on somebody's disk"


def test_a_liar_at_each_step_and_a_slow_one_cost_nobody_else_the_round(federation: Federation) -> None:
    late, first = f"{E}:late@challenge:1", [f"{G}:corrupt@enrol:0", f"{F}:corrupt@train:1"]
    outcome = run(federation, 2, [*first, late, f"{D}:corrupt@challenge:2", f"{C}:corrupt@unmask:2"], threshold=1)
    assert outcome.accepted(1) == {A, B, C, D, E}
    assert outcome.faults(1) >= {(F, "proven"), (E, "silent")}
    assert outcome.accepted(2) == {A, B, C, D, E}, "a proven liar is asked again, or an honest one is not"
    assert outcome.faults(2) >= {(D, "proven"), (C, "proven")}
    assert outcome.blamed() <= {C, D, E, F, G}


def test_supernodes_killed_at_each_step_are_missed_and_rejoin(federation: Federation) -> None:
    before, after = [f"{A}:kill@train:1", f"{B}:kill-after@train:1"], [f"{C}:kill@challenge:2", f"{D}:kill@unmask:2"]
    outcome = run(federation, 7, before + after, threshold=1)
    assert outcome.accepted(1) == set(NAMES) - {A}, "an update that arrived before its sender died is lost"
    assert outcome.accepted(2) >= {C, D, E, F, G}, "an update is lost because its sender died later"
    assert outcome.accepted(7) == set(NAMES), "a SuperNode that came back takes no part"
    assert outcome.blamed() <= {A, B, C, D}
    assert {certainty for r in range(1, 8) for _, certainty in outcome.faults(r)} == {"silent"}


def test_an_unmasked_round_with_a_liar_and_a_killed_supernode(federation: Federation) -> None:
    outcome = run(federation, 2, [f"{F}:corrupt@train:1", f"{A}:kill@evaluate:1"], evaluate=True)
    assert outcome.accepted(1) == set(NAMES) - {F}
    assert (F, "proven") in outcome.faults(1)
    assert outcome.accepted(2) == set(NAMES) - {A, F}
    assert outcome.blamed() <= {A, F}


def test_a_superlink_that_is_killed_in_a_round_and_restarted_loses_nothing(federation: Federation) -> None:
    killed: list[bool] = []

    def kill_in_the_second_round(out: Path) -> None:
        if (out / "rounds.jsonl").exists() and not killed:
            killed.append(True)
            federation.restart_superlink()

    outcome = run(federation, 2, [], threshold=1, reply_timeout=120.0, meanwhile=kill_in_the_second_round)
    assert killed
    for server_round in (1, 2):
        assert outcome.accepted(server_round) == set(NAMES)
        assert outcome.faults(server_round) == set()
