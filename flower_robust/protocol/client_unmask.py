"""Step 5 at a client: one decision per round, and only one that singles nobody out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from flower_robust.commitments import Identity, Roster
from flower_robust.errors import ClientFault, EquivocatingServer, FaultyServer
from flower_robust.masking import ring, thresholds
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.ring import Residues
from flower_robust.protocol.client_states import AwaitingRecheck, AwaitingUnmask
from flower_robust.protocol.codec import Field, from_server
from flower_robust.protocol.evidence import DECISION, Evidence, Signed
from flower_robust.protocol.pads import pad_seed
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.replies import Echo, SharesReply
from flower_robust.protocol.shown import Unmask, Weights
from flower_robust.protocol.sizes import Sizes, terms_of
from flower_robust.protocol.terms import MaskingTerms
from flower_robust.types import Digest

STEP = "unmask"


def echo(state: AwaitingUnmask, roster: Roster, identity: Identity, message: Field) -> tuple[AwaitingUnmask, bytes]:
    """Sign the one decision that this client is willing to unmask (strict rounds).

    Raises FaultyServer as `unmask` does, and EquivocatingServer if it already signed another decision.
    """
    request, decision = _checked_request(state, roster, message)
    _check_echoed(state, "echo", decision, request.signature)
    echoed = replace(state, echoed=decision, echoed_signature=request.signature)
    return echoed, Echo.sign(identity, state.dealt.plan.digest, decision).encode()


def unmask(state: AwaitingUnmask, roster: Roster, identity: Identity, message: Field) -> tuple[AwaitingRecheck, bytes]:
    """The client's share of Σ w_i·s_i, per opened sum; the state that could answer again is gone.

        ⟨Σ w_i·s_i⟩ = Σ w_i·⟨s_i⟩

    Raises FaultyServer, and nothing is answered, unless the server signed the decision, at least 2t + 1 clients signed
    the same digest of what they were shown, and the weights single nobody out (`check_weights`); in a strict round,
    unless more than (n + max(f, t))/2 clients echoed this decision, which no two decisions can both have.
    """
    request, decision = _checked_request(state, roster, message)
    plan = state.dealt.plan
    if terms_of(plan).strict:
        _check_echoes(plan, roster, decision, request.echoes)
        _check_echoed(state, STEP, decision, request.signature)
    reply = SharesReply.sign(identity, "unmask-reply", plan.digest, decision, _summed(state, request.weights))
    nxt = AwaitingRecheck(
        state.dealt,
        state.accepted,
        state.held,
        pad_seed(state.dealt.entropy),
        state.challenge,
        state.shown,
        decision,
        request.signature,
    )
    return nxt, reply.encode()


def check_weights(terms: MaskingTerms, accepted: Sequence[int], weights: Weights, step: str = STEP) -> None:
    """FaultyServer unless every opened sum hides each of its clients among at least `min_accepted`.

    |{i : w_i·cap >= max w}| >= min_accepted       for every group; groups are disjoint; w_i ∈ {0, 1, 2, 3}·85

    Why not any weights: under (255, 254, ..., 254) the sum modulo 254 is the first update (`ParameterSet.weight_unit`).
    """
    outside = np.ones(weights.shape[1], bool)
    outside[list(accepted)] = False
    if weights[:, outside].any() or ((weights > 0).sum(axis=0) > 1).any():
        raise FaultyServer(step, "weights of clients that were not accepted, or groups that overlap", "disjoint groups")
    for row in weights:
        carrying = carriers(row, terms.weight_cap)
        if carrying < terms.min_accepted:
            found = f"weights that rest on {carrying} clients"
            raise FaultyServer(step, found, f"at least {terms.min_accepted} within a factor {terms.weight_cap}")
    if (weights % PARAMETERS.weight_unit).any():
        raise FaultyServer(step, "weights that tell one client from the others", "0, 1, 2 or 3 units of weight")


def carriers(row: Weights, weight_cap: int) -> int:
    """How many clients carry a sum: |{i : w_i·cap >= max w > 0}|."""
    return int(np.count_nonzero(row.astype(np.int64) * weight_cap >= row.max())) if row.any() else 0


def _checked_request(state: AwaitingUnmask, roster: Roster, message: Field) -> tuple[Unmask, Digest]:
    plan, terms = state.dealt.plan, terms_of(state.dealt.plan)
    request = from_server(lambda: Unmask.decode(message, Sizes.of(plan)), STEP)
    decision = request.verify(terms.server_key, plan.digest, state.shown)
    _check_attestations(state, roster, request)
    check_weights(terms, state.accepted, request.weights)
    missing = [dealer for dealer in state.unreadable if request.weights[:, dealer].any()]
    if missing:
        raise FaultyServer(STEP, f"a sum with {plan.cohort[missing[0]]}", "no dealer this client complained about")
    return request, decision


def _check_attestations(state: AwaitingUnmask, roster: Roster, request: Unmask) -> None:
    """FaultyServer unless 2t + 1 clients, and all of those in the sum, signed that they were shown the same."""
    plan, needed = state.dealt.plan, 2 * terms_of(state.dealt.plan).threshold + 1
    agreeing = {p for p, attestation in request.attestations.items() if attestation.shown == state.shown}
    for position in agreeing:
        try:
            request.attestations[position].verify(roster, plan.cohort[position], plan.digest)
        except ClientFault as fault:
            raise FaultyServer(STEP, str(fault), "attestations that verify") from None
    if len(agreeing) < needed:
        raise FaultyServer(STEP, f"{len(agreeing)} clients that were shown the same", f"at least {needed}")
    for dealer in map(int, np.flatnonzero(request.weights.any(axis=0))):
        if dealer not in agreeing:
            found = f"a sum with {plan.cohort[dealer]}, who signed nothing about this challenge"
            raise FaultyServer(STEP, found, "clients that were shown the same")


def _check_echoes(plan: RoundPlan, roster: Roster, decision: Digest, echoes: Mapping[int, bytes]) -> None:
    needed = echoes_needed(plan)
    try:
        for position, signature in echoes.items():
            Echo(decision, signature).verify(roster, plan.cohort[position], plan.digest)  # type: ignore[arg-type]
    except ClientFault as fault:
        raise FaultyServer(STEP, str(fault), "echoes of this decision") from None
    if len(echoes) < needed:
        raise FaultyServer(STEP, f"{len(echoes)} echoes", f"at least {needed}")


def echoes_needed(plan: RoundPlan) -> int:
    """How many clients must echo one decision (`thresholds.echoes_needed`)."""
    return thresholds.echoes_needed(len(plan.cohort), terms_of(plan).threshold, plan.f)


def _summed(state: AwaitingUnmask, weights: Weights) -> Residues:
    rows = [[int(row[dealer]) for dealer in state.accepted] for row in weights]
    return np.stack([ring.weighted_sum(row, list(state.held.secrets)) for row in rows], axis=1)


def _check_echoed(state: AwaitingUnmask, step: str, decision: Digest, signature: bytes) -> None:
    """EquivocatingServer, with both signatures, if the server signed another decision before."""
    if state.echoed is not None and state.echoed != decision:
        before, now = (
            Signed(DECISION, *pair) for pair in ((state.echoed, state.echoed_signature), (decision, signature))
        )
        evidence = Evidence(state.dealt.plan, before, now).encode()
        raise EquivocatingServer(step, "a second decision", "one decision per round", evidence)
