"""A masked round driven by hand, up to the step that a test needs, with a server that may show what it likes."""

from dataclasses import replace

import numpy as np

from flower_robust.aggregation import Mean
from flower_robust.commitments import Identity
from flower_robust.commitments.transcript import sign_shown
from flower_robust.protocol import server_challenge, server_inspect
from flower_robust.protocol.announcement import announce
from flower_robust.protocol.server_decide import measure, weigh
from flower_robust.protocol.server_states import ServerRound
from flower_robust.protocol.shown import Challenge, Offer, Unmask
from flower_robust.protocol.sizes import Sizes
from tests.protocol_world import SERVER, World

N = 7


class Stage:
    """A round driven by hand, up to the step that the test needs."""

    def __init__(
        self, n: int = N, previous=None, world: World | None = None, round: int = 1, reference=None, **terms
    ) -> None:
        self.world = world or World(n=n, t=1)
        plan, row = self.world.planned(Mean(), round, previous, reference, **terms)
        self.plan, self.round = plan, ServerRound(plan, self.world.roster, self.world.keys, SERVER, row)
        self.sizes, self.previous = Sizes.of(self.plan), previous
        self.offer = Offer(self.plan, self.world.keys, announce(previous) if previous else b"")

    def submit(self) -> "Stage":
        updates, offer = self.world.updates(), self.offer.encode()
        sent = {name: client.submit(offer, updates[name]) for name, client in self.world.clients.items()}
        self.submissions = {
            i: server_challenge.verify_submission(self.round, name, sent[name])
            for i, name in enumerate(self.world.names)
        }
        self.challenged = server_challenge.issue_challenge(self.round, self.submissions, self.previous)
        return self

    def answer(self) -> "Stage":
        self.submit()
        self.replies = {}
        for i, name in enumerate(self.world.names):
            reply = self.world.clients[name].answer_challenge(server_challenge.challenge_for(self.challenged, i))
            self.replies[i] = server_inspect.verify_sketch_reply(self.challenged, name, reply)
        self.inspected = server_inspect.inspect(self.challenged, self.replies)
        return self

    def decide(self) -> "Stage":
        self.answer()
        trust = dict.fromkeys(self.world.names, 1.0)
        self.decided, _ = weigh(measure(self.inspected, bytes(32)), Mean(), trust)
        return self

    def shown(self, position: int, **parts) -> bytes:
        """The challenge for one client with parts replaced, signed again."""
        honest = Challenge.decode(server_challenge.challenge_for(self.challenged, position), self.sizes, position)
        changed = replace(honest, **parts)
        return replace(changed, signature=sign_shown(SERVER, "challenge", self.plan.digest, changed.shown)).encode()

    def request(self, weights: np.ndarray, server: Identity = SERVER, attestations=None, echoes=None) -> bytes:
        """An unmask request with these weights, signed."""
        attested = {j: r.attestation for j, r in self.replies.items()} if attestations is None else attestations
        shown = self.challenged.shown
        return Unmask.sign(server, self.plan.digest, shown, weights, attested, echoes or {}).encode()

    def client(self, position: int = 0):
        return self.world.clients[self.world.names[position]]


def weights_of(*row: int) -> np.ndarray:
    return np.array([row], np.uint8)
