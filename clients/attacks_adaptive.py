"""Attacks that aim at a particular defence: poisoned rows, searches against the rule, patience, and company.

Pure functions beside those of `clients.attacks`; the robustness bench runs them. Each says what its author must know.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from clients.attacks import View, flip_labels

TARGET = 0
"""The class that a backdoor is to yield."""
TRIGGER = (0, 1, 2)
"""The inputs that a backdoor's trigger overwrites; the corner of an image."""
TRIGGER_VALUE = 3.0

BEYOND = 1e3
"""A length that every norm bound cuts."""
ASCENT_STEPS = 15

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


def sideways(view: View, strength: float) -> Tensor:
    """Partly against the mean and mostly where nobody looks: too unlike each other to be company.

    x = L·(−s·μ/|μ| + √(1 − s²)·ν),  ν private noise of length 1, orthogonal to every known update, L: beyond any bound

    strength: s; the mutual cosine of such updates is s².
    """
    mean = view.known.mean(dim=0)
    noise = _beside(torch.randn(mean.shape, generator=view.generator, dtype=mean.dtype), _basis(view.known))
    towards = -strength * mean / mean.norm().clamp_min(1e-30)
    sent: Tensor = BEYOND * (towards + math.sqrt(1 - strength**2) * noise)
    return sent


def ascent(known: Tensor, harm: Callable[[Tensor], Tensor], reach: float, generator: torch.Generator) -> Tensor:
    """The direction orthogonal to every known update that does the most harm: projected gradient ascent on the loss.

        u* = argmax harm(reach·u)  over |u| = 1, ⟨u, x⟩ = 0 for every row x of known

    known: Float[h, d]; harm: a differentiable function of the step Float[d]; reach: how far the liars move the model.
    Knows the model and rows of its own or of everybody. It is against nobody, so cosines do not show it.
    """
    basis = _basis(known)
    u = _beside(torch.randn(known.shape[1], generator=generator, dtype=known.dtype), basis)
    for k in range(ASCENT_STEPS):
        step = (reach * u).requires_grad_(True)
        (slope,) = torch.autograd.grad(harm(step), step)
        u = _beside(u + 0.7 * 0.85**k * _beside(slope, basis), basis)
    return u


def _basis(known: Tensor) -> Tensor:
    """Orthonormal columns Float[d, h] that span the rows."""
    basis: Tensor = torch.linalg.qr(known.T).Q
    return basis


def _beside(x: Tensor, basis: Tensor) -> Tensor:
    """The direction of what the span leaves of x."""
    left = x - basis @ (basis.T @ x)
    direction: Tensor = left / left.norm().clamp_min(1e-30)
    return direction


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
