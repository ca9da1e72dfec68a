"""Shamir sharing of residue vectors over both primes; client j of a cohort holds the value at the point j + 1.

⟨v⟩_j = v + Σ_{i=1..degree} r_i·(j + 1)^i (mod q), r_i uniform
"""

from collections.abc import Sequence

import numpy as np

from flower_robust.errors import ConfigurationError
from flower_robust.masking.kernels import linear
from flower_robust.masking.parallel import each
from flower_robust.masking.ring import PLANES, Residues, planes
from flower_robust.masking.stream import Stream

MAX_CLIENTS = 1 << 16


def share(values: Residues, degree: int, n: int, seed: bytes) -> Residues:
    """Shares of a vector for n clients.

    values: [2, K]; degree: any `degree` shares say nothing, degree + 1 say all; seed: 32 secret bytes, used for nothing
    else. Returns [n, 2, K]; row j is for client j (point j + 1).
    Raises ConfigurationError where degree < 1 or degree >= n: nobody could ever open it.
    Shamir 1979.
    """
    return evaluate(polynomials(values, degree, n, seed), n)


def polynomials(values: Residues, degree: int, n: int, seed: bytes) -> Residues:
    """The coefficients [2, degree + 1, K] behind `share`, for a dealer that evaluates them receiver by receiver."""
    if not 1 <= degree < n < MAX_CLIENTS:
        raise ConfigurationError("degree", degree, f"at least 1 and below n = {n}")
    out = np.empty((2, degree + 1, values.shape[1]), np.uint32)
    out[:, 0] = values
    for p, plane in enumerate(planes()):
        Stream(seed, "shares", p).residues_into(out[p, 1:].reshape(-1), plane.q)
    return out


def share_zero(length: int, degree: int, n: int, seed: bytes) -> Residues:
    """Shares [n, 2, length] of zeros on independent random polynomials of the given degree (see `share`)."""
    return share(np.zeros((2, length), np.uint32), degree, n, seed)


def evaluate(polynomial: Residues, n: int) -> Residues:
    """Values [n, 2, K] of K polynomials with coefficients [2, degree + 1, K] at the points 1 ... n."""
    out = np.empty((n, 2, polynomial.shape[2]), np.uint32)

    def evaluate_plane(p: int) -> None:
        for j in range(n):
            linear.evaluate(polynomial[p], np.uint32(j + 1), out[j, p], planes()[p].constants[0])

    each(evaluate_plane, PLANES)
    return out


def share_of(polynomial: Residues, client: int) -> Residues:
    """The share [2, K] of one client: the value at its point."""
    out = np.empty((2, polynomial.shape[2]), np.uint32)
    for p in PLANES:
        linear.evaluate(polynomial[p], np.uint32(client + 1), out[p], planes()[p].constants[0])
    return out


def combine(weights: Residues, values: Residues) -> Residues:
    """Σ_r weights_r·values_r (mod q) for weights [2, R] and values [R, 2, K]; returns [2, K]."""
    out = np.empty((2, 1, values.shape[2]), np.uint32)
    for p in PLANES:
        rows = np.ascontiguousarray(values[:, p])
        linear.matrix_product(np.ascontiguousarray(weights[p])[None], rows, out[p], planes()[p].constants[0])
    return out[:, 0]


def lagrange_at_zero(clients: Sequence[int]) -> Residues:
    """Weights [2, R] that open a value of degree below R from the shares of these clients: Π_{k≠j} α_k/(α_k − α_j)."""
    weights = np.empty((2, len(clients)), np.uint32)
    for p, plane in enumerate(planes()):
        for r, j in enumerate(clients):
            above, below = 1, 1
            for k in clients:
                if k != j:
                    above, below = above * (k + 1) % plane.q, below * (k - j) % plane.q
            weights[p, r] = above * pow(below, -1, plane.q) % plane.q
    return weights
