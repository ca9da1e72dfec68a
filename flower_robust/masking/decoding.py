"""Opening shared values although some answers are missing and some are wrong (docs/protocol.md, section 8).

Values of a polynomial of degree D at r points are a generalised Reed–Solomon codeword: r >= D + 1 + 2e corrects e wrong
answers. Wrong answers are located once, on one random combination of a whole batch, and are erasures for the batch: a
wrong answer that the combination misses has probability 1/q_p per plane, below 2^-30.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from flower_robust.errors import NotEnoughShares
from flower_robust.masking.kernels import linear
from flower_robust.masking.ring import PLANES, Residues, planes
from flower_robust.masking.sharing import combine, lagrange_at_zero
from flower_robust.masking.stream import uniform


@dataclass(frozen=True)
class Opened:
    """Opened values [2, K] and the clients whose answers were wrong."""

    values: Residues
    wrong: tuple[int, ...]


@dataclass(frozen=True)
class Inspection:
    """`faulty`: dealers whose sharings are not what they must be; `dissent`: for the others, responders outvoted."""

    faulty: tuple[int, ...]
    dissent: Mapping[int, tuple[int, ...]]


def correctable(responders: int, degree: int) -> int:
    """How many wrong answers among the responders can be corrected: ⌊(r − degree − 1)/2⌋, or -1 below the threshold."""
    return (responders - degree - 1) // 2 if responders > degree else -1


def open_shares(shares: Residues, clients: Sequence[int], degree: int, seed: bytes, step: str = "opening") -> Opened:
    """The values at 0 of K shared polynomials.

        v = Σ_{j in R} λ_j·⟨v⟩_j for any R of degree + 1 right answers

    shares: [r, 2, K], row i from the client with index clients[i] (point clients[i] + 1); degree: t, or 2t after one
    product; seed: 32 bytes drawn after the shares arrived, so that no answer can be fitted to the combination; step:
    named in errors.
    Raises NotEnoughShares where r <= degree or more than ⌊(r − degree − 1)/2⌋ answers are wrong: then nobody can be
    named, and nothing is opened.
    Reed and Solomon 1960; Massey 1969.
    """
    if len(clients) <= degree:
        raise NotEnoughShares(step, degree + 1, len(clients), clients)
    combined = _combined(shares, seed)
    wrong: set[int] = set()
    for p in PLANES:
        located = locate(combined[p], clients, degree, p)
        wrong |= set(range(len(clients))) if located is None else set(located)
    if len(wrong) > correctable(len(clients), degree):
        needed = degree + 1 + 2 * (correctable(len(clients), degree) + 1)
        raise NotEnoughShares(step, needed, len(clients), clients)
    right = [i for i in range(len(clients)) if i not in wrong][: degree + 1]
    weights = lagrange_at_zero([clients[i] for i in right])
    return Opened(combine(weights, shares[right]), tuple(clients[i] for i in sorted(wrong)))


def _combined(shares: Residues, seed: bytes) -> Residues:
    factors = uniform(seed, "combination", shares.shape[2])
    return np.stack([inner_products(shares[:, p], factors[p], p) for p in PLANES])


def inner_products(rows: Residues, factors: Residues, plane: int) -> Residues:
    """Σ_k factors_k·rows_i,k mod q_plane for every row of [R, K]; returns [R]."""
    out = np.empty(rows.shape[0], np.uint32)
    linear.inner_rows(np.ascontiguousarray(rows), factors, out, planes()[plane].constants)
    return out


def inspect_dealers(
    values: Residues, clients: Sequence[int], degree: int, *, vanishing: bool = False, step: str = "dealer test"
) -> Inspection:
    """Whether what each dealer shared lies on a polynomial of the allowed degree.

        ∃ polynomial of degree <= `degree` (with value 0 at 0 where `vanishing`) through all but few of values_i

    values: [r, 2, n], the responders' combinations (`test_values`) for n dealers. A dealer that no such polynomial fits
    after correcting ⌊(r − degree − 1)/2⌋ answers is faulty; a corrected answer is dissent, of the responder or of the
    dealer that served only this responder badly: who, the protocol cannot tell.
    Raises NotEnoughShares where r <= degree.
    """
    if len(clients) <= degree:
        raise NotEnoughShares(step, degree + 1, len(clients), clients)
    verdicts = [_columns(values[:, p], clients, degree, p, vanishing) for p in PLANES]
    faulty, dissent = [], {}
    for dealer, (first, second) in enumerate(zip(*verdicts, strict=True)):
        union = None if first is None or second is None else sorted(set(first) | set(second))
        if union is None or len(union) > correctable(len(clients), degree):
            faulty.append(dealer)
        elif union:
            dissent[dealer] = tuple(clients[i] for i in union)
    return Inspection(tuple(faulty), dissent)


def _columns(
    values: Residues, clients: Sequence[int], degree: int, plane: int, vanishing: bool
) -> list[list[int] | None]:
    """For each column of values [r, n]: the positions of wrong answers, or None where no polynomial fits."""
    checks = _product(check_matrix(tuple(clients), degree)[plane], values, plane)
    opened = _product(lagrange_at_zero(clients[: degree + 1])[plane][None], values[: degree + 1], plane)[0]
    verdicts: list[list[int] | None] = []
    for dealer in range(values.shape[1]):
        if not checks[:, dealer].any():
            verdicts.append(None if vanishing and opened[dealer] else [])
        else:
            verdicts.append(_corrected(values[:, dealer], clients, degree, plane, vanishing))
    return verdicts


def _corrected(column: Residues, clients: Sequence[int], degree: int, plane: int, vanishing: bool) -> list[int] | None:
    wrong = locate(column, clients, degree, plane)
    if wrong is None or not vanishing:
        return wrong
    right = [i for i in range(len(clients)) if i not in wrong][: degree + 1]
    weights = lagrange_at_zero([clients[i] for i in right])[plane]
    return None if _product(weights[None], column[right][:, None], plane).any() else wrong


def locate(values: Residues, clients: Sequence[int], degree: int, plane: int) -> list[int] | None:
    """Positions of the wrong values among values [r], or None where no `correctable` number of corrections suffices.

    Syndromes S_k = Σ_i u_i·α_i^k·v_i; the shortest recurrence that produces them (Berlekamp–Massey) has the wrong α_i
    as the roots of its reversed polynomial.
    """
    q = planes()[plane].q
    checks = check_matrix(tuple(clients), degree)[plane]
    syndromes = [int(v) for v in _product(checks, values[:, None], plane)[:, 0]]
    if not any(syndromes):
        return []
    recurrence = shortest_recurrence(syndromes, q)
    wrong = [i for i, j in enumerate(clients) if _horner(recurrence, j + 1, q) == 0]
    if len(wrong) != len(recurrence) - 1 or len(wrong) > correctable(len(clients), degree):
        return None
    rest = [i for i in range(len(clients)) if i not in wrong]
    remaining = check_matrix(tuple(clients[i] for i in rest), degree)[plane]
    return None if _product(remaining, values[rest][:, None], plane).any() else wrong


def shortest_recurrence(syndromes: Sequence[int], q: int) -> list[int]:
    """Coefficients 1, c_1, ..., c_L with S_k + c_1·S_(k−1) + ... + c_L·S_(k−L) = 0 mod q (Massey 1969, algorithm)."""
    current, previous = [1], [1]
    length, shift, last = 0, 1, 1
    for k in range(len(syndromes)):
        discrepancy = sum(c * syndromes[k - i] for i, c in enumerate(current) if i <= k) % q
        if discrepancy == 0:
            shift += 1
            continue
        factor = discrepancy * pow(last, -1, q) % q
        longer = current + [0] * (len(previous) + shift - len(current))
        for i, c in enumerate(previous):
            longer[i + shift] = (longer[i + shift] - factor * c) % q
        if 2 * length <= k:
            length, previous, last, shift = k + 1 - length, current, discrepancy, 1
        else:
            shift += 1
        current = longer
    return (current + [0] * length)[: length + 1]


def _horner(coefficients: Sequence[int], point: int, q: int) -> int:
    value = 0
    for c in coefficients:
        value = (value * point + c) % q
    return value


@lru_cache(maxsize=256)
def check_matrix(clients: tuple[int, ...], degree: int) -> tuple[Residues, Residues]:
    """[r − degree − 1, r] per plane: rows u_i·α_i^k, orthogonal to every polynomial of degree <= `degree`."""
    first, second = (_check_plane([j + 1 for j in clients], degree, plane.q) for plane in planes())
    return first, second


def _check_plane(points: list[int], degree: int, q: int) -> Residues:
    out = np.zeros((max(len(points) - degree - 1, 0), len(points)), np.uint32)
    for i, point in enumerate(points):
        below = 1
        for k, other in enumerate(points):
            below = below if k == i else below * (point - other) % q
        power = pow(below, -1, q)
        for row in range(out.shape[0]):
            out[row, i] = power
            power = power * point % q
    return out


def _product(left: Residues, right: Residues, plane: int) -> Residues:
    out = np.empty((left.shape[0], right.shape[1]), np.uint32)
    q = planes()[plane].constants[0]
    linear.matrix_product(np.ascontiguousarray(left), np.ascontiguousarray(right), out, q)
    return out


def test_values(shares: Residues, challenge: bytes, label: str) -> Residues:
    """One responder's answers to a degree or zero test.

        value_i = Σ_{k<K} ρ_k·⟨v_i⟩_k + ⟨blind_i⟩ (mod q), ρ from the challenge

    shares: [n, 2, K + 1], one row per dealer, the blind last; challenge: 32 bytes, public; label: which test. Returns
    [2, n]; the answers of r responders stack to [r, 2, n]. The blind hides the combination of the values.
    """
    factors = uniform(challenge, label, shares.shape[2])
    factors[:, -1] = 1
    return np.stack([[inner_products(share[None, p], factors[p], p)[0] for share in shares] for p in PLANES])
