"""One masked round while its submissions arrive, and the exchanges that follow (docs/protocol.md, section 4)."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from numpy.typing import NDArray
from torch import Tensor

from flower_robust.aggregation import Rule
from flower_robust.commitments.keys import KeyAnnouncement
from flower_robust.commitments.transcript import keys_digest
from flower_robust.errors import ClientFault
from flower_robust.flower.asked import asked_alike
from flower_robust.flower.attendance import Attendance
from flower_robust.flower.draft import Draft
from flower_robust.flower.enrol import verified_key
from flower_robust.flower.envelope import ENVELOPE, KEY, PAYLOAD, RUN_CONFIG, TRAIN
from flower_robust.flower.floor import GridFloor
from flower_robust.flower.grid import Reply
from flower_robust.flower.masked_row import MaskedRow
from flower_robust.flower.masking import PeerMasking
from flower_robust.flower.metrics import agreed, declared_rows, read_metrics, weighted
from flower_robust.masking import ring_torch
from flower_robust.masking.masks import Opener, open_weighted
from flower_robust.protocol.announcement import announce, announcement_digest
from flower_robust.protocol.decide import with_faults
from flower_robust.protocol.masked_round import MaskedOutcome, finish_masked_round
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.reference import PublicRow
from flower_robust.protocol.replies import Submission
from flower_robust.protocol.server_challenge import verify_submission
from flower_robust.protocol.server_states import Opened, ServerRound
from flower_robust.protocol.shown import Offer
from flower_robust.protocol.terms import MaskingTerms
from flower_robust.round import Outcome, report_of, require_quorum
from flower_robust.trust import BetaTrust, TrustState
from flower_robust.types import RosterName

STEP = "submission"
CPU = torch.device("cpu")


class MaskedRound:
    """Submissions, metrics and faults of one round; the same questions to it as to a `PlainRound`.

    It never holds an update: y's until the sum is open, then the sum. `opened` is what the next round announces.
    """

    def __init__(
        self,
        plan: RoundPlan,
        floor: GridFloor,
        draft: Draft,
        masked: MaskedRow,
        layout: ConfigRecord,
        keys: dict[RosterName, KeyAnnouncement],
        previous: Opened | None,
        announcement: bytes,
        opener: Opener,
    ) -> None:
        self.plan, self.floor, self.masked, self._announced_layout = plan, floor, masked, layout
        self._announcement, self._opener = announcement, opener
        self.model, self.count_key = draft.model, draft.count_key
        self.layout, self._keys, self._previous = masked.layout, keys, previous
        self._submissions: dict[int, Submission] = {}
        self._metrics: dict[RosterName, MetricRecord] = {}
        self.opened: Opened | None = None

    @property
    def faults(self) -> list[ClientFault]:
        """Who was blamed so far and why, in the cohort's order."""
        return in_order(self.plan, self.floor.faults)

    @property
    def latest(self) -> Opened | None:
        """What the next round announces: this one, or the one before where this one opened nothing."""
        return self.opened or self._previous

    def envelope(self) -> ConfigRecord:
        """What every member of the cohort gets beside the strategy's own message."""
        offer = Offer(self.plan, self.floor.round.keys, self._announcement)
        return ConfigRecord({**self._announced_layout, PAYLOAD: offer.encode()})

    def receive(self, name: RosterName, reply: Reply | None) -> None:
        """Accept the submission of `name`, or note the fault that it is; None is silence."""
        try:
            payload = self.floor.payload(name, STEP, reply)
            if isinstance(payload, ClientFault):
                self._renew_key(name, reply)
                raise payload
            assert isinstance(reply, Message)
            metrics = read_metrics(reply.content, self.floor.round.roster[name], STEP, self.count_key)
            submission = verify_submission(self.floor.round, name, payload)
        except ClientFault as fault:
            self.floor.faults.append(fault)
        else:
            self._submissions[self.floor.round.position(name)] = submission
            self._metrics[name] = metrics

    def conclude(
        self,
        rule: Rule,
        trust: BetaTrust,
        state: TrustState,
        seconds: Mapping[str, float],
    ) -> Outcome:
        """Challenge, decide and unmask. Raises QuorumNotReached or RoundAborted; the model then stays as it is.

        So it does where too few clients point with the reference: the outcome is then zero, and its report says why.
        """
        plan, started = self.plan, time.monotonic()
        require_quorum(plan, [plan.cohort[i] for i in self._submissions], self.faults)
        found = finish_masked_round(
            self.floor,
            self._submissions,
            rule=rule,
            trust=dict(zip(plan.cohort, trust.weights(state, plan.cohort), strict=True)),
            previous=self._previous,
            entropy=lambda: os.urandom(32),
            opener=self._opener,
            step=self.layout.d,
        )
        self.opened, self._previous = found.opened, None if found.opened else self._previous
        after = trust.update(state, with_faults(found.decision.evidence, found.faults, state.names))
        timed = {**seconds, **self.floor.seconds, "masked": time.monotonic() - started}
        report = report_of(plan, found.decision, in_order(plan, found.faults), after, timed, {})
        reason = None if found.reason is None else str(found.reason)
        report = replace(report, weights=used_weights(found), reason=reason, **self.traffic())
        aggregate = torch.from_numpy(found.aggregate[: self.layout.d])
        return Outcome(aggregate, after, found.decision, report)

    def traffic(self) -> dict[str, Any]:
        """What the report says of this round's exchanges."""
        return {
            "exchanges": 1 + self.floor.exchanges,
            "received_bytes": self.floor.received_bytes,
            "sent_bytes": self.floor.sent_bytes,
            "refusals": self.floor.refusals,
            "audits": self.floor.audits,
        }

    def stepped(self, aggregate: Tensor) -> dict[str, NDArray[Any]]:
        """The model after the aggregate Float[d]; float buffers move by their mean, others stay as they are. Where
        nothing was opened all do."""
        if self.opened is None:
            return dict(self.model)
        mean, _ = self._beside()
        buffers = self.masked.buffers(self.model, mean, self.plan.norm_bound)
        return self.layout.applied(self.model, aggregate.numpy(), buffers)

    def metrics(self) -> MetricRecord:
        """The accepted clients' metrics, weighted by declared rows; those in secret by the round's weights as well."""
        names = [name for name in self.plan.cohort if name in self._metrics]
        clear = agreed({name: self._metrics[name] for name in names}, self.count_key)
        metrics = weighted(clear, self.floor.round.roster, self.count_key)
        if self.opened is not None:
            mean, mean_share = self._beside()
            metrics.update(self.masked.means(mean, mean_share, self.plan.norm_bound))
        return metrics

    def _beside(self) -> tuple[NDArray[np.float32], float]:
        """The mean row Float32[d] over all opened sums, and the mean share of the metrics under the same weights."""
        assert self.opened is not None
        weights = self.opened.decided.weights.astype(np.float64)
        totals = weights.sum(axis=1)
        rows = np.array(declared_rows(self.floor.round.roster, self.plan.cohort))
        mean = (self.opened.means * (totals / totals.sum())[:, None]).sum(axis=0)
        return mean, float((weights.sum(axis=0) * rows / rows.max()).sum() / totals.sum())

    def _renew_key(self, name: RosterName, reply: Reply | None) -> None:
        """A client that was restarted refuses once, and says with which run key it will be back."""
        content = reply.content if isinstance(reply, Message) and reply.has_content() else RecordDict()
        record = content.config_records.get(ENVELOPE, ConfigRecord())
        if KEY in record:
            self._keys[name] = verified_key(self.floor.round.roster, record, self.plan.run_id, name)


