"""The hospital app in a deployment: real keys and a real roster on both sides, or one clear line and no run."""

import json
import re
from pathlib import Path

import pytest
from flwr.app import Context, RecordDict

from clients.app import run_of
from clients.settings import Settings
from flower_robust import Identity, Roster
from flower_robust.commitments import RosterEntry
from flower_robust.errors import ConfigurationError, QuorumNotReached, RobustError
from server.app import app as server_app
from tests.flower_double import RUN_ID, FakeGrid
from tests.simulated import DEFAULTS, settings_for, simulate

NAMES = [f"hospital-{i:02}" for i in range(1, 8)]
OPTIONS = {"hospitals": 7, "rounds": 2, "arms": "robust", "threshold": 1, "rule": "multikrum", "f": 1}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with every hospital's identity and the roster of them all."""
    identities = [Identity.generate(name) for name in NAMES]
    for identity in identities:
        identity.save(tmp_path / f"{identity.name}.json")
    Roster([RosterEntry.of(identity, rows=100) for identity in identities]).save(tmp_path / "roster.json")
    Roster([RosterEntry.of(identity) for identity in identities]).save(tmp_path / "no-rows.json")
    return tmp_path


def held(keys: Path, **other: str | int | bool):
    """What a SuperNode's --node-config says; partitions are dealt the wrong way round, names decide."""

    def node_config(i: int) -> dict[str, str | int | bool]:
        return {"identity": str(keys / f"{NAMES[6 - i]}.json"), "roster": str(keys / "roster.json"), **other}

    return node_config


def failure(folder: Path) -> str:
    return json.loads((folder / "failure.json").read_text())["error"]


def test_real_keys_and_roster_on_both_sides_train_masked(keys: Path) -> None:
    node_config = held(keys, **{"audit-folder": str(keys / "audit")})
    metrics, lines = simulate(keys / "run", node_config, roster=str(keys / "roster.json"), **OPTIONS)
    for line in lines[1:]:
        assert line["report"]["accepted"] == NAMES and not line["report"]["faults"]
    assert metrics["robust"]["accuracy"] > 0.9


def test_a_deployment_without_a_roster_is_refused_in_one_line_and_in_the_run_folder(keys: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^roster: found '', required the path of roster\.json") as refused:
        simulate(keys / "run", held(keys), roster="", **OPTIONS)
    assert failure(keys / "run") == str(refused.value) and "\n" not in str(refused.value)


@pytest.fixture
def server_key(keys: Path) -> str:
    """The server's identity is in the folder; this is what the coordinator reads out."""
    server = Identity.generate("server")
    server.save(keys / "server.json")
    return server.public_key.hex()


def offered(keys: Path, **other: object) -> dict[str, object]:
    """The run's options of a server that gives everything that a site can demand."""
    given = {"strict": True, "min_accepted": 4, "server_identity": str(keys / "server.json")}
    return {**OPTIONS, "rounds": 1, "roster": str(keys / "roster.json"), **given, **other}


def test_sites_that_demand_strict_rounds_company_and_the_server_s_key_train_with_who_gives_them(
    keys: Path, server_key: str
) -> None:
    demands = {"strict": True, "min-accepted": 4, "server-key": server_key, "threshold": 1}
    _, lines = simulate(keys / "run", held(keys, **demands), **offered(keys))
    report = lines[1]["report"]
    assert report["accepted"] == NAMES and not report["faults"] and "echo" in report["seconds"]


@pytest.mark.parametrize("standardise", ["none", "federated"])
@pytest.mark.parametrize(
    ("lacking", "refusal"),
    [
        ({"strict": False}, "found a round that is not strict, required a strict one"),
        ({"min_accepted": 3}, "found min_accepted 3, required at least 4"),
        ({"server_identity": ""}, r"found the server key [0-9a-f]{64}, required {server_key}, as this site insists"),
    ],
)
def test_sites_refuse_a_server_that_gives_less_than_they_demand(
    keys: Path, server_key: str, lacking: dict[str, object], refusal: str, standardise: str
) -> None:
    demands = {"strict": True, "min-accepted": 4, "server-key": server_key}
    with pytest.raises(QuorumNotReached, match=refusal.replace("{server_key}", server_key)):
        simulate(keys / "run", held(keys, **demands), **offered(keys, standardise=standardise, **lacking))
    assert re.search(refusal.replace("{server_key}", server_key), failure(keys / "run"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"^server-identity: found '.*', required a readable identity file \(No such file or directory\), as"),
        ("{}", r"server\.json: found no identity, required JSON with \"name\" and \"secret_key\""),
    ],
)
def test_a_server_without_its_identity_does_not_start(keys: Path, content: str | None, message: str) -> None:
    if content is not None:
        (keys / "server.json").write_text(content)
    with pytest.raises(RobustError, match=message) as refused:
        simulate(keys / "run", held(keys), **offered(keys))
    assert failure(keys / "run") == str(refused.value) and "\n" not in str(refused.value)


