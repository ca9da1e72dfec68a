"""Geometry: squared distances, squared norms and products with a reference; all that most rules may see."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from flower_robust.aggregation import gram as compiled_gram
from flower_robust.aggregation.blocks import blocks, checked, is_direct
from flower_robust.errors import ConfigurationError, NonFiniteRows

CANCELLED = 1e-6
"""A squared distance below this share of the two centred squared norms is taken again from the difference itself."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What a geometry knows of the server's own update r: |r|² and <x_i, r> as Float64[n]."""

    squared_norm: float
    inner: Tensor

    def cosines(self, squared_norms: Tensor) -> Tensor:
        """Float64[n]: <x_i, r> / (|x_i| |r|) of rows with these squared norms; 0 where the row or r is zero."""
        lengths, length = squared_norms.sqrt(), self.squared_norm**0.5
        # Both lengths divide separately: their product may leave float64's range.
        return (torch.where(lengths > 0, self.inner / lengths, 0.0) / (length or 1.0)).clamp(-1, 1)


@dataclass(frozen=True, eq=False)
class Geometry:
    """Squared distances and norms of n updates, wherever they come from: rows in the clear or sketches of masked ones.

    D_ij = |x_i − x_j|², s_i = |x_i|², and <x_i, x_j> = (s_i + s_j − D_ij) / 2

    squared_distances: Float64[n, n] on the CPU, symmetric, zero diagonal, >= 0.
    squared_norms: Float64[n] on the CPU.
    reference: products with a server-side update, for rules that need one.
    sizes: Float64[n] >= 0, what each row counts in a mean, for rules that weigh by size; None: all alike.
    quarantined: Bool[n], whose senders were found lying in earlier rounds, for rules that `sees_quarantined`.

    Raises ConfigurationError if the shapes do not fit: the caller's mistake.
    """

    squared_distances: Tensor
    squared_norms: Tensor
    reference: Reference | None = field(default=None)
    sizes: Tensor | None = field(default=None)
    quarantined: Tensor | None = field(default=None)

    def __post_init__(self) -> None:
        n = self.squared_norms.shape[0]
        if self.squared_distances.shape != (n, n):
            raise ConfigurationError("squared_distances", tuple(self.squared_distances.shape), f"shape ({n}, {n})")
        if self.sizes is not None and (self.sizes.shape != (n,) or not bool((self.sizes >= 0).all())):
            raise ConfigurationError("sizes", tuple(self.sizes.shape), f"{n} numbers of at least 0")
        if self.quarantined is not None and self.quarantined.shape != (n,):
            raise ConfigurationError("quarantined", tuple(self.quarantined.shape), f"shape ({n},)")

    @property
    def n(self) -> int:
        """The number of rows."""
        return int(self.squared_norms.shape[0])

    @property
    def gram(self) -> Tensor:
        """<x_i, x_j> as Float64[n, n], never beyond |x_i| |x_j|: beside a huge row the difference is only rounding."""
        s = self.squared_norms
        products, bound = (s[:, None] + s[None, :] - self.squared_distances) / 2, torch.outer(s.sqrt(), s.sqrt())
        return torch.minimum(torch.maximum(products, -bound), bound)

    @classmethod
    def of(cls, updates: Tensor, reference: Tensor | None = None) -> "Geometry":
        """Measure rows: one read of them, sums in float64, a few MiB of extra memory.

        D_ij = |z_i|² + |z_j|² − 2 <z_i, z_j>, z = x − c with c the coordinate-wise median of three rows;
        where that cancels (D_ij < 1e-6 (|z_i|² + |z_j|²)), D_ij = Σ_k (x_ik − x_jk)² instead.

        updates: Float16, BFloat16, Float32 or Float64 [n, d] on any device; left as it is.
        reference: Float[d], the server's own update, or None.

        Raises NonFiniteRows with the rows that hold NaN or Inf (or whose squared norm exceeds float64): their senders
        are at fault. Raises ConfigurationError for a wrong shape or a non-finite reference: the caller's mistake.
        """
        rows = checked(updates)
        if reference is not None and (reference.shape != rows.shape[1:] or not bool(torch.isfinite(reference).all())):
            raise ConfigurationError("reference", tuple(reference.shape), f"{rows.shape[1]} finite values")
        products, squared_norms, inner = _measure(rows, reference)
        broken = torch.nonzero(~torch.isfinite(squared_norms)).flatten().tolist()
        if broken:
            raise NonFiniteRows(broken)
        distances = _distances(rows, products)
        if reference is None:
            return cls(distances, squared_norms)
        length = float(torch.linalg.vector_norm(reference.detach().double()) ** 2)
        return cls(distances, squared_norms, Reference(length, inner))

    def mixed(self, mixing: Tensor) -> "Geometry":
        """The geometry of M @ rows, from the geometry of the rows.

        D'_gh = (m_g − m_h)(r_g − r_h) − (A_gg + A_hh − 2 A_gh) / 2, s'_g = m_g r_g − A_gg / 2,
        with m = M 1, r = M s, A = M D Mᵀ

        mixing: Float64[g, n].
        """
        m, r = mixing.sum(1), mixing @ self.squared_norms
        A = mixing @ self.squared_distances @ mixing.T
        own = A.diagonal()
        spread = (own[:, None] + own[None, :] - A - A.T) / 2
        D = (m[:, None] - m[None, :]) * (r[:, None] - r[None, :]) - spread
        reference = self.reference
        if reference is not None:
            reference = Reference(reference.squared_norm, mixing @ reference.inner)
        sizes = None if self.sizes is None else mixing @ self.sizes
        return Geometry(_clean(D), (m * r - own / 2).clamp(min=0), reference, sizes)

    def subset(self, indices: Sequence[int] | Tensor) -> "Geometry":
        """The geometry of these rows, in this order."""
        rows = torch.as_tensor(indices, dtype=torch.int64)
        reference = self.reference
        if reference is not None:
            reference = Reference(reference.squared_norm, reference.inner[rows])
        sizes = None if self.sizes is None else self.sizes[rows]
        known = None if self.quarantined is None else self.quarantined[rows]
        return Geometry(self.squared_distances[rows][:, rows], self.squared_norms[rows], reference, sizes, known)


