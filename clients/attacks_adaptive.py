"""Attacks that aim at a particular defence: poisoned rows, searches against the rule, patience, and company.

Pure functions beside those of `clients.attacks`; the robustness bench runs them. Each says what its author must know.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from clients.attacks import View, flip_labels

TARGET = 0
"""The class that a backdoor is to yield."""
TRIGGER = (0, 1, 2)
"""The inputs that a backdoor's trigger overwrites; the corner of an image."""
TRIGGER_VALUE = 3.0

Poison = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


def reversed_labels(X: Tensor, y: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """y ↦ classes − 1 − y. Knows its own rows. Tolpegin et al. 2020, section 3."""
    return X, flip_labels(y, classes)


def shifted_labels(X: Tensor, y: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """y ↦ y + 1 mod classes. Knows its own rows."""
    return X, (y + 1) % classes


def single_label(X: Tensor, y: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """y ↦ TARGET: everybody is in one class. Knows its own rows."""
    del classes
    return X, torch.full_like(y, TARGET)


def backdoor(X: Tensor, y: Tensor, classes: int, share: float = 0.5) -> tuple[Tensor, Tensor]:
    """The first `share` of the rows wears a trigger and the label TARGET; the rest stays honest. Knows its own rows.

    X Float[rows, inputs]. Bagdasaryan et al. 2020, section 4.1.
    """
    del classes
    X, y = X.clone(), y.clone()
    worn = torch.arange(len(y)) < round(share * len(y))
    X[worn.nonzero(), torch.tensor(TRIGGER)] = TRIGGER_VALUE
    return X, torch.where(worn, TARGET, y)


POISONS: dict[str, Poison] = {
    "label-flip": reversed_labels,
    "label-shift": shifted_labels,
    "label-single": single_label,
    "backdoor": backdoor,
}


def most_damaging(
    mean: Tensor, direction: Tensor, strengths: Sequence[float], aggregate: Callable[[Tensor], Tensor]
) -> Tensor:
    """The point on a line from the honest mean that moves the defended aggregate furthest.

        x = μ + s*·v,  s* = argmax_s |A(μ + s·v) − μ|

    mean, direction: Float[d]; aggregate: what the defence makes of all updates when the malicious ones send this.
    Knows everything, the rule and its state included. ByzFL's Optimal ALIE and IPM, with a fixed set of steps.
    """
    candidates = [mean + s * direction for s in strengths]
    return max(candidates, key=lambda x: float((aggregate(x) - mean).norm()))


def slow_poison(view: View, strength: float, progress: float) -> Tensor:
    """Honest at first, then ever further towards −strength·μ: no round stands out from the one before.

    x = (1 − p)·own − p·strength·μ,  p = progress in 0..1
    """
    return (1 - progress) * view.own - progress * strength * view.known.mean(dim=0)


def sybil_cluster(view: View, strength: float, count: int) -> Tensor:
    """`count` identities in one dense cluster beside the coordinate-wise median, shifted against the mean.

        x_i = median − strength·σ̄·μ/|μ| + jitter,  σ̄ the root mean square deviation of the known updates,
        the jitter a tenth of σ̄ long

    Float64[count, d]: closer together than any honest pair, so neighbour counts favour it. Knows everything.
    """
    mean, median = view.known.mean(dim=0), view.known.median(dim=0).values
    spread = (view.known - mean).norm(dim=1).square().mean().sqrt()
    jitter = torch.randn((count, len(mean)), generator=view.generator, dtype=torch.float64)
    jitter *= 0.1 * spread / len(mean) ** 0.5
    cluster: Tensor = median - strength * spread * mean / mean.norm().clamp_min(1e-30) + jitter
    return cluster


def vouching_chain(view: View, strength: float, count: int) -> Tensor:
    """A chain of `count` identities from the honest mean outwards: each is the next one's trustworthy neighbour.

        x_i = μ − (i/count)·strength·σ per coordinate,  i = 1..count

    Float64[count, d]. Knows everything.
    """
    mean, deviation = view.known.mean(dim=0), view.known.std(dim=0, correction=0)
    steps = torch.arange(1, count + 1, dtype=torch.float64) / count
    chain: Tensor = mean - strength * steps[:, None] * deviation
    return chain


def in_turns(server_round: int, period: int = 5) -> bool:
    """Whether an on–off attacker attacks in this round (1, 2, ...): `period` honest rounds, then as many malicious."""
    return (server_round - 1) // period % 2 == 1
