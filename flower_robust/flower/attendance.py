"""Who is there: bounded waiting for nodes that proved a name, and the grid that a wrapped strategy samples from."""

import time

from flwr.serverapp import Grid

from flower_robust.commitments import Roster
from flower_robust.errors import ClientFault, QuorumNotReached
from flower_robust.flower.enrol import Enrolment
from flower_robust.flower.grid import BoundedGrid
from flower_robust.types import RosterName


class Attendance:
    """Enrolled nodes of the current run.

    The first call of a run waits for `expected` nodes, later ones for `quorum`; never longer than `wait` seconds. Nodes
    that connect later are enrolled in passing and take part from the next round on.
    """

    def __init__(self, roster: Roster, expected: int, quorum: int, wait: float) -> None:
        self.roster, self.expected, self.quorum, self.wait = roster, expected, quorum, wait
        self._run_id: int | None = None
        self._enrolment = Enrolment(roster, ttl=wait)

    def names(self, grid: Grid) -> dict[int, RosterName]:
        """Node id -> roster name of everybody who is connected and has proven a name."""
        first, self._run_id = self._run_id != grid.run.run_id, grid.run.run_id
        if first:
            self._enrolment = Enrolment(self.roster, ttl=self.wait)
        enough = self.expected if first else self.quorum
        return self._enrolment.gather(grid, enough, time.monotonic() + self.wait)

    def known(self, grid: Grid) -> dict[int, RosterName]:
        """As `names`, without waiting."""
        return self._enrolment.gather(grid, 0, 0.0)

    def bounded(self, grid: Grid, server_round: int, strategy: str) -> BoundedGrid:
        """A grid of enrolled nodes that raises QuorumNotReached once `strategy` has asked for `wait` seconds."""

        def eligible() -> list[int]:
            return sorted(self.known(grid))

        def shortage(found: int) -> QuorumNotReached:
            reason = f"{strategy} waits for more nodes than the {found} that are connected and enrolled"
            return QuorumNotReached(server_round, self.expected, self.quorum, found, [reason])

        return BoundedGrid(grid, eligible, time.monotonic() + self.wait, shortage)

    def faults(self, names: dict[int, RosterName]) -> list[ClientFault]:
        """What unproven nodes did since the last call, and who of the roster is not there. None of it costs trust."""
        return [*self._enrolment.take_faults(), *self._enrolment.absent(names)]
