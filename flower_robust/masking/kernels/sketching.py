"""The two stages of the sketch, one prime: rotated sums of blocks, then a count sketch of coefficients."""

import numpy as np
import numpy.typing as npt
from numpy import uint64 as u64

from flower_robust.masking.kernels.compiled import kernel

Lanes = npt.NDArray[np.uint32]
Wide = npt.NDArray[np.uint64]


@kernel
def _add_run(total: Wide, y: Lanes, factor: u64) -> None:
    for j in range(y.shape[0]):
        total[j] += factor * u64(y[j])


@kernel
def _subtract_run(total: Wide, y: Lanes, factor: u64) -> None:
    for j in range(y.shape[0]):
        total[j] -= factor * u64(y[j])


@kernel
def add_rotated(totals: Wide, y: Lanes, rotations: npt.NDArray[np.int64], factors: npt.NDArray[np.int64]) -> None:
    """totals_l += Σ_b factors_lb·X^(rotations_lb)·y_b in Z[X]/(X^N + 1), modulo 2^64 (two's complement)."""
    N = y.shape[1]
    for b in range(y.shape[0]):
        block = y[b]
        for i in range(totals.shape[0]):
            r, factor = rotations[i, b], factors[i, b]
            total = totals[i]
            if factor > 0:
                _add_run(total[r:], block[: N - r], u64(factor))
                _subtract_run(total[:r], block[N - r :], u64(factor))
            else:
                _subtract_run(total[r:], block[: N - r], u64(-factor))
                _add_run(total[:r], block[N - r :], u64(-factor))


@kernel
def count(z: Lanes, buckets: npt.NDArray[np.int64], weights: npt.NDArray[np.int64], totals: Wide) -> None:
    """totals_l,u += Σ over the coefficients j of bucket u of weights_lj·z_lj, modulo 2^64 (two's complement)."""
    for i in range(z.shape[0]):
        row, bucket, weight, total = z[i], buckets[i], weights[i], totals[i]
        for j in range(row.shape[0]):
            total[bucket[j]] += u64(weight[j] * np.int64(row[j]))
