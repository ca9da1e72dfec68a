"""One round without a network, on one screen: plan out, updates and commitments in, aggregate and trust out."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flower_robust.aggregation import Rule
from flower_robust.commitments import Arrays, Identity, Roster
from flower_robust.errors import ClientFault, NoReply, QuorumNotReached
from flower_robust.protocol.decide import Decision, decide_rows, with_faults
from flower_robust.protocol.masked_round import run_masked_round as run_masked_round
from flower_robust.protocol.plain import check_layout, clip_update, commit_update, verify_update
from flower_robust.protocol.plan import RoundPlan as RoundPlan
from flower_robust.protocol.report import RoundReport
from flower_robust.trust import BetaTrust, TrustState

Client = Callable[[bytes], tuple[bytes, Arrays] | None]
"""A client: from the encoded plan to its commitment and its update, or None where it stays silent."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a round ends with: the aggregate Float[d] in the rows' dtype, trust after the round, and the report."""

    aggregate: Tensor
    trust: TrustState
    decision: Decision
    report: RoundReport


def honest_client(identity: Identity, update: Arrays) -> Client:
    """A client that clips `update` to the plan's bound and signs what it sends."""

    def answer(encoded_plan: bytes) -> tuple[bytes, Arrays]:
        plan = RoundPlan.decode(encoded_plan)
        clipped = clip_update(update, plan.norm_bound)
        return commit_update(plan, identity, clipped), clipped

    return answer


def run_round(
    plan: RoundPlan,
    *,
    roster: Roster,
    rule: Rule,
    model: Arrays,
    clients: Mapping[str, Client],
    trust: BetaTrust,
    state: TrustState,
) -> Outcome:
    """The unmasked round: every member of the cohort answers, who fails a check loses the round, the others go on.

    `model` gives names, dtypes and shapes of the floating-point arrays of an update; the aggregate is laid out as they
    are, one after the other. Raises QuorumNotReached below the plan's quorum.
    """
    rows = torch.empty(len(plan.cohort), sum(array.size for array in model.values()), dtype=_row_dtype(model))
    accepted: list[str] = []
    faults: list[ClientFault] = []
    for name in plan.cohort:
        try:
            _receive(plan, roster, name, clients[name](plan.encode()), model, rows[len(accepted)])
            accepted.append(name)
        except ClientFault as fault:
            faults.append(fault)
    return conclude(plan, roster, rule, rows[: len(accepted)], accepted, faults, trust, state)


def conclude(
    plan: RoundPlan,
    roster: Roster,
    rule: Rule,
    rows: Tensor,
    accepted: Sequence[str],
    faults: Sequence[ClientFault],
    trust: BetaTrust,
    state: TrustState,
    *,
    reference: Tensor | None = None,
    seconds: Mapping[str, float] | None = None,
    received_bytes: Mapping[str, int] | None = None,
) -> Outcome:
    """The end of every unmasked round, once all updates are verified: decide, sum, update trust, report.

    `rows` Float[n, d] are the updates of `accepted`, on any device. Raises QuorumNotReached if they are fewer than the
    plan's quorum or none of those that the rule chose is trusted; the model then stays as it is.
    """
    require_quorum(plan, accepted, faults)
    started = time.perf_counter()
    weights = trust.weights(state, accepted)
    sizes = roster.sizes(accepted)
    aggregate, decision = decide_rows(rows, rule.reseeded(plan.round), accepted, weights, reference, sizes)
    require_weight(plan, decision)
    after = trust.update(state, with_faults(decision.evidence, faults, state.names))
    timed = {**(seconds or {}), "aggregate": time.perf_counter() - started}
    return Outcome(aggregate, after, decision, report_of(plan, decision, faults, after, timed, received_bytes or {}))


def require_quorum(plan: RoundPlan, accepted: Sequence[str], faults: Sequence[ClientFault]) -> None:
    """Raises QuorumNotReached, with every fault as a reason, if fewer than the plan's quorum were accepted."""
    if len(accepted) < plan.quorum:
        reasons = [str(fault) for fault in faults]
        raise QuorumNotReached(plan.round, len(plan.cohort), plan.quorum, len(accepted), reasons)


def require_weight(plan: RoundPlan, decision: Decision) -> None:
    """Raises QuorumNotReached if the rule chose only clients in quarantine."""
    if decision.rule_weights is None or decision.weights is None:
        return
    if float(decision.rule_weights.sum()) > 0 and not float(decision.weights.sum()) > 0:
        reasons = [f"{plan.rule} chose only clients in quarantine"]
        raise QuorumNotReached(plan.round, len(plan.cohort), plan.quorum, 0, reasons)


def report_of(
    plan: RoundPlan,
    decision: Decision,
    faults: Sequence[ClientFault],
    trust: TrustState,
    seconds: Mapping[str, float],
    received_bytes: Mapping[str, int],
) -> RoundReport:
    """The round's report, masked or unmasked."""
    return RoundReport(
        run_id=plan.run_id,
        round=plan.round,
        rule=plan.rule,
        expected=plan.cohort,
        quorum=plan.quorum,
        accepted=decision.names,
        faults=tuple(faults),
        rule_weights=_by_name(decision.names, decision.rule_weights),
        weights=_by_name(decision.names, decision.weights),
        squared_distances=decision.geometry.squared_distances.tolist(),
        squared_norms=decision.geometry.squared_norms.tolist(),
        trust=trust,
        seconds=seconds,
        received_bytes=received_bytes,
    )


def _receive(
    plan: RoundPlan, roster: Roster, name: str, reply: tuple[bytes, Arrays] | None, model: Arrays, row: Tensor
) -> None:
    if reply is None:
        raise NoReply(name, "update", "no reply", "a commitment and an update")
    commitment, arrays = reply
    check_layout(name, arrays, model)
    flat: NDArray[np.generic] = np.concatenate([arrays[key].reshape(-1) for key in model])
    row.copy_(torch.from_numpy(flat))
    verify_update(plan, roster, name, commitment, arrays, float(torch.linalg.vector_norm(row, dtype=torch.float64)))


def _row_dtype(model: Arrays) -> torch.dtype:
    return torch.float64 if any(array.dtype == np.float64 for array in model.values()) else torch.float32


def _by_name(names: Sequence[str], weights: Tensor | None) -> dict[str, float] | None:
    return None if weights is None else dict(zip(names, weights.tolist(), strict=True))
