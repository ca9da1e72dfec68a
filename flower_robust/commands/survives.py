"""Which drop-outs and liars a masked round survives, by cohort size n and privacy threshold t.

Any t clients learn nothing of another's update, even together with the server. Each pair (drop-outs, liars) is what one
round survives at once, liars corrected and named; beyond, a round stops, unless one liar more coordinates with the
others: then they choose what is opened (docs/protocol.md, section 8).
"""

import argparse
import sys

from flower_robust.masking.thresholds import default_threshold, survivable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--clients and --threshold."""
    parser.add_argument("--clients", type=int, metavar="N", help="one cohort size (default: a table of 3 to 30)")
    parser.add_argument("--threshold", type=int, metavar="T", help="privacy threshold (default: (n-1)/4, at least 1)")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    sys.stdout.write("  n   t  (drop-outs, liars) survived at once\n")
    for n in [args.clients] if args.clients is not None else range(3, 31):
        t = default_threshold(n) if args.threshold is None else args.threshold
        if args.clients is None and 2 * t + 1 > n:
            continue
        pairs = " ".join(f"({drop_outs},{liars})" for drop_outs, liars in survivable(n, t))
        sys.stdout.write(f"{n:3d} {t:3d}  {pairs}\n")
    return 0
