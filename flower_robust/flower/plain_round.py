"""One unmasked round while its replies arrive: each is checked on its own, and a bad one costs its sender the round."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from flwr.app import ConfigRecord, MetricRecord, RecordDict
from numpy.typing import NDArray
from torch import Tensor

from flower_robust.aggregation import Rule
from flower_robust.commitments import Roster, update_digest, update_norm
from flower_robust.errors import ClientFault, MalformedReply, NonFiniteUpdate, OversizedReply
from flower_robust.flower.draft import Draft
from flower_robust.flower.envelope import TRAIN, envelope_of, field
from flower_robust.flower.exchange import content_bytes, content_of
from flower_robust.flower.grid import Reply
from flower_robust.flower.metrics import agreed, read_metrics, weighted
from flower_robust.flower.records import NamedArrays, UnreadableError, read_arrays
from flower_robust.protocol.plain import check_layout, verify_update
from flower_robust.protocol.plan import RoundPlan
from flower_robust.round import Outcome, conclude
from flower_robust.trust import BetaTrust, TrustState
from flower_robust.types import RosterName

SLACK_BYTES = 1 << 20
"""What a reply may hold beside the model: headers, metrics, the user's own config, the commitment."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What an accepted reply brings beside its row."""

    buffers: NamedArrays
    metrics: MetricRecord


class PlainRound:
    """Rows, metrics and faults of one round, by roster name.

    The rows Float[n, d] are one buffer on `device`, in the cohort's order whatever order replies arrive in, so that the
    same replies give the same bits.
    """

    def __init__(self, plan: RoundPlan, roster: Roster, draft: Draft, device: torch.device) -> None:
        self.plan, self.roster, self.arrays_key, self.count_key = plan, roster, draft.arrays_key, draft.count_key
        self._reference_row = draft.reference_row
        self.model, self.layout = draft.model, (layout := draft.layout)
        dtype = torch.float64 if layout.row_dtype == np.float64 else torch.float32
        self._rows = torch.empty((len(plan.cohort), layout.d), dtype=dtype, device=device)
        self._row = np.empty(layout.d, layout.row_dtype) if device.type != "cpu" else None
        self.accepted: dict[RosterName, Beside] = {}
        self._faults: dict[RosterName, ClientFault] = {}
        self.received_bytes: dict[str, int] = {}

    @property
    def faults(self) -> list[ClientFault]:
        """Who lost the round and why, in the cohort's order."""
        return [self._faults[name] for name in self.plan.cohort if name in self._faults]

    def envelope(self) -> ConfigRecord:
        """What every member of the cohort gets beside the strategy's own message."""
        buffers = sorted(self.layout.buffers)
        return ConfigRecord({"phase": TRAIN, "plan": self.plan.encode(), "arrays": self.arrays_key, "buffers": buffers})

    def receive(self, name: RosterName, reply: Reply | None) -> None:
        """Accept the reply of `name`, or note the fault that it is; None is silence."""
        try:
            content = content_of(reply, name, TRAIN)
            self.received_bytes[name] = size = content_bytes(content)
            if size > self.layout.nbytes + SLACK_BYTES:
                raise OversizedReply(name, TRAIN, f"{size} bytes", f"at most {self.layout.nbytes + SLACK_BYTES}")
            self.accepted[name] = self._verified(name, content)
        except UnreadableError as error:
            self._faults[name] = MalformedReply(name, TRAIN, error.found, error.required)
        except ClientFault as fault:
            self._faults[name] = fault

    def conclude(
        self,
        rule: Rule,
        trust: BetaTrust,
        state: TrustState,
        seconds: Mapping[str, float],
    ) -> Outcome:
        """Decide and sum. Raises QuorumNotReached; the model then stays as it is."""
        reference = self._reference_row()
        names = [name for name in self.plan.cohort if name in self.accepted]
        return conclude(
            self.plan,
            self.roster,
            rule,
            self._compacted(names),
            names,
            self.faults,
            trust,
            state,
            reference=None if reference is None else torch.from_numpy(reference).to(self._rows.device),
            seconds=seconds,
            received_bytes=self.received_bytes,
        )

    def traffic(self) -> dict[str, Any]:
        """What the report says of this round's exchanges."""
        return {"received_bytes": self.received_bytes}

    def stepped(self, aggregate: Tensor) -> dict[str, NDArray[Any]]:
        """The model after the aggregate Float[d]; buffers are the coordinate-wise median of the accepted ones."""
        accepted = self.accepted.values()
        buffers = {name: median([beside.buffers[name] for beside in accepted]) for name in self.layout.buffers}
        return self.layout.applied(self.model, aggregate.cpu().numpy(), buffers)

    def metrics(self) -> MetricRecord:
        """The accepted clients' metrics, weighted by declared rows."""
        metrics = {name: self.accepted[name].metrics for name in self.plan.cohort if name in self.accepted}
        return weighted(agreed(metrics, self.count_key), self.roster, self.count_key)

    def _verified(self, name: RosterName, content: RecordDict) -> Beside:
        if len(records := list(content.array_records.values())) != 1:
            raise MalformedReply(name, TRAIN, f"{len(records)} ArrayRecords", "one: the update")
        arrays = read_arrays(dict(records[0]))
        check_layout(name, arrays, self.model)
        commitment = field(envelope_of(content), "commitment", bytes)
        metrics = read_metrics(content, self.roster[name], TRAIN, self.count_key)
        verify_update(self.plan, self.roster, name, commitment, arrays, self._placed_norm(name, arrays))
        buffers = {key: arrays[key] for key in self.layout.buffers}
        for key, array in buffers.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise NonFiniteUpdate(name, TRAIN, f"NaN or Inf in {key!r}", "finite values")
        return Beside(buffers, metrics)

    def _placed_norm(self, name: RosterName, arrays: NamedArrays) -> float:
        """Write the row and measure it where it lies; on the CPU without torch's threads, which cost more there."""
        row = self._rows[self.plan.cohort.index(name)]
        if self._row is None:
            self.layout.write(arrays, row.numpy())
            return update_norm(self.layout.moved(arrays))
        self.layout.write(arrays, self._row)
        row.copy_(torch.from_numpy(self._row))
        return float(torch.linalg.vector_norm(row, dtype=torch.float64))

    def _compacted(self, names: list[RosterName]) -> Tensor:
        for place, name in enumerate(names):
            if (index := self.plan.cohort.index(name)) != place:
                self._rows[place].copy_(self._rows[index])
        return self._rows[: len(names)]


class PlainRounds:
    """The unmasked rounds of one strategy; rows lie on `device`."""

    def __init__(self, roster: Roster, rule: Rule, norm_bound: float, quorum: int, device: torch.device) -> None:
        self.roster, self.rule, self.norm_bound, self.quorum, self.device = roster, rule, norm_bound, quorum, device

    def open(self, draft: Draft) -> PlainRound:
        """The next round."""
        plan = draft.plan(self.roster, self.rule, self.norm_bound, self.quorum, update_digest(draft.model))
        return PlainRound(plan, self.roster, draft, self.device)


def median(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    """The lower coordinate-wise median: at each place a value that somebody sent, in the arrays' own dtype."""
    middle = (len(arrays) - 1) // 2
    columns: NDArray[Any] = np.partition(np.stack(arrays), middle, axis=0)
    return np.asarray(columns[middle])
