"""`python -m benchmarks.masked_accuracy [--heart DIR] [--seeds 5]`: what masks cost the model, which is nothing.

The hospital app as `flower-robust simulate` runs it, its ServerApp, ClientApps and messages, in one process without
Flower's runtime. Ten hospitals of which two flip signs, masked and unmasked, accuracies seed by seed (bar: .01 apart
at most); and the four heart hospitals of which one flips labels, n = 4, t = 1 (bar: pooled AUC of .86 masked).
"""

import argparse
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from flower_robust.masking.thresholds import survivable
from tests.simulated import simulate

DEMO = {"dataset": "breast-cancer", "hospitals": 10, "attack": "sign-flip", "malicious": 2}
HEART = {"dataset": "heart", "attack": "label-flip", "f": 1}
HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
APART, AUC = 0.01, 0.86


def score(key: str, **options: Any) -> float:
    """The final accuracy or AUC of our arm on the pooled test set."""
    with tempfile.TemporaryDirectory() as folder:
        metrics, _ = simulate(Path(folder) / "run", arms="robust", **options)
    return float(metrics["robust"][key])


def demo(seeds: Sequence[int]) -> bool:
    """Print accuracy masked and unmasked for every seed; whether all are within the bar."""
    print(f"{DEMO['hospitals']} hospitals, {DEMO['malicious']} {DEMO['attack']}, {DEMO['dataset']}: final accuracy")
    within = 0
    for seed in seeds:
        masked, plain = (score("accuracy", **DEMO, threshold=t, seed=seed) for t in ("auto", 0))
        within += abs(masked - plain) <= APART
        print(f"  seed {seed}: masked {masked:.3f}, unmasked {plain:.3f}, apart {abs(masked - plain):.3f}", flush=True)
    print(f"  within {APART}: {within} of {len(seeds)} seeds")
    return within == len(seeds)


def heart(data_dir: Path, seeds: Sequence[int]) -> bool:
    """Print the AUC masked and unmasked with each hospital as the liar; whether Cleveland's reaches the bar masked."""
    print(f"heart, one hospital flips labels, n = 4, t = 1: pooled AUC, mean (lowest) of {len(seeds)} seeds")
    means = {}
    for liar in HOSPITALS:
        options = {**HEART, "malicious": liar, "data_dir": str(data_dir)}
        found = [[score("auc", **options, threshold=t, seed=seed) for seed in seeds] for t in (1, 0)]
        masked, plain = (f"{mean(values):.3f} ({min(values):.3f})" for values in found)
        means[liar] = mean(found[0])
        print(f"  {liar:12} masked {masked}, unmasked {plain}", flush=True)
    pairs = " or ".join(f"{gone} drop-outs and {liars} liars at once" for gone, liars in survivable(4, 1))
    print(f"  a round of n = 4, t = 1 survives {pairs}; Cleveland masked: {means['cleveland']:.3f} (bar {AUC})")
    return means["cleveland"] >= AUC


def main() -> int:
    """0 if every bar is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heart", type=Path, default=None, metavar="DIR", help="folder with the four UCI heart files")
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    met = demo(range(given.seeds))
    if given.heart:
        met &= heart(given.heart, range(given.seeds))
    return int(not met)


if __name__ == "__main__":
    raise SystemExit(main())
