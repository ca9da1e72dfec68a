"""Updates as integers: clip to C, flip signs by the public D, round to C ↔ 2^22; and back from the opened sum.

x = rint(D ∘ u·min(1, C/‖u‖)·2^22/C)          Σ w_i·u_i / Σ w_i ≈ D ∘ opened·C / (2^22·Σ w_i)
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flower_robust.errors import NonFiniteRows, SumOutOfRange
from flower_robust.masking.kernels import elementwise
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.stream import Stream

_CHUNK = 1 << 14


@dataclass(frozen=True)
class Encoded:
    """An update in fixed point, and its lengths (L2, in the unit of the update) before and after clipping."""

    x: npt.NDArray[np.int32]
    norm: float
    clipped_norm: float


def norm(update: npt.NDArray[np.float32]) -> float:
    """‖u‖ accumulated in float64. Raises NonFiniteRows where u holds NaN or Inf."""
    total = 0.0
    for start in range(0, update.shape[0], _CHUNK):
        chunk = update[start : start + _CHUNK].astype(np.float64)
        total += float(np.einsum("i,i->", chunk, chunk))
    if not math.isfinite(total):
        raise NonFiniteRows([0])
    return math.sqrt(total)


def sign_bits(seed: bytes, d: int) -> npt.NDArray[np.uint8]:
    """The public D as bits: coordinate j is flipped where bit j (little endian within bytes) is set."""
    return Stream(seed, "D").octets(-(-d // 8))


def encode(update: npt.NDArray[np.float32], norm_bound: float, sign_seed: bytes) -> Encoded:
    """The fixed point of one update.

        x = rint(D ∘ u·min(1, C/‖u‖)·2^22/C), padded with zeros to whole blocks

    update: float32 [d], in the model's unit; norm_bound: C, same unit; sign_seed: 32 bytes, public.
    Returns int32 [B·N] with |x_j| <= 2^22. Raises NonFiniteRows: the client's own training diverged.
    """
    update = np.ascontiguousarray(update, np.float32)
    d = update.shape[0]
    length = norm(update)
    factor = PARAMETERS.unit_norm / max(norm_bound, length)
    x = np.zeros(PARAMETERS.blocks(d) * PARAMETERS.N, np.int32)
    elementwise.round_signed(update, factor, sign_bits(sign_seed, d), x)
    return Encoded(x, length, min(length, norm_bound))


def decode(
    total: npt.NDArray[np.int64], d: int, total_weight: int, norm_bound: float, sign_seed: bytes
) -> npt.NDArray[np.float32]:
    """The weighted mean of updates from the opened integer sum Σ w_i·(x_i + e_i).

        mean = D ∘ total·C / (2^22·Σ w_i)

    total: int64 [B·N]; d: parameters kept; total_weight: Σ w_i > 0; norm_bound: C. Returns float32 [d].
    Raises SumOutOfRange where a coordinate cannot be the sum of clipped updates: some accepted update was not what its
    sketch said, and a fresh challenge on the same submissions names whose (docs/protocol.md, section 4, step 6a).
    """
    check_range(total, total_weight)
    out = np.empty(d, np.float32)
    elementwise.unsign(total, norm_bound / (PARAMETERS.unit_norm * total_weight), sign_bits(sign_seed, d), out)
    return out


def check_range(total: npt.NDArray[np.int64], total_weight: int) -> None:
    """Raise SumOutOfRange unless every |total_j| <= Σ w_i·(2^22 + eta)."""
    bound = total_weight * (PARAMETERS.unit_norm + PARAMETERS.eta)
    largest = max(int(total.max(initial=0)), -int(total.min(initial=0)))
    if largest > bound:
        raise SumOutOfRange(int(np.argmax(np.abs(total))), largest, bound)
