"""The sketch: a public random integer map P from B ring elements to m·c residues (docs/protocol.md, section 4).

    z_l = Σ_b κ_lb·X^(r_lb)·y_b            l = 1 ... m, one random rotation and one small factor per block
    (P·y)_lu = Σ_{j: h_l(j) = u} κ'_lj·z_lj    a count sketch of the N coefficients of z_l into c buckets

P is linear over the integers, so P·y − (P·a)·s = P·(x + e), and a client that holds a share of s computes a share of
the sketch: P·y − count_l(A_l·⟨s⟩), A_l = Σ_b κ_lb·X^(r_lb)·a_b.

Why κ and κ' are ±5, ±6, ±7: numbers mod q can lie about size. An update of ½ mod q (or ⅓ ...) is huge, and any even
factor makes it tiny. ±1 lets it pass always once a Hadamard matrix or a sum over equal signs follows; with ±3, ±4 the
dense update is caught per l with probability 0.375, but a single coordinate of ½ only with 1/4. With ±5, ±6, ±7 the
single coordinate is caught with 4/9, the dense update over two blocks (the worst known) with 1/3, and their squares
vary less, so a spike's norm is estimated better. All m = 18 pass with probability below 7·10⁻⁴.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from flower_robust.masking.kernels import elementwise, sketching
from flower_robust.masking.parallel import cores, each
from flower_robust.masking.parameters import PARAMETERS, ParameterSet
from flower_robust.masking.public import PublicElements
from flower_robust.masking.ring import PLANES, Points, Residues, planes
from flower_robust.masking.stream import Stream

ROOM = 2 << 20
"""Bytes for the shares of s and of the sketches together: all ring sums of up to 19 clients, two at a time from 50 on.
Each part transforms the shares of s anew.
"""


@dataclass(frozen=True)
class SketchMap:
    """P as the kernels read it; B' is B rounded up to `sketching.LANES` with zero factors.

    starts [m, B'] int64: N − r, plus N where κ < 0 (X^N = −1); factors [m, B'] int64: |κ|;
    buckets [m, N] uint16 in 0 ... c − 1; weights [m, N] int8: κ'.
    """

    starts: npt.NDArray[np.int64]
    factors: npt.NDArray[np.int64]
    buckets: npt.NDArray[np.uint16]
    weights: npt.NDArray[np.int8]
    c: int

    def part(self, sums: slice) -> "SketchMap":
        """P restricted to some of the ring sums."""
        return SketchMap(self.starts[sums], self.factors[sums], self.buckets[sums], self.weights[sums], self.c)


def sketch_map(challenge: bytes, B: int, parameters: ParameterSet = PARAMETERS) -> SketchMap:
    """P from a 32-byte public challenge. Rotations and buckets are exactly uniform, magnitudes up to 2^-29."""
    m, N = parameters.m, parameters.N
    rotations, factors = _draw(Stream(challenge, "rotations"), (m, B), N, parameters.magnitudes)
    buckets, weights = _draw(Stream(challenge, "buckets"), (m, N), parameters.c, parameters.magnitudes)
    padding = ((0, 0), (0, -B % sketching.LANES))
    starts = np.pad(np.where(factors < 0, 2 * N, N) - rotations, padding).astype(np.int64)
    return SketchMap(starts, np.pad(np.abs(factors), padding).astype(np.int64), buckets, weights, parameters.c)


def _draw(
    stream: Stream, shape: tuple[int, int], positions: int, magnitudes: tuple[int, ...]
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.int8]]:
    """Positions below a power of two, and signed magnitudes; row by row, as wide integers take eight times the room."""
    first = (stream.words(shape[0] * shape[1]).reshape(shape) & np.uint32(positions - 1)).astype(np.uint16)
    second, signed = stream.words(shape[0] * shape[1]).reshape(shape), np.empty(shape, np.int8)
    for words, out in zip(second, signed, strict=True):
        wide = words.astype(np.int64)
        chosen = np.array(magnitudes, np.int64)[((wide >> 1) * len(magnitudes)) >> 31]
        out[:] = np.where(wide & 1, -chosen, chosen)
    return first, signed


def sketch(P: SketchMap, y: Residues) -> Residues:
    """P·y of one client: y [2, B, N] -> [2, m, c] (72 KiB)."""
    only: Residues = sketches(P, [y])[0]
    return only


def sketches(P: SketchMap, ys: Sequence[Residues]) -> Residues:
    """P·y_i of many clients: n arrays [2, B, N] -> [n, 2, m, c]."""
    out = np.empty((len(ys), 2, P.starts.shape[0], P.c), np.uint32)

    def fill(work: tuple[int, int]) -> None:
        i, p = work
        totals = _no_sums(P)
        _add_rotated(P, totals, ys[i][p], slice(0, ys[i].shape[1]), p)
        _count(P, _reduced(totals, p), p, out[i, p])

    each(fill, [(i, p) for i in range(len(ys)) for p in PLANES])
    return out


def public_sums(P: SketchMap, a: PublicElements) -> Points:
    """A_l = Σ_b κ_lb·X^(r_lb)·a_b as points [2, m, N], from the expansion of a."""

    def sums(p: int) -> Residues:
        plane, totals = planes()[p], _no_sums(P)
        for blocks in a.groups():
            coefficients = a.points(p, blocks)
            plane.transform_back(coefficients)
            _add_rotated(P, totals, coefficients, blocks, p)
        del coefficients
        out = _reduced(totals, p)
        plane.transform(out)
        return out

    return np.stack(each(sums, PLANES))


@lru_cache(maxsize=2)
def public_sums_at(challenge: bytes, a: PublicElements) -> Points:
    """`public_sums` of the map that a challenge fixes. Kept, 0.6 MB each: a simulation's clients share a machine."""
    sums = public_sums(sketch_map(challenge, a.B), a)
    sums.flags.writeable = False
    return sums


