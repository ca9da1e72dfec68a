"""Digests and norms of named arrays, the same on every machine. numpy only."""

import hashlib
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from flower_robust.commitments.encoding import pack, u64
from flower_robust.types import Digest

Arrays = Mapping[str, NDArray[np.generic]]
"""Named arrays: a model, or an update of one."""

_CHUNK = 1 << 13
"""Below 10 000 elements OpenBLAS computes a dot product in the calling thread: its threads cost a busy machine 100x."""


def update_digest(arrays: Arrays) -> Digest:
    """SHA-256 over the arrays in the order of their names.

        H(context, for each array: name, dtype, shape, bytes in C order)

    Whatever changes a bit, a name, a dtype or a shape changes the digest; the order of the mapping does not.
    Raises TypeError on an array of Python objects, which has no canonical bytes.
    """
    state = hashlib.sha256(pack(b"flower-robust/v1/update", u64(len(arrays))))
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name]).reshape(arrays[name].shape)
        if array.dtype.hasobject:
            raise TypeError(f"array {name!r}: found dtype object, required numbers")
        lengths: tuple[int, ...] = array.shape
        shape = b"".join(map(u64, lengths))
        state.update(pack(name.encode(), array.dtype.str.encode(), shape, u64(array.nbytes)))
        state.update(array.reshape(-1).view(np.uint8).data)
    return Digest(state.digest())


def update_norm(arrays: Arrays) -> float:
    """L2 norm over the floating-point arrays together, accumulated in float64.

    Integer arrays (BatchNorm counters) are no part of the norm or the geometry. NaN or Inf in, NaN or Inf out.
    """
    return math.sqrt(sum(_squared_norm(array) for array in arrays.values() if is_float(array)))


def is_float(array: NDArray[np.generic]) -> bool:
    """Whether the array enters norm, geometry and weighted sum; the others travel beside them."""
    return bool(np.issubdtype(array.dtype, np.floating))


def _squared_norm(array: NDArray[np.generic]) -> float:
    flat = array.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        chunks = (flat[start : start + _CHUNK].astype(np.float64) for start in range(0, flat.size, _CHUNK))
        return float(sum(float(chunk @ chunk) for chunk in chunks))
