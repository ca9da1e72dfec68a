"""Each step of the masking core beside what the machine allows: `python -m benchmarks.masking_kernels`.

The limit of a step is the largest of three times whose rates are measured here first, on all cores: its bytes (every
array read or written once) at the speed of a copy, its modular multiplications at the speed of Horner's rule, and its
plain multiply-adds at the speed of an inner product (the sketch adds four products per pass and can beat that one).
Best of several runs; on a busy machine compare columns only.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from flower_robust.masking import decoding, fixed_point, masks, public, ring, sharing, sketch, squares
from flower_robust.masking.kernels import linear
from flower_robust.masking.parallel import cores, each
from flower_robust.masking.parameters import PARAMETERS

N, M, C = PARAMETERS.N, PARAMETERS.m, PARAMETERS.c
BUTTERFLIES = N // 2 * 12
SEEDS = [i.to_bytes(32, "little") for i in range(64)]


@dataclass(frozen=True)
class Row:
    """One measured step."""

    side: str
    step: str
    seconds: float
    limit: float
    megabytes: float
    modular: float
    plain: float


Step = tuple[str, Callable[[], object], float, float, float]
"""Name, function, bytes, modular multiplications, plain multiply-adds."""


def best(function: Callable[[], object], runs: int) -> float:
    """The shortest of several runs after one that warms up."""
    function()
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def copy_bandwidth(runs: int) -> float:
    """Bytes read plus written per second, all cores."""
    sources = [np.ones(1 << 24, np.uint32) for _ in range(cores())]
    targets = [np.empty_like(s) for s in sources]
    seconds = best(lambda: each(lambda i: np.copyto(targets[i], sources[i]), range(cores())), runs)
    return 2 * sum(s.nbytes for s in sources) / seconds


def multiplication_rate(runs: int) -> float:
    """Modular multiply-adds per second on operands from the L2 cache, all cores."""
    coefficients, q = np.ones((201, 1024), np.uint32), ring.planes()[0].constants[0]
    outs = [np.empty(1024, np.uint32) for _ in range(cores())]

    def repeat(out: ring.Residues) -> None:
        for _ in range(50):
            linear.evaluate(coefficients, np.uint32(7), out, q)

    return 50 * 200 * 1024 * cores() / best(lambda: each(repeat, outs), runs)


def multiply_add_rate(runs: int) -> float:
    """Plain multiply-adds of 32-bit residues per second, all cores."""
    rows, constants = np.ones((64, 4096), np.uint32), ring.planes()[0].constants

    def repeat(_: int) -> None:
        for _ in range(10):
            linear.inner_rows(rows, rows[0], np.empty(64, np.uint32), constants)

    return 10 * rows.size * cores() / best(lambda: each(repeat, range(cores())), runs)


def client_steps(n: int, d: int, t: int) -> list[Step]:
    """One client's round."""
    B, wide = PARAMETERS.blocks(d), 8.0 * N
    a, update = public.PublicElements(SEEDS[0], B), np.random.default_rng(0).normal(size=d).astype(np.float32)
    x, s = fixed_point.encode(update, 1.0, SEEDS[1]).x, masks.draw_secret(SEEDS[2])
    y, P, K = masks.mask(x, s, a, SEEDS[3]), sketch.sketch_map(SEEDS[4], B), squares.zero_length(n)
    dealt, zeros = sharing.share(s, t, n, SEEDS[5]), sharing.share_zero(K, 2 * t, n, SEEDS[6])
    shares, shown = np.ascontiguousarray(dealt), np.stack([sketch.sketch(P, y)] * n)
    A = sketch.public_sums(P, a)
    u = sketch.sketch_shares(P, A, shown, shares)
    return [
        ("clip, signs, round", lambda: fixed_point.encode(update, 1.0, SEEDS[1]), 8.0 * d, 0, 0),
        ("mask", lambda: masks.mask(x, s, a, SEEDS[3]), 4.0 * d + B * wide, 2 * B * (BUTTERFLIES + 2 * N), 0),
        ("share s", lambda: sharing.share(s, t, n, SEEDS[5]), (n + t) * wide, 2.0 * n * t * N, 0),
        ("share zeros", lambda: sharing.share_zero(K, 2 * t, n, SEEDS[6]), 8.0 * K * (n + 2 * t), 4.0 * n * t * K, 0),
        ("sketch of own y", lambda: sketch.sketch(P, y), B * wide, 0, 2.0 * B * M * N),
        ("sketch of a", lambda: sketch.public_sums(P, a), B * wide, 2.0 * B * (BUTTERFLIES + N), 2.0 * B * M * N),
        (
            "sketch shares",
            lambda: sketch.sketch_shares(P, A, shown, shares),
            n * (wide + 16.0 * M * C),
            2.0 * n * (M + 1) * (BUTTERFLIES + 2 * N),
            2.0 * n * M * N,
        ),
        (
            "distance shares",
            lambda: squares.square_shares([u], zeros, range(n)),
            8.0 * n * M * C,
            0,
            2.0 * (n * (n + 1) / 2 + n) * M * C,
        ),
        ("degree test", lambda: decoding.test_values(shares, SEEDS[7], "degree test"), n * wide, 0, 2.0 * n * N),
        ("unmask share", lambda: ring.weighted_sum([3] * n, list(shares)), n * wide, 0, 2.0 * n * N),
    ]


