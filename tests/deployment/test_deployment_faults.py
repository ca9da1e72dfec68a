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
from flower_robust.provisioning import Participant, provision

pytestmark = [pytest.mark.deployment, pytest.mark.timeout(900)]

APP = Path(__file__).parent / "app"
NAMES = [f"hospital-{letter}" for letter in "ABCDEFG"]
A, B, C, D, E, F, G = NAMES
REPLY_TIMEOUT = 30.0
PARAMETERS = 1000


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    folder = tmp_path_factory.mktemp("federation") / "folder"
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

    def accepted(self, server_round: int) -> set[str]:
        return set(self.rounds[server_round - 1]["accepted"])


def run(
    federation: Federation,
    rounds: int,
    orders: list[str],
    *,
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
        assert np.allclose(new - old, mean, atol=1e-6), report["round"]


def update_of(name: str, server_round: int) -> np.ndarray:
    """What the app sends, from the app's own file, which no package holds."""
    scope: dict = {}
    exec((APP / "hospitals" / "task.py").read_text(), scope)
    return scope["update_of"](name, server_round, PARAMETERS).astype(np.float64)


def test_three_rounds_complete_with_everybody(federation: Federation) -> None:
    outcome = run(federation, 3, [], evaluate=True)
    for server_round in (1, 2, 3):
        assert outcome.accepted(server_round) == set(NAMES)
        assert outcome.faults(server_round) == set()


def test_a_liar_at_each_step_and_a_slow_one_cost_nobody_else_the_round(federation: Federation) -> None:
    outcome = run(federation, 3, [f"{G}:corrupt@enrol:0", f"{E}:late@train:1", f"{F}:corrupt@train:2"])
    assert outcome.accepted(1) == {A, B, C, D, F}
    assert (E, "silent") in outcome.faults(1)
    assert outcome.accepted(2) == {A, B, C, D, E}
    assert (F, "proven") in outcome.faults(2)
    assert outcome.accepted(3) == {A, B, C, D, E}, "a proven liar is asked again"
    blamed = {culprit for r in (1, 2, 3) for culprit, _ in outcome.faults(r) if not culprit.startswith("node ")}
    assert blamed <= {E, F, G}


def test_a_killed_supernode_is_missed_once_and_rejoins(federation: Federation) -> None:
    outcome = run(federation, 6, [f"{A}:kill@train:1", f"{B}:kill-after@train:2"])
    assert outcome.accepted(1) == set(NAMES) - {A}
    assert outcome.accepted(2) == set(NAMES) - {A}, "an update that arrived before its sender died is lost"
    assert {A, B} <= outcome.accepted(6), "a SuperNode that came back takes no part"
    blamed = {fault for r in range(1, 7) for fault in outcome.faults(r)}
    assert blamed <= {(A, "silent"), (B, "silent")}


def test_a_superlink_that_is_killed_in_a_round_and_restarted_loses_nothing(federation: Federation) -> None:
    killed: list[bool] = []

    def kill_in_the_second_round(out: Path) -> None:
        if (out / "rounds.jsonl").exists() and not killed:
            killed.append(True)
            federation.restart_superlink()

    outcome = run(federation, 2, [], reply_timeout=120.0, meanwhile=kill_in_the_second_round)
    assert killed
    for server_round in (1, 2):
        assert outcome.accepted(server_round) == set(NAMES)
        assert outcome.faults(server_round) == set()