def test_real_hospitals_attack_nobody_though_the_plain_arm_orders_it(keys: Path) -> None:
    options = {**OPTIONS, "threshold": 0, "arms": "fedavg", "rounds": 1, "standardise": "none"}
    honest, _ = simulate(keys / "honest", held(keys), **options)
    ordered, _ = simulate(keys / "ordered", held(keys), **options, attack="sign-flip", malicious=2)
    assert honest["fedavg"] == ordered["fedavg"]


def test_the_run_s_step_timeout_is_how_long_every_message_but_the_training_lives(keys: Path, monkeypatch) -> None:
    lives: dict[str, set[float]] = {}
    push = FakeGrid.push_messages

    def noted(grid: FakeGrid, messages):
        for message in messages:
            lives.setdefault(message.metadata.message_type, set()).add(message.metadata.ttl)
        return push(grid, messages)

    monkeypatch.setattr(FakeGrid, "push_messages", noted)
    options = {**OPTIONS, "rounds": 1, "standardise": "federated", "roster": str(keys / "roster.json")}
    simulate(keys / "run", held(keys), **options, step_timeout=300)
    assert lives == {"query.private_sums": {300.0}, "train": {300.0, 3600.0}}


def test_a_real_hospital_reads_settings_and_records_for_nothing_but_the_training(keys: Path, monkeypatch) -> None:
    read: list[int] = []

    def counted(context: Context):
        read.append(context.node_id)
        return run_of(context)

    monkeypatch.setattr("clients.app.run_of", counted)
    options = {**OPTIONS, "rounds": 1, "standardise": "none", "roster": str(keys / "roster.json")}
    simulate(keys / "run", held(keys), **options)
    assert sorted(read) == [100 + i for i in range(7)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attack": "sign-flip"}, "attack: found 'sign-flip', required none: only simulated hospitals attack on order"),
        ({"hospitals": 6}, "roster: found 'hospital-01, .*', required breast-cancer's hospitals: hospital-01, "),
    ],
)
def test_what_does_not_fit_a_real_roster_is_refused_before_anything_is_sent(keys: Path, options, message) -> None:
    with pytest.raises(ConfigurationError, match=message):
        simulate(keys / "run", held(keys), **{**OPTIONS, **options}, roster=str(keys / "roster.json"))
    assert failure(keys / "run")


def test_a_roster_without_rows_cannot_bound_a_private_sum(keys: Path) -> None:
    with pytest.raises(
        ConfigurationError, match="roster: found 'hospital-01 with 0 rows', required rows for everybody"
    ):
        simulate(keys / "run", held(keys), **OPTIONS, roster=str(keys / "no-rows.json"))
    assert "0 rows" in failure(keys / "run")


def test_a_server_that_says_simulated_to_real_hospitals_gets_neither_their_keys_nor_an_attack(keys: Path) -> None:
    with pytest.raises(QuorumNotReached, match="roster: found 'digest"):
        simulate(keys / "run", held(keys), attack="sign-flip", malicious=2, **OPTIONS)
    assert "roster: found 'digest" in failure(keys / "run")


def test_a_hospital_without_a_key_file_says_so_and_the_run_folder_too(keys: Path) -> None:
    def node_config(i: int) -> dict[str, str | int]:
        return {"partition-id": i} if i == 0 else held(keys)(i)

    _, lines = simulate(keys / "run", node_config, roster=str(keys / "roster.json"), **OPTIONS)
    faults = {fault["culprit"]: fault["found"] for fault in lines[1]["report"]["faults"]}
    assert "node_config identity: found None" in faults["node 100"]
    assert lines[1]["report"]["accepted"] == NAMES[:-1]


def test_an_identity_that_is_no_hospital_of_the_data_set_says_so(keys: Path) -> None:
    Identity.generate("hospital-99").save(keys / "other.json")

    def node_config(i: int) -> dict[str, str]:
        return {**held(keys)(i), **({"identity": str(keys / "other.json")} if i == 0 else {})}

    _, lines = simulate(keys / "run", node_config, roster=str(keys / "roster.json"), **OPTIONS)
    faults = {fault["culprit"]: fault["found"] for fault in lines[1]["report"]["faults"]}
    assert "'hospital-99'" in faults["node 100"]


def test_the_roster_travels_in_the_run_config() -> None:
    settings = settings_for(roster="/app/roster.json")
    assert Settings.from_config(settings.to_config()).roster == "/app/roster.json"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hospitals": 6, "threshold": 3}, "t: found 3, required at least 1 and 2t + 1 <= n = 6"),
        (
            {"hospitals": 5, "rule": "multikrum", "f": 2},
            "f: found 2, required 0 to 1 (MultiKrum(f=2) needs 7 hospitals",
        ),
        ({"rounds": 0}, "rounds: found '0', required a whole number"),
    ],
)
def test_what_cannot_work_is_in_the_run_folder_before_anything_is_sent(tmp_path: Path, options, message) -> None:
    grid, config = FakeGrid({}), {**DEFAULTS, "out": str(tmp_path / "run"), "roster": "simulated", **options}
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        server_app(grid, Context(RUN_ID, 1, {}, RecordDict(), config))
    assert message in failure(tmp_path / "run") and not grid.sent
