"""The mask itself: y_b = x_b + a_b·s + e_b, and its removal from a weighted sum.

y_i = x_i + a·s_i + e_i (mod q)          Σ w_i·y_i − a·Σ w_i·s_i = Σ w_i·(x_i + e_i)
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from flower_robust.masking import ring
from flower_robust.masking.kernels import elementwise
from flower_robust.masking.parallel import each
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.public import PublicElements
from flower_robust.masking.ring import PLANES, Coefficients, Residues, planes
from flower_robust.masking.stream import Stream, uniform

_CHUNK = 1 << 16

Opener = Callable[[Sequence[int], Sequence[Residues], Coefficients, PublicElements], npt.NDArray[np.int64]]
"""What computes `open_weighted`, on whatever device: weights, y's, Σ w_i·s_i and a to the integers int64 [B·N]."""


def draw_secret(seed: bytes) -> Coefficients:
    """A uniform secret s, residues [2, N] (32 KiB), from 32 secret bytes."""
    return uniform(seed, "s", PARAMETERS.N)


def add_noise(x: npt.NDArray[np.int32], seed: bytes) -> npt.NDArray[np.int32]:
    """x + e with e_j = popcount(byte) - popcount(byte) of a secret stream: centred binomial, η = 8, σ = 2.

    x: int32 [B·N]; seed: 32 secret bytes, used for nothing else. Returns a new int32 [B·N].
    """
    noisy = x.copy()
    _add_noise(noisy, seed)
    return noisy


def _add_noise(x: npt.NDArray[np.int32], seed: bytes) -> None:
    stream = Stream(seed, "e")
    for start in range(0, x.shape[0], _CHUNK):
        chunk = x[start : start + _CHUNK]
        elementwise.add_binomial(chunk, stream.words(chunk.shape[0] // 2))


def mask(x: npt.NDArray[np.int32], s: Coefficients, a: PublicElements, noise_seed: bytes) -> Residues:
    """One client's masked update.

        y_b = x_b + a_b·s + e_b (mod q), b = 0 ... B-1

    x: int32 [B·N], fixed point; s: [2, N], this round's secret; a: the plan's public elements; noise_seed: 32 secret
    bytes. Returns y: uint32 [2, B, N], 8 bytes per parameter.
    Lyubashevsky, Peikert, Regev 2010 (RLWE); a secret and a noise seed must never serve two updates.
    """
    y = np.empty((2, a.B, PARAMETERS.N), np.uint32)
    mask_into(y, x.copy(), s, a, noise_seed)
    return y


def mask_into(y: Residues, x: npt.NDArray[np.int32], s: Coefficients, a: PublicElements, noise_seed: bytes) -> None:
    """`mask`, written to y [2, B, N]; the noise is added to x in place, so that nothing else of this size exists."""
    _add_noise(x, noise_seed)
    noisy, s_points = x.reshape(a.B, PARAMETERS.N), ring.to_points(s)

    def fill(p: int) -> None:
        for blocks in a.groups():
            out = y[p, blocks]
            a.points_into(out, p, blocks)
            planes()[p].product_coefficients(out, s_points[p], out)
            elementwise.add_signed(out.reshape(-1), noisy[blocks].reshape(-1), planes()[p].constants[0])

    each(fill, PLANES)


def unmask(total: Residues, s: Coefficients, a: PublicElements) -> npt.NDArray[np.int64]:
    """The integers under a weighted sum of masked updates.

        total − a·s = Σ w_i·(x_i + e_i), taken in (−q/2, q/2]

    total: Σ w_i·y_i, uint32 [2, B, N]; s: Σ w_i·s_i, [2, N]; a: as in `mask`. Returns int64 [B·N]. Whether the integers
    are plausible is `fixed_point.check_range`.
    """
    plain = np.empty_like(total)

    def fill(p: int) -> None:
        q = planes()[p].constants[0]
        for blocks in a.groups():
            out = plain[p, blocks]
            planes()[p].product_coefficients(a.points(p, blocks), s_points[p], out)
            elementwise.difference_lanes(total[p, blocks].reshape(-1), out.reshape(-1), out.reshape(-1), q)

    s_points = ring.to_points(s)
    each(fill, PLANES)
    return ring.centred(plain).reshape(-1)


def open_weighted(
    weights: Sequence[int], ys: Sequence[Residues], s: Coefficients, a: PublicElements
) -> npt.NDArray[np.int64]:
    """Σ w_i·y_i − a·(Σ w_i·s_i) = Σ w_i·(x_i + e_i), taken in (−q/2, q/2]; int64 [B·N].

    weights: 0 <= w_i < 2^20; ys: uint32 [2, B, N] each; s: Σ w_i·s_i, [2, N]; a: as in `mask`.
    """
    return unmask(ring.weighted_sum(weights, ys), s, a)
