"""How suspicious each accepted update looks beside the others of its round."""

from collections.abc import Sequence
from statistics import median

from flower_robust.trust.evidence import Evidence

FAR_SHARE = 0.25
"""Suspicion of an update that is only far away: an honest hospital with rare patients looks like that every round."""


def suspicion(evidences: Sequence[Evidence]) -> dict[str, float]:
    """Suspicion in [0, 1] by name, for every update that was accepted.

        s = FAR_SHARE * far + (1 - FAR_SHARE) * opposed

    Two signals, because each is blind to what the other sees: distance misses a quiet inner-product attack
    (epsilon 0.5), the cosine misses a scaled update. Distance alone never costs more than FAR_SHARE.
    """
    accepted = [evidence for evidence in evidences if evidence.participated]
    far, opposed = _far(accepted), _opposed(accepted)
    return {e.name: FAR_SHARE * f + (1 - FAR_SHARE) * o for e, f, o in zip(accepted, far, opposed, strict=True)}


def _far(accepted: Sequence[Evidence]) -> list[float]:
    distances = [evidence.distance or 0.0 for evidence in accepted]
    usual = median(distances) if distances else 0.0
    return [_ramp(distance, 1.5 * usual, 3 * usual) for distance in distances]


def _opposed(accepted: Sequence[Evidence]) -> list[float]:
    cosines = [evidence.cosine or 0.0 for evidence in accepted]
    usual = median(cosines) if cosines else 0.0
    return [_ramp(usual - cosine, 0.4, 1.0) for cosine in cosines]


def _ramp(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, straight between."""
    if high <= low:
        return 0.0
    return min(1.0, max(0.0, (value - low) / (high - low)))
