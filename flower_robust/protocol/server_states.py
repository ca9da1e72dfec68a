"""Where the server stands in a masked round: frozen, one type per phase. It holds the y's and short things only.

ServerRound ── issue_challenge ──> Challenged ── inspect ──> Inspected ── weigh ──> Decided ── open_sum ──> Opened
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flower_robust.commitments import Identity, Roster
from flower_robust.commitments.keys import KeyAnnouncement
from flower_robust.errors import ClientFault
from flower_robust.masking.ring import Residues
from flower_robust.protocol.pads import Values
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.reference import PublicRow
from flower_robust.protocol.replies import SketchReply, Submission
from flower_robust.protocol.shown import Challenge, Weights
from flower_robust.types import Digest, RosterName


@dataclass(frozen=True, slots=True, eq=False)
class ServerRound:
    """One masked round at the server. `server` signs what is shown; its public key is in the plan's terms; `reference`:
    the server's own row, whose digest is."""

    plan: RoundPlan
    roster: Roster
    keys: tuple[KeyAnnouncement, ...]
    server: Identity
    reference: PublicRow | None = None

    def name(self, position: int) -> RosterName:
        """The cohort member at this position."""
        return self.plan.cohort[position]

    def position(self, name: str) -> int:
        """The position of this cohort member."""
        return self.plan.cohort.index(RosterName(name))


@dataclass(frozen=True, slots=True, eq=False)
class Challenged:
    """After step 2: the accepted submissions by position, the challenge (32 bytes) what all clients see alike
    with its digest, and the round that is audited."""

    round: ServerRound
    submissions: Mapping[int, Submission]
    challenge: bytes
    common: Challenge
    shown: Digest
    previous: "Opened | None" = None

    @property
    def accepted(self) -> tuple[int, ...]:
        """Positions of the accepted dealers, increasing."""
        return self.common.accepted


@dataclass(frozen=True, slots=True, eq=False)
class Inspected:
    """After step 3, before anything is opened: `members` (positions) are still in, as dealers and as responders.

    `replies`: of everybody who attested the challenge, as they were signed; `values`: their tests and geometry without
    the pads of the dealers that replied, which are the only ones that can stay in. `suspects`: for each dealer whose
    shares somebody contradicts, the receivers that do (empty where no polynomial fits at all); nobody is blamed before
    `disputes.settle`.
    """

    challenged: Challenged
    replies: Mapping[int, SketchReply]
    values: Mapping[int, Values]
    members: tuple[int, ...]
    suspects: Mapping[int, tuple[int, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """After step 4: integer weights [g, n] and the responders still trusted."""

    inspected: Inspected
    responders: tuple[int, ...]
    weights: Weights

    @property
    def challenged(self) -> Challenged:
        """The challenge that was decided on."""
        return self.inspected.challenged


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """After step 6. `means` Float32[g, d]: the weighted mean of each group, D and scale undone; `sums` int64[g, B·N]:
    what is announced; `secrets` [2, g, N]: Σ w_i·s_i of each group; `decision`: the digest that was unmasked;
    `faults`: who sent a wrong share of the sum.
    """

    decided: Decided
    means: npt.NDArray[np.float32]
    sums: npt.NDArray[np.int64]
    secrets: Residues
    decision: Digest
    decision_signature: bytes
    faults: tuple[ClientFault, ...]
