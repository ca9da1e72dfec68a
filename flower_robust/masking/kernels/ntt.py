"""The negacyclic number-theoretic transform of length N = 64·64, one prime.

    X_i = Σ_j x_j ψ^((2·σ(i)+1)·j) mod q,   ψ a primitive 2N-th root of unity, σ a fixed permutation.

Six layers act across the rows of a 64 × 64 matrix, then the matrix is transposed and the other six act across rows
again, so that every layer runs on whole vectors. The points therefore leave in transposed bit-reversed order; products
do not care, and `twiddles` states the order for whoever must agree (Longa and Naehrig 2016, algorithms 1 and 2).
"""

import numpy as np
import numpy.typing as npt
from numpy import uint32 as u32
from numpy import uint64 as u64

from flower_robust.masking.kernels.compiled import inline, kernel
from flower_robust.masking.kernels.modular import add, multiply, reduce, shoup, subtract

Lanes = npt.NDArray[np.uint32]

SIDE = 64
N = SIDE * SIDE


@inline
def _transpose(x: Lanes, out: Lanes) -> None:
    for row in range(SIDE):
        for column in range(SIDE):
            out[column * SIDE + row] = x[row * SIDE + column]


@inline
def forward_row(x: Lanes, scratch: Lanes, w: Lanes, ws: Lanes, q: u32) -> None:
    """The transform of x [N], in place; scratch [N]."""
    groups, half = 1, N // 2
    while groups < SIDE:
        for g in range(groups):
            factor, factor_shoup = w[groups + g], ws[groups + g]
            low = x[2 * g * half : (2 * g + 1) * half]
            high = x[(2 * g + 1) * half : (2 * g + 2) * half]
            for j in range(half):
                u, v = low[j], multiply(high[j], factor, factor_shoup, q)
                low[j], high[j] = add(u, v, q), subtract(u, v, q)
        groups, half = 2 * groups, half // 2
    _transpose(x, scratch)
    groups, half, at = 1, SIDE // 2, SIDE
    while groups < SIDE:
        for g in range(groups):
            factors, factors_shoup = w[at : at + SIDE], ws[at : at + SIDE]
            at += SIDE
            for j in range(half):
                top = (2 * g * half + j) * SIDE
                low = scratch[top : top + SIDE]
                high = scratch[top + half * SIDE : top + (half + 1) * SIDE]
                for r in range(SIDE):
                    u, v = low[r], multiply(high[r], factors[r], factors_shoup[r], q)
                    low[r], high[r] = add(u, v, q), subtract(u, v, q)
        groups, half = 2 * groups, half // 2
    for j in range(N):
        x[j] = scratch[j]


@inline
def backward_row(x: Lanes, scratch: Lanes, w: Lanes, ws: Lanes, q: u32) -> None:
    """N times the inverse transform of x [N], in place; scratch [N]."""
    groups, half, at = SIDE // 2, 1, N
    while groups > 0:
        at -= groups * SIDE
        for g in range(groups):
            start = at + g * SIDE
            factors, factors_shoup = w[start : start + SIDE], ws[start : start + SIDE]
            for j in range(half):
                top = (2 * g * half + j) * SIDE
                low = x[top : top + SIDE]
                high = x[top + half * SIDE : top + (half + 1) * SIDE]
                for r in range(SIDE):
                    u, v = low[r], high[r]
                    low[r] = add(u, v, q)
                    high[r] = multiply(u32(u32(u + q) - v), factors[r], factors_shoup[r], q)
        groups, half = groups // 2, 2 * half
    _transpose(x, scratch)
    groups, half = SIDE // 2, SIDE
    while groups > 0:
        for g in range(groups):
            factor, factor_shoup = w[groups + g], ws[groups + g]
            low = scratch[2 * g * half : (2 * g + 1) * half]
            high = scratch[(2 * g + 1) * half : (2 * g + 2) * half]
            for j in range(half):
                u, v = low[j], high[j]
                low[j] = add(u, v, q)
                high[j] = multiply(u32(u32(u + q) - v), factor, factor_shoup, q)
        groups, half = groups // 2, 2 * half
    for j in range(N):
        x[j] = scratch[j]


@kernel("u4[:,:] u4[:] u4[:] u4[:] u4[:]")
def forward(x: Lanes, scratch: Lanes, w: Lanes, ws: Lanes, constants: Lanes) -> None:
    """The transform of every row of x [K, N], in place; scratch [N]."""
    for k in range(x.shape[0]):
        forward_row(x[k], scratch, w, ws, constants[0])


@kernel("u4[:,:] u4[:] u4[:] u4[:] u4[:]")
def backward(x: Lanes, scratch: Lanes, w: Lanes, ws: Lanes, constants: Lanes) -> None:
    """The inverse transform of every row of x [K, N], in place; scratch [N]."""
    for k in range(x.shape[0]):
        backward_row(x[k], scratch, w, ws, constants[0])
        for j in range(N):
            x[k, j] = multiply(x[k, j], constants[1], constants[2], constants[0])


@kernel("u4[:,:] u4[:] u4[:,:] u4[:,:] u4[:] u4[:] u4[:]")
def backward_of_product(x: Lanes, s: Lanes, out: Lanes, scratch: Lanes, w: Lanes, ws: Lanes, constants: Lanes) -> None:
    """out_k = coefficients of x_k ∘ s for every row of x [K, N] and one s [N], all transformed; scratch [3, N]."""
    q = constants[0]
    factor, factor_shoup = scratch[1], scratch[2]
    for j in range(N):
        factor[j] = multiply(s[j], constants[1], constants[2], q)
        factor_shoup[j] = shoup(factor[j], q)
    for k in range(x.shape[0]):
        row, into = x[k], out[k]
        for j in range(N):
            into[j] = multiply(row[j], factor[j], factor_shoup[j], q)
        backward_row(into, scratch[0], w, ws, q)


@kernel("u4[:] u4[:] u4[:] u4[:]")
def product(x: Lanes, y: Lanes, out: Lanes, constants: Lanes) -> None:
    """out = x ∘ y mod q for flat x, y."""
    for j in range(x.shape[0]):
        out[j] = reduce(u64(x[j]) * u64(y[j]), constants[3], constants[4], constants[0])
