"""Shares of squared distances and partial squared norms from shares of sketches, and their reading once opened.

D_ik = Σ_l ‖u_il − u_kl‖²        one total per pair, degree 2t, blinded by zero sharings of both ends
N_il = ‖u_il‖²                   one value per client and ring sum, blinded by the client's own zero sharings
D_ir = Σ_l ‖u_il − v_l‖²         where there is a public row with the sketch v: blinded by the client's own sharing
"""

from collections.abc import Iterable, Iterator, Sequence
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
    """What the server learns, in the update's unit: distances² [n, n], m estimates of each norm² [n, m], and the
    distances² to a public row [n], where there is one."""

    squared_distances: npt.NDArray[np.float64]
    partial_squared_norms: npt.NDArray[np.float64]
    to_reference: npt.NDArray[np.float64] | None = None

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
    """Entries of one dealer's zero sharing in a cohort of n: m partial norms, n pairs (its own: of a public row), one
    blind."""
    return PARAMETERS.m + n + 1


def square_shares(
    parts: Iterable[Residues], zeros: Residues, dealers: Sequence[int], reference: Residues | None = None
) -> Residues:
    """One client's blinded shares of all squared distances and partial norms.

        D_ik + 0_i[m + k] + 0_k[m + i]  for all pairs, then  N_il + 0_i[l]  for all i, l, then  D_ir + 0_i[m + i]

    parts: its shares of the sketches of the a accepted dealers, [a, 2, ·, c] for one range of ring sums after the
    other (`sketch.sketch_share_parts`), each needed once; zeros: their zero sharings, [a, 2, m + n] or longer;
    dealers: their indices in the cohort of n, in the order of the rows; reference: the sketch v [2, m, c] of a public
    row, which is everybody's share of itself. Returns [2, a(a−1)/2 + a·m], or a more with a reference, of degree 2t.
    """
    a, rows = len(dealers), len(dealers) + (reference is not None)
    grams, norms = ring.zeros(rows, rows), []
    for part, public in _beside(parts, reference):
        gram((part if public is None else np.concatenate([part, public])).reshape(rows, 2, -1), grams)
        norms.append(partial_norms(part))
        del part  # before the next one is made
    partial = np.concatenate(norms, axis=2)
    bare = [_distances(grams, *pairs(a)), partial.reshape(2, -1)]
    if reference is not None:
        bare.append(_distances(grams, np.arange(a), np.full(a, a)))
    return ring.add(np.concatenate(bare, axis=1), blinds(zeros, dealers, partial.shape[2], reference is not None))


def _beside(parts: Iterable[Residues], reference: Residues | None) -> Iterator[tuple[Residues, Residues | None]]:
    """Each part with the same ring sums of the public row, [1, 2, ·, c]."""
    done = 0
    for part in parts:
        sums = slice(done, done + part.shape[2])
        yield part, None if reference is None else reference[None, :, sums]
        done = sums.stop
        del part


def _distances(grams: Residues, first: npt.NDArray[np.intp], second: npt.NDArray[np.intp]) -> Residues:
    """G_ii + G_kk − 2·G_ik of these pairs with i < k, [2, ·]; grams hold k >= i."""
    diagonal = np.ascontiguousarray(np.diagonal(grams, axis1=1, axis2=2))
    inner = grams[:, second, first]
    ends = ring.add(diagonal[:, first], diagonal[:, second])
    return ring.subtract(ring.subtract(ends, inner), inner)


def blinds(zeros: Residues, dealers: Sequence[int], m: int = PARAMETERS.m, reference: bool = False) -> Residues:
    """What the ends of every value add to it, [2, a(a−1)/2 + a·m]: 0_i[m + k] + 0_k[m + i], then 0_i[l].

    A reference adds nothing: with one come a more, 0_i[m + i].
    zeros: [a, 2, m + n], one row per dealer: its m words for norms, then one for each member of the cohort.
    """
    index = np.asarray(dealers, np.intp)
    first, second = pairs(len(dealers))
    words = np.moveaxis(zeros, 1, 0)
    ends = ring.add(words[:, first, m + index[second]], words[:, second, m + index[first]])
    own = words[:, np.arange(len(index)), m + index] if reference else words[:, 0, :0]
    return np.concatenate([ends, words[:, :, :m].reshape(2, -1), own], axis=1)


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

    opened: [2, n(n−1)/2 + n·m], or n more with a reference; norm_bound: C. A value that wrapped reads as a huge
    number, never as a small one (up to the probability in `sketch`); the noise adds about 2·η·d/2·(C/2^22)² to
    distances, half of it to norms and to distances to a reference.
    """
    integers = ring.nonnegative(opened) * _squared_unit(norm_bound)
    first, second = pairs(n)
    distances = np.zeros((n, n))
    distances[first, second] = distances[second, first] = integers[: len(first)] / PARAMETERS.m
    norms, rest = np.split(integers[len(first) :], [n * PARAMETERS.m])
    return Squares(distances, norms.reshape(n, PARAMETERS.m), rest / PARAMETERS.m if len(rest) else None)


def public_squared_norms(reference: Residues, norm_bound: float) -> npt.NDArray[np.float64]:
    """N_rl = ‖v_l‖² of a public row's sketch v [2, m, c], read as opened norms are: Float64[m], never wrapped."""
    v = ring.centred(reference).astype(np.float64)
    return np.asarray((v * v).sum(axis=1) * _squared_unit(norm_bound))


def _squared_unit(norm_bound: float) -> float:
    return (norm_bound / PARAMETERS.unit_norm) ** 2 / float(PARAMETERS.gain)
