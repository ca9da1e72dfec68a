"""What the server says of the last round it opened, and what a client holds against it before it submits again.

A client remembers every round that it submitted to: the announced one, those after it, and what it unmasked before
anything else. So no aborted round in between makes it forget its own row or the server's signatures, and an announced
sum with its name in it that it does not remember is the server's invention.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from flower_robust.commitments import Roster
from flower_robust.commitments.transcript import digest, verify_shown
from flower_robust.errors import ConfigurationError, EquivocatingServer, FaultyServer
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.ring import Residues
from flower_robust.protocol.client_states import Ended, Finished
from flower_robust.protocol.client_unmask import check_weights
from flower_robust.protocol.codec import Field, decode, encode, exact, fixed, from_server, octets, residues
from flower_robust.protocol.evidence import CHALLENGE, DECISION, Evidence, Signed
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.server_states import Opened
from flower_robust.protocol.shown import Weights, decision_digest
from flower_robust.protocol.sizes import Sizes, terms_of
from flower_robust.protocol.terms import NO_DIGEST
from flower_robust.types import Digest

STEP = "offer"
REMEMBERED = 4
"""Rounds that a client remembers at most: what it never unmasked goes first."""


@dataclass(frozen=True, slots=True, eq=False)
class Announcement:
    """What the server says of the round before: its plan, the decision that was unmasked, Σ w_i·s_i and H(sums)."""

    plan: RoundPlan
    shown: Digest
    weights: Weights
    signature: bytes
    secrets: Residues
    sums_digest: Digest

    @property
    def decision(self) -> Digest:
        """The digest of the announced decision."""
        return decision_digest(self.shown, self.weights)

    @property
    def weighted(self) -> list[int]:
        """Positions, in the announced cohort, of the clients in any sum."""
        return [int(i) for i in np.flatnonzero(self.weights.any(axis=0))]

    @property
    def named(self) -> list[str]:
        """The names of the clients in any sum."""
        return [self.plan.cohort[position] for position in self.weighted]

    def encode(self) -> bytes:
        """About 1 kB + 33 kB per sum."""
        fields = (self.shown, self.weights.tobytes(), self.signature, octets(self.secrets), self.sums_digest)
        return encode("announcement", self.plan.encode(), *fields)

    @classmethod
    def decode(cls, message: Field) -> Self:
        """Inverse of `encode`; ValueError or FaultyServer on anything else."""
        plan, shown, weights, signature, secrets, sums = decode("announcement", message, 6)
        found = RoundPlan.decode(bytes(plan))
        sizes = Sizes.of(found)
        exact(weights, sizes.groups * sizes.n)
        grid = np.frombuffer(weights, np.uint8).reshape(sizes.groups, sizes.n)
        opened = residues(secrets, sizes.groups, PARAMETERS.N)
        return cls(found, Digest(fixed(shown, 32)), grid, fixed(signature, 64), opened, Digest(fixed(sums, 32)))


def announce(opened: Opened) -> bytes:
    """The announcement of an opened round, for the next offer; its digest goes into the next plan's terms."""
    challenged = opened.decided.challenged
    return Announcement(
        challenged.round.plan,
        challenged.shown,
        opened.decided.weights,
        opened.decision_signature,
        opened.secrets,
        sums_digest(opened.sums),
    ).encode()


def announcement_digest(announcement: bytes) -> Digest:
    """What the next plan binds; zeros where nothing is announced."""
    return digest("announcement", announcement) if announcement else NO_DIGEST


def sums_digest(sums: npt.NDArray[np.int64]) -> Digest:
    """Digest of the announced integer sums [g, B·N], 8 bytes per coordinate, little endian."""
    return digest("sums", sum_octets(sums))


def sum_octets(sums: npt.NDArray[np.int64]) -> memoryview:
    """The sums as the auditor gets them."""
    return np.ascontiguousarray(sums, "<i8").reshape(-1).view(np.uint8).data


