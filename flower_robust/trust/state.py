"""Reputation per roster name: visible, frozen state."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reputation:
    """What the rounds so far say about one participant.

        mean = alpha / (alpha + beta)

    `quarantined`: its weight is zero; it is still asked, and can earn its way back unless it also `lied`, which is
    proven and stays until a person calls `BetaTrust.pardon`. `rounds` counts the rounds that brought evidence.
    """

    alpha: float
    beta: float
    quarantined: bool = False
    lied: bool = False
    rounds: int = 0

    @property
    def mean(self) -> float:
        """Expected share of its rounds in which it did well, 0..1."""
        return self.alpha / (self.alpha + self.beta)


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
