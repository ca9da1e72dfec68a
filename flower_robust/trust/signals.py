"""What one round's updates show about each other, as numbers that later rounds can average.

Thresholds: chosen on the four UCI heart hospitals and on Dirichlet(0.1 to 1) splits of breast-cancer records, so that
no honest hospital is ever quarantined while flipped labels, flipped signs and inner-product attacks rank last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from flower_robust.trust.evidence import Evidence

QUIET = 0.03
"""Strength of a round without consensus: near convergence honest updates point everywhere, and trust hardly moves."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One accepted update beside the others of its round.

    `far` in [0, 1]: its distance to the aggregate, from 0 (1.5 times the median distance) to 1 (3 times);
    `against` in [0, 1.2]: how much less than 0.2 and than the median cosine its cosine to the others' centre is.
    Agreement counts 0, not less: nobody saves it up for a later attack. `company` in [0, 1]: the evidence's own.
    """

    far: float
    against: float
    company: float = 0.0


def signals(evidences: Sequence[Evidence]) -> tuple[float, dict[str, Signal]]:
    """The round's strength in [0.03, 1], and a signal by name for every update that was accepted.

        strength = ramp(median cosine, 0, 0.3)          over those that the rule gave weight, if they are half of all

    Who was left out has no say in what is usual: else liars that turn with the majority once the model has converged
    make a consensus against those honest hospitals that never joined it. Three signals, because each is blind to what
    the others see: distance misses a quiet inner-product attack (epsilon 0.5), the cosine misses a scaled update, and
    both miss liars among heterogeneous hospitals, whom company finds as soon as there are two.
    """
    accepted = [evidence for evidence in evidences if evidence.participated]
    if not accepted:
        return QUIET, {}
    usual_distance = median(evidence.distance or 0.0 for evidence in accepted)
    usual_cosine = median(evidence.cosine or 0.0 for evidence in _with_a_say(accepted))
    strength = max(QUIET, ramp(usual_cosine, 0.0, 0.3))
    return strength, {e.name: _signal(e, usual_distance, usual_cosine) for e in accepted}


def ramp(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, straight between; 0 throughout where `low` is `high`."""
    if high <= low:
        return 0.0
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _with_a_say(accepted: Sequence[Evidence]) -> Sequence[Evidence]:
    weighed = [evidence for evidence in accepted if evidence.weight is None or evidence.weight > 0]
    return weighed if 2 * len(weighed) >= len(accepted) else accepted


def _signal(evidence: Evidence, usual_distance: float, usual_cosine: float) -> Signal:
    distance, cosine = evidence.distance or 0.0, evidence.cosine or 0.0
    far = ramp(distance, 1.5 * usual_distance, 3 * usual_distance)
    return Signal(far, max(0.0, min(usual_cosine, 0.2) - cosine), evidence.company or 0.0)
