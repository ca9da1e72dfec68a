"""Sums over all participants that nobody sees a part of, e.g. to standardise features before the first round.

server                                                    client
sums = private_sums(grid, bounds, roster=..., ...)        @app.query("private_sums")
                                                          def answer(message, context):
                                                              return summand(message, {"count": ..., "sum": ...})
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from flower_robust.aggregation import Mean
from flower_robust.commitments import Roster
from flower_robust.errors import QuorumNotReached
from flower_robust.flower.attendance import Attendance
from flower_robust.flower.draft import Draft
from flower_robust.flower.exchange import Exchange, marked
from flower_robust.flower.masked_round import MaskedRounds
from flower_robust.flower.masking import PeerMasking, check_masking
from flower_robust.flower.records import Layout, write_arrays
from flower_robust.flower.summand import ACTION, ARRAYS, BOUNDS
from flower_robust.protocol.report import RoundReport
from flower_robust.trust import BetaTrust

Statistics = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class PrivateSums:
    """`sums` Float64 by name; `report`: whose parts are in them (`accepted`), who was blamed, and the exchanges."""

    sums: dict[str, NDArray[np.float64]]
    report: RoundReport


def private_sums(
    grid: Grid,
    bounds: Statistics,
    *,
    roster: Roster,
    masking: PeerMasking,
    expected: int | None = None,
    wait: float = 60.0,
    timeout: float = 60.0,
) -> PrivateSums:
    """One masked round over what the clients' `@app.query("private_sums")` functions return, all weights alike.

        sums = Σ_i clip(statistics_i, ±bounds)

    `bounds`: by name, the largest absolute value that a client may add, elementwise and above zero; together the
    elements have an error of about n·√K·10⁻⁶ of their bounds, K elements in all. A liar shifts a sum by at most its
    bound. Every accepted client is in the sums. Raises as a masked round does; nothing is then known. The plan binds
    the names and `bounds` that clients are asked with: who was sent others refuses, and so does who is asked unmasked.
    """
    expected = len(roster) if expected is None else expected
    check_masking(masking, Mean(), expected, None, 1.0)
    attendance = Attendance(roster, expected, masking.fewest(expected), wait, keyed=True)
    names = attendance.names(grid)
    if len(names) < attendance.quorum:
        reasons = [str(fault) for fault in attendance.faults(names)]
        raise QuorumNotReached(0, expected, attendance.quorum, len(names), reasons)
    zeros = {name: np.zeros(np.shape(bound), np.float32) for name, bound in bounds.items()}
    content = RecordDict({ARRAYS: write_arrays(zeros), BOUNDS: write_arrays(_floats(bounds))})
    messages = [Message(content, node_id, f"query.{ACTION}", ttl=timeout, group_id="0") for node_id in names]
    layout, started = Layout.of(zeros, ()), time.monotonic()
    nodes = {name: node_id for node_id, name in names.items()}
    cohort = {name: nodes[name] for name in roster.names if name in nodes}
    draft = Draft(0, zeros, layout, grid, cohort, messages, ARRAYS, "num-examples")
    current = MaskedRounds(masking, attendance, Mean(), math.sqrt(layout.d), attendance.quorum).open(draft)
    exchange = Exchange.open(grid, marked(messages, current.envelope()), names, timeout)
    for name, _, reply in exchange.replies():
        current.receive(name, reply)
    trust = BetaTrust()
    seconds = {"exchange": time.monotonic() - started}
    outcome = current.conclude(Mean(), trust, trust.init(roster.names), seconds)
    fractions = layout.applied(zeros, outcome.aggregate.numpy(), {})
    parts = len(outcome.report.accepted)
    return PrivateSums({k: parts * fractions[k].astype(np.float64) * bounds[k] for k in bounds}, outcome.report)


def _floats(bounds: Statistics) -> dict[str, NDArray[np.float64]]:
    return {name: np.asarray(bound, np.float64) for name, bound in bounds.items()}
