"""R_q = Z_q[X]/(X^N + 1) in residues: planes of uint32, one per prime.

An array of ring elements has shape [2, ..., N]: plane p holds the residues modulo q_p in [0, q_p). `Coefficients` are
coefficients of X^0 ... X^(N-1); `Points` are the values at the odd powers of ψ, in the order of `kernels.ntt`.
Both are plain arrays: addition, weighted sums and sharing act alike on either, products only on points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from flower_robust.masking.kernels import elementwise, ntt
from flower_robust.masking.parallel import each
from flower_robust.masking.parameters import PARAMETERS

Residues = npt.NDArray[np.uint32]
Coefficients = Residues
Points = Residues

PLANES = (0, 1)
_TILE = 1 << 15


def _bit_reversed(i: int, bits: int) -> int:
    return int(format(i, f"0{bits}b")[::-1], 2)


def twiddle_exponents() -> list[int]:
    """Exponents of ψ in the order in which the layers use them: 63 scalars, then six layers of 64-wide vectors."""
    exponents = [_bit_reversed(i, 12) for i in range(ntt.SIDE)]
    groups = 1
    while groups < ntt.SIDE:
        for g in range(groups):
            exponents += [_bit_reversed((ntt.SIDE + r) * groups + g, 12) for r in range(ntt.SIDE)]
        groups *= 2
    return exponents


@dataclass(frozen=True)
class Plane:
    """Tables of one prime: factors with Shoup companions, and (q, 1/N, its companion, 2^32, its companion)."""

    q: int
    forward: Residues
    backward: Residues
    constants: Residues

    def transform(self, x: Residues) -> None:
        """Coefficients [K, N] to points, in place."""
        ntt.forward(x, np.empty(ntt.N, np.uint32), self.forward[0], self.forward[1], self.constants)

    def transform_back(self, x: Residues) -> None:
        """Points [K, N] to coefficients, in place."""
        ntt.backward(x, np.empty(ntt.N, np.uint32), self.backward[0], self.backward[1], self.constants)

    def product_coefficients(self, x: Residues, s: Residues, out: Residues) -> None:
        """Coefficients of x_k·s into out [K, N], which may be x, for points x [K, N] and s [N]."""
        scratch = np.empty((3, ntt.N), np.uint32)
        ntt.backward_of_product(x, s, out, scratch, self.backward[0], self.backward[1], self.constants)


@cache
def planes() -> tuple[Plane, Plane]:
    """The tables of both primes, built at first use."""
    first, second = (_plane(q, root) for q, root in zip(PARAMETERS.primes, PARAMETERS.roots, strict=True))
    return first, second


def _plane(q: int, root: int) -> Plane:
    powers = [1]
    for _ in range(2 * PARAMETERS.N - 1):
        powers.append(powers[-1] * root % q)
    exponents = twiddle_exponents()
    inverse_n = pow(PARAMETERS.N, -1, q)
    radix = (1 << 32) % q
    constants = [q, inverse_n, (inverse_n << 32) // q, radix, (radix << 32) // q]
    return Plane(
        q,
        with_companions([powers[e] for e in exponents], q),
        with_companions([powers[-e % len(powers)] for e in exponents], q),
        np.array(constants, np.uint32),
    )


def with_companions(factors: Sequence[int], q: int) -> Residues:
    """[2, K]: factors and ⌊factors·2^32/q⌋."""
    wide = np.array(factors, np.uint64)
    return np.stack([wide, (wide << np.uint64(32)) // np.uint64(q)]).astype(np.uint32)


def zeros(*shape: int) -> Residues:
    """Zero residues [2, *shape]."""
    return np.zeros((2, *shape), np.uint32)


def add(x: Residues, y: Residues) -> Residues:
    """x + y mod q, same shape [2, ...]."""
    out = np.empty(x.shape, np.uint32)
    for p in PLANES:
        elementwise.sum_lanes(_flat(x[p]), _flat(y[p]), out[p].reshape(-1), planes()[p].constants[0])
    return out


def subtract(x: Residues, y: Residues) -> Residues:
    """x - y mod q, same shape [2, ...]."""
    out = np.empty(x.shape, np.uint32)
    for p in PLANES:
        elementwise.difference_lanes(_flat(x[p]), _flat(y[p]), out[p].reshape(-1), planes()[p].constants[0])
    return out


def multiply_points(x: Points, y: Points) -> Points:
    """x ∘ y mod q, same shape [2, ...]: the product of ring elements in transformed form."""
    out = np.empty(x.shape, np.uint32)
    for p in PLANES:
        ntt.product(_flat(x[p]), _flat(y[p]), out[p].reshape(-1), planes()[p].constants)
    return out


def to_points(x: Coefficients) -> Points:
    """The transform of every element of x [2, ..., N]; a new array."""
    out = np.array(x, np.uint32, order="C")
    each(lambda p: planes()[p].transform(out[p].reshape(-1, PARAMETERS.N)), PLANES)
    return out


def to_coefficients(x: Points) -> Coefficients:
    """The inverse transform of every element of x [2, ..., N]; a new array."""
    out = np.array(x, np.uint32, order="C")
    each(lambda p: planes()[p].transform_back(out[p].reshape(-1, PARAMETERS.N)), PLANES)
    return out


def product_coefficients(x: Points, s: Points) -> Coefficients:
    """The coefficients of x_k·s for every x_k of x [2, K, N] and one s [2, N], both transformed."""
    out = np.empty(x.shape, np.uint32)
    each(lambda p: planes()[p].product_coefficients(x[p], s[p], out[p]), PLANES)
    return out


def multiply(x: Coefficients, y: Coefficients) -> Coefficients:
    """x·y in R_q for two ring elements [2, N] by their coefficients."""
    return product_coefficients(to_points(x)[:, None], to_points(y))[:, 0]


def weighted_sum(weights: Sequence[int], elements: Sequence[Residues]) -> Residues:
    """Σ w_i·x_i mod q for integer weights 0 <= w_i < 2^20 and residues of one shape [2, ...], reduced once at the end.

    At most 2^12 elements. Works tile by tile, so that the 64-bit sums stay in the cache.
    """
    rows = [[_flat(x[p]) for x in elements] for p in PLANES]
    out = np.empty((2, rows[0][0].shape[0]), np.uint32)

    def fill(p: int) -> None:
        total = np.empty(min(_TILE, out.shape[1]), np.uint64)
        for start in range(0, out.shape[1], _TILE):
            into = out[p, start : start + _TILE]
            part = total[: into.shape[0]]
            part[:] = 0
            for weight, row in zip(weights, rows[p], strict=True):
                elementwise.accumulate(part, row[start : start + _TILE], np.uint64(weight))
            elementwise.reduce_wide(part, into, planes()[p].constants)

    each(fill, PLANES)
    return out.reshape(elements[0].shape)


def from_integers(x: npt.ArrayLike) -> Residues:
    """Residues [2, ...] of any integers (int64 range)."""
    values = np.asarray(x, np.int64, order="C")
    out = np.empty((2, *values.shape), np.uint32)
    for p in PLANES:
        elementwise.residues(values.reshape(-1), out[p].reshape(-1), planes()[p].constants)
    return out


def centred(x: Residues) -> npt.NDArray[np.int64]:
    """The integers in (-q/2, q/2] with residues x [2, ...], by the Chinese remainder theorem."""
    out = np.empty(x.shape[1:], np.int64)
    elementwise.centred(_flat(x[0]), _flat(x[1]), out.reshape(-1), _crt())
    return out


def nonnegative(x: Residues) -> npt.NDArray[np.float64]:
    """The integers in [0, q) with residues x [2, ...], rounded to float64."""
    values = centred(x).astype(np.float64)
    return np.where(values < 0, values + float(PARAMETERS.q), values)


@cache
def _crt() -> npt.NDArray[np.uint64]:
    q1, q2 = PARAMETERS.primes
    inverse = pow(q1, -1, q2)
    return np.array([q1, q2, inverse, (inverse << 32) // q2], np.uint64)


def _flat(x: Residues) -> Residues:
    return np.ascontiguousarray(x).reshape(-1)
