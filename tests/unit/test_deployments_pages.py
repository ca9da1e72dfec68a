"""What deployments/ tells people to type and apply, against the installed Flower and a provisioned folder."""

import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml
from flwr.common.config import parse_config_args

from deployments.loopback import commands
from flower_robust.provisioning import Participant, provision

ROOT = Path(__file__).parents[2] / "deployments"
BIN = Path(sys.executable).parent
ENTRYPOINTS = {
    "flwr/superlink": "flower-superlink",
    "flwr/supernode": "flower-supernode",
    "flower-robust/superexec": "flower-superexec",
}


@cache
def help_of(*command: str) -> str:
    executable, *subcommands = command
    arguments = [str(BIN / executable), *subcommands, "--help"]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True).stdout


def assert_flags_exist(executable: str, arguments: list[str], subcommands: tuple[str, ...] = ()) -> None:
    known = set(re.findall(r"--[a-z][a-z-]+", help_of(executable, *subcommands)))
    used = {argument.split("=")[0] for argument in arguments if argument.startswith("--")}
    assert used <= known, f"{executable} {' '.join(subcommands)}: no {sorted(used - known)}"


def compose_services() -> list[tuple[str, dict]]:
    files = [ROOT / "server" / "compose.yml", ROOT / "client" / "compose.yml"]
    parsed = [(path.parent.name, yaml.safe_load(path.read_text())) for path in files]
    return [(f"{where}/{name}", service) for where, file in parsed for name, service in file["services"].items()]


def manifests() -> list[dict]:
    return [m for path in sorted((ROOT / "kubernetes").glob("*.yaml")) for m in yaml.safe_load_all(path.read_text())]


def containers() -> list[tuple[str, dict]]:
    deployments = [m for m in manifests() if m["kind"] == "Deployment"]
    return [(m["metadata"]["name"], c) for m in deployments for c in m["spec"]["template"]["spec"]["containers"]]


@pytest.mark.parametrize(("name", "service"), compose_services())
def test_compose_services_use_commands_that_exist_and_restart(name: str, service: dict) -> None:
    image, _, version = service["image"].rpartition(":")
    assert version == "1.41.0"
    assert_flags_exist(ENTRYPOINTS[image], service["command"])
    assert service["restart"] == "unless-stopped", name


@pytest.mark.parametrize(("name", "container"), containers())
def test_kubernetes_containers_use_commands_that_exist(name: str, container: dict) -> None:
    assert_flags_exist(ENTRYPOINTS[container["image"].rpartition(":")[0]], container["args"])


def test_manifests_refer_to_what_they_define() -> None:
    for manifest in manifests():
        assert manifest["apiVersion"] in {"apps/v1", "v1"}
        if manifest["kind"] == "Deployment":
            template = manifest["spec"]["template"]
            assert manifest["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
            volumes = {volume["name"] for volume in template["spec"]["volumes"]}
            mounts = {m["name"] for c in template["spec"]["containers"] for m in c["volumeMounts"]}
            assert mounts == volumes
    services = [m for m in manifests() if m["kind"] == "Service"]
    names = {m["metadata"]["name"] for m in manifests() if m["kind"] == "Deployment"}
    assert {service["spec"]["selector"]["app"] for service in services} <= names


def test_every_key_file_that_is_mounted_or_named_is_provisioned(tmp_path: Path) -> None:
    out = tmp_path / "federation"
    provision(out, ["superlink"], [Participant.create("hospital-A")], [])
    folders = {"superlink": out / "superlink", "participant": out / "participants" / "hospital-A"}
    texts = [path.read_text() for path in ROOT.rglob("*.y*ml")] + [(ROOT / "README.md").read_text()]
    pattern = r"(superlink|participant)/([a-z.]+\.(?:crt|key|json|secret))"
    named = {found for text in texts for found in re.findall(pattern, text)}
    assert len(named) >= 8
    for folder, name in named:
        assert (folders[folder] / name).exists(), f"{folder}/{name}"


def test_the_secret_that_signs_is_not_where_the_network_is() -> None:
    client = yaml.safe_load((ROOT / "client" / "compose.yml").read_text())
    supernode, superexec = client["services"]["supernode"], client["services"]["superexec"]
    assert not any("identity" in volume for volume in supernode["volumes"])
    assert superexec["networks"] == ["inside"] and client["networks"]["inside"]["internal"]
    (config,) = [argument for argument in supernode["command"] if argument.startswith("--node-config=")]
    text = config.removeprefix("--node-config=").replace("${NODE_CONFIG:-}", "partition-id=0")
    paths = commands.held(Path("/app/participant")) | {"audit-folder": "/app/audit"}
    assert parse_config_args([text]) == {**paths, "partition-id": 0}


def readme_commands() -> list[list[str]]:
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def test_readme_commands_exist_with_these_flags() -> None:
    seen = set()
    for words in readme_commands():
        words = [word for word in words if not re.fullmatch(r"FLWR_[A-Z_]+=\S+", word)]
        executable, *rest = words
        if executable in {"flwr", "flower-robust"}:
            depth = 2 if rest[0] == "supernode" else 1
            assert_flags_exist(executable, rest, tuple(rest[:depth]))
        elif executable.startswith("flower-"):
            assert_flags_exist(executable, rest)
        seen.add(executable)
    assert {"flwr", "flower-superlink", "flower-superexec", "flower-supernode", "flower-robust"} <= seen


def test_readme_shows_what_loopback_runs() -> None:
    shown = {
        w[1] if w[0].startswith("FLWR_") else w[0]: {x for x in w if x.startswith("--")} for w in readme_commands()
    }
    folder = Path("folder")
    run = [
        commands.superlink(folder, "127.0.0.1", 8000, Path("superlink.db")),
        commands.superexec(folder, "127.0.0.1:8000"),
        commands.supernode(folder, "127.0.0.1:8000", 9094, {}),
    ]
    for command in run:
        assert {word for word in command if word.startswith("--")} == shown[command[0]]


def test_files_that_the_page_applies_exist() -> None:
    for words in readme_commands():
        for word in words:
            if word.startswith("deployments/"):
                assert (ROOT.parent / word).exists(), word
