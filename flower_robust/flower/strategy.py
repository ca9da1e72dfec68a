"""The server's side: `RobustAggregation(FedAvg(...), rule=..., roster=..., norm_bound=...)`. Translation only."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from logging import INFO, WARNING
from pathlib import Path
from typing import Any, Literal

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from flower_robust.aggregation import Rule
from flower_robust.commitments import Roster
from flower_robust.errors import (
    Certainty,
    ClientFault,
    ConfigurationError,
    QuorumNotReached,
    RobustError,
    RoundAborted,
)
from flower_robust.flower.attendance import Attendance
from flower_robust.flower.draft import Draft
from flower_robust.flower.evaluation import verified_evaluation
from flower_robust.flower.exchange import Exchange, marked
from flower_robust.flower.journal import Journal, empty_report
from flower_robust.flower.masked_round import MaskedRound, MaskedRounds
from flower_robust.flower.masking import PeerMasking, check_masking
from flower_robust.flower.options import (
    Reference,
    asked_reference,
    check_quorum,
    check_reference,
    check_waiting,
    chosen_device,
    chosen_rule,
    restored_trust,
)
from flower_robust.flower.plain_round import PlainRound, PlainRounds
from flower_robust.flower.records import BUFFERS, Layout, read_arrays, restored, write_arrays
from flower_robust.protocol.decide import fault_evidence
from flower_robust.protocol.report import RoundReport
from flower_robust.round import Outcome
from flower_robust.trust import BetaTrust, TrustState
from flower_robust.types import RosterName


@dataclass(frozen=True, slots=True)
class Pending:
    """A round between its messages and its replies; `absent` are faults that cost no trust."""

    round: PlainRound | MaskedRound
    arrays_key: str
    exchange: Exchange
    absent: list[ClientFault]
    started: float


class RobustAggregation(Strategy):
    """Wraps a message-based Flower strategy and replaces its average by a robust aggregate of verified updates.

        new = old + rule(verified updates, trust)          then the wrapped strategy's own server step

    `strategy`: FedAvg, FedProx, FedAvgM, FedAdam or another that sends one model and averages replies; it samples and
    configures, and receives ONE reply, its metrics weighted by the roster's declared rows. `rule`: from
    `flower_robust.aggregation`; without one, `default_rule(f)` for at most `f` malicious clients, a fifth of the
    expected ones where `f` is not given (docs/robustness.md says why): from f = 1 on it weighs updates by the roster's
    declared rows, between half and twice the median's. `roster`: who may take part.
    `norm_bound`: C, the longest L2 norm of an update.
    `masking`: None shows the server every update; PeerMasking(threshold=t) shows it one weighted sum of them.
    `trust`: how evidence becomes reputation. `reference(round, arrays)`: the server's own update; ReferenceTrust
    weighs by it, and whatever the rule it has half the say in the cosines that trust sees. In masked rounds it is
    asked for before the clients train, and they are shown its sketch.
    `buffers`: name patterns of float arrays that are no parameters; they and all integer arrays stay out of norm and
    geometry and become the coordinate-wise median of the accepted ones.

    Before the first round, `expected` clients (default: the roster) are awaited for `wait` seconds, before the others
    `quorum` (default: what the rule needs, at least a majority of `expected`). Fewer than `quorum` accepted updates
    raise QuorumNotReached (`below_quorum="abort"`) or leave the model as it is (`"skip"`); either is reported. Replies
    are awaited for `reply_timeout` seconds, which is also how long messages live; `start(timeout=...)` has no say.
    `trust_file` is read if it exists and written every round. `on_round` gets each RoundReport, `history` keeps them.
    `device`: where the rows live, and masked sums are opened; None is CUDA where there is one.

    Raises ConfigurationError or CorruptFile here, before anything is sent.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        rule: Rule | None = None,
        f: int | None = None,
        roster: Roster,
        norm_bound: float,
        masking: PeerMasking | None = None,
        trust: BetaTrust | None = None,
        reference: Reference | None = None,
        buffers: Sequence[str] = BUFFERS,
        expected: int | None = None,
        quorum: int | None = None,
        below_quorum: Literal["abort", "skip"] = "abort",
        wait: float = 60.0,
        reply_timeout: float = 3600.0,
        trust_file: str | Path | None = None,
        on_round: Callable[[RoundReport], None] | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        rule = chosen_rule(rule, f, len(roster) if expected is None else expected)
        self.strategy, self.rule, self.roster, self.norm_bound = strategy, rule, roster, norm_bound
        self.masking = masking
        self.trust, self.reference, self.buffers = trust or BetaTrust(), reference, tuple(buffers)
        self.expected = len(roster) if expected is None else expected
        if masking is not None:
            check_masking(masking, rule, self.expected, quorum, norm_bound)
        check_reference(rule, reference)
        fewest = max(rule.min_rows(), self.expected // 2 + 1, masking.fewest(self.expected) if masking else 0)
        self.quorum = fewest if quorum is None else quorum
        self.below_quorum, self.wait, self.reply_timeout = below_quorum, wait, reply_timeout
        check_quorum(rule, roster, norm_bound, self.expected, self.quorum)
        check_waiting(below_quorum, wait, reply_timeout)
        self.device = chosen_device(device)
        self._journal = Journal(None if trust_file is None else Path(trust_file), on_round)
        self.trust_state: TrustState = restored_trust(self.trust, roster, self._journal.trust_file)
        self.evaluation_faults: dict[int, tuple[ClientFault, ...]] = {}
        self._attendance = Attendance(roster, self.expected, self.quorum, wait, keyed=masking is not None)
        self._rounds: PlainRounds | MaskedRounds
        if masking is None:
            self._rounds = PlainRounds(roster, rule, norm_bound, self.quorum, self.device)
        else:
            self._rounds = MaskedRounds(masking, self._attendance, rule, norm_bound, self.quorum, self.device)
        self._pending: Pending | None = None
        self._evaluation: Exchange | None = None

    def summary(self) -> None:
        """Log the wrapper's settings, then the wrapped strategy's."""
        log(INFO, "\t├──> Robust aggregation: %r on %s", self.rule, self.device)
        log(INFO, "\t│\t├── Update norm bound: %g", self.norm_bound)
        log(INFO, "\t│\t├── Roster: %d, expected %d, quorum %d", len(self.roster), self.expected, self.quorum)
        log(INFO, "\t│\t├── Masking: %s", self.masking or "none, the server sees every update")
        log(INFO, "\t│\t└── Below quorum: %s", self.below_quorum)
        self.strategy.summary()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Enrol new nodes, let the wrapped strategy sample, send its messages with the plan.

        Leaves Flower nothing to send: its own exchange loses every reply to one that does not parse.
        """
        self._pending, started = None, time.monotonic()
        names = self._attendance.names(grid)
        absent = self._attendance.faults(names)
        try:
            messages = self._sampled(server_round, arrays, config, grid, absent)
            if messages:
                self._pending = self._opened(server_round, grid, messages, absent, started)
        except QuorumNotReached as shortage:
            self._stopped(grid.run.run_id, server_round, shortage, (), absent)
        return []

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Verify what arrives, aggregate, hand the result to the wrapped strategy; (None, None) for a skipped round."""
        pending, self._pending = self._pending, None
        if pending is None:
            return None, None
        for name, _, reply in pending.exchange.replies():
            pending.round.receive(name, reply)
        try:
            outcome = self._concluded(pending)
        except (QuorumNotReached, RoundAborted) as reason:
            plan, faults = pending.round.plan, pending.round.faults
            self.trust_state = self.trust.update(self.trust_state, fault_evidence(faults, self.roster.names))
            faults = [*faults, *pending.absent]
            self._stopped(plan.run_id, server_round, reason, plan.cohort, faults, pending.round.traffic())
            return None, None
        self.trust_state = outcome.trust
        self._journal.publish(replace(outcome.report, faults=(*outcome.report.faults, *pending.absent)))
        if outcome.report.reason is not None:
            log(WARNING, "round %d moves nothing: %s", server_round, outcome.report.reason)
        return self._server_step(server_round, pending, outcome)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Send the wrapped strategy's messages to enrolled participants; too few nodes only skip the evaluation."""
        self._evaluation = None
        bounded = self._attendance.bounded(grid, server_round, type(self.strategy).__name__)
        try:
            messages = list(self.strategy.configure_evaluate(server_round, arrays, config, bounded))
        except QuorumNotReached as shortage:
            log(WARNING, "no evaluation: %s", shortage)
            return []
        if messages:
            self._evaluation = Exchange.open(grid, messages, self._included(grid), self.reply_timeout)
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Hand the wrapped strategy the replies that hold; None if there are none."""
        exchange, self._evaluation = self._evaluation, None
        if exchange is None:
            return None
        verified, faults = verified_evaluation(exchange, self.roster, self._count_key)
        self.evaluation_faults[server_round] = tuple(faults)
        for fault in faults:
            log(WARNING, "%s", fault)
        return self.strategy.aggregate_evaluate(server_round, verified) if verified else None

    @property
    def history(self) -> list[RoundReport]:
        """The report of every round."""
        return self._journal.history

    @property
    def _count_key(self) -> str:
        return str(getattr(self.strategy, "weighted_by_key", "num-examples"))

    def _included(self, grid: Grid) -> dict[int, RosterName]:
        """Enrolled nodes without a proven lie; who is merely in quarantine is asked, with weight 0."""
        excluded = self.trust.excluded(self.trust_state)
        return {node_id: name for node_id, name in self._attendance.known(grid).items() if name not in excluded}

    def _sampled(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid, absent: Sequence[ClientFault]
    ) -> list[Message]:
        self._require_quorum(server_round, len(self._included(grid)), absent)
        bounded = self._attendance.bounded(grid, server_round, type(self.strategy).__name__)
        messages = list(self.strategy.configure_train(server_round, arrays, config, bounded))
        if 0 < len(messages) < self.quorum:
            required = f"at most {len(messages)}, the nodes that {type(self.strategy).__name__} samples"
            raise ConfigurationError("quorum", self.quorum, required)
        included = self._included(grid)
        sampled = [message for message in messages if message.metadata.dst_node_id in included]
        self._require_quorum(server_round, len(sampled) if messages else self.quorum, absent)
        return sampled

    def _require_quorum(self, server_round: int, found: int, absent: Sequence[ClientFault]) -> None:
        if found < self.quorum:
            reasons = [str(fault) for fault in absent]
            raise QuorumNotReached(server_round, self.expected, self.quorum, found, reasons)

    def _opened(
        self, server_round: int, grid: Grid, messages: list[Message], absent: list[ClientFault], started: float
    ) -> Pending:
        names = self._included(grid)
        key = self._arrays_key(messages[0].content)
        model = messages[0].content.array_records[key]
        arrays = read_arrays(model)
        asked = {names[message.metadata.dst_node_id]: message.metadata.dst_node_id for message in messages}
        nodes = {name: asked[name] for name in self.roster.names if name in asked}
        layout = Layout.of(arrays, self.buffers)
        asks = None if self.reference is None else partial(asked_reference, self.reference, server_round, model)
        draft = Draft(server_round, arrays, layout, grid, nodes, messages, key, self._count_key, asks)
        current = self._rounds.open(draft)
        exchange = Exchange.open(grid, marked(messages, current.envelope()), names, self.reply_timeout)
        return Pending(current, key, exchange, absent, started)

    def _arrays_key(self, content: RecordDict) -> str:
        key = getattr(self.strategy, "arrayrecord_key", None) or next(iter(content.array_records), None)
        if key not in content.array_records:
            raise ConfigurationError("arrayrecord_key", key, f"one of {list(content.array_records)}")
        return str(key)

    def _concluded(self, pending: Pending) -> Outcome:
        seconds = {"exchange": time.monotonic() - pending.started}
        return pending.round.conclude(self.rule, self.trust, self.trust_state, seconds)

    def _server_step(
        self, server_round: int, pending: Pending, outcome: Outcome
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """The wrapped strategy sees one reply; what it does to dtypes and buffers is undone."""
        model = pending.round.stepped(outcome.aggregate)
        content = RecordDict({pending.arrays_key: write_arrays(model), "metrics": pending.round.metrics()})
        reply = Message(content, reply_to=pending.exchange.sent[0])
        arrays, metrics = self.strategy.aggregate_train(server_round, [reply])
        return None if arrays is None else restored(arrays, model, pending.round.layout), metrics

    def _stopped(
        self,
        run_id: int,
        server_round: int,
        reason: RobustError,
        cohort: Sequence[str],
        faults: Sequence[ClientFault],
        traffic: Mapping[str, Any] | None = None,
    ) -> None:
        """A round without an aggregate: report it, then go on or raise. A proven liar cannot end the run: it is out."""
        rule, trust = repr(self.rule), self.trust_state
        report = empty_report(run_id, server_round, rule, self.quorum, cohort, faults, reason, trust)
        self._journal.publish(replace(report, **(traffic or {})))
        proven = isinstance(reason, RoundAborted) and any(fault.certainty is Certainty.PROVEN for fault in faults)
        if self.below_quorum == "abort" and not proven:
            raise reason
        log(WARNING, "skipped %s", reason)
