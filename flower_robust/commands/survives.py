"""Which drop-outs and liars a masked round survives, by cohort size n and privacy threshold t.

Any t clients learn nothing of another's update, even together with the server. Each pair (drop-outs, liars) is what one
round survives at once, liars corrected and named; beyond, a round stops, unless one liar more coordinates with the
others: then they choose what is opened (docs/protocol.md, section 8). A strict round needs (n + max(f, t))/2 echoes and
one more besides: --strict prints what it survives.
"""

import argparse
import sys

from flower_robust.masking.thresholds import default_threshold, survivable, survivable_strict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--clients, --threshold, --strict and --byzantine."""
    parser.add_argument("--clients", type=int, metavar="N", help="one cohort size (default: a table of 3 to 30)")
    parser.add_argument("--threshold", type=int, metavar="T", help="privacy threshold (default: (n-1)/4, at least 1)")
    parser.add_argument("--strict", action="store_true", help="what strict rounds survive")
    parser.add_argument("--byzantine", type=int, default=0, metavar="F", help="the rule's f, for --strict (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    strict = " by a strict round" if args.strict else ""
    sys.stdout.write(f"  n   t  (drop-outs, liars) survived at once{strict}\n")
    for n in [args.clients] if args.clients is not None else range(3, 31):
        t = default_threshold(n) if args.threshold is None else args.threshold
        if args.clients is None and 2 * t + 1 > n:
            continue
        found = survivable_strict(n, t, args.byzantine) if args.strict else survivable(n, t)
        pairs = " ".join(f"({drop_outs},{liars})" for drop_outs, liars in found)
        sys.stdout.write(f"{n:3d} {t:3d}  {pairs}\n")
    return 0
