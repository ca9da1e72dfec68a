"""How many words and bytes each part of a masked round has, from its plan alone."""

from dataclasses import dataclass
from typing import Self

from flower_robust.commitments.envelope import OVERHEAD
from flower_robust.errors import ConfigurationError
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.terms import MaskingTerms

REPETITIONS = 2
"""Independent random combinations of the degree test and of the zero test.

Each misses a bad dealing with probability 2^-31 per prime, so a dealer that errs in one prime and searches for a lucky
commitment tries 2^62 of them.
"""

PAD_KEY_BYTES = 32


def terms_of(plan: RoundPlan) -> MaskingTerms:
    """The masking terms of a masked plan; ConfigurationError on an unmasked one."""
    if plan.masking is None:
        raise ConfigurationError("plan", "no masking terms", "a plan of a masked round")
    return plan.masking


@dataclass(frozen=True, slots=True)
class Sizes:
    """n clients, threshold t, B blocks of N coefficients, g groups, whether there is a reference; words are counted per
    prime."""

    n: int
    t: int
    B: int
    groups: int
    reference: bool = False

    @classmethod
    def of(cls, plan: RoundPlan) -> Self:
        """The sizes that this plan fixes."""
        terms = terms_of(plan)
        return cls(len(plan.cohort), terms.threshold, PARAMETERS.blocks(terms.d), terms.groups, terms.has_reference)

    @property
    def secret_words(self) -> int:
        """Dealt with degree t: s and the blinds of the degree test."""
        return PARAMETERS.N + REPETITIONS

    @property
    def zero_words(self) -> int:
        """Dealt with degree 2t: zeros for the m own norms, one per peer, the m norms of a recheck; zero-test blinds."""
        return 2 * PARAMETERS.m + self.n + REPETITIONS

    @property
    def geometry_words(self) -> int:
        """Of one dealer: m for its norms, one per member of the cohort for its distances; its own: to the reference."""
        return PARAMETERS.m + self.n

    @property
    def pad_words(self) -> int:
        """What hides one responder's values about one dealer: its geometry and the values of both tests."""
        return self.geometry_words + 2 * REPETITIONS

    def opened_words(self, accepted: int) -> int:
        """What a sketch reply holds of so many dealers: their distances, norms, and distances to the reference."""
        return accepted * (accepted - 1) // 2 + accepted * (PARAMETERS.m + self.reference)

    @property
    def share_bytes(self) -> int:
        """One receiver's part of a dealing: about 33 kB."""
        return 8 * (self.secret_words + self.zero_words) + PAD_KEY_BYTES

    @property
    def envelope_bytes(self) -> int:
        """A sealed share."""
        return OVERHEAD + self.share_bytes

    @property
    def upload_bytes(self) -> int:
        """y: 8 bytes per parameter, in whole blocks."""
        return 8 * self.B * PARAMETERS.N

    @property
    def submission_bytes(self) -> int:
        """The longest submission there is."""
        return self.upload_bytes + self.n * (self.envelope_bytes + 64) + 2048

    @property
    def reply_bytes(self) -> int:
        """The longest later reply there is."""
        geometry = 8 * (self.n * self.n + self.n * PARAMETERS.m)
        return 4096 + geometry + self.n * 128 + 8 * PARAMETERS.N * self.groups
