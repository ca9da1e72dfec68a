"""Sums, signed sums, decoding of residues and expansion of random words, one flat loop each."""

import numpy as np
import numpy.typing as npt
from numpy import uint32 as u32
from numpy import uint64 as u64

from flower_robust.masking.kernels.compiled import inline, kernel
from flower_robust.masking.kernels.modular import add, multiply, reduce, subtract

Lanes = npt.NDArray[np.uint32]
Wide = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int32]

RUN = 512
"""Words that are accepted at a time: with q just below 2^31, one run in thirty holds a word to reject."""


@kernel("u4[:] u4[:] u4[:] u4")
def sum_lanes(x: Lanes, y: Lanes, out: Lanes, q: u32) -> None:
    """out = x + y mod q."""
    for j in range(x.shape[0]):
        out[j] = add(x[j], y[j], q)


@kernel("u4[:] u4[:] u4[:] u4")
def difference_lanes(x: Lanes, y: Lanes, out: Lanes, q: u32) -> None:
    """out = x - y mod q."""
    for j in range(x.shape[0]):
        out[j] = subtract(x[j], y[j], q)


@kernel("u4[:] i4[:] u4")
def add_signed(y: Lanes, x: Integers, q: u32) -> None:
    """y += x mod q in place, for |x| < q."""
    for j in range(y.shape[0]):
        v = u32(x[j])
        y[j] = add(y[j], min(v, u32(v + q)), q)


@kernel("u8[:] u4[:] u8")
def accumulate(total: Wide, y: Lanes, weight: u64) -> None:
    """total += weight·y without reduction."""
    for j in range(y.shape[0]):
        total[j] += weight * u64(y[j])


@kernel("u8[:] u4[:] u4[:]")
def reduce_wide(total: Wide, out: Lanes, constants: Lanes) -> None:
    """out = total mod q."""
    q, radix, radix_shoup = constants[0], constants[3], constants[4]
    for j in range(total.shape[0]):
        out[j] = reduce(total[j], radix, radix_shoup, q)


@kernel("i8[:] u4[:] u4[:]")
def residues(x: npt.NDArray[np.int64], out: Lanes, constants: Lanes) -> None:
    """out = x mod q, in [0, q), for any signed 64-bit x."""
    q, radix, radix_shoup = constants[0], constants[3], constants[4]
    for j in range(x.shape[0]):
        size = reduce(u64(-x[j]) if x[j] < 0 else u64(x[j]), radix, radix_shoup, q)
        out[j] = subtract(u32(0), size, q) if x[j] < 0 else size


@kernel("u4[:] u4[:] i8[:] u8[:]")
def centred(x1: Lanes, x2: Lanes, out: npt.NDArray[np.int64], crt: Wide) -> None:
    """out in (-q/2, q/2] with out = x1 mod q1 and x2 mod q2; crt = (q1, q2, q1⁻¹ mod q2, its Shoup factor)."""
    q1, q2, inverse, inverse_shoup = crt[0], u32(crt[1]), u32(crt[2]), u32(crt[3])
    q = q1 * u64(q2)
    for j in range(x1.shape[0]):
        low = u32(x1[j])
        low = min(low, u32(low - q2))
        high = multiply(subtract(x2[j], low, q2), inverse, inverse_shoup, q2)
        v = u64(x1[j]) + q1 * u64(high)
        out[j] = np.int64(v - q) if v > q >> u64(1) else np.int64(v)


@inline
def _low_bits(words: Lanes, out: Lanes) -> u32:
    """out = the low 31 bits of every word; returns the largest."""
    largest = u32(0)
    for j in range(words.shape[0]):
        v = u32(words[j] & u32(0x7FFFFFFF))
        out[j] = v
        largest = max(largest, v)
    return largest


@inline
def _accept_each(words: Lanes, out: Lanes, have: int, q: u32) -> int:
    room = out.shape[0]
    for j in range(words.shape[0]):
        if have == room:
            break
        v = u32(words[j] & u32(0x7FFFFFFF))
        out[have] = v
        have += 1 if v < q else 0
    return have


@kernel("u4[:] u4[:] i8 u4 -> i8")
def accept(words: Lanes, out: Lanes, have: int, q: u32) -> int:
    """Append the words whose low 31 bits are below q to out[have:]; returns the new count. Exactly uniform.

    Runs of words without one to reject are copied as vectors.
    """
    room = out.shape[0]
    for start in range(0, words.shape[0], RUN):
        run = words[start : start + RUN]
        end = have + run.shape[0]
        whole = end <= room and _low_bits(run, out[have:end]) < q
        have = end if whole else _accept_each(run, out, have, q)
    return have


@kernel("i4[:] u4[:]")
def add_binomial(x: Integers, words: Lanes) -> None:
    """x_2j, x_2j+1 += popcount(byte) - popcount(byte): centred binomials of η = 8, two per word."""
    for j in range(words.shape[0]):
        v = words[j]
        v = u32(v - u32(u32(v >> u32(1)) & u32(0x55555555)))
        v = u32(u32(v & u32(0x33333333)) + u32(u32(v >> u32(2)) & u32(0x33333333)))
        v = u32(u32(v + u32(v >> u32(4))) & u32(0x0F0F0F0F))
        x[2 * j] += np.int32(v & u32(255)) - np.int32(u32(v >> u32(8)) & u32(255))
        x[2 * j + 1] += np.int32(u32(v >> u32(16)) & u32(255)) - np.int32(v >> u32(24))


@kernel("f4[:] f8 u1[:] i4[:]")
def round_signed(update: npt.NDArray[np.float32], factor: float, signs: npt.NDArray[np.uint8], out: Integers) -> None:
    """out_j = D_j·rint(factor·update_j), D_j = -1 where bit j of signs is set."""
    for j in range(update.shape[0]):
        v = np.int32(np.rint(np.float64(update[j]) * factor))
        bit = np.int32((signs[j >> 3] >> (j & 7)) & 1)
        out[j] = (v ^ -bit) + bit


@kernel("i8[:] f8 u1[:] f4[:]")
def unsign(x: npt.NDArray[np.int64], factor: float, signs: npt.NDArray[np.uint8], out: npt.NDArray[np.float32]) -> None:
    """out_j = D_j·factor·x_j."""
    for j in range(out.shape[0]):
        bit = np.int64((signs[j >> 3] >> (j & 7)) & 1)
        out[j] = np.float32(np.float64((x[j] ^ -bit) + bit) * factor)
