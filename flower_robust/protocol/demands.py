"""What one client insists on, beyond what makes a plan safe for everybody: checked before it trains and submits."""

from dataclasses import dataclass

from flower_robust.errors import ConfigurationError, FaultyServer
from flower_robust.protocol.terms import MaskingTerms


@dataclass(frozen=True, slots=True)
class Demands:
    """The least that a client accepts of a server's plan; by default anything that `MaskingTerms.check` allows.

    `threshold` t: the smallest privacy threshold; `min_accepted`: the fewest clients in a sum that is opened; `strict`:
    only rounds in which two sums cannot be opened; `server_key`: the Ed25519 public key, 32 bytes, that must sign what
    is shown; `no_reference`: only rounds that measure nobody against a row of the server's. Whoever demands anything
    takes part in no unmasked round. Raises ConfigurationError on what cannot be.
    """

    threshold: int = 0
    min_accepted: int = 0
    strict: bool = False
    server_key: bytes | None = None
    no_reference: bool = False

    def __post_init__(self) -> None:
        for option, number in (("threshold", self.threshold), ("min-accepted", self.min_accepted)):
            if type(number) is not int or number < 0:
                raise ConfigurationError(option, number, "a whole number of at least 0")
        for option, flag in (("strict", self.strict), ("no-reference", self.no_reference)):
            if type(flag) is not bool:
                raise ConfigurationError(option, flag, "true or false")
        if self.server_key is not None and len(self.server_key) != 32:
            raise ConfigurationError("server-key", f"{len(self.server_key)} bytes", "32 bytes")

    @property
    def masked(self) -> bool:
        """Whether anything is demanded, which only a masked round can give."""
        return self != ANYTHING

    def check(self, terms: MaskingTerms) -> None:
        """FaultyServer if the plan's terms are less than this client insists on."""
        _least("threshold", terms.threshold, self.threshold)
        _least("min_accepted", terms.min_accepted, self.min_accepted)
        if self.strict and not terms.strict:
            raise FaultyServer("offer", "a round that is not strict", "a strict one, as this site insists")
        if self.no_reference and terms.has_reference:
            raise FaultyServer("offer", "a round with a reference", "one without, as this site insists")
        if self.server_key not in (None, terms.server_key):
            assert self.server_key is not None
            required = f"{self.server_key.hex()}, as this site insists"
            raise FaultyServer("offer", f"the server key {terms.server_key.hex()}", required)


ANYTHING = Demands()
"""Accepts every plan that is safe, and unmasked rounds."""


def _least(option: str, found: int, required: int) -> None:
    if found < required:
        raise FaultyServer("offer", f"{option} {found}", f"at least {required}, as this site insists")
