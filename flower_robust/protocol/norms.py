"""What opened norms prove about an update, with the sketch's error taken into account (docs/protocol.md, section 6.5).

The mean of the m estimates of an honest update has a relative error of 2 % (ordinary) to 10 % (one spike), so a factor
of 1.6 is six deviations of the worst honest case; a lie that stays within it gains at most √1.6 − 1 = 26 % of C.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from flower_robust.commitments.masked import NormOpening
from flower_robust.errors import ClientFault, NormBoundExceeded, NormMismatch
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.squares import Squares
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.sizes import Sizes

SLACK = 0.6
"""Relative error allowed to the mean of the estimates of a squared norm."""
LOOSE = 8.0
"""Every single estimate is below LOOSE·C²: an update that wrapped around q reads as m residues, not all small."""
ROUNDING = 1e-9
"""Relative error of opened integers in float64, with room."""
STEP = "norms"


def noise(plan: RoundPlan) -> float:
    """E‖e‖² in the update's unit squared: η/2 per coefficient, which the geometry is relieved of."""
    return PARAMETERS.eta / 2 * Sizes.of(plan).B * PARAMETERS.N * unit(plan) ** 2


def unit(plan: RoundPlan) -> float:
    """One fixed-point step in the update's unit: C / 2^22."""
    return plan.norm_bound / PARAMETERS.unit_norm


def bound_fault(plan: RoundPlan, name: str, squares: Squares, row: int, step: str) -> ClientFault | None:
    """NormBoundExceeded if the estimates of this row cannot be those of an update within C."""
    limit = plan.norm_bound**2
    mean, largest = float(squares.squared_norms[row]), float(squares.partial_squared_norms[row].max())
    if mean > (1 + SLACK) * limit + noise(plan) or largest > LOOSE * limit:
        found = f"a squared norm of {mean:.3g} (at most {largest:.3g})"
        return NormBoundExceeded(name, step, found, f"at most C² = {limit:.3g}")
    return None


def claim_fault(plan: RoundPlan, name: str, opening: NormOpening) -> ClientFault | None:
    """NormBoundExceeded if the opened claim, whose commitment the client signed, is above C."""
    claimed, limit = opening.squared_norm * unit(plan) ** 2, plan.norm_bound**2
    if claimed > limit * (1 + 1e-6) + noise(plan):
        found = f"a claimed squared norm of {claimed:.3g}"
        return NormBoundExceeded(name, STEP, found, f"at most C² = {limit:.3g}")
    return None


def mismatch_fault(plan: RoundPlan, name: str, opening: NormOpening, squares: Squares, row: int) -> ClientFault | None:
    """NormMismatch if the opened claim is not the norm of what was submitted."""
    claimed = opening.squared_norm * unit(plan) ** 2
    computed = float(squares.squared_norms[row]) - noise(plan)
    if abs(computed - claimed) > SLACK * (claimed + noise(plan)):
        return NormMismatch(name, STEP, f"a squared norm of {computed:.3g}", f"the committed {claimed:.3g}")
    return None


def contradictions(squares: Squares, rows: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs of rows whose distance no two vectors of their lengths can have: one of the two wrapped around q.

        |D_ik − N_i − N_k| <= 2·√(N_i·N_k)       exact in the sketch's own space, whatever the sketch's error

    A single coordinate of √2 mod q is huge and has the square 2 in every ring sum, so it passes every norm; its inner
    products with others are then uniform modulo q, and most of its distances contradict its norm.
    """
    D, norms = squares.squared_distances, squares.squared_norms
    allowed = 2 * np.sqrt(np.outer(norms, norms)) + ROUNDING * np.add.outer(norms, norms)
    bad = np.abs(D - np.add.outer(norms, norms)) > allowed
    return [(i, k) for i in rows for k in rows if i < k and bad[i, k]]


def impossible(squares: Squares, reference: npt.NDArray[np.float64]) -> list[int]:
    """Rows whose distance to the reference no vector of their length can have: they wrapped around q.

        |D_ir − N_i − N_r| <= 2·√(N_i·N_r)       N_r of the public sketch, which is no residue: the row is what lies

    reference: N_rl, Float64[m], as `public_squared_norms` reads it; empty where no distances to one were opened.
    """
    if squares.to_reference is None:
        return []
    norms, own = squares.squared_norms, float(reference.mean())
    allowed = 2 * np.sqrt(norms * own) + ROUNDING * (norms + own)
    return [int(row) for row in np.flatnonzero(np.abs(squares.to_reference - norms - own) > allowed)]


def misplaced_fault(name: str) -> NormBoundExceeded:
    """The blame of a row that contradicts the reference."""
    return NormBoundExceeded(name, STEP, "a distance to the reference that no update of its norm has", "one that fits")


def wrapped_fault(name: str, found: int, most: int) -> NormBoundExceeded:
    """The blame of a row that contradicts more others than can be lying."""
    said = f"distances to {found} others that no update of its norm has"
    return NormBoundExceeded(name, STEP, said, f"at most {most} such distances, as {most} may lie")
