"""What a round showed about one participant: all that trust ever sees."""

from dataclasses import dataclass

from flower_robust.errors import Certainty


@dataclass(frozen=True, slots=True)
class Evidence:
    """One participant's part in one round.

    `certainty` is None where nobody was blamed. `weight` (the rule's, before trust, 0..1; None for coordinate-wise
    rules), `distance` (to the aggregate, in the update's unit), `cosine` (to the others' robust centre, -1..1; where
    the server has an update of its own, the mean of that and of the cosine to it) and `company` (how surely it belongs
    to a minority that acts together, 0..1) are None where the update was not accepted.
    """

    name: str
    certainty: Certainty | None = None
    weight: float | None = None
    distance: float | None = None
    cosine: float | None = None
    company: float | None = None

    @property
    def participated(self) -> bool:
        """Whether its update entered the round's geometry."""
        return self.distance is not None
