"""One masked round in one process, timed and weighed per party; what `bench masking` and the growth table measure.

Every client takes part in full: key set-up is left out (once per run), the audit of the round before as well.
"""

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from flower_robust.aggregation import MultiKrum
from flower_robust.commitments import Identity, Roster, RosterEntry
from flower_robust.commitments.transcript import digest, keys_digest
from flower_robust.masking.sketch import public_sums_at
from flower_robust.protocol import server_challenge, server_inspect, server_open
from flower_robust.protocol.client import MaskedClient
from flower_robust.protocol.masked_round import exchange_keys
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.server_decide import measure, weigh
from flower_robust.protocol.server_states import Challenged, Decided, ServerRound
from flower_robust.protocol.shown import Offer
from flower_robust.protocol.terms import MaskingTerms

RUN_ID = 1


@dataclass
class Party:
    """Seconds of all clients together or of the server, and the largest peak of memory of one step above its start."""

    weigh: bool
    seconds: float = 0.0
    peak: int = 0
    steps: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def at(self, step: str) -> Iterator[None]:
        """Count what happens inside."""
        before = self._weighed()
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
        self.seconds += seconds
        self.steps[step] = self.steps.get(step, 0.0) + seconds
        if self.weigh:
            self.peak = max(self.peak, tracemalloc.get_traced_memory()[1] - before)

    def _weighed(self) -> int:
        if not self.weigh:
            return 0
        tracemalloc.reset_peak()
        return tracemalloc.get_traced_memory()[0]


@dataclass
class Wire:
    """Bytes of all clients together."""

    received: int = 0
    sent: int = 0

    def count(self, question: bytes, answer: bytes) -> None:
        """One exchange with one client."""
        self.received, self.sent = self.received + len(question), self.sent + len(answer)


@dataclass(frozen=True)
class Costs:
    """Of one round: seconds per client and of the server, bytes per client, peaks of one client and of the server.

    Peaks (bytes) are 0 unless weighed; the server's is what it allocates beyond the messages it holds, `held` those.
    """

    n: int
    d: int
    client_seconds: float
    server_seconds: float
    sent: int
    received: int
    client_peak: int
    server_peak: int
    held: int
    client_steps: dict[str, float]
    server_steps: dict[str, float]


class Federation:
    """n clients with random updates of d parameters, their keys exchanged."""

    def __init__(self, n: int, d: int) -> None:
        identities = [Identity.generate(f"hospital-{i}") for i in range(n)]
        self.n, self.d, self.server = n, d, Identity.generate("server")
        self.roster = Roster([RosterEntry.of(identity) for identity in identities])
        self.clients: dict[str, MaskedClient] = {i.name: MaskedClient(i, self.roster, RUN_ID) for i in identities}
        self.keys = tuple(exchange_keys(self.clients, RUN_ID, self.roster).values())
        self.rule = MultiKrum(f=max(1, (n - 3) // 4))

    def plan(self, number: int) -> RoundPlan:
        """The plan of one round."""
        terms = MaskingTerms.create(
            n=self.n,
            d=self.d,
            norm_bound=1.0,
            server_key=self.server.public_key,
            keys_digest=keys_digest(self.keys),
        )
        return RoundPlan.create(
            run_id=RUN_ID,
            round=number,
            roster=self.roster,
            cohort=self.roster.names,
            rule=self.rule,
            norm_bound=1.0,
            model_digest=digest("benchmark-model"),
            masking=terms,
        )

    def update(self, seed: int) -> np.ndarray:
        """A random update of norm about one half of the bound."""
        drawn = np.random.default_rng(seed).standard_normal(self.d, dtype=np.float32)
        return drawn * np.float32(0.5 / np.sqrt(self.d))


def masked_round(federation: Federation, number: int, *, weigh_memory: bool = False) -> Costs:
    """Submit, challenge, sketch shares, decide, unmask, open; each party's share of it."""
    if weigh_memory:
        tracemalloc.start()
    try:
        return _round(federation, number, Party(weigh_memory), Party(weigh_memory))
    finally:
        tracemalloc.stop()


def _round(federation: Federation, number: int, client: Party, server: Party) -> Costs:
    plan, n = federation.plan(number), federation.n
    round = ServerRound(plan, federation.roster, federation.keys, federation.server)
    wire = Wire()
    challenged = _submitted(federation, round, client, server, wire)
    held = wire.sent
    decided = _decided(federation, challenged, client, server, wire)
    _unmasked(federation, decided, client, server, wire)
    return Costs(
        n,
        federation.d,
        client.seconds / n,
        server.seconds,
        wire.sent // n,
        wire.received // n,
        client.peak,
        server.peak,
        held,
        {step: seconds / n for step, seconds in client.steps.items()},
        server.steps,
    )


def _submitted(federation: Federation, round: ServerRound, client: Party, server: Party, wire: Wire) -> Challenged:
    """Steps 1 and 2."""
    offer = Offer(round.plan, federation.keys).encode()
    submissions = {}
    for i, (name, member) in enumerate(federation.clients.items()):
        update = federation.update(i)
        with client.at("submit"):
            message = member.submit(offer, update)
        wire.count(offer, message)
        with server.at("verify submissions"):
            submissions[i] = server_challenge.verify_submission(round, name, message)
        member._y = submissions[i].upload  # one machine stands for all: the server's copy serves the client as well
        member._uploads.clear()
    with server.at("challenge"):
        return server_challenge.issue_challenge(round, submissions)


def _decided(federation: Federation, challenged: Challenged, client: Party, server: Party, wire: Wire) -> Decided:
    """Steps 3 and 4."""
    replies = {}
    for i, (name, member) in enumerate(federation.clients.items()):
        with server.at("show challenge"):
            question = server_challenge.challenge_for(challenged, i)
        public_sums_at.cache_clear()  # what clients of one machine share, each of a federation computes
        with client.at("sketch shares"):
            answer = member.answer_challenge(question)
        wire.count(question, answer)
        with server.at("verify sketch shares"):
            replies[i] = server_inspect.verify_sketch_reply(challenged, name, answer)
    with server.at("decode and decide"):
        measured = measure(server_inspect.inspect(challenged, replies), bytes(32))
        decided, _ = weigh(measured, federation.rule, dict.fromkeys(federation.roster.names, 1.0))
    assert isinstance(decided, Decided), "no reference"
    return decided


def _unmasked(federation: Federation, decided: Decided, client: Party, server: Party, wire: Wire) -> None:
    """Steps 5 and 6."""
    shares = {}
    with server.at("ask"):
        request = server_open.unmask_request(decided)
    for i, (name, member) in enumerate(federation.clients.items()):
        with client.at("unmask"):
            answer = member.unmask(request)
        wire.count(request, answer)
        with server.at("verify shares"):
            shares[i] = server_open.verify_unmask_reply(decided, name, answer)
    with server.at("open"):
        server_open.open_sum(decided, shares, bytes(32))
