"""A whole client: the pure steps, its states and its entropy in one object, for a process that lives through the round.

Each step raises what the step functions raise; a step out of turn is the server's fault.
"""

import os
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from flower_robust.commitments import Identity, Roster
from flower_robust.commitments.keys import RunKey
from flower_robust.errors import FaultyServer
from flower_robust.masking.ring import Residues
from flower_robust.protocol.audit import audited_upload
from flower_robust.protocol.client_shares import answer_challenge
from flower_robust.protocol.client_states import AwaitingChallenge, AwaitingRecheck, AwaitingUnmask, State, finish
from flower_robust.protocol.client_submit import read_offer, submit
from flower_robust.protocol.client_unmask import echo, unmask
from flower_robust.protocol.codec import Field
from flower_robust.protocol.demands import ANYTHING, Demands
from flower_robust.protocol.disputes import answer_dispute
from flower_robust.protocol.recheck import answer_recheck
from flower_robust.types import Digest

Phase = TypeVar("Phase")


class MaskedClient:
    """One client over the rounds of one run. `entropy` gives 32 fresh bytes; tests replace it to be deterministic."""

    def __init__(
        self,
        identity: Identity,
        roster: Roster,
        run_id: int,
        entropy: Callable[[], bytes] = lambda: os.urandom(32),
        demands: Demands = ANYTHING,
    ) -> None:
        self.identity, self.roster, self._entropy, self.demands = identity, roster, entropy, demands
        self._run_key = RunKey.create(identity, run_id, roster.digest, entropy())
        self.state: State | None = None
        self._y: Residues | None = None
        self._uploads: dict[Digest, Residues] = {}

    def announce(self) -> bytes:
        """Key set-up, once per run: the signed run key."""
        return self._run_key.announcement.encode()

    def submit(self, message: Field, update: npt.NDArray[np.float32]) -> bytes:
        """Step 1."""
        before = None if self.state is None else finish(self.state)
        self.state, reply, self._y = submit(
            read_offer(message),
            self.roster,
            self.identity,
            self._run_key,
            update,
            self._entropy(),
            before,
            self.demands,
        )
        past = {ended.upload for ended in self.state.dealt.past}
        self._uploads = {upload: y for upload, y in self._uploads.items() if upload in past}
        self._uploads[self.state.dealt.upload] = self._y
        return reply

    def answer_challenge(self, message: Field) -> bytes:
        """Step 3."""
        state = self._expect(AwaitingChallenge, "challenge")
        assert self._y is not None
        own = audited_upload(state.dealt)
        row = None if own is None else self._uploads.get(own)
        self.state, reply = answer_challenge(state, self.roster, self.identity, self._y, message, row)
        return reply

    def echo(self, message: Field) -> bytes:
        """Step 5 of a strict round, first half."""
        self.state, reply = echo(self._expect(AwaitingUnmask, "echo"), self.roster, self.identity, message)
        return reply

    def unmask(self, message: Field) -> bytes:
        """Step 5."""
        self.state, reply = unmask(self._expect(AwaitingUnmask, "unmask"), self.roster, self.identity, message)
        return reply

    def recheck(self, message: Field) -> bytes:
        """After a void sum."""
        state = self._expect(AwaitingRecheck, "recheck")
        assert self._y is not None
        self.state, reply = answer_recheck(state, self.identity, self._y, message)
        return reply

    def answer_dispute(self, message: Field) -> bytes:
        """After step 3, if somebody contradicts this client's shares."""
        if not isinstance(self.state, AwaitingUnmask | AwaitingRecheck):
            raise FaultyServer("dispute", "a request out of turn", f"one that fits {self.state!r}")
        return answer_dispute(self.state, self.roster, self.identity, message)

    def _expect(self, phase: type[Phase], step: str) -> Phase:
        if not isinstance(self.state, phase):
            raise FaultyServer(step, "a request out of turn", f"one that fits {self.state!r}")
        return self.state
