"""Arithmetic modulo one prime q, 2^30 < q < 2^31, on uint32 lanes. Every branch is a minimum, so that loops vectorise.

For u in [0, 2q), min(u, u - q mod 2^32) is u mod q: u - q wraps above u exactly when u < q.
"""

from numpy import uint32 as u32
from numpy import uint64 as u64

from flower_robust.masking.kernels.compiled import inline


@inline
def add(u: u32, v: u32, q: u32) -> u32:
    """u + v mod q for u, v in [0, q)."""
    s = u32(u + v)
    return min(s, u32(s - q))


@inline
def subtract(u: u32, v: u32, q: u32) -> u32:
    """u - v mod q for u, v in [0, q)."""
    s = u32(u - v)
    return min(s, u32(s + q))


@inline
def multiply(x: u32, w: u32, w_shoup: u32, q: u32) -> u32:
    """x·w mod q for any 32-bit x, w in [0, q) and w_shoup = ⌊w·2^32/q⌋ (Shoup's trick; Harvey 2014, section 2)."""
    high = u32((u64(x) * u64(w_shoup)) >> u64(32))
    r = u32(u32(x * w) - u32(high * q))
    return min(r, u32(r - q))


@inline
def reduce(v: u64, radix: u32, radix_shoup: u32, q: u32) -> u32:
    """v mod q for any 64-bit v; radix = 2^32 mod q and its Shoup factor."""
    low = u32(v)
    low = min(low, u32(low - q))
    low = min(low, u32(low - q))
    return add(multiply(u32(v >> u64(32)), radix, radix_shoup, q), low, q)


@inline
def shoup(w: u32, q: u32) -> u32:
    """⌊w·2^32/q⌋."""
    return u32((u64(w) << u64(32)) // u64(q))
