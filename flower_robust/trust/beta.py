"""Beta reputation with forgetting: evidence in, reputations out, weights for the next sum.

Jøsang and Ismail, "The Beta Reputation System" (Bled 2002), the feedback forms with forgetting; here losses count more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from flower_robust.errors import Certainty, ConfigurationError
from flower_robust.trust.evidence import Evidence
from flower_robust.trust.signals import Signal, ramp, signals
from flower_robust.trust.state import Reputation, TrustState

PERSISTENCE = 0.9
"""Memory of the cosine signal: about ten rounds, over which the noise of single rounds averages out."""

FAR_SHARE = 0.25
"""Suspicion of who is only far away: an honest hospital with rare patients looks like that in every round."""

SILENCE = 0.1
"""What a missed round adds to beta: silence cuts least."""


@dataclass(frozen=True)
class BetaTrust:
    """How evidence becomes reputation.

        s      = max(company, FAR_SHARE * far + (1 - FAR_SHARE) * ramp(lean, 0.4, 1))     this round's suspicion, 0..1
        alpha' = memory^v * alpha + v * (1 - s)                  v: the round's strength, and at least company / 2
        beta'  = memory^v * beta  + v * s * severity

    Trust is lost faster than it is gained (severity > 1): who attacks every other round loses. Quarantine starts below
    `quarantine` and ends at `readmit`. Distance alone costs at most FAR_SHARE, so the mean of an honest outlier stays
    above (1 - FAR_SHARE) / (1 - FAR_SHARE + severity * FAR_SHARE) = 0.6. A proven lie quarantines at once and for
    good. An accusation by peers adds `accusation` to beta; silence pulls towards ignorance (mean 1/2), never below.
    """

    memory: float = 0.95
    severity: float = 2.0
    quarantine: float = 0.3
    readmit: float = 0.5
    accusation: float = 0.3
    prior: tuple[float, float] = (3.0, 1.0)

    def __post_init__(self) -> None:
        _require("memory", self.memory, 0 < self.memory < 1, "0 < memory < 1")
        _require("severity", self.severity, 1 <= self.severity < 100, "1 <= severity < 100")
        _require("quarantine", self.quarantine, 0 <= self.quarantine < 0.5, "0 <= quarantine < 0.5")
        _require("readmit", self.readmit, 0.5 <= self.readmit < 1, "0.5 <= readmit < 1")
        _require("accusation", self.accusation, 0 <= self.accusation < 1, "0 <= accusation < 1")
        _require("prior", self.prior, min(self.prior) > 0, "two positive numbers")

    def init(self, names: Iterable[str]) -> TrustState:
        """Everybody at the prior."""
        return self.join(TrustState(), names)

    def join(self, state: TrustState, names: Iterable[str]) -> TrustState:
        """`state` with the names it does not know yet at the prior; nobody else changes."""
        new = {name: Reputation(*self.prior) for name in names if name not in state}
        return TrustState({**state.reputations, **new})

    def update(self, state: TrustState, evidences: Sequence[Evidence]) -> TrustState:
        """`state` after one round: names without evidence keep their reputation.

        Raises ConfigurationError on evidence about a name that never joined, or two evidences about one name.
        """
        names = [evidence.name for evidence in evidences]
        if unknown := [name for name in names if name not in state]:
            raise ConfigurationError("evidence", unknown[0], "a name with a reputation (init or join)")
        if len(set(names)) != len(names):
            raise ConfigurationError("evidence", names, "every name at most once")
        v, seen = signals(evidences)
        changed = {e.name: self._after(state[e.name], e.certainty, seen.get(e.name), v) for e in evidences}
        return TrustState({**state.reputations, **changed})

    def weights(self, state: TrustState, names: Iterable[str]) -> list[float]:
        """The factor of each name's rule weight: its mean, or 0 in quarantine."""
        return [0.0 if state[name].quarantined else state[name].mean for name in names]

    def quarantined(self, state: TrustState) -> tuple[str, ...]:
        """Names whose weight is zero."""
        return tuple(name for name in state.names if state[name].quarantined)

    def excluded(self, state: TrustState) -> tuple[str, ...]:
        """Names with a proven lie: they need not be asked at all."""
        return tuple(name for name in state.names if state[name].lied)

    def pardon(self, state: TrustState, name: str) -> TrustState:
        """A person's decision: `name` starts again at the prior."""
        return TrustState({**state.reputations, name: Reputation(*self.prior, rounds=state[name].rounds)})

    def _after(self, old: Reputation, certainty: Certainty | None, signal: Signal | None, v: float) -> Reputation:
        new = replace(old, rounds=old.rounds + 1)
        if signal is not None:
            new = self._observed(new, signal, v)
        if certainty is Certainty.ACCUSED:
            new = replace(new, beta=new.beta + self.accusation)
        if certainty is Certainty.SILENT:
            new = replace(new, beta=max(new.beta, min(new.alpha, new.beta + SILENCE)))
        if certainty is Certainty.PROVEN:
            new = replace(new, beta=new.beta + self.severity, lied=True)
        return self._judged(new)

    def _observed(self, old: Reputation, signal: Signal, v: float) -> Reputation:
        against = PERSISTENCE * old.against + v * signal.against
        new = replace(old, against=against, heard=PERSISTENCE * old.heard + v)
        s = max(signal.company, FAR_SHARE * signal.far + (1 - FAR_SHARE) * ramp(new.lean, 0.4, 1.0))
        v = max(v, signal.company / 2)
        kept = self.memory**v
        return replace(new, alpha=kept * old.alpha + v * (1 - s), beta=kept * old.beta + v * s * self.severity)

    def _judged(self, reputation: Reputation) -> Reputation:
        bar = self.readmit if reputation.quarantined else self.quarantine
        return replace(reputation, quarantined=reputation.lied or reputation.mean < bar)


def _require(option: str, given: object, holds: bool, required: str) -> None:
    if not holds:
        raise ConfigurationError(f"BetaTrust({option})", given, required)
