"""`flower-robust identity`: a participant makes its own keys, where they stay."""

import argparse
from pathlib import Path

from flower_robust.provisioning import Participant
from flower_robust.provisioning.files import write_all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `flower-robust identity`."""
    parser.add_argument("--name", required=True, help="this participant's name in the roster, e.g. hospital-A")
    parser.add_argument("--rows", type=int, default=0, help="rows of records it declares; 0 declares none (default)")
    parser.add_argument("--out", type=Path, required=True, help="folder for its keys; nothing in it is overwritten")


def run(args: argparse.Namespace) -> int:
    """Write the keys and say which file to hand over."""
    participant = Participant.create(args.name, args.rows)
    write_all("out", participant.files(args.out))
    print(f"Secret, stays here:  {args.out / 'identity.json'}, {args.out / 'supernode.key'}")
    print(f"Hand over:           {args.out / f'{args.name}.public.json'}")
    print(f"Read out:            {participant.public.entry.public_key.hex()}")
    return 0
