"""What every round leaves: a report in the history, a line per fault in the log, the trust file."""

from collections.abc import Callable, Sequence
from logging import WARNING
from pathlib import Path

from flwr.common import log

from flower_robust.errors import ClientFault, RobustError
from flower_robust.protocol.report import RoundReport
from flower_robust.trust import TrustState, save_trust


class Journal:
    """`history` keeps every report; `on_round` gets each; `trust_file` is written after each."""

    def __init__(self, trust_file: Path | None, on_round: Callable[[RoundReport], None] | None) -> None:
        self.trust_file, self.on_round = trust_file, on_round
        self.history: list[RoundReport] = []

    def publish(self, report: RoundReport) -> None:
        """Trust first, so that a restart forgets nothing that was seen."""
        if self.trust_file is not None:
            save_trust(self.trust_file, report.trust)
        self.history.append(report)
        for fault in report.faults:
            log(WARNING, "%s", fault)
        if self.on_round is not None:
            self.on_round(report)


def empty_report(
    run_id: int,
    server_round: int,
    rule: str,
    quorum: int,
    cohort: Sequence[str],
    faults: Sequence[ClientFault],
    reason: RobustError,
    trust: TrustState,
) -> RoundReport:
    """The report of a round that ended without an aggregate."""
    return RoundReport(
        run_id=run_id,
        round=server_round,
        rule=rule,
        expected=tuple(cohort),
        quorum=quorum,
        accepted=(),
        faults=tuple(faults),
        rule_weights=None,
        weights=None,
        squared_distances=[],
        squared_norms=[],
        trust=trust,
        reason=str(reason),
    )
