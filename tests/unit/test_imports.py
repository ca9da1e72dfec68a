"""The import rule of the layout: left never imports right, siblings never import each other, clients need no torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import flower_robust

ROOT = Path(__file__).parents[2]

LAYERS = (
    {"flower_robust.types", "flower_robust.errors"},
    {"flower_robust.aggregation", "flower_robust.trust", "flower_robust.masking"},
    {"flower_robust.commitments"},
    {"flower_robust.protocol", "flower_robust.provisioning"},
    {"flower_robust.round"},
    {"flower_robust.flower"},
    {"clients", "server", "flower_robust.cli", "flower_robust.commands"},
)
LEVEL = {package: level for level, layer in enumerate(LAYERS) for package in layer}

SHARED_SIBLINGS = {
    ("flower_robust.types", "flower_robust.errors"),
    ("flower_robust.errors", "flower_robust.types"),
    ("flower_robust.cli", "flower_robust.commands"),
    ("flower_robust.commands", "clients"),
    ("flower_robust.commands", "server"),
}
SERVER_MAY_SEE = {
    "clients.task",
    "clients.models",
    "clients.datasets",
    "clients.partitions",
    "clients.settings",
    "clients.members",
    "clients.statistics",
}
"""The server reads the same run settings and evaluates the same model; it never sees how clients attack."""

TORCH_AT_IMPORT = (
    "flower_robust/aggregation/",
    "flower_robust/flower/",
    "clients/",
    "server/",
    "flower_robust/commands/",
)
TORCH_FILES = {
    "flower_robust/masking/ring_torch.py",
    "flower_robust/protocol/decide.py",
    "flower_robust/protocol/masked_round.py",
    "flower_robust/protocol/server_decide.py",
    "flower_robust/round.py",
}
"""The server's side of packages whose client side must live without torch."""

FLOWER_AT_IMPORT = ("flower_robust/flower/", "clients/", "server/")

FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("flower_robust", "clients", "server")
    for path in (ROOT / folder).rglob("*.py")
)
LAYERED = [name for name in FILES if name != "flower_robust/__init__.py"]


def module_of(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def package_of(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "flower_robust" else parts[0]


def imports_of(node: ast.AST) -> Iterator[str]:
    """What `node` imports, `from a import b` as a.b; public names as what they stand for."""
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        if isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            for alias in child.names:
                home = flower_robust._HOMES.get(alias.name) if child.module == "flower_robust" else child.module
                yield f"{home or child.module}.{alias.name}"


def tree_of(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(), file)


def run_at_import(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run when the module is imported: not in a function, not for the type checker alone."""
    for statement in tree.body:
        typed_only = isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test)
        if not typed_only and not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement


def broken_rule(importer: str, imported: str) -> str | None:
    """Why `importer` may not import `imported`; None if it may."""
    if imported == "flower_robust.__version__":
        return None
    here, there = package_of(importer), package_of(imported)
    if here == there or there not in LEVEL:
        return None if there in LEVEL or not imported.startswith("flower_robust.") else f"{imported} has no layer"
    if LEVEL[there] < LEVEL[here] or (here, there) in SHARED_SIBLINGS:
        return None
    if here == "server" and any(imported == seen or imported.startswith(f"{seen}.") for seen in SERVER_MAY_SEE):
        return None
    return f"{importer} imports {imported}"


def test_every_package_has_a_layer() -> None:
    assert {package_of(module_of(file)) for file in LAYERED} <= LEVEL.keys()


@pytest.mark.parametrize("file", LAYERED)
def test_left_never_imports_right(file: str) -> None:
    module = module_of(file)
    found = [why for name in imports_of(tree_of(file)) if (why := broken_rule(module, name))]
    assert not found


@pytest.mark.parametrize("file", FILES)
def test_torch_and_flower_only_where_they_belong(file: str) -> None:
    names = {name.split(".")[0] for s in run_at_import(tree_of(file)) for name in imports_of(s)}
    if "torch" in names:
        assert file.startswith(TORCH_AT_IMPORT) or file in TORCH_FILES
    if "flwr" in names:
        assert file.startswith(FLOWER_AT_IMPORT)


@pytest.mark.parametrize("file", [name for name in FILES if name.startswith("flower_robust/")])
def test_only_the_flower_package_and_the_command_line_know_flower(file: str) -> None:
    if any(name.split(".")[0] == "flwr" for name in imports_of(tree_of(file))):
        assert package_of(module_of(file)) in {"flower_robust.flower", "flower_robust.cli", "flower_robust.commands"}


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("flower_robust.trust.beta", "flower_robust.aggregation.Geometry", False),
        ("flower_robust.aggregation.krum", "flower_robust.commitments.Roster", False),
        ("flower_robust.errors", "flower_robust.trust.BetaTrust", False),
        ("flower_robust.protocol.plan", "flower_robust.round.run_round", False),
        ("flower_robust.protocol.decide", "flower_robust.aggregation.Geometry", True),
        ("server.evaluation", "clients.task.evaluate", True),
        ("server.app", "clients.attacks.sign_flip", False),
        ("clients.app", "server.app", False),
        ("flower_robust.flower.strategy", "flower_robust.cli.main", False),
        ("flower_robust.round", "flower_robust.nowhere.thing", False),
    ],
)
def test_the_rule_itself(importer: str, imported: str, allowed: bool) -> None:
    assert (broken_rule(importer, imported) is None) == allowed


CLIENT_PATH = (
    "flower_robust",
    "flower_robust.commitments",
    "flower_robust.protocol",
    "flower_robust.protocol.plan",
    "flower_robust.protocol.plain",
    "flower_robust.protocol.client",
    "flower_robust.masking",
    "flower_robust.trust",
    "flower_robust.flower.mod",
    "clients.app",
)


def test_the_client_path_imports_no_torch() -> None:
    imports = "; ".join(f"import {name}" for name in CLIENT_PATH)
    check = f"import sys; {imports}; assert flower_robust.Identity; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (shown.stdout.strip(), shown.returncode) == ("False", 0), shown.stderr
