"""What a round leaves behind: one record for the journal and for whoever watches."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flower_robust.errors import ClientFault
from flower_robust.trust import TrustState


@dataclass(frozen=True, slots=True)
class RoundReport:
    """One round as it went.

    `expected` is the plan's cohort, `accepted` whose updates entered the geometry, in its order; `rule_weights` what
    the rule gave them and `weights` what the sum used after trust (None for coordinate-wise rules), both by name;
    `squared_distances` [n][n] and `squared_norms` [n] in the update's unit squared; `trust` after the round;
    `seconds` by step; `received_bytes` by name; `exchanges`: how often messages went out and back; `reason`: why there
    is no aggregate, or a masked one of zero; None if there is one. In masked rounds: `sent_bytes` of the protocol by
    name; `refusals`, who did not answer and why, in its own words; `audits`, what became of each client's audit of the
    server.
    """

    run_id: int
    round: int
    rule: str
    expected: tuple[str, ...]
    quorum: int
    accepted: tuple[str, ...]
    faults: tuple[ClientFault, ...]
    rule_weights: Mapping[str, float] | None
    weights: Mapping[str, float] | None
    squared_distances: Sequence[Sequence[float]]
    squared_norms: Sequence[float]
    trust: TrustState
    seconds: Mapping[str, float] = field(default_factory=dict)
    received_bytes: Mapping[str, int] = field(default_factory=dict)
    sent_bytes: Mapping[str, int] = field(default_factory=dict)
    exchanges: int = 1
    reason: str | None = None
    refusals: Mapping[str, str] = field(default_factory=dict)
    audits: Mapping[str, str] = field(default_factory=dict)

    def record(self) -> dict[str, object]:
        """The report as plain dictionaries, lists, strings and numbers."""
        return {
            "run_id": self.run_id,
            "round": self.round,
            "rule": self.rule,
            "expected": list(self.expected),
            "quorum": self.quorum,
            "accepted": list(self.accepted),
            "faults": [fault.record() for fault in self.faults],
            "rule_weights": self.rule_weights,
            "weights": self.weights,
            "geometry": {
                "squared_distances": [list(row) for row in self.squared_distances],
                "squared_norms": list(self.squared_norms),
            },
            "trust": {name: _reputation(self.trust, name) for name in self.trust.names},
            "seconds": dict(self.seconds),
            "received_bytes": dict(self.received_bytes),
            "sent_bytes": dict(self.sent_bytes),
            "exchanges": self.exchanges,
            "reason": self.reason,
            "refusals": dict(self.refusals),
            "audits": dict(self.audits),
        }

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(self.record(), allow_nan=False)


def _reputation(trust: TrustState, name: str) -> dict[str, object]:
    reputation = trust[name]
    return {"mean": reputation.mean, "quarantined": reputation.quarantined, "lied": reputation.lied}
