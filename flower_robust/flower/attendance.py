"""Who is there: bounded waiting for nodes that proved a name, and the grid that a wrapped strategy samples from."""

import time
from collections import Counter
from collections.abc import Iterable

from flwr.serverapp import Grid

from flower_robust.commitments import Roster
from flower_robust.commitments.keys import KeyAnnouncement
from flower_robust.errors import ClientFault, QuorumNotReached
from flower_robust.flower.enrol import Enrolment
from flower_robust.flower.grid import BoundedGrid
from flower_robust.types import RosterName


class Attendance:
    """Enrolled nodes of the current run.

    The first call of a run waits for `expected` nodes, later ones for `quorum`; never longer than `wait` seconds. Nodes
    that connect later are enrolled in passing and take part from the next round on.
    """

    def __init__(self, roster: Roster, expected: int, quorum: int, wait: float, keyed: bool = False) -> None:
        self.roster, self.expected, self.quorum, self.wait, self.keyed = roster, expected, quorum, wait, keyed
        self._run_id: int | None = None
        self._enrolment = Enrolment(roster, wait, keyed)

    @property
    def keys(self) -> dict[RosterName, KeyAnnouncement]:
        """The run keys of the current run, for masked rounds; whoever hears of a newer one puts it here."""
        return self._enrolment.keys

    def run_config(self, cohort: Iterable[RosterName]) -> bytes:
        """The digest of the run's configuration, as most of the cohort got it; who got another one will refuse."""
        return Counter(self._enrolment.run_configs[name] for name in cohort).most_common(1)[0][0]

    def names(self, grid: Grid) -> dict[int, RosterName]:
        """Node id -> roster name of everybody who is connected and has proven a name."""
        first, self._run_id = self._run_id != grid.run.run_id, grid.run.run_id
        if first:
            self._enrolment = Enrolment(self.roster, self.wait, self.keyed)
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
