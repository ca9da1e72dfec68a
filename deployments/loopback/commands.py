"""The commands of a federation, as deployments/README.md tells people to type them."""

import json
from collections.abc import Mapping
from pathlib import Path


def superlink(folder: Path, host: str, port: int, database: Path) -> list[str]:
    """The SuperLink; `folder` is the `superlink` folder that `flower-robust provision` wrote."""
    options = {
        "--host": host,
        "--port": port,
        "--isolation": "process",
        "--database": database,
        "--ssl-ca-certfile": folder / "ca.crt",
        "--ssl-certfile": folder / "server.crt",
        "--ssl-keyfile": folder / "server.key",
        "--superexec-auth-secret-file": folder / "superexec.secret",
    }
    flags = ["--enable-supernode-auth", "--disable-runtime-dependency-installation"]
    return ["flower-superlink", *_flattened(options), *flags]


def superexec(folder: Path, address: str) -> list[str]:
    """The SuperExec, which runs the ServerApp outside of the SuperLink: either survives the other's restart."""
    options = {
        "--runtime-api-address": address,
        "--root-certificates": folder / "ca.crt",
        "--superexec-auth-secret-file": folder / "superexec.secret",
    }
    return ["flower-superexec", *_flattened(options)]


def supernode(folder: Path, address: str, port: int, node_config: Mapping[str, object]) -> list[str]:
    """A SuperNode; `folder` is its `participants/NAME` folder, `port` is where its ClientApps find it.

    `node_config` comes on top of what `held` says; None takes a key of it away.
    """
    config = {key: value for key, value in {**held(folder), **node_config}.items() if value is not None}
    options = {
        "--superlink": address,
        "--root-certificates": folder / "ca.crt",
        "--auth-supernode-private-key": folder / "supernode.key",
        "--port": port,
        "--node-config": toml_pairs(config),
    }
    return ["flower-supernode", *_flattened(options)]


def held(folder: Path) -> dict[str, str]:
    """Where `robust_mod` finds what this participant holds, and keeps its masked updates until the audit."""
    paths = {"identity": "identity.json", "roster": "roster.json", "audit-folder": "audit"}
    return {key: str(folder / name) for key, name in paths.items()}


def register(folder: Path, name: str, connection: str) -> list[str]:
    """Tells the SuperLink, whose `superlink` folder this is, to accept the SuperNode of `name`."""
    return ["flwr", "supernode", "register", str(folder / "supernodes" / f"{name}.pub"), connection, "--name", name]


def toml_pairs(config: Mapping[str, object]) -> str:
    """`key="value" key=1` as Flower's --node-config and --run-config take it; strings are JSON, which is TOML here."""
    return " ".join(f"{key}={json.dumps(value)}" for key, value in config.items())


def _flattened(options: Mapping[str, object]) -> list[str]:
    return [str(part) for option in options.items() for part in option]
