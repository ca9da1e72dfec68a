"""A whole masked round without a network, on one screen: what a transport does, minus the transport."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from flower_robust.aggregation import Rule, Weighting
from flower_robust.commitments import Identity, Roster
from flower_robust.commitments.keys import KeyAnnouncement
from flower_robust.errors import ClientFault, NoReply, RobustError, RoundAborted, SumOutOfRange
from flower_robust.protocol import disputes, recheck, server_challenge, server_inspect, server_open
from flower_robust.protocol.audit import announce
from flower_robust.protocol.client import MaskedClient
from flower_robust.protocol.decide import Decision
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.server_decide import Measured, group, measure, weigh
from flower_robust.protocol.server_states import Decided, Inspected, Opened, ServerRound
from flower_robust.protocol.shown import Offer
from flower_robust.protocol.sizes import terms_of

Reply = TypeVar("Reply")
Updates = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class MaskedOutcome:
    """`aggregate` Float32[d]; `decision`: geometry, weights and evidence; `faults`: who is blamed; `alarms`: by client,
    why it refused the server; `opened`: what the next round announces.
    """

    aggregate: npt.NDArray[np.float32]
    decision: Decision
    faults: tuple[ClientFault, ...]
    alarms: Mapping[str, RobustError]
    opened: Opened


class Floor:
    """The clients in one room: asks each in turn, keeps faults and alarms. A client that raises has not answered."""

    def __init__(self, round: ServerRound, clients: Mapping[str, MaskedClient]) -> None:
        self.round, self.clients = round, clients
        self.faults: list[ClientFault] = []
        self.alarms: dict[str, RobustError] = {}

    def ask(
        self,
        step: str,
        positions: Iterable[int],
        question: Callable[[str, MaskedClient], bytes | None],
        verify: Callable[[str, bytes], Reply],
    ) -> dict[int, Reply]:
        """The verified answers by position."""
        answers: dict[int, Reply] = {}
        for position in positions:
            name = self.round.name(position)
            try:
                answers[position] = verify(name, self._answer(step, name, question))
            except ClientFault as fault:
                self.faults.append(fault)
        return answers

    def _answer(self, step: str, name: str, question: Callable[[str, MaskedClient], bytes | None]) -> bytes:
        try:
            answer = question(name, self.clients[name])
        except RobustError as alarm:
            self.alarms[name] = alarm
            answer = None
        if answer is None:
            raise NoReply(name, step, "no reply", f"a {step}")
        return answer


def exchange_keys(clients: Mapping[str, MaskedClient], run_id: int, roster: Roster) -> dict[str, KeyAnnouncement]:
    """Once per run: everybody's run key, verified. Raises the ClientFault of whoever sent a bad one."""
    announced = {name: KeyAnnouncement.decode(client.announce(), name) for name, client in clients.items()}
    for name, key in announced.items():
        key.verify(roster, run_id, name)
    return announced


def run_masked_round(
    plan: RoundPlan,
    keys: Sequence[KeyAnnouncement],
    *,
    roster: Roster,
    server: Identity,
    clients: Mapping[str, MaskedClient],
    updates: Updates,
    rule: Rule,
    trust: Mapping[str, float],
    previous: Opened | None = None,
    entropy: Callable[[], bytes] = lambda: os.urandom(32),
) -> MaskedOutcome:
    """Submit, challenge, inspect, measure, decide, unmask, open: DESIGN section 4.

    `keys` in cohort order; `updates` by name, Float32[d]; `trust` 0..1 by name; `previous`: the round before, which the
    plan announces. Raises RoundAborted where the round must not end with a result.
    """
    floor = Floor(ServerRound(plan, roster, tuple(keys), server), clients)
    try:
        inspected = _asked(floor, updates, previous)
        floor.faults += (lies := settled(floor, inspected))
        measured = measure(server_inspect.reinspect(inspected, lies), entropy())
        decided, decision = _decided(measured, rule, trust)
        opened = _opened(floor, decided, entropy)
    except RobustError as reason:
        raise RoundAborted(reason, floor.faults, floor.alarms) from reason
    aggregate = conclude_masked(opened, decision, rule)
    return MaskedOutcome(aggregate, decision, (*floor.faults, *opened.faults), floor.alarms, opened)