def read_announcement(plan: RoundPlan, roster: Roster, encoded: bytes) -> Announcement | None:
    """The announcement that the plan binds, of a round that this client could have been in; None if it is empty.

    Raises FaultyServer, before anything is computed from it, unless the announced plan has this run, roster, server
    key and d, terms that are safe for its cohort, and weights that honest clients open; and unless the server signed
    its decision.
    """
    if announcement_digest(encoded) != terms_of(plan).previous:
        raise FaultyServer(STEP, "another announcement", "the one that the plan binds")
    if not encoded:
        return None
    found = from_server(lambda: Announcement.decode(encoded), STEP)
    _check_plan(found.plan, plan, roster)
    check_weights(terms_of(found.plan), range(len(found.plan.cohort)), found.weights, STEP)
    verify_shown(terms_of(plan).server_key, "decision", found.plan.digest, found.decision, found.signature)
    return found


def _check_plan(announced: RoundPlan, plan: RoundPlan, roster: Roster) -> None:
    same = [
        ("run", announced.run_id, plan.run_id),
        ("roster", announced.roster_digest, plan.roster_digest),
        ("server key", terms_of(announced).server_key, terms_of(plan).server_key),
        ("number of parameters", terms_of(announced).d, terms_of(plan).d),
    ]
    for what, found, required in same:
        if found != required:
            raise FaultyServer(STEP, f"an announced round with another {what}", f"the {what} of this one")
    if strangers := [name for name in announced.cohort if name not in roster]:
        raise FaultyServer(STEP, f"an announced round with {strangers[0]!r}", "members of the roster")
    try:
        terms_of(announced).check(len(announced.cohort), announced.norm_bound)
    except ConfigurationError as unsafe:
        raise FaultyServer(STEP, f"an announced round with {unsafe}", "terms that are safe for every client") from None


def look_back(found: Announcement | None, name: str, before: Finished | None) -> tuple[Ended, ...]:
    """The rounds that a client goes on remembering, once the announcement fits what it remembers of them.

    `before`: what is left of the rounds before, None for a client without memory of this run: it then notes the
    announced round as one without an own row. Raises FaultyServer if the announced sum has this client in it, which
    does not remember that round; and EquivocatingServer with both signed statements if the server announces
    another decision than it asked this client to unmask (then it may have opened two sums and can subtract them), or a
    decision on another challenge than it showed (then it showed the others another sketch of this client's y).
    """
    past = () if before is None else before.past
    if found is None:
        return _latest(past, None)
    known = next((k for k, ended in enumerate(past) if ended.plan.digest == found.plan.digest), None)
    if known is not None:
        _check_statement(found, past[known])
        return _latest(past[known:], found.plan.digest)
    if name in found.named:
        if before is not None:
            what = f"a sum of round {found.plan.round} with {name} in it"
            raise FaultyServer(STEP, what, f"a round that {name} remembers")
        return (Ended(found.plan, found.plan.cohort.index(name)),)
    return _latest(past, None)


def _latest(past: Sequence[Ended], announced: Digest | None) -> tuple[Ended, ...]:
    """At most REMEMBERED rounds: not the announced one goes, and of others the oldest that was never unmasked."""
    left = list(past)
    while len(left) > REMEMBERED:
        rest = [ended for ended in left if ended.plan.digest != announced]
        left.remove(next((ended for ended in rest if ended.decision is None), rest[0]))
    return tuple(left)


def _check_statement(found: Announcement, ended: Ended) -> None:
    announced = Signed(DECISION, found.decision, found.signature, found.shown + found.weights.tobytes())
    if ended.decision is not None and ended.decision != found.decision:
        evidence = Evidence(found.plan, Signed(DECISION, ended.decision, ended.decision_signature), announced).encode()
        raise EquivocatingServer(STEP, "another decision than it asked to unmask", "one decision", evidence)
    if ended.shown is not None and ended.shown != found.shown:
        evidence = Evidence(found.plan, Signed(CHALLENGE, ended.shown, ended.shown_signature), announced).encode()
        raise EquivocatingServer(STEP, "a decision on another challenge than it showed", "one challenge", evidence)
