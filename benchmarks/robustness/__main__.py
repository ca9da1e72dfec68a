"""python -m benchmarks.robustness: the same as flower-robust bench robustness."""

import sys

from flower_robust.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", "robustness", *sys.argv[1:]]))
