"""`flower-robust provision`: everything a federation needs before its first run, in one folder."""

import argparse
from pathlib import Path

from flower_robust.errors import ConfigurationError
from flower_robust.provisioning import Participant, PublicPart, provision
from flower_robust.provisioning.certificates import LOOPBACK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `flower-robust provision`."""
    parser.add_argument(
        "--names",
        default="",
        metavar="NAME[=ROWS],...",
        help="participants whose keys are made here, with the rows they declare, e.g. hospital-A=303,hospital-B=294",
    )
    parser.add_argument(
        "--participants",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="public parts of participants that made their own keys with `flower-robust identity`",
    )
    parser.add_argument(
        "--hosts",
        default=",".join(LOOPBACK),
        metavar="HOST,...",
        help="addresses and DNS names under which the SuperLink is reached (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write; nothing in it is overwritten")


def run(args: argparse.Namespace) -> int:
    """Write the folder; print the roster's digest and what goes where."""
    made = [Participant.create(name, rows) for name, rows in parsed_names(args.names)]
    brought = [PublicPart.load(path) for path in args.participants]
    if not made and not brought:
        raise ConfigurationError("names", args.names, "at least one participant, by --names or --participants")
    roster = provision(args.out, _listed(args.hosts), made, brought)
    print(f"{len(roster)} participants: {', '.join(roster.names)}")
    print(f"Roster digest, to be read out to every participant: {roster.digest.hex()}")
    print(f"For the SuperLink:            {args.out / 'superlink'}")
    print(f"For each participant, alone:  {args.out / 'participants'}/NAME")
    print(f"Off line, with you:           {args.out / 'authority'}")
    return 0


def parsed_names(text: str) -> list[tuple[str, int]]:
    """Names and declared rows from "hospital-A=303,hospital-B"; ConfigurationError on rows that are no number."""
    return [_named(part) for part in _listed(text)]


def _named(part: str) -> tuple[str, int]:
    name, _, rows = part.partition("=")
    if rows and not (rows.isascii() and rows.isdigit()):
        raise ConfigurationError("names", part, "NAME or NAME=ROWS with a whole number of rows")
    return name, int(rows or 0)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
