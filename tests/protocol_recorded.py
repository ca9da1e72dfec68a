"""One strict masked round, played honestly, with every message of client 0 and how each is read."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flower_robust.aggregation import Mean
from flower_robust.commitments.keys import KeyAnnouncement
from flower_robust.protocol import client_shares, client_unmask, disputes, recheck
from flower_robust.protocol import server_challenge as challenges
from flower_robust.protocol import server_inspect as inspections
from flower_robust.protocol import server_open as openings
from flower_robust.protocol.announcement import announce, announcement_digest, read_announcement
from flower_robust.protocol.audit import audited_upload
from flower_robust.protocol.client_submit import read_offer, submit
from flower_robust.protocol.server_decide import measure, weigh
from flower_robust.protocol.server_states import Opened, ServerRound
from flower_robust.protocol.shown import Offer
from tests.protocol_world import SERVER, World

Said = dict[str, dict[str, bytes]]
"""By step and by name, what clients sent."""


class Recorded:
    """One strict round with every message that client 0 got and sent, and how each is read.

    `previous`: the round of the same world that this one announces, if any; `reference`: the server's own update.
    """

    def __init__(
        self,
        round: int = 1,
        world: World | None = None,
        previous: Opened | None = None,
        reference: NDArray[np.float32] | None = None,
    ) -> None:
        self.world, self.previous = world or World(n=5, d=100, t=1), previous
        self.reference = reference
        announced = announce(previous) if previous else b""
        self.plan, row = self.world.planned(Mean(), round, previous, reference, strict=True)
        self.round = ServerRound(self.plan, self.world.roster, self.world.keys, SERVER, row)
        self.offer = Offer(self.plan, self.world.keys, announced)
        said = self._submit() | self._answer() | self._open()
        me = self.world.clients["h0"]
        self.sent = {
            "keys": me.announce(),
            **{step: by["h0"] for step, by in said.items()},
            "recheck-reply": me.recheck(self.recheck),
            "disclosure": disputes.answer_dispute(self.answered, self.world.roster, me.identity, self.dispute),
        }
        self.others = {step: by["h1"] for step, by in said.items()}
        self.shown = {
            "offer": self.offer.encode(),
            "challenge": self.challenge,
            "dispute": self.dispute,
            "decision": self.decision,
            "unmask": self.request,
            "recheck": self.recheck,
            "announcement": announced,
            "audited-challenge": self.challenge,
        }

    def _submit(self) -> Said:
        updates, clients, names = self.world.updates(), self.world.clients, self.world.names
        self.update, me = updates["h0"], clients["h0"]
        sent = {name: client.submit(self.offer.encode(), updates[name]) for name, client in clients.items()}
        self.y, self.submitted = me._y, me.state
        verified = {i: challenges.verify_submission(self.round, n, sent[n]) for i, n in enumerate(names)}
        upload = audited_upload(me.state.dealt)
        self.audited = None if upload is None else me._uploads[upload]
        self.challenged = challenges.issue_challenge(self.round, verified, self.previous)
        self.challenge = challenges.challenge_for(self.challenged, 0)
        return {"submission": sent}

    def _answer(self) -> Said:
        clients, names = self.world.clients, self.world.names
        shown = {n: challenges.challenge_for(self.challenged, i) for i, n in enumerate(names)}
        replies = {n: c.answer_challenge(shown[n]) for n, c in clients.items()}
        self.answered = clients["h0"].state
        verified = {i: inspections.verify_sketch_reply(self.challenged, n, replies[n]) for i, n in enumerate(names)}
        self.inspected = inspections.inspect(self.challenged, verified)
        self.dispute = disputes.dispute(self.inspected)
        self.decided, _ = weigh(measure(self.inspected, bytes(32)), Mean(), dict.fromkeys(names, 1.0))
        return {"sketch-reply": replies}

    def _open(self) -> Said:
        clients, names = self.world.clients, self.world.names
        self.decision = openings.unmask_request(self.decided)
        echoes = {n: c.echo(self.decision) for n, c in clients.items()}
        self.echoed = clients["h0"].state
        verified = {i: openings.verify_echo(self.decided, n, echoes[n]) for i, n in enumerate(names)}
        self.request = openings.unmask_request(self.decided, verified)
        unmasked = {n: c.unmask(self.request) for n, c in clients.items()}
        shares = {i: openings.verify_unmask_reply(self.decided, n, unmasked[n]) for i, n in enumerate(names)}
        self.opened = openings.open_sum(self.decided, shares, bytes(32))
        self.unmasked = clients["h0"].state
        self.recheck = recheck.recheck_request(self.decided)
        return {"echo": echoes, "unmask-reply": unmasked}

    def at_server(self, step: str, message: bytes, name: str = "h0") -> object:
        """The server reads a message of `name`."""
        read: dict[str, Callable[[], object]] = {
            "keys": lambda: KeyAnnouncement.decode(message, name).verify(self.world.roster, self.plan.run_id, name),
            "submission": lambda: challenges.verify_submission(self.round, name, message),
            "sketch-reply": lambda: inspections.verify_sketch_reply(self.challenged, name, message),
            "echo": lambda: openings.verify_echo(self.decided, name, message),
            "unmask-reply": lambda: openings.verify_unmask_reply(self.decided, name, message),
            "recheck-reply": lambda: recheck.verify_recheck_reply(self.decided, name, message, self.recheck),
            "disclosure": lambda: disputes.verify_disclosure(self.inspected, name, message, self.dispute),
        }
        return read[step]()

    def at_client(self, step: str, message: bytes) -> object:
        """Client 0 reads a message of the server."""
        me, roster = self.world.clients["h0"], self.world.roster
        read: dict[str, Callable[[], object]] = {
            "offer": lambda: submit(read_offer(message), roster, me.identity, me._run_key, self.update, bytes(32)),
            "challenge": lambda: client_shares.answer_challenge(self.submitted, roster, me.identity, self.y, message),
            "announcement": lambda: self._announced(message),
            "audited-challenge": lambda: client_shares.answer_challenge(
                self.submitted, roster, me.identity, self.y, message, self.audited
            ),
            "dispute": lambda: disputes.answer_dispute(self.answered, roster, me.identity, message),
            "decision": lambda: client_unmask.echo(self.answered, roster, me.identity, message),
            "unmask": lambda: client_unmask.unmask(self.echoed, roster, me.identity, message),
            "recheck": lambda: recheck.answer_recheck(self.unmasked, me.identity, self.y, message),
        }
        return read[step]()

    def _announced(self, message: bytes) -> object:
        """Client 0 reads an announcement that the plan binds, whatever it says."""
        terms = replace(self.plan.masking, previous=announcement_digest(message))
        return read_announcement(replace(self.plan, masking=terms), self.world.roster, message)
