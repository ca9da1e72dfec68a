"""A whole masked round without a network, on one screen: what a transport does, minus the transport."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from flower_robust.aggregation import Rule, Weighting
from flower_robust.commitments import Identity, Roster
from flower_robust.commitments.keys import KeyAnnouncement
from flower_robust.errors import ClientFault, NoReply, RobustError, RoundAborted, SumOutOfRange, Unfollowed
from flower_robust.masking.masks import Opener, open_weighted
from flower_robust.protocol import disputes, recheck, server_challenge, server_inspect, server_open
from flower_robust.protocol.announcement import announce
from flower_robust.protocol.client import MaskedClient
from flower_robust.protocol.codec import Field
from flower_robust.protocol.decide import Decision
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.reference import PublicRow
from flower_robust.protocol.replies import Submission
from flower_robust.protocol.server_decide import Measured, group, measure, weigh
from flower_robust.protocol.server_states import Decided, Inspected, Opened, ServerRound
from flower_robust.protocol.shown import Offer
from flower_robust.protocol.sizes import terms_of
from flower_robust.types import RosterName

Reply = TypeVar("Reply")
Updates = Mapping[str, npt.NDArray[np.float32]]
Answer = tuple[str, Field | ClientFault]
"""Who answered, and what; or the fault that the transport saw."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskedOutcome:
    """`aggregate` Float32[d]; `decision`: geometry, weights and evidence; `faults`: who is blamed; `alarms`: by client,
    why it refused the server; `opened`: what the next round announces; `share`: which multiple of the opened mean the
    aggregate is. Where too few clients point with the reference nothing is opened, the aggregate is zero as that of an
    unmasked round in which none does, and `reason` says so.
    """

    aggregate: npt.NDArray[np.float32]
    decision: Decision
    faults: tuple[ClientFault, ...]
    alarms: Mapping[str, RobustError]
    opened: Opened | None
    share: float
    reason: Unfollowed | None = None


class Floor(ABC):
    """Where the clients are, for one round; subclasses are transports. Keeps the faults and the alarms."""

    def __init__(self, round: ServerRound) -> None:
        self.round = round
        self.faults: list[ClientFault] = []
        self.alarms: dict[str, RobustError] = {}

    @abstractmethod
    def exchange(self, step: str, requests: Iterable[tuple[RosterName, bytes]]) -> Iterator[Answer]:
        """Ask each of the names its own message; who answered what, in any order. A silent client has a NoReply."""

    def ask(
        self, step: str, requests: Iterable[tuple[int, bytes]], verify: Callable[[str, Field], Reply]
    ) -> dict[int, Reply]:
        """The verified answers by position; who did not answer, or not well, is blamed."""
        answers: dict[int, Reply] = {}
        for name, answer in self.exchange(step, ((self.round.name(place), message) for place, message in requests)):
            try:
                if isinstance(answer, ClientFault):
                    raise answer
                answers[self.round.position(name)] = verify(name, answer)
            except ClientFault as fault:
                self.faults.append(fault)
        return dict(sorted(answers.items()))


class Room(Floor):
    """The clients in one process: asks each in turn. A client that raises has not answered."""

    def __init__(self, round: ServerRound, clients: Mapping[str, MaskedClient], updates: Updates) -> None:
        super().__init__(round)
        self.clients, self.updates = clients, updates

    def exchange(self, step: str, requests: Iterable[tuple[RosterName, bytes]]) -> Iterator[Answer]:
        """As `Floor.exchange`."""
        for name, message in requests:
            yield name, self._answer(step, name, message)

    def _answer(self, step: str, name: str, message: bytes) -> Field | ClientFault:
        try:
            answer = self._step(step, self.clients[name], name, message)
        except RobustError as alarm:
            self.alarms[name] = alarm
            answer = None
        return NoReply(name, step, "no reply", f"a {step}") if answer is None else answer

    def _step(self, step: str, client: MaskedClient, name: str, message: bytes) -> bytes | None:
        if step == "submission":
            return client.submit(message, self.updates[name])
        steps = {
            "sketch-reply": client.answer_challenge,
            "dispute": client.answer_dispute,
            "echo": client.echo,
            "unmask-reply": client.unmask,
            "recheck-reply": client.recheck,
        }
        return steps[step](message)


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
    opener: Opener = open_weighted,
    reference: PublicRow | None = None,
) -> MaskedOutcome:
    """Submit, challenge, inspect, measure, decide, unmask, open: docs/protocol.md, section 4.

    `keys` in cohort order; `updates` by name, Float32[d]; `trust` 0..1 by name; `previous`: the round before, which the
    plan announces; `opener`: what opens the sum, `ring_torch.opener` on a device; `reference`: the server's own row,
    which the plan binds. Raises RoundAborted where the round must not end with a result.
    """
    floor = Room(ServerRound(plan, roster, tuple(keys), server, reference), clients, updates)
    offer = Offer(plan, tuple(keys), announce(previous) if previous else b"").encode()
    submissions = floor.ask(
        "submission",
        ((position, offer) for position in range(len(plan.cohort))),
        lambda name, message: server_challenge.verify_submission(floor.round, name, message),
    )
    return finish_masked_round(
        floor, submissions, rule=rule, trust=trust, previous=previous, entropy=entropy, opener=opener
    )


