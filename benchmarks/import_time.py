"""What the client's code adds to importing Flower's client: `python -m benchmarks.import_time [--runs 9]`.

Every run is a fresh process, as every Flower message is in deployment: it imports flwr.clientapp, then the client's
modules, then calls each kernel of a masked round once, from the warm cache on disk. The bar is 0.7 s for all of that.
"""

import argparse
import json
import statistics
import subprocess
import sys

BAR = 0.7

CHILD = """
import json, sys, time
clock = [time.perf_counter()]
import flwr.clientapp
clock.append(time.perf_counter())
import flower_robust.flower.mod
import flower_robust.protocol.client
clock.append(time.perf_counter())
import numpy as np
from flower_robust.masking import decoding, fixed_point, masks, public, ring, sharing, sketch, squares
seed, n, t = bytes(32), 5, 1
a = public.PublicElements(seed, 2)
x = fixed_point.encode(np.ones(5000, np.float32), 1.0, seed).x
y = masks.mask(x, masks.draw_secret(seed), a, seed)
shares = sharing.share(masks.draw_secret(seed), t, n, seed)
zeros = np.stack([sharing.share_zero(squares.zero_length(n), 2 * t, n, seed)[0]] * n)
P = sketch.sketch_map(seed, 2)
u = sketch.sketch_shares(P, sketch.public_sums(P, a), sketch.sketches(P, [y] * n), shares)
squares.square_shares([u], zeros, range(n))
decoding.test_values(zeros, seed, "zero test")
ring.weighted_sum([1] * n, list(shares))
clock.append(time.perf_counter())
loaded = sorted({"torch", "numba"} & set(sys.modules))
print(json.dumps({"seconds": [b - a for a, b in zip(clock, clock[1:])], "loaded": loaded}))
"""


def measure() -> tuple[list[float], list[str]]:
    """Seconds for flwr, for our imports, for the first calls; and what must not be loaded but was."""
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return found["seconds"], found["loaded"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()
    measure()
    runs = [measure() for _ in range(args.runs)]
    flower, imports, calls = (
        statistics.median(column) for column in zip(*(seconds for seconds, _ in runs), strict=True)
    )
    print(f"import flwr.clientapp                  {flower:6.3f} s")
    print(f"+ mod and masked protocol              {imports:6.3f} s")
    print(f"+ first call of every client kernel    {calls:6.3f} s")
    print(f"over Flower's client                   {imports + calls:6.3f} s   bar {BAR} s, median of {args.runs}")
    print(f"loaded of torch, numba                 {runs[0][1]}")
    return 0 if imports + calls <= BAR and not runs[0][1] else 1


if __name__ == "__main__":
    sys.exit(main())
