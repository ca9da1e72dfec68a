"""Trust by reference: rows that point with the server's own update count, at its length."""

from dataclasses import dataclass

import torch
from torch import Tensor

from flower_robust.aggregation.geometry import Geometry
from flower_robust.aggregation.rule import Weighting
from flower_robust.errors import ConfigurationError


@dataclass(frozen=True, repr=False)
class ReferenceTrust(Weighting):
    """Each row is trusted by its cosine to the server's own update, and rescaled to its length (FLTrust).

    w_i = T_i |r| / (|x_i| Σ_j T_j), T_i = max(0, cos(x_i, r))

    Updates Float[n, d], n >= 1, with `rule(updates, reference)` or a geometry that has a reference, Float[d].
    Any number of rows may lie. The weights do not sum to 1: the aggregate has at most the length of r, and is zero
    where no row points with r.
    Raises ConfigurationError without a reference (nobody is blamed), NonFiniteRows (the rows' senders).

    Cao et al., "FLTrust: Byzantine-robust Federated Learning via Trust Bootstrapping", NDSS 2021, section IV.
    """

    f = 0
    needs_reference = True

    def min_rows(self) -> int:
        """1."""
        return 1

    def weights(self, geometry: Geometry) -> Tensor:
        reference = geometry.reference
        if reference is None:
            raise ConfigurationError("reference", None, "the server's own update for ReferenceTrust")
        lengths, length = geometry.squared_norms.sqrt(), reference.squared_norm**0.5
        trust = reference.cosines(geometry.squared_norms).clamp(min=0)
        if float(trust.sum()) == 0:
            return torch.zeros_like(trust)
        return torch.where(lengths > 0, trust / trust.sum() * length / lengths, 0.0)
