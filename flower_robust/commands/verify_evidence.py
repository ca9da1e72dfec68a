"""`flower-robust verify-evidence FILE`: what a client kept of a server that contradicted itself, checked offline.

Prints whose key signed which contradiction; exit code 2 if the file proves nothing. Compare the key with the one that
the server is known by: whoever writes a file can make a key of its own.
"""

import argparse
from pathlib import Path

from flower_robust.errors import ConfigurationError, CorruptFile, RobustError
from flower_robust.protocol.evidence import Evidence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a .evidence file of a site's audit folder")


def run(args: argparse.Namespace) -> int:
    """Print the verdict, or say why there is none."""
    print(verdict(args.file))
    return 0


def verdict(path: Path) -> str:
    """What the evidence in this file proves, in one line; ConfigurationError without a file, CorruptFile otherwise."""
    try:
        return Evidence.decode(path.read_bytes()).verify()
    except OSError as error:
        raise ConfigurationError("FILE", str(path), f"a readable file ({error.strerror})") from None
    except (ValueError, RobustError) as error:
        raise CorruptFile(
            path, f"no evidence ({error})", "two statements of one server that exclude each other"
        ) from None
