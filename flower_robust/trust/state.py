"""Reputation per roster name: visible, frozen state."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reputation:
    """What the rounds so far say about one participant.

        mean = alpha / (alpha + beta)          lean = against / heard

    `quarantined`: its weight is zero; it is still asked, and can earn its way back unless it also `lied`, which is
    proven and stays until a person calls `BetaTrust.pardon`. `against` and `heard` are the running sums behind `lean`:
    how far its updates persistently point away from the others'. `rounds` counts the rounds that brought evidence.
    """

    alpha: float
    beta: float
    against: float = 0.0
    heard: float = 0.0
    quarantined: bool = False
    lied: bool = False
    rounds: int = 0

    @property
    def mean(self) -> float:
        """Expected share of its rounds in which it did well, 0..1."""
        return self.alpha / (self.alpha + self.beta)

    @property
    def lean(self) -> float:
        """Mean of `Signal.against` over the recent rounds, strong rounds first; 0 before the first."""
        return self.against / self.heard if self.heard > 0 else 0.0


@dataclass(frozen=True, slots=True)
class TrustState:
    """One reputation per roster name, in the order in which they joined."""

    reputations: Mapping[str, Reputation] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Reputation:
        return self.reputations[name]

    def __contains__(self, name: object) -> bool:
        return name in self.reputations

    @property
    def names(self) -> tuple[str, ...]:
        """Everybody with a reputation."""
        return tuple(self.reputations)
