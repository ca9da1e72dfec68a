"""A round before its plan: what the wrapped strategy wants to send, and to whom."""

from collections.abc import Mapping
from dataclasses import dataclass

from flwr.app import Message
from flwr.serverapp import Grid

from flower_robust.aggregation import Rule
from flower_robust.commitments import Roster, update_digest
from flower_robust.flower.records import Layout, NamedArrays
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.terms import MaskingTerms
from flower_robust.types import RosterName


@dataclass(frozen=True, slots=True)
class Draft:
    """`model` and its `layout`; `nodes`: which node speaks for each member of the cohort; `sample`: one of the
    strategy's messages; `count_key`: which of the clients' metrics counts rows."""

    round: int
    model: NamedArrays
    layout: Layout
    grid: Grid
    nodes: Mapping[RosterName, int]
    sample: Message
    count_key: str

    @property
    def run_id(self) -> int:
        """Flower's id of the run."""
        return int(self.grid.run.run_id)

    @property
    def cohort(self) -> list[RosterName]:
        """The roster names that are asked, in the roster's order."""
        return list(self.nodes)

    def plan(
        self, roster: Roster, rule: Rule, norm_bound: float, quorum: int, masking: MaskingTerms | None = None
    ) -> RoundPlan:
        """The plan, if it can work; see `RoundPlan.create`."""
        return RoundPlan.create(
            run_id=self.run_id,
            round=self.round,
            roster=roster,
            cohort=self.cohort,
            rule=rule,
            norm_bound=norm_bound,
            model_digest=update_digest(self.model),
            quorum=quorum,
            masking=masking,
        )
