"""The server's own update as a public row: no mask, a secret of zero (docs/protocol.md, section 4).

    x_r = rint(D ∘ r·2^22/‖r‖),    v_l = P_l·x_r        everybody's share of v_l is v_l

At length C, whatever ‖r‖: only directions are compared with it, so a short r is not rounded away. A salted hash of x_r
is in the plan, so that it is fixed before P is known; the sketch v is shown with the challenge, and x_r itself to the
one client that audits.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from flower_robust.commitments.transcript import digest
from flower_robust.errors import ConfigurationError, FaultyServer, NonFiniteRows
from flower_robust.masking import ring
from flower_robust.masking.fixed_point import encode, norm
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.ring import Residues
from flower_robust.masking.sketch import SketchMap, sketch
from flower_robust.masking.squares import public_squared_norms
from flower_robust.protocol.codec import Field, exact, from_server
from flower_robust.protocol.norms import LOOSE, SLACK
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.sizes import Sizes, terms_of
from flower_robust.protocol.terms import MaskingTerms
from flower_robust.types import Digest

SALT_BYTES = 32
_BLOCKS = 64
"""So many blocks of x_r become residues at once."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PublicRow:
    """The server's row: `x` int32 [B·N]; `norm`: ‖r‖ in the update's unit; `salt`: 32 bytes."""

    x: npt.NDArray[np.int32]
    norm: float
    salt: bytes

    @classmethod
    def of(cls, update: npt.NDArray[np.float32], terms: MaskingTerms, salt: bytes) -> Self:
        """The row of r = `update` Float32[d] under these terms; `salt`: 32 fresh bytes.

        Raises ConfigurationError for another length or a value that is not finite: the caller's mistake.
        """
        if update.shape != (terms.d,):
            raise ConfigurationError("reference", f"shape {update.shape}", f"[{terms.d}], as planned")
        try:
            length = norm(update)
        except NonFiniteRows:
            raise ConfigurationError("reference", "NaN or Inf", f"{terms.d} finite values") from None
        return cls(encode(update, length or 1.0, terms.seed_signs).x, length, salt)

    @property
    def digest(self) -> Digest:
        """What the plan binds: H(context, salt, x_r); says nothing of x_r to who does not hold the salt."""
        return digest("reference", self.salt, _octets(self.x))

    def sketch(self, P: SketchMap) -> Residues:
        """v = P·x_r, [2, m, c]."""
        return _sketch(P, self.x)

    @property
    def opening(self) -> bytes:
        """What the auditor gets: the salt and x_r, 32 + 4·B·N bytes."""
        return self.salt + _octets(self.x)

    def __repr__(self) -> str:
        return f"PublicRow({len(self.x)} values, norm={self.norm:g})"


def check_opening(plan: RoundPlan, P: SketchMap, shown: Residues, opening: Field, step: str) -> None:
    """FaultyServer unless `opening` is of the row that the plan binds, and v [2, m, c] its sketch: another v was chosen
    once P was known."""
    row = from_server(lambda: exact(opening, SALT_BYTES + 4 * Sizes.of(plan).B * PARAMETERS.N), step)
    salt, x = row[:SALT_BYTES], row[SALT_BYTES:]
    if digest("reference", salt, x) != terms_of(plan).reference:
        raise FaultyServer(step, "another reference", "the row that the plan binds")
    if (_sketch(P, np.frombuffer(x, "<i4")) != shown).any():
        raise FaultyServer(step, "a sketch of another reference", "P·x_r of the row that the plan binds")


def check_length(plan: RoundPlan, shown: Residues, step: str) -> None:
    """FaultyServer unless v [2, m, c] is as short as an accepted client's sketch must be.

    A longer one would let the server read more of each client's sketch from its one product with it.
    """
    partial, limit = public_squared_norms(shown, plan.norm_bound), plan.norm_bound**2
    mean, largest = float(partial.mean()), float(partial.max())
    if mean > (1 + SLACK) * limit or largest > LOOSE * limit:
        found = f"a reference whose sketch has a squared norm of {mean:.3g} (at most {largest:.3g})"
        required = f"at most {(1 + SLACK) * limit:.3g} (each at most {LOOSE * limit:.3g}), as of every client"
        raise FaultyServer(step, found, required)


def _octets(x: npt.NDArray[np.int32]) -> bytes:
    return np.ascontiguousarray(x, "<i4").tobytes()


def _sketch(P: SketchMap, x: npt.NDArray[np.int32]) -> Residues:
    blocks = x.reshape(-1, PARAMETERS.N)
    row = ring.zeros(*blocks.shape)
    for start in range(0, len(blocks), _BLOCKS):
        row[:, start : start + _BLOCKS] = ring.from_integers(blocks[start : start + _BLOCKS])
    return sketch(P, row)