def server_steps(n: int, d: int, t: int) -> list[Step]:
    """The server's round."""
    B, wide = PARAMETERS.blocks(d), 8.0 * N
    rng, values = np.random.default_rng(0), squares.pairs(n)[0].size + n * M
    ys = [ring.from_integers(rng.integers(0, 1 << 40, (B, N))) for _ in range(n)]
    P, a, s = sketch.sketch_map(SEEDS[4], B), public.PublicElements(SEEDS[0], B), masks.draw_secret(SEEDS[2])
    answers = sharing.share(np.ones((2, values), np.uint32), 2 * t, n, SEEDS[5])
    answers[: decoding.correctable(n, 2 * t)] ^= np.uint32(1)
    total, opened = ring.weighted_sum([3] * n, ys), np.zeros(B * N, np.int64)
    return [
        ("sketches of n clients", lambda: sketch.sketches(P, ys), n * B * wide, 0, 2.0 * n * B * M * N),
        (
            "decode squares, most liars",
            lambda: decoding.open_shares(answers, range(n), 2 * t, SEEDS[6]),
            8.0 * n * values,
            2.0 * (2 * t + 1) * values,
            2.0 * n * values,
        ),
        ("weighted sum", lambda: ring.weighted_sum([3] * n, ys), (n + 1) * B * wide, 0, 2.0 * n * B * N),
        ("unmask", lambda: masks.unmask(total, s, a), 3 * B * wide, 2.0 * B * (BUTTERFLIES + 2 * N), 0),
        ("decode the mean", lambda: fixed_point.decode(opened, d, 1, 1.0, SEEDS[1]), 12.0 * d, 0, 0),
    ]


def measure(n: int, d: int, runs: int) -> list[Row]:
    """All steps of both sides."""
    t = max(1, (n - 1) // 4)
    rates = copy_bandwidth(runs), multiplication_rate(runs), multiply_add_rate(runs)
    print(
        f"{cores()} cores: {rates[0] / 1e9:.1f} GB/s copied, "
        f"{rates[1] / 1e9:.2f}e9 modular, {rates[2] / 1e9:.2f}e9 plain multiplications/s"
    )
    rows = []
    for side, steps in (("client", client_steps(n, d, t)), ("server", server_steps(n, d, t))):
        for step, function, *work in steps:
            limit = max(amount / rate for amount, rate in zip(work, rates, strict=True))
            rows.append(Row(side, step, best(function, runs), limit, work[0] / 1e6, work[1], work[2]))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--parameters", type=lambda text: int(float(text)), default=1_000_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = measure(args.clients, args.parameters, args.runs)
    print(
        f"n = {args.clients}, d = {args.parameters}\n"
        f"{'':30s}{'ms':>9s}{'limit':>9s}{'ratio':>7s}{'MB':>9s}{'Mmod':>9s}{'Mmad':>9s}"
    )
    for row in rows:
        ratio = row.seconds / row.limit
        numbers = f"{row.seconds * 1e3:9.2f}{row.limit * 1e3:9.2f}{ratio:7.1f}{row.megabytes:9.2f}"
        print(f"{row.side:7s}{row.step:23s}{numbers}{row.modular / 1e6:9.1f}{row.plain / 1e6:9.1f}")
    for side in ("client", "server"):
        print(f"{side} in all: {sum(row.seconds for row in rows if row.side == side) * 1e3:.1f} ms")
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
