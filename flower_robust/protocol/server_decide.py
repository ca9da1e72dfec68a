"""Step 4 at the server: open the geometry, check every norm, and let the same rules decide as in an unmasked round."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch

from flower_robust.aggregation import Geometry, Reference, Rule, Weighting
from flower_robust.commitments.transcript import derived
from flower_robust.errors import (
    ClientFault,
    DigestMismatch,
    IsolatingWeights,
    NotEnoughShares,
    Unfollowed,
    WrongShare,
    accused,
)
from flower_robust.masking.decoding import correctable, open_shares
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.squares import Squares, pairs, public_squared_norms, read_squares
from flower_robust.masking.stream import Stream
from flower_robust.protocol.client_unmask import carriers
from flower_robust.protocol.decide import Decision, decide, distances_to_sum, evidence_of, sized, voices
from flower_robust.protocol.norms import (
    bound_fault,
    claim_fault,
    contradictions,
    impossible,
    mismatch_fault,
    misplaced_fault,
    noise,
    wrapped_fault,
)
from flower_robust.protocol.reference import PublicRow
from flower_robust.protocol.server_inspect import eliminated
from flower_robust.protocol.server_states import Challenged, Decided, Inspected, ServerRound
from flower_robust.protocol.shown import Weights
from flower_robust.protocol.sizes import terms_of

STEP = "sketch-reply"


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The opened geometry of the `dealers` (positions) that passed every check, and who is still trusted to respond."""

    inspected: Inspected
    dealers: tuple[int, ...]
    responders: tuple[int, ...]
    geometry: Geometry
    faults: tuple[ClientFault, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The dealers' names, in the geometry's order."""
        return tuple(self.inspected.challenged.round.name(i) for i in self.dealers)


def measure(inspected: Inspected, seed: bytes) -> Measured:
    """Decode all distances and norms, and drop every client whose shares or norms are wrong.

        D_ik, N_il from shares of degree 2t, wrong ones located by a random combination

    `seed`: 32 fresh secret bytes. Where no wrong reply could be corrected, what decoded values say of a client is an
    accusation: one lying responder may have shifted them. Raises NotEnoughShares below 2t + 1 usable replies, or with
    more wrong ones than can be located: nothing is then opened.
    """
    challenged, t = inspected.challenged, terms_of(inspected.challenged.round.plan).threshold
    if len(inspected.members) <= 2 * t:
        raise NotEnoughShares(STEP, 2 * t + 1, len(inspected.members), inspected.members)
    columns = [challenged.accepted.index(dealer) for dealer in inspected.members]
    reference = _reference_norms(challenged)
    chosen = _chosen(len(challenged.accepted), columns, len(reference) > 0)
    shares = np.stack([inspected.values[j][1][:, chosen] for j in inspected.members])
    opened = open_shares(shares, inspected.members, 2 * t, seed, STEP)
    squares = read_squares(opened.values, len(columns), challenged.round.plan.norm_bound)
    slack = correctable(len(inspected.members), 2 * t)
    faults = [_wrong(challenged, j) for j in opened.wrong] + _norm_faults(inspected, squares, slack)
    blamed = {challenged.round.position(fault.culprit) for fault in faults}
    kept, wrapped = _consistent(inspected, squares, blamed, reference, slack)
    faults += wrapped
    blamed |= {challenged.round.position(fault.culprit) for fault in wrapped}
    return Measured(
        inspected,
        tuple(inspected.members[row] for row in kept),
        tuple(j for j in inspected.members if j not in blamed),
        _geometry(challenged.round, squares, kept, reference),
        tuple(faults),
    )


def weigh(measured: Measured, rule: Weighting, trust: Mapping[str, float]) -> tuple[Decided | Unfollowed, Decision]:
    """One sum: the rule's weights times trust, as integers.

        w_i in {0, 1, 2, 3}·85        as near to the decided `voices` in direction as `min_accepted` carriers allow

    Raises TooFewRows below the rule's breakdown point and IsolatingWeights if fewer than `min_accepted` clients are
    left, or have any weight: no honest client would unmask it. Where they are few because they do not point with the
    reference, nothing went wrong: no sum is decided, but Unfollowed.
    """
    fewest = _require_enough(measured)
    geometry = sized(measured.geometry, measured.inspected.challenged.round.roster.sizes(measured.names))
    decision = decide(geometry, rule, measured.names, [trust[name] for name in measured.names])
    cap = terms_of(measured.inspected.challenged.round.plan).weight_cap
    row = integer_weights(voices(decision, rule).numpy(), fewest, cap)
    found = carriers(np.array(row, np.uint8), cap)
    if rule.needs_reference and found < fewest and not _only_in_quarantine(decision):
        return Unfollowed(repr(rule), found, fewest), decision
    return _decided(measured, [dict(zip(measured.dealers, row, strict=True))]), decision


def group(measured: Measured, rule: Rule, trust: Mapping[str, float]) -> tuple[Decided, Decision]:
    """g disjoint sums for a coordinate-wise rule, which then sees their means: equal weights, members drawn by lot.

    The challenge draws the groups, so nobody chooses its company. Clients without trust are left out. Raises TooFewRows
    if g is below the rule's breakdown point, IsolatingWeights if a group is smaller than `min_accepted`.
    """
    _require_enough(measured)
    challenged = measured.inspected.challenged
    groups = terms_of(challenged.round.plan).groups
    rule.check(groups)
    trusted = [i for i, name in zip(measured.dealers, measured.names, strict=True) if trust[name] > 0]
    lots = Stream(derived(challenged.challenge, "groups"), "lots").words(len(challenged.round.plan.cohort))
    drawn = sorted(trusted, key=lambda i: (int(lots[i]), i))
    rows = [dict.fromkeys(drawn[start::groups], PARAMETERS.weight_cap) for start in range(groups)]
    n, geometry = len(measured.dealers), measured.geometry
    distances = distances_to_sum(geometry, torch.full((n,), 1 / n, dtype=torch.float64))
    factors = [trust[name] for name in measured.names]
    evidence = evidence_of(measured.names, None, distances, geometry, rule.f, factors)
    return _decided(measured, rows), Decision(measured.names, geometry, None, None, evidence)


def integer_weights(weights: Sequence[float] | np.ndarray, fewest: int, weight_cap: int) -> list[int]:
    """85·k_i: the thirds nearest to w in direction that leave nobody out whom w weighs.

        k = rint(3·min(1, w/c)), k_i > 0 where w_i > 0, with the largest cos(k, w) over c > 0; of equals the largest k

    Clients open no finer weights, and none that rest on fewer than `fewest` (`check_weights`; a client carries a sum as
    long as its weight times `weight_cap` reaches the largest). So one update at the centre, which a geometric median
    weighs a million times, counts at most three times as much as another and rounds nobody to 0. A weight that would
    round to 0 beside the median positive one counts as 0 before: a vanishing one would otherwise be company enough to
    open a sum.
    """
    values, thirds = np.asarray(weights, np.float64), PARAMETERS.weight_cap // PARAMETERS.weight_unit
    largest = float(values.max(initial=0.0))
    if largest <= 0:
        return [0] * len(values)
    values = values / largest
    least = max(np.median(values[values > 0]) / (2 * thirds), np.finfo(np.float64).tiny)
    values = np.where(values < least, 0.0, values)
    steps = np.unique(thirds * values[values > 0] / (np.arange(thirds)[:, None] + 0.5))  # where rows change
    scales = np.append(0.9 * steps[0], (steps[:-1] + steps[1:]) / 2)
    found = np.rint(thirds * np.minimum(1, values / scales[:, None])).astype(np.int64)
    rows = found[found.any(1)]
    carried = [min(carriers(row, weight_cap), fewest) for row in rows]
    cosines = rows @ values / np.linalg.norm(rows, axis=1)
    best = np.lexsort((rows.sum(1), cosines.round(12), (rows > 0).sum(1), carried))[-1]
    return [PARAMETERS.weight_unit * int(k) for k in rows[best]]


def _only_in_quarantine(decision: Decision) -> bool:
    assert decision.rule_weights is not None and decision.weights is not None
    return bool(decision.rule_weights.any()) and not bool(decision.weights.any())


def _require_enough(measured: Measured) -> int:
    """`min_accepted`; IsolatingWeights if fewer dealers are left than that."""
    fewest = terms_of(measured.inspected.challenged.round.plan).min_accepted
    if len(measured.dealers) < fewest:
        raise IsolatingWeights(len(measured.dealers), fewest)
    return fewest


def _decided(measured: Measured, rows: Sequence[Mapping[int, int]]) -> Decided:
    plan = measured.inspected.challenged.round.plan
    weights: Weights = np.zeros((len(rows), len(plan.cohort)), np.uint8)
    for row, chosen in zip(weights, rows, strict=True):
        row[list(chosen)] = list(chosen.values())
        if carriers(row, terms_of(plan).weight_cap) < terms_of(plan).min_accepted:
            raise IsolatingWeights(carriers(row, terms_of(plan).weight_cap), terms_of(plan).min_accepted)
    return Decided(measured.inspected, measured.responders, weights)


def _chosen(accepted: int, columns: Sequence[int], reference: bool) -> list[int]:
    """Where the values of these dealers lie among those of all accepted ones: their pairs, their norms, and their
    distances to the reference."""
    first, second = pairs(accepted)
    wanted = set(columns)
    kept = [k for k, (i, j) in enumerate(zip(first, second, strict=True)) if i in wanted and j in wanted]
    norms = [len(first) + column * PARAMETERS.m + part for column in columns for part in range(PARAMETERS.m)]
    last = len(first) + accepted * PARAMETERS.m
    return kept + norms + [last + column for column in columns if reference]


def _reference_norms(challenged: Challenged) -> npt.NDArray[np.float64]:
    """N_rl, Float64[m]; empty where there is no reference."""
    shown = challenged.common.reference
    return np.empty(0) if shown is None else public_squared_norms(shown, challenged.round.plan.norm_bound)


def _wrong(challenged: Challenged, responder: int) -> ClientFault:
    name = challenged.round.name(responder)
    return WrongShare(name, STEP, "shares of distances off the polynomial", "the values of its own tested shares")


def _norm_faults(inspected: Inspected, squares: Squares, slack: int) -> list[ClientFault]:
    found = []
    for row, dealer in enumerate(inspected.members):
        if (fault := _signed_fault(inspected, dealer)) is not None:
            found.append(fault)
        elif (fault := _decoded_fault(inspected, squares, row, dealer)) is not None:
            found.append(fault if slack > 0 else accused(fault))
    return found


def _signed_fault(inspected: Inspected, dealer: int) -> ClientFault | None:
    """What the client's own signatures prove of its claim."""
    round, opening = inspected.challenged.round, inspected.replies[dealer].parts.opening
    try:
        inspected.challenged.submissions[dealer].commitment.check_opening(opening)
    except DigestMismatch as mismatch:
        return mismatch
    return claim_fault(round.plan, round.name(dealer), opening)


def _decoded_fault(inspected: Inspected, squares: Squares, row: int, dealer: int) -> ClientFault | None:
    """What the others' shares say of its norm."""
    round, opening = inspected.challenged.round, inspected.replies[dealer].parts.opening
    name = round.name(dealer)
    if (fault := bound_fault(round.plan, name, squares, row, STEP)) is not None:
        return fault
    return mismatch_fault(round.plan, name, opening, squares, row)


def _consistent(
    inspected: Inspected, squares: Squares, blamed: set[int], reference: npt.NDArray[np.float64], slack: int
) -> tuple[list[int], list[ClientFault]]:
    """The rows whose distances and norms agree, and whom too many distances contradict to be honest.

    An honest row contradicts liars only, at most max(f, t, e) of them, where e = `slack` is how many wrong answers the
    round corrects; of any other pair both leave, nobody blamed. It never contradicts the reference.
    """
    round = inspected.challenged.round
    most = max(round.plan.f, terms_of(round.plan).threshold, slack)
    misplaced = [row for row in impossible(squares, reference) if inspected.members[row] not in blamed]
    out = blamed | {inspected.members[row] for row in misplaced}
    rows = [row for row, dealer in enumerate(inspected.members) if dealer not in out]
    found = contradictions(squares, rows)
    counts = Counter(chain.from_iterable(found))
    surely = {row for row, count in counts.items() if count > most}
    gone = surely | eliminated((pair for pair in found if not surely & set(pair)), most)
    faults = [misplaced_fault(round.name(inspected.members[row])) for row in misplaced]
    faults += [wrapped_fault(round.name(inspected.members[row]), counts[row], most) for row in sorted(surely)]
    return [row for row in rows if row not in gone], [fault if slack > 0 else accused(fault) for fault in faults]


def _geometry(
    round: ServerRound, squares: Squares, kept: Sequence[int], reference: npt.NDArray[np.float64]
) -> Geometry:
    """Distances and norms without the noise's share: E‖e_i − e_k‖² = 2·E‖e‖²."""
    rows, share = np.asarray(kept, np.intp), noise(round.plan)
    distances = (squares.squared_distances - 2 * share).clip(min=0)[np.ix_(rows, rows)]
    np.fill_diagonal(distances, 0.0)
    norms = (squares.squared_norms - share).clip(min=0)[rows]
    beside = None if round.reference is None else _beside(round.reference, squares, rows, norms, reference)
    return Geometry(torch.from_numpy(distances), torch.from_numpy(norms), beside)


def _beside(
    row: PublicRow,
    squares: Squares,
    rows: npt.NDArray[np.intp],
    norms: npt.NDArray[np.float64],
    reference: npt.NDArray[np.float64],
) -> Reference:
    """‖r‖² as it is, and products that have the cosines of the sketches: both lengths there are distorted alike.

    ⟨x_i, r⟩ ≈ (N_i + N_r − D_ir)/2 · ‖r‖/√N_r,  at most ‖x_i‖·‖r‖        the noise's share cancels in N_i − D_ir
    """
    assert squares.to_reference is not None
    own = float(reference.mean())
    inner = (squares.squared_norms + own - squares.to_reference)[rows] / 2 * (row.norm / (own**0.5 or 1.0))
    most = np.sqrt(norms) * row.norm
    return Reference(row.norm**2, torch.from_numpy(inner.clip(-most, most)))