def squared_distances_to(weights: Tensor, gram: Tensor) -> Tensor:
    """|x_i − v|² = G_ii − 2 (G w)_i + wᵀ G w for v = Σ_j w_j x_j, Float64[n]."""
    reach = gram @ weights
    return (gram.diagonal() - 2 * reach + weights @ reach).clamp(min=0)


def _clean(squared: Tensor) -> Tensor:
    symmetric = ((squared + squared.T) / 2).clamp(min=0)
    return symmetric.fill_diagonal_(0)


def _measure(rows: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    n = rows.shape[0]
    products = torch.zeros(n, n, dtype=torch.float64)
    norms, inner = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    for start, stop, block in blocks(rows):
        part = None if reference is None else reference[start:stop].detach().to(block)
        for total, share in zip((products, norms, inner), _measure_block(block, part), strict=True):
            total += share
    return products, norms, inner


def _measure_block(block: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    if is_direct(block):
        part = block.new_empty(0) if reference is None else reference.contiguous()
        measured = compiled_gram.measure(block.numpy(), part.numpy())
        return torch.from_numpy(measured[0]), torch.from_numpy(measured[1]), torch.from_numpy(measured[2])
    return _measure_with_torch(block, reference)


def _measure_with_torch(block: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    wide, n = block.double(), block.shape[0]
    norms = wide.square().sum(1)
    inner = torch.zeros_like(norms) if reference is None else wide @ reference.double()
    centred = wide - wide[[0, n // 2, n - 1]].median(0).values
    return (centred @ centred.T).cpu(), norms.cpu(), inner.cpu()


def _distances(rows: Tensor, products: Tensor) -> Tensor:
    own = products.diagonal()
    scale = own[:, None] + own[None, :]
    distances = _clean(scale - 2 * products)
    lost = torch.nonzero(torch.triu(distances < CANCELLED * scale, diagonal=1))
    if len(lost):
        exact = _pair_distances(rows, lost)
        distances[lost[:, 0], lost[:, 1]] = exact
        distances[lost[:, 1], lost[:, 0]] = exact
    return distances


def _pair_distances(rows: Tensor, pairs: Tensor) -> Tensor:
    total = torch.zeros(len(pairs), dtype=torch.float64)
    for _, _, block in blocks(rows):
        if is_direct(block):
            total += torch.from_numpy(compiled_gram.pair_distances(block.numpy(), pairs.numpy().astype(np.int64)))
        else:
            total += _pair_distances_with_torch(block, pairs)
    return total


def _pair_distances_with_torch(block: Tensor, pairs: Tensor) -> Tensor:
    wide = block.double()
    total = [(wide[i] - wide[j]).square().sum() for i, j in pairs.tolist()]
    return torch.stack(total).cpu()
