"""Cells of the masked protocol, without a network: every step, silence and every lie that the attack tests know."""

import time
from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks.faults.cells import HANGS, Cell, HangError, completed, patience
from flower_robust.aggregation import MultiKrum
from flower_robust.errors import ClientFault, RobustError, RoundAborted
from flower_robust.protocol.client import MaskedClient
from flower_robust.protocol.masked_round import MaskedOutcome
from flower_robust.protocol.replies import Echo
from flower_robust.types import Digest
from tests import protocol_liars as liars
from tests.protocol_world import World

N, T = 7, 1
SILENT_COUNTS, LIAR_COUNTS = (1, 2, 3, 5), (1, 2, 3)
"""A majority of liars who tell one lie is beyond every bound, so they stop at three of seven."""
NOISE_STEPS = 0.5 + 8 + 2
"""Largest deviation in fixed-point steps: rounding, one client's noise, float32."""


class Garbage(MaskedClient):
    """Answers with bytes that are no message, from the step `at` on."""

    at = "submission"

    def submit(self, message, update):
        sent = super().submit(message, update)
        return b"\x01garbage" if self.at == "submission" else sent

    def answer_challenge(self, message):
        sent = super().answer_challenge(message)
        return b"" if self.at == "challenge" else sent

    def echo(self, message):
        return b"\xff" * 64 if self.at == "echo" else super().echo(message)

    def unmask(self, message):
        return b"\x00" * 200_000 if self.at == "unmask" else super().unmask(message)


class Flipped(MaskedClient):
    """Flips a bit of what it signed, at the step `at`."""

    at = "submission"

    def _flipped(self, step: str, sent: bytes) -> bytes:
        return sent[:-1] + bytes([sent[-1] ^ 1]) if step == self.at else sent

    def submit(self, message, update):
        return self._flipped("submission", super().submit(message, update))

    def answer_challenge(self, message):
        return self._flipped("challenge", super().answer_challenge(message))

    def echo(self, message):
        return self._flipped("echo", super().echo(message))

    def unmask(self, message):
        return self._flipped("unmask", super().unmask(message))


class OtherEcho(MaskedClient):
    """Signs, rightly, that it will unmask another decision than the server's."""

    def echo(self, message):
        plan, decision = self.state.dealt.plan.digest, Echo.decode(super().echo(message)).decision
        return Echo.sign(self.identity, plan, Digest(decision[::-1])).encode()


def at(kind: type[MaskedClient], step: str) -> type[MaskedClient]:
    """`kind` acting at `step`."""
    return type(kind.__name__, (kind,), {"at": step})


STEPS = ("submission", "challenge", "echo", "unmask")

FAULTS: Mapping[tuple[str, str], type[MaskedClient]] = {
    **{(step, "silent (killed, late)"): liars.silent_from(step) for step in STEPS},
    **{(step, "no message"): at(Garbage, step) for step in STEPS},
    **{(step, "bit flipped"): at(Flipped, step) for step in STEPS},
    ("submission", "update of half of q"): liars.fraction_of_q(2, slice(0, 1500)),
    ("submission", "norm told four times too high"): liars.NormLiar,
    ("submission", "share off the polynomial, one peer"): liars.misdealer(0),
    ("submission", "share off the polynomial, three peers"): liars.misdealer(0, 1, 3),
    ("submission", "sharing of zero that is not zero"): liars.NonZero,
    ("submission", "unreadable envelope"): type("One", (liars.UnreadableTo,), {"to": (0,)}),
    ("challenge", "another norm opened"): liars.ChangedMind,
    ("challenge", "false complaint"): liars.FalseComplainer,
    ("challenge", "wrong test shares"): liars.WrongTests,
    ("challenge", "wrong distance shares"): liars.WrongDistances,
    ("challenge", "wrong pads"): liars.WrongPads,
    ("challenge", "wrong pad keys"): liars.WrongKeys,
    ("echo", "another decision signed"): OtherEcho,
    ("unmask", "wrong shares of the sum"): liars.WrongUnmask,
}


def cells() -> Iterator[Cell]:
    """Every step, kind and count, n = 7, t = 1, MultiKrum(f=1)."""
    for (step, kind), client in FAULTS.items():
        for count in SILENT_COUNTS if issubclass(client, liars.Silent) else LIAR_COUNTS:
            yield cell(step, kind, client, count)


def cell(step: str, kind: str, client: type[MaskedClient], count: int) -> Cell:
    """One round in which the last `count` clients are of this kind."""
    world = World(n=N, t=T, make={N - 1 - k: client for k in range(count)})
    faulty, updates, started = set(world.names[N - count :]), world.updates(), time.perf_counter()
    named: tuple[ClientFault, ...] = ()
    alarms: dict[str, RobustError] = {}
    ended, wrong = HANGS, False
    try:
        with patience():
            outcome = world.run(MultiKrum(f=1), updates, strict=step == "echo")
    except HangError:
        pass
    except RoundAborted as aborted:
        ended, named, alarms = f"aborted: {aborted.reason}", tuple(aborted.faults), dict(aborted.alarms)
    else:
        ended, named, alarms = completed(faulty, outcome.decision.names), outcome.faults, dict(outcome.alarms)
        wrong = not exact(world, outcome, updates)
    framed = {fault.culprit for fault in named} - faulty | {f"server (by {name})" for name in alarms.keys() - faulty}
    blamed = tuple(shown(fault) for fault in {fault.culprit: fault for fault in reversed(named)}.values())
    return Cell("masked", step, kind, count, ended, blamed, tuple(sorted(framed)), wrong, time.perf_counter() - started)


def shown(fault: ClientFault) -> str:
    """The fault's class and how surely it is its culprit's."""
    return f"{fault.kind}, {fault.certainty.value}"


def weights_of(world: World, outcome: MaskedOutcome) -> dict[str, int]:
    """Integer weights by name."""
    return dict(zip(world.names, outcome.opened.decided.weights[0].tolist(), strict=True))


def exact(world: World, outcome: MaskedOutcome, updates: Mapping[str, np.ndarray]) -> bool:
    """Whether the aggregate is the integer weights' mean of the updates, within the noise."""
    weights = weights_of(world, outcome)
    expected = sum(w * updates[name].astype(np.float64) for name, w in weights.items()) / sum(weights.values())
    return bool(np.abs(outcome.aggregate - expected).max() <= NOISE_STEPS * world.norm_bound / 2**22)
