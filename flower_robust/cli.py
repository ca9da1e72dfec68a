"""The `flower-robust` command: one module in `flower_robust.commands` for each subcommand."""

import argparse
import ast
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from flower_robust.errors import RobustError

COMMANDS = Path(__file__).parent / "commands"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand. Exit code 2: an option cannot work, in one line; others are the subcommand's own."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    modules = {path.stem.replace("_", "-"): path for path in sorted(COMMANDS.glob("[!_]*.py"))}
    chosen = arguments[0] if arguments and arguments[0] in modules else None
    try:
        return _run(chosen, arguments, modules)
    except RobustError as error:
        print(f"flower-robust: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("flower-robust: interrupted", file=sys.stderr)
        return 130


def _run(chosen: str | None, arguments: list[str], modules: dict[str, Path]) -> int:
    parser = argparse.ArgumentParser(prog="flower-robust", description="Robust federated learning on Flower.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, path in modules.items():
        command = commands.add_parser(name, help=_first_line(path))
        if name == chosen:
            module = import_module(f"flower_robust.commands.{path.stem}")
            command.description = module.__doc__
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    args = parser.parse_args(arguments)
    return int(args.run(args))


def _first_line(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