def sketch_shares(P: SketchMap, A: Points, y_sketches: Residues, shares: Residues) -> Residues:
    """One client's shares of the sketches of n updates.

        u_i = P·y_i − count(A_l·⟨s_i⟩)

    A: `public_sums`, [2, m, N]; y_sketches: P·y_i as the server showed them, [n, 2, m, c]; shares: ⟨s_i⟩, [n, 2, N].
    Returns [n, 2, m, c]: shares, of the degree of the s-sharing, of P·(x_i + e_i). In memory the planes come first.
    """
    out = np.moveaxis(np.empty((2, len(shares), *y_sketches.shape[2:]), np.uint32), 0, 1)

    step = max(1, cores() // 2)

    def fill(work: tuple[int, int]) -> None:
        p, first = work
        plane, scratch, totals = planes()[p], np.empty((3, PARAMETERS.N), np.uint32), np.empty(P.c, np.uint64)
        room = (scratch, totals, plane.forward, plane.backward, plane.constants)
        for i in range(first, len(shares), step):
            s, shown = (np.ascontiguousarray(rows[i, p]) for rows in (shares, y_sketches))
            sketching.share(s, A[p], shown, P.buckets, P.weights, out[i, p], *room)

    each(fill, [(p, first) for p in PLANES for first in range(step)])
    return out


def sketch_share_parts(P: SketchMap, A: Points, y_sketches: Residues, shares: Residues) -> Iterator[Residues]:
    """`sketch_shares` a few ring sums at a time, [n, 2, ·, c] each: all of them together are 73 kB per client."""
    m = P.starts.shape[0]
    fitting = max(2, (ROOM // len(shares) - 8 * PARAMETERS.N) // (8 * P.c))
    at_once = -(-m // -(-m // fitting))
    for start in range(0, m, at_once):
        sums = slice(start, start + at_once)
        yield sketch_shares(P.part(sums), A[:, sums], y_sketches[:, :, sums], shares)


def _no_sums(P: SketchMap) -> npt.NDArray[np.uint64]:
    return np.zeros((P.starts.shape[0], PARAMETERS.N), np.uint64)


def _add_rotated(P: SketchMap, totals: npt.NDArray[np.uint64], y: Residues, blocks: slice, p: int) -> None:
    """totals += the rotated sums over one block range that begins at a multiple of LANES."""
    starts, factors = (np.ascontiguousarray(v[:, blocks.start :]) for v in (P.starts, P.factors))
    extended = np.zeros((sketching.LANES, 3 * PARAMETERS.N), np.uint32)
    sketching.add_rotated(totals, y, starts, factors, extended, planes()[p].constants[0])


def _count(P: SketchMap, z: Residues, p: int, out: Residues) -> None:
    """The count sketch of z [m, N] into out [m, c]; a multiple of q makes the signed sums positive."""
    totals = np.full((z.shape[0], P.c), planes()[p].q << 31, np.uint64)
    sketching.count(z, P.buckets, P.weights, totals)
    elementwise.reduce_wide(totals.reshape(-1), out.reshape(-1), planes()[p].constants)


def _reduced(totals: npt.NDArray[np.uint64], p: int) -> Residues:
    out = np.empty(totals.shape, np.uint32)
    elementwise.reduce_wide(totals.reshape(-1), out.reshape(-1), planes()[p].constants)
    return out