def _asked(floor: Floor, updates: Updates, previous: Opened | None) -> Inspected:
    """Steps 1 to 3."""
    round = floor.round
    offer = Offer(round.plan, round.keys, announce(previous) if previous else b"").encode()
    submissions = floor.ask(
        "submission",
        range(len(round.plan.cohort)),
        lambda name, client: client.submit(offer, updates[name]),
        lambda name, message: server_challenge.verify_submission(round, name, message),
    )
    challenged = server_challenge.issue_challenge(round, submissions, previous)
    replies = floor.ask(
        "sketch-reply",
        challenged.accepted,
        lambda name, client: client.answer_challenge(server_challenge.challenge_for(challenged, round.position(name))),
        lambda name, message: server_inspect.verify_sketch_reply(challenged, name, message),
    )
    return server_inspect.inspect(challenged, replies)


def settled(floor: Floor, inspected: Inspected) -> list[ClientFault]:
    """The verdicts on all contradictions; an exchange with the suspects, only where there are any."""
    if not inspected.suspects:
        return []
    asked = disputes.dispute(inspected)
    answers = floor.ask(
        "dispute",
        sorted(inspected.suspects),
        lambda _, client: client.answer_dispute(asked),
        lambda name, message: disputes.verify_disclosure(inspected, name, message, asked),
    )
    return disputes.settle(inspected, answers)


def _decided(measured: Measured, rule: Rule, trust: Mapping[str, float]) -> tuple[Decided, Decision]:
    """Step 4: one weighted sum where the rule is a weighting, disjoint groups where it needs rows."""
    rule = rule.reseeded(measured.inspected.challenged.round.plan.round)
    return weigh(measured, rule, trust) if isinstance(rule, Weighting) else group(measured, rule, trust)


def _opened(floor: Floor, decided: Decided, entropy: Callable[[], bytes]) -> Opened:
    """Steps 5 and 6; after a void sum, the recheck that names the culprit."""
    echoes = None
    if terms_of(floor.round.plan).strict:
        asked = server_open.unmask_request(decided)
        echoes = floor.ask(
            "echo",
            decided.responders,
            lambda _, client: client.echo(asked),
            lambda name, message: server_open.verify_echo(decided, name, message),
        )
    request = server_open.unmask_request(decided, echoes)
    replies = floor.ask(
        "unmask-reply",
        decided.responders,
        lambda _, client: client.unmask(request),
        lambda name, message: server_open.verify_unmask_reply(decided, name, message),
    )
    try:
        return server_open.open_sum(decided, replies, entropy())
    except SumOutOfRange:
        floor.faults += _rechecked(floor, decided, entropy())
        raise


def _rechecked(floor: Floor, decided: Decided, seed: bytes) -> list[ClientFault]:
    asked = recheck.recheck_request(decided)
    replies = floor.ask(
        "recheck-reply",
        decided.responders,
        lambda _, client: client.recheck(asked),
        lambda name, message: recheck.verify_recheck_reply(decided, name, message, asked),
    )
    return recheck.name_wrapped(decided, replies, seed)


def conclude_masked(opened: Opened, decision: Decision, rule: Rule) -> npt.NDArray[np.float32]:
    """The aggregate Float32[d]: the mean times the rule's mass (below 1 where it clips), or the rule on group means."""
    if decision.weights is not None:
        mean: npt.NDArray[np.float32] = opened.means[0]
        return mean * np.float32(float(decision.weights.sum()))
    aggregate: npt.NDArray[np.float32] = rule(torch.from_numpy(opened.means)).numpy()
    return aggregate
