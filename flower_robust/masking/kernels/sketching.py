"""The two stages of the sketch, one prime: rotated sums of blocks, then a count sketch of coefficients."""

import numpy as np
import numpy.typing as npt
from numpy import uint32 as u32
from numpy import uint64 as u64

from flower_robust.masking.kernels.compiled import inline, kernel
from flower_robust.masking.kernels.modular import multiply, reduce, subtract
from flower_robust.masking.kernels.ntt import backward_row, forward_row

Lanes = npt.NDArray[np.uint32]
Wide = npt.NDArray[np.uint64]
Offsets = npt.NDArray[np.int64]


LANES = 4
"""Blocks that are added to a sum in one pass over it."""


@inline
def extend(y: Lanes, q: u32, out: Lanes) -> None:
    """out = (−y, y, −y), 3N: the coefficients of ±X^r·y are the N entries from N − r for every r in [−N, N]."""
    N = y.shape[0]
    for j in range(N):
        v = subtract(u32(0), y[j], q)
        out[j], out[N + j], out[2 * N + j] = v, y[j], v


@inline
def _add_windows(total: Wide, a: Lanes, b: Lanes, c: Lanes, d: Lanes, factors: Offsets) -> None:
    fa, fb, fc, fd = u32(factors[0]), u32(factors[1]), u32(factors[2]), u32(factors[3])
    for j in range(total.shape[0]):
        ab = u64(a[j]) * u64(fa) + u64(b[j]) * u64(fb)
        cd = u64(c[j]) * u64(fc) + u64(d[j]) * u64(fd)
        total[j] += ab + cd


@kernel("u8[:,:] u4[:,:] i8[:,:] i8[:,:] u4[:,:] u4")
def add_rotated(totals: Wide, y: Lanes, starts: Offsets, factors: Offsets, extended: Lanes, q: u32) -> None:
    """totals_i += Σ_b factors_ib·(±X^r·y_b), residues in [0, q) times factors >= 0, without reduction.

    y [K, N]; starts [m, K']: where the window of `extend` begins; factors [m, K']; K' is K rounded up to LANES, the
    factors beyond K are zero; extended [LANES, 3N] is scratch.
    """
    N = y.shape[1]
    for first in range(0, y.shape[0], LANES):
        for k in range(min(LANES, y.shape[0] - first)):
            extend(y[first + k], q, extended[k])
        for i in range(totals.shape[0]):
            at = starts[i, first : first + LANES]
            a, b = extended[0, at[0] : at[0] + N], extended[1, at[1] : at[1] + N]
            c, d = extended[2, at[2] : at[2] + N], extended[3, at[3] : at[3] + N]
            _add_windows(totals[i], a, b, c, d, factors[i, first : first + LANES])


@inline
def _count_row(row: Lanes, bucket: npt.NDArray[np.uint16], weight: npt.NDArray[np.int8], total: Wide) -> None:
    for j in range(row.shape[0]):
        total[u64(bucket[j])] += u64(np.int64(weight[j]) * np.int64(row[j]))


@kernel("u4[:,:] u2[:,:] i1[:,:] u8[:,:]")
def count(z: Lanes, buckets: npt.NDArray[np.uint16], weights: npt.NDArray[np.int8], totals: Wide) -> None:
    """totals_iu += Σ over the coefficients j of bucket u of weights_ij·z_ij, modulo 2^64 (two's complement)."""
    for i in range(z.shape[0]):
        _count_row(z[i], buckets[i], weights[i], totals[i])


@kernel("u4[:] u4[:,:] u4[:,:] u2[:,:] i1[:,:] u4[:,:] u4[:,:] u8[:] u4[:,:] u4[:,:] u4[:]")
def share(
    s: Lanes,
    A: Lanes,
    shown: Lanes,
    buckets: npt.NDArray[np.uint16],
    weights: npt.NDArray[np.int8],
    out: Lanes,
    scratch: Lanes,
    totals: Wide,
    forward: Lanes,
    backward: Lanes,
    constants: Lanes,
) -> None:
    """out_l = shown_l − count_l(A_l·s) for one share s [N] and points A [m, N]; scratch [3, N], totals [c]."""
    q, radix, radix_shoup = constants[0], constants[3], constants[4]
    point, product = scratch[0], scratch[1]
    for j in range(s.shape[0]):
        point[j] = multiply(s[j], constants[1], constants[2], q)
    forward_row(point, scratch[2], forward[0], forward[1], q)
    for i in range(A.shape[0]):
        for j in range(s.shape[0]):
            product[j] = reduce(u64(A[i, j]) * u64(point[j]), radix, radix_shoup, q)
        backward_row(product, scratch[2], backward[0], backward[1], q)
        for u in range(totals.shape[0]):
            totals[u] = u64(q) << u64(31)
        _count_row(product, buckets[i], weights[i], totals)
        for u in range(totals.shape[0]):
            out[i, u] = subtract(shown[i, u], reduce(totals[u], radix, radix_shoup, q), q)
