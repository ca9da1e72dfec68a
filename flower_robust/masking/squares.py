"""Shares of squared distances and partial squared norms from shares of sketches, and their reading once opened.

D_ik = Σ_l ‖u_il − u_kl‖²        one total per pair, degree 2t, blinded by zero sharings of both ends
N_il = ‖u_il‖²                   one value per client and ring sum, blinded by the client's own zero sharings
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flower_robust.masking import ring
from flower_robust.masking.kernels import linear
from flower_robust.masking.parallel import cores, each
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.ring import PLANES, Residues, planes


@dataclass(frozen=True)
class Squares:
    """What the server learns, in the update's unit: distances² [n, n], m estimates of each norm² [n, m]."""

    squared_distances: npt.NDArray[np.float64]
    partial_squared_norms: npt.NDArray[np.float64]

    @property
    def squared_norms(self) -> npt.NDArray[np.float64]:
        """The mean of the m estimates, [n]."""
        means: npt.NDArray[np.float64] = self.partial_squared_norms.mean(axis=1)
        return means


def pairs(n: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The pairs i < k in the order in which distances travel: (0, 1), (0, 2), ..., (n-2, n-1)."""
    first, second = np.triu_indices(n, 1)
    return first, second


def zero_length(n: int) -> int:
    """Entries of one dealer's zero sharing in a cohort of n: m partial norms, n pairs (its own unused), one blind."""
    return PARAMETERS.m + n + 1


def square_shares(parts: Iterable[Residues], zeros: Residues, dealers: Sequence[int]) -> Residues:
    """One client's blinded shares of all squared distances and partial norms.

        D_ik + 0_i[m + k] + 0_k[m + i]  for all pairs, then  N_il + 0_i[l]  for all i, l

    parts: its shares of the sketches of the a accepted dealers, [a, 2, ·, c] for one range of ring sums after the
    other (`sketch.sketch_share_parts`), each needed once; zeros: their zero sharings, [a, 2, m + n] or longer;
    dealers: their indices in the cohort of n, in the order of the rows. Returns [2, a(a−1)/2 + a·m], of degree 2t.
    """
    a = len(dealers)
    first, second = pairs(a)
    grams, norms = ring.zeros(a, a), []
    for part in parts:
        gram(part.reshape(a, 2, -1), grams)
        norms.append(partial_norms(part))
        del part  # before the next one is made
    diagonal = np.ascontiguousarray(np.diagonal(grams, axis1=1, axis2=2))
    inner = grams[:, second, first]
    ends = ring.add(diagonal[:, first], diagonal[:, second])
    distances = ring.subtract(ring.subtract(ends, inner), inner)
    partial = np.concatenate(norms, axis=2)
    bare = np.concatenate([distances, partial.reshape(2, -1)], axis=1)
    return ring.add(bare, blinds(zeros, dealers, partial.shape[2]))


def blinds(zeros: Residues, dealers: Sequence[int], m: int = PARAMETERS.m) -> Residues:
    """What the ends of every value add to it, [2, a(a−1)/2 + a·m]: 0_i[m + k] + 0_k[m + i], then 0_i[l].

    zeros: [a, 2, m + n], one row per dealer: its m words for norms, then one for each member of the cohort.
    """
    index = np.asarray(dealers, np.intp)
    first, second = pairs(len(dealers))
    words = np.moveaxis(zeros, 1, 0)
    ends = ring.add(words[:, first, m + index[second]], words[:, second, m + index[first]])
    return np.concatenate([ends, words[:, :, :m].reshape(2, -1)], axis=1)


def gram(rows: Residues, out: Residues) -> None:
    """out_ik += ⟨u_i, u_k⟩ mod q for k <= i: rows [n, 2, K], out [2, n, n]."""
    planewise = np.ascontiguousarray(np.moveaxis(rows, 1, 0))
    step = max(1, cores() // 2)

    def fill(work: tuple[int, int]) -> None:
        p, first = work
        linear.gram(planewise[p], first, step, out[p], planes()[p].constants)

    each(fill, [(p, first) for p in PLANES for first in range(step)])


def partial_norms(sketch_shares: Residues) -> Residues:
    """Σ_u (u_ilu)² mod q: [n, 2, m, c] -> [2, n, m]."""
    n, _, m, _ = sketch_shares.shape
    out = np.empty((2, n, m), np.uint32)

    def fill(p: int) -> None:
        rows = np.ascontiguousarray(sketch_shares[:, p])
        linear.self_inner(rows.reshape(n * m, -1), out[p].reshape(-1), planes()[p].constants)

    each(fill, PLANES)
    return out


def read_squares(opened: Residues, n: int, norm_bound: float) -> Squares:
    """The geometry in the update's unit from the opened values.

        ‖x_i − x_k‖² ≈ D_ik / (gain·m),   ‖x_i‖² ≈ N_il / gain,   times (C/2^22)²

    opened: [2, n(n−1)/2 + n·m]; norm_bound: C. A value that wrapped reads as a huge number, never as a small one
    (up to the probability in `sketch`); the noise adds about 2·η·d/2·(C/2^22)² to distances and half of it to norms.
    """
    integers = ring.nonnegative(opened) * (norm_bound / PARAMETERS.unit_norm) ** 2 / float(PARAMETERS.gain)
    first, second = pairs(n)
    distances = np.zeros((n, n))
    distances[first, second] = distances[second, first] = integers[: len(first)] / PARAMETERS.m
    return Squares(distances, integers[len(first) :].reshape(n, PARAMETERS.m))