def finish_masked_round(
    floor: Floor,
    submissions: Mapping[int, Submission],
    *,
    rule: Rule,
    trust: Mapping[str, float],
    previous: Opened | None,
    entropy: Callable[[], bytes],
    opener: Opener = open_weighted,
    step: int | None = None,
) -> MaskedOutcome:
    """Everything after step 1, whatever the transport. Raises RoundAborted as `run_masked_round` does.

    `step`: how many of a row's d floats are the update, where others ride beside it; None: all.
    """
    try:
        inspected = _inspected(floor, submissions, previous)
        floor.faults += (lies := settled(floor, inspected))
        measured = measure(server_inspect.reinspect(inspected, lies), entropy())
        floor.faults += measured.faults
        decided, decision = _decided(measured, rule, trust)
        if isinstance(decided, Unfollowed):
            nothing = np.zeros(terms_of(floor.round.plan).d, np.float32)
            return MaskedOutcome(nothing, decision, tuple(floor.faults), floor.alarms, None, 0.0, decided)
        opened = _opened(floor, decided, entropy, opener)
    except RobustError as reason:
        raise RoundAborted(reason, floor.faults, floor.alarms) from reason
    aggregate, share = conclude_masked(opened, decision, rule, step)
    return MaskedOutcome(aggregate, decision, (*floor.faults, *opened.faults), floor.alarms, opened, share)


def _inspected(floor: Floor, submissions: Mapping[int, Submission], previous: Opened | None) -> Inspected:
    """Steps 2 and 3."""
    challenged = server_challenge.issue_challenge(floor.round, submissions, previous)
    replies = floor.ask(
        "sketch-reply",
        ((position, server_challenge.challenge_for(challenged, position)) for position in challenged.accepted),
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
        ((suspect, asked) for suspect in sorted(inspected.suspects)),
        lambda name, message: disputes.verify_disclosure(inspected, name, message, asked),
    )
    return disputes.settle(inspected, answers)


def _decided(measured: Measured, rule: Rule, trust: Mapping[str, float]) -> tuple[Decided | Unfollowed, Decision]:
    """Step 4: one weighted sum where the rule is a weighting, disjoint groups where it needs rows."""
    rule = rule.reseeded(measured.inspected.challenged.round.plan.round)
    return weigh(measured, rule, trust) if isinstance(rule, Weighting) else group(measured, rule, trust)


def _opened(floor: Floor, decided: Decided, entropy: Callable[[], bytes], opener: Opener) -> Opened:
    """Steps 5 and 6; after a void sum, the recheck that names the culprit. An echo needs no share: all may give one."""
    echoes = None
    if terms_of(floor.round.plan).strict:
        asked = server_open.unmask_request(decided)
        echoes = floor.ask(
            "echo",
            ((attested, asked) for attested in sorted(decided.inspected.replies)),
            lambda name, message: server_open.verify_echo(decided, name, message),
        )
    request = server_open.unmask_request(decided, echoes)
    replies = floor.ask(
        "unmask-reply",
        ((responder, request) for responder in decided.responders),
        lambda name, message: server_open.verify_unmask_reply(decided, name, message),
    )
    try:
        return server_open.open_sum(decided, replies, entropy(), opener)
    except SumOutOfRange:
        floor.faults += _rechecked(floor, decided, entropy())
        raise


def _rechecked(floor: Floor, decided: Decided, seed: bytes) -> list[ClientFault]:
    asked = recheck.recheck_request(decided)
    replies = floor.ask(
        "recheck-reply",
        ((responder, asked) for responder in decided.responders),
        lambda name, message: recheck.verify_recheck_reply(decided, name, message, asked),
    )
    return recheck.name_wrapped(decided, replies, seed)


def conclude_masked(
    opened: Opened, decision: Decision, rule: Rule, step: int | None = None
) -> tuple[npt.NDArray[np.float32], float]:
    """The aggregate Float32[d], and which multiple of the opened mean it is; for a rule that sees group means its value
    on them, and 1."""
    if decision.weights is not None:
        share = share_of_mean(opened, decision, rule, step)
        mean: npt.NDArray[np.float32] = opened.means[0]
        return mean * np.float32(share), share
    aggregate: npt.NDArray[np.float32] = rule(torch.from_numpy(opened.means)).numpy()
    return aggregate, 1.0


def share_of_mean(opened: Opened, decision: Decision, rule: Rule, step: int | None = None) -> float:
    """What the opened mean o is multiplied by to be the aggregate of a weighting.

        Σ w_i                                      where rows count as they are, or clipped: the rest is weight on zero
        max(0, ⟨Σ w_i·x_i, o⟩ / ‖o‖) / ‖o‖         where the rule rescales them to a reference

    The second is the multiple of o nearest to what the rule asked for, and never longer: the bracket as the sketches
    say, in which all lengths are distorted alike, the last ‖o‖ exact. Σ w_i would not do there: the shorter a row, the
    larger its weight, so one row of almost no length would scale the others up without bound. Where o has more than its
    first `step` floats, the exact length is theirs: what rides beside must not shorten the step.
    """
    assert decision.weights is not None
    if not rule.needs_reference:
        return float(decision.weights.sum())
    decided, length = opened.decided, float(np.linalg.norm(opened.means[0][:step].astype(np.float64)))
    round = decided.challenged.round
    row = decided.weights[0][[round.position(name) for name in decision.names]].astype(np.float64)
    mean = row / row.sum()
    reach = decision.geometry.gram.numpy() @ mean
    sketched = float(reach @ mean) ** 0.5
    return max(0.0, float(reach @ decision.weights.numpy()) / sketched) / length if sketched > 0 and length > 0 else 0.0
