"""A round before its plan: what the wrapped strategy wants to send, and to whom."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid
from numpy.typing import NDArray

from flower_robust.aggregation import Rule
from flower_robust.commitments import Roster
from flower_robust.errors import ConfigurationError
from flower_robust.flower.records import Layout, NamedArrays
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.terms import MaskingTerms
from flower_robust.types import Digest, RosterName


@dataclass(frozen=True, slots=True)
class Draft:
    """`model`, its `layout`, and under which key it lies in the strategy's `messages`; `nodes`: which node speaks for
    each member of the cohort; `count_key`: which of the clients' metrics counts rows; `reference`: asks for the
    server's own update."""

    round: int
    model: NamedArrays
    layout: Layout
    grid: Grid
    nodes: Mapping[RosterName, int]
    messages: Sequence[Message]
    arrays_key: str
    count_key: str
    reference: Callable[[], NamedArrays] | None = None

    @property
    def run_id(self) -> int:
        """Flower's id of the run."""
        return int(self.grid.run.run_id)

    @property
    def cohort(self) -> list[RosterName]:
        """The roster names that are asked, in the roster's order."""
        return list(self.nodes)

    def reference_row(self) -> NDArray[Any] | None:
        """The server's own update as a row Float[d], asked for now; None where there is none.

        Raises ConfigurationError unless it has the model's arrays, in finite numbers; and whatever the asked function
        raises.
        """
        if self.reference is None:
            return None
        update, layout = self.reference(), self.layout
        for name in layout.moving:
            _check_step(name, update.get(name), layout.shapes[name])
        row = np.empty(layout.d, layout.row_dtype)
        with np.errstate(over="ignore"):
            layout.write(update, row)
            finite = bool(np.isfinite(row.astype(np.float32, copy=False)).all())
        if not finite:
            raise ConfigurationError("reference", "NaN or Inf", f"{layout.d} finite values of single precision")
        return row

    def plan(
        self,
        roster: Roster,
        rule: Rule,
        norm_bound: float,
        quorum: int,
        asked: Digest,
        masking: MaskingTerms | None = None,
    ) -> RoundPlan:
        """The plan, if it can work; see `RoundPlan.create`. `asked`: of what is trained on."""
        return RoundPlan.create(
            run_id=self.run_id,
            round=self.round,
            roster=roster,
            cohort=self.cohort,
            rule=rule,
            norm_bound=norm_bound,
            model_digest=asked,
            quorum=quorum,
            masking=masking,
        )


def _check_step(name: str, step: NDArray[Any] | None, shape: tuple[int, ...]) -> None:
    found = None if step is None else step.shape if step.shape != shape else str(step.dtype)
    if step is None or step.shape != shape or step.dtype.kind not in "biuf":
        raise ConfigurationError(f"reference[{name!r}]", found, f"an update of shape {shape} in real numbers")
