"""Small modular linear algebra for sharing and decoding: Horner in many coordinates, matrix products, Gram matrices."""

import numpy as np
import numpy.typing as npt
from numpy import uint32 as u32
from numpy import uint64 as u64

from flower_robust.masking.kernels.compiled import inline, kernel
from flower_robust.masking.kernels.modular import add, multiply, reduce, shoup

Lanes = npt.NDArray[np.uint32]

TILE = 1024


@inline
def _horner_step(out: Lanes, row: Lanes, point: u32, point_shoup: u32, q: u32) -> None:
    for k in range(out.shape[0]):
        out[k] = add(multiply(out[k], point, point_shoup, q), row[k], q)


@inline
def _add_multiple(out: Lanes, row: Lanes, factor: u32, factor_shoup: u32, q: u32) -> None:
    for k in range(out.shape[0]):
        out[k] = add(multiply(row[k], factor, factor_shoup, q), out[k], q)


@kernel("u4[:,:] u4 u4[:] u4")
def evaluate(coefficients: Lanes, point: u32, out: Lanes, q: u32) -> None:
    """out_k = Σ_i coefficients_i,k·point^i mod q, by Horner's rule from the highest degree."""
    point_shoup = shoup(point, q)
    last = coefficients[coefficients.shape[0] - 1]
    for k in range(out.shape[0]):
        out[k] = last[k]
    for i in range(coefficients.shape[0] - 2, -1, -1):
        _horner_step(out, coefficients[i], point, point_shoup, q)


@kernel("u4[:,:] u4[:,:] u4[:,:] u4")
def matrix_product(left: Lanes, right: Lanes, out: Lanes, q: u32) -> None:
    """out = left [u, r] · right [r, K] mod q."""
    for i in range(left.shape[0]):
        into = out[i]
        for k in range(into.shape[0]):
            into[k] = 0
        for r in range(left.shape[1]):
            factor = left[i, r]
            _add_multiple(into, right[r], factor, shoup(factor, q), q)


@inline
def inner(u: Lanes, v: Lanes, constants: Lanes) -> u32:
    """Σ_k u_k·v_k mod q, for at most 2^31 terms: low and high halves of the products are summed apart."""
    low, high = u64(0), u64(0)
    for k in range(u.shape[0]):
        term = u64(u[k]) * u64(v[k])
        low += term & u64(0xFFFFFFFF)
        high += term >> u64(32)
    q, radix, radix_shoup = constants[0], constants[3], constants[4]
    high32 = multiply(reduce(high, radix, radix_shoup, q), radix, radix_shoup, q)
    return add(high32, reduce(low, radix, radix_shoup, q), q)


@kernel("u4[:,:] i8 i8 u4[:,:] u4[:]")
def gram(rows: Lanes, first: int, step: int, out: Lanes, constants: Lanes) -> None:
    """out_ik += Σ_v rows_iv·rows_kv mod q for k <= i, i = first, first + step, ...; tiles stay in the cache."""
    for start in range(0, rows.shape[1], TILE):
        i = first
        while i < rows.shape[0]:
            left = rows[i, start : start + TILE]
            for k in range(i + 1):
                out[i, k] = add(out[i, k], inner(left, rows[k, start : start + TILE], constants), constants[0])
            i += step


@kernel("u4[:,:] u4[:] u4[:] u4[:]")
def inner_rows(rows: Lanes, v: Lanes, out: Lanes, constants: Lanes) -> None:
    """out_i = Σ_k rows_ik·v_k mod q."""
    for i in range(rows.shape[0]):
        out[i] = inner(rows[i], v, constants)


@kernel("u4[:,:] u4[:] u4[:]")
def self_inner(rows: Lanes, out: Lanes, constants: Lanes) -> None:
    """out_i = Σ_k rows_ik² mod q."""
    for i in range(rows.shape[0]):
        out[i] = inner(rows[i], rows[i], constants)
