"""What a malicious hospital sends instead of its update: pure functions, and the registry that names them.

An attack acts at one of three places: on the labels before training, on the update before it is signed, or on the
signed
reply (`clients.tampering`). Update attacks are real: the attacker trains on the rows it knows, from the same global
model, and computes its update from what that gives.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor


class Knowledge(Enum):
    """Whose honest updates an attacker can compute: the more it knows, the stronger it is."""

    OWN = "own"
    """Its own rows only."""
    COLLUDERS = "colluders"
    """The rows of every malicious hospital."""
    ALL = "all"
    """The rows of every honest hospital: an omniscient attacker."""


@dataclass(frozen=True)
class View:
    """What an attacker sees in one round.

    own: Float64[d], the update of honest training on its own rows; known: Float64[h, d], the honest updates it can
    compute
    (its own, its colluders', or every honest hospital's); generator: its randomness, shared by all colluders.
    """

    own: Tensor
    known: Tensor
    generator: torch.Generator


LabelAttack = Callable[[Tensor, int], Tensor]
UpdateAttack = Callable[[View, float], Tensor]


def flip_labels(y: Tensor, classes: int) -> Tensor:
    """y ↦ classes − 1 − y. Tolpegin et al. 2020, section 3."""
    return classes - 1 - y


def honest(view: View, strength: float) -> Tensor:
    """The honest update: attacks that lie elsewhere send it."""
    del strength
    return view.own


def sign_flip(view: View, strength: float) -> Tensor:
    """−strength · x. Li et al. 2019 (RSA), section 5."""
    return -strength * view.own


def scaling(view: View, strength: float) -> Tensor:
    """strength · x: one hospital outweighs the others. Bagdasaryan et al. 2020, section 4.2."""
    return strength * view.own


def gaussian(view: View, strength: float) -> Tensor:
    """Noise strength times as long as the honest update: N(0, (strength·‖x‖)²/d · I). Blanchard et al. 2017."""
    noise = torch.randn(view.own.shape, generator=view.generator, dtype=torch.float64)
    length: Tensor = strength * view.own.norm()
    return noise.mul(length / noise.numel() ** 0.5)


def alie(view: View, strength: float) -> Tensor:
    """A little is enough: μ − z·σ per coordinate, z = strength. Baruch, Baruch, Goldberg 2019, section 3.

    Their z_max is below ½ for a handful of hospitals, where the attack does nothing; the default is 1.5.
    """
    return view.known.mean(dim=0) - strength * _deviation(view.known)


def ipm(view: View, strength: float) -> Tensor:
    """Inner-product manipulation: −ε·μ, ε = strength; quiet below 1, loud above. Xie, Koyejo, Gupta 2020, section 4."""
    return -strength * view.known.mean(dim=0)


def min_max(view: View, strength: float) -> Tensor:
    """μ − γ·μ/‖μ‖ with the largest γ that keeps max_i ‖g − x_i‖ ≤ strength · max_ij ‖x_i − x_j‖.

    Shejwalkar, Houmansadr 2021, section 4.3 (inverse unit vector).
    """
    limit = strength * torch.cdist(view.known, view.known).max()
    return _furthest(view.known, lambda g: bool((view.known - g).norm(dim=1).max() <= limit))


def min_sum(view: View, strength: float) -> Tensor:
    """μ − γ·μ/‖μ‖ with the largest γ that keeps Σ_i ‖g − x_i‖² ≤ strength · max_i Σ_j ‖x_i − x_j‖².

    Shejwalkar, Houmansadr 2021, section 4.3 (inverse unit vector).
    """
    limit = strength * torch.cdist(view.known, view.known).square().sum(dim=1).max()
    return _furthest(view.known, lambda g: bool((view.known - g).square().sum() <= limit))


def mimic(view: View, strength: float) -> Tensor:
    """The honest update that lies furthest along the honest updates' main axis, sent again and again.

    x_k, k = argmax_i |⟨x_i − μ, v⟩|, v the top right singular vector. Karimireddy, He, Jaggi 2022, section 3.2.
    """
    del strength
    centred = view.known - view.known.mean(dim=0)
    axis = torch.linalg.svd(centred, full_matrices=False).Vh[0]
    return view.known[(centred @ axis).abs().argmax()]


def _deviation(known: Tensor) -> Tensor:
    return known.std(dim=0, correction=0)


def _furthest(known: Tensor, hidden: Callable[[Tensor], bool], doublings: int = 40, halvings: int = 50) -> Tensor:
    mean = known.mean(dim=0)
    direction = -mean / mean.norm().clamp_min(torch.finfo(mean.dtype).tiny)
    low, high = 0.0, float(mean.norm())
    for _ in range(doublings):
        if not hidden(mean + high * direction):
            break
        low, high = high, 2 * high
    for _ in range(halvings):
        middle = (low + high) / 2
        low, high = (middle, high) if hidden(mean + middle * direction) else (low, middle)
    furthest: Tensor = mean + low * direction
    return furthest


@dataclass(frozen=True)
class Attack:
    """One way to lie, and what it needs to know.

    strength: its default; knowledge: what it needs at least; known: how many updates it must know to be more than
    noise;
    labels, update: what it does to labels and update; tampering: what it does to the signed reply, a name in
    `clients.tampering.TAMPERINGS`.
    """

    name: str
    about: str
    strength: float = 1.0
    knowledge: Knowledge = Knowledge.OWN
    known: int = 1
    labels: LabelAttack | None = None
    update: UpdateAttack = honest
    tampering: str = ""


_LOUD = 10.0

ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        Attack("none", "nobody lies"),
        Attack("label-flip", "trains on reversed labels", labels=flip_labels),
        Attack("sign-flip", "sends −strength times its update", _LOUD, update=sign_flip),
        Attack("scaling", "sends strength times its update", 100.0, update=scaling),
        Attack("gaussian", "sends noise strength times as long as its update", _LOUD, update=gaussian),
        Attack("alie", "hides strength deviations from the mean", 1.5, Knowledge.COLLUDERS, 2, update=alie),
        Attack("ipm", "sends −strength times the mean, quietly", 0.5, Knowledge.COLLUDERS, update=ipm),
        Attack("ipm-10", "sends −strength times the mean, loudly", _LOUD, Knowledge.COLLUDERS, update=ipm),
        Attack("min-max", "as far as the widest honest pair", 1.0, Knowledge.COLLUDERS, 2, update=min_max),
        Attack("min-sum", "as far as the widest honest sum", 1.0, Knowledge.COLLUDERS, 2, update=min_sum),
        Attack("mimic", "repeats the most extreme update it knows", 1.0, Knowledge.COLLUDERS, update=mimic),
        Attack("nan", "sends an update of NaN", tampering="nan"),
        Attack("inf", "sends an update of Inf", tampering="inf"),
        Attack("wrong-shape", "sends arrays of other shapes", tampering="wrong-shape"),
        Attack("example-count", "claims a thousand million rows for −1 times its update", update=sign_flip,
               tampering="example-count"),
        Attack("norm-lie", "signs an honest norm for −strength times its update", _LOUD, tampering="norm-lie"),
        Attack("bad-signature", "sends −strength times its update under a false signature", _LOUD, update=sign_flip,
               tampering="bad-signature"),
        Attack("replay", "sends its first −strength times update again and again", _LOUD, update=sign_flip,
               tampering="replay"),
    )
}  # fmt: skip