class MaskedRounds:
    """The masked rounds of one strategy: each announces the last one that was opened, for the clients to audit.

    Sums are opened on `device`.
    """

    def __init__(
        self,
        masking: PeerMasking,
        attendance: Attendance,
        rule: Rule,
        norm_bound: float,
        quorum: int,
        device: torch.device = CPU,
    ) -> None:
        self.masking, self.attendance, self.rule = masking, attendance, rule
        self.norm_bound, self.quorum = norm_bound, quorum
        self._opener = open_weighted if device.type == "cpu" else ring_torch.opener(device)
        self._last: MaskedRound | None = None

    def open(self, draft: Draft) -> MaskedRound:
        """The next round. ConfigurationError if its cohort is too small for the threshold."""
        masking, keys = self.masking, tuple(self.attendance.keys[name] for name in draft.cohort)
        masked = MaskedRow(draft.layout, masking.masked_metrics, masking.buffer_bound)
        previous = self._previous(draft.run_id)
        announcement = announce(previous) if previous else b""
        bound = keys_digest(keys), announcement_digest(announcement)
        terms = masking.terms(self.attendance.expected, len(keys), masked.d, self.norm_bound, *bound)
        terms, row = self._with_reference(draft, masked, terms)
        layout = announced_layout(masked, draft.arrays_key, self.attendance.run_config(draft.cohort))
        asked = asked_alike(draft.messages, layout)
        plan = draft.plan(self.attendance.roster, self.rule, self.norm_bound, self.quorum, asked, terms)
        server_round = ServerRound(plan, self.attendance.roster, keys, masking.server, row)
        floor = GridFloor(server_round, draft.grid, draft.nodes, draft.messages[0], masking.step_timeout)
        beside = (self.attendance.keys, previous, announcement, self._opener)
        self._last = MaskedRound(plan, floor, draft, masked, layout, *beside)
        return self._last

    def _with_reference(
        self, draft: Draft, masked: MaskedRow, terms: MaskingTerms
    ) -> tuple[MaskingTerms, PublicRow | None]:
        """The server's own update, fixed before anybody trains; what rides beside the step is zero in it."""
        if (update := draft.reference_row()) is None:
            return terms, None
        row = PublicRow.of(masked.padded(update), terms, os.urandom(32))
        return replace(terms, reference=row.digest), row

    def _previous(self, run_id: int) -> Opened | None:
        last, self._last = self._last, None
        return last.latest if last is not None and last.plan.run_id == run_id else None


def announced_layout(masked: MaskedRow, arrays_key: str, run_config: bytes) -> ConfigRecord:
    """The envelope without its offer: where the model is, how it lies in a row, and which run it belongs to."""
    return ConfigRecord(
        {
            "phase": TRAIN,
            "arrays": arrays_key,
            "buffers": sorted(masked.layout.buffers),
            "metrics": list(masked.metrics),
            "bounds": [float(bound) for bound in masked.metrics.values()],
            "buffer-bound": float(masked.buffer_bound),
            RUN_CONFIG: run_config,
        }
    )


def in_order(plan: RoundPlan, faults: Sequence[ClientFault]) -> list[ClientFault]:
    """Faults in the cohort's order, whatever order replies arrived in."""
    return sorted(faults, key=lambda fault: plan.cohort.index(RosterName(fault.culprit)))


def used_weights(found: MaskedOutcome) -> dict[str, float] | None:
    """The factor of each update in the sum, as the integers were that opened it; None for sums of groups."""
    decision = found.decision
    if decision.weights is None:
        return None
    if found.opened is None:
        return dict.fromkeys(decision.names, 0.0)
    row = found.opened.decided.weights[0].astype(np.float64)
    factors = row * (found.share / row.sum())
    cohort = found.opened.decided.challenged.round.plan.cohort
    return {name: float(factors[cohort.index(RosterName(name))]) for name in decision.names}
