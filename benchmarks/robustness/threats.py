"""The threats of the bench: what the malicious participants send in every round, and what they know.

"everything" is every honest update of the round (and for the optimised attacks the defence and its state); "colluders"
is what the malicious participants compute from their own rows, which is all that a masked round lets them know.
"@sketch" models the worst error of a masked round's distances, "@declared" a roster in which liars boast about rows.
Every malicious update is clipped to the norm bound: a longer one is a proven fault and out at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from clients import attacks, attacks_adaptive
from clients.attacks import Knowledge, View

STEPS = (0.25, 0.5, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0)
"""Where an optimised attack looks."""
PRIVATE = 0.2
"""How much private noise keeps updates that push one way from being copies: a mutual cosine of .96."""
UNLIKE = 0.8
"""How much keeps them from being company: a mutual cosine of .36, as honest ones have."""
SKETCH_NOISE = 0.02
SKETCH_BIAS = 0.26
"""Relative error of a sketched squared norm: an ordinary update's, and the worst of a crafted one (DESIGN 4)."""


@dataclass(frozen=True, eq=False)
class Scene:
    """One round as the malicious participants see it.

    rows Float32[n, d]: what honest training gave (on poisoned rows where rows are poisoned), the f malicious ones last;
    aggregate: what the defence would make of given rows; harm: from what is known to how badly the model classifies
    known rows after a step Float[d], differentiable; bound: C.
    """

    rows: Tensor
    f: int
    server_round: int
    rounds: int
    generator: torch.Generator
    aggregate: Callable[[Tensor], Tensor]
    harm: Callable[[Knowledge], Callable[[Tensor], Tensor]]
    bound: float

    @property
    def honest(self) -> Tensor:
        """Float32[n − f, d]."""
        return self.rows[: len(self.rows) - self.f]

    @property
    def own(self) -> Tensor:
        """Float32[f, d], what the malicious ones' training gave."""
        return self.rows[len(self.rows) - self.f :]

    def view(self, knowledge: Knowledge, member: int = 0) -> View:
        """What one malicious participant sees, in float64."""
        known = {Knowledge.OWN: self.own[member : member + 1], Knowledge.COLLUDERS: self.own}.get(
            knowledge, self.honest
        )
        return View(self.own[member].double(), known.double(), self.generator)

    def with_malicious(self, sent: Tensor) -> Tensor:
        """All rows, once the malicious ones sent Float[d] or Float[f, d]."""
        return torch.cat([self.honest, sent.to(self.rows.dtype).expand(self.f, -1)])


Craft = Callable[[Scene, Knowledge, float], Tensor]


@dataclass(frozen=True)
class Threat:
    """poison: what the malicious rows look like; craft: what is sent instead of an update, Float[d] or Float[f, d]."""

    name: str
    about: str
    knowledge: Knowledge = Knowledge.OWN
    strength: float = 1.0
    poison: str = ""
    craft: Craft | None = None
    sketched: bool = field(default=False)
    """Whether the geometry is a sketch that the malicious updates bias in their favour."""
    boasting: bool = field(default=False)
    """Whether the malicious participants declare a hundred times the rows of the largest honest one."""

    def declared(self, rows: list[int], f: int) -> list[int]:
        """The rows that everybody declares; the f malicious ones last."""
        honest = rows[: len(rows) - f]
        return honest + [100 * max(honest)] * f if self.boasting else rows

    def malicious_rows(self, scene: Scene) -> Tensor:
        """Every row of the round, the malicious ones last."""
        if self.craft is None:
            return scene.rows
        return scene.with_malicious(self.craft(scene, self.knowledge, self.strength))


def _of_everyone(update: attacks.UpdateAttack) -> Craft:
    """Every malicious participant on its own."""

    def craft(scene: Scene, knowledge: Knowledge, strength: float) -> Tensor:
        return torch.stack([update(scene.view(knowledge, i), strength) for i in range(scene.f)])

    return craft


def _together(update: attacks.UpdateAttack) -> Craft:
    """All malicious participants send the same."""
    return lambda scene, knowledge, strength: update(scene.view(knowledge), strength)


def _in_span(update: attacks.UpdateAttack) -> Craft:
    """An attack that only depends on inner products, computed in isometric coordinates of the known updates' span.

    known = (U √λ)(√λ⁻¹ Uᵀ known) from the Gram matrix U λ Uᵀ: h coordinates instead of d.
    """

    def craft(scene: Scene, knowledge: Knowledge, strength: float) -> Tensor:
        known = scene.view(knowledge).known
        values, U = torch.linalg.eigh(known @ known.T)
        kept = values > values[-1] * 1e-12
        roots = values[kept].sqrt()
        small = U[:, kept] * roots
        sent = update(View(small[0], small, scene.generator), strength)
        return ((U[:, kept] / roots) @ sent) @ known

    return craft


def _optimised(direction: Callable[[Tensor], Tensor]) -> Craft:
    def craft(scene: Scene, knowledge: Knowledge, strength: float) -> Tensor:
        del knowledge, strength
        mean = scene.honest.mean(0)
        outcome = lambda x: scene.aggregate(scene.with_malicious(x))  # noqa: E731
        return attacks_adaptive.most_damaging(mean, direction(scene.honest), STEPS, outcome)

    return craft


def _on_off(scene: Scene, knowledge: Knowledge, strength: float) -> Tensor:
    if not attacks_adaptive.in_turns(scene.server_round):
        return scene.own
    return attacks.ipm(scene.view(knowledge), strength)


def _lone(scene: Scene, knowledge: Knowledge, strength: float) -> Tensor:
    sent = scene.own.clone()
    sent[0] = attacks.ipm(scene.view(knowledge), strength)
    return sent


def _slow(scene: Scene, knowledge: Knowledge, strength: float) -> Tensor:
    progress = scene.server_round / scene.rounds
    views = [scene.view(knowledge, i) for i in range(scene.f)]
    return torch.stack([attacks_adaptive.slow_poison(view, strength, progress) for view in views])


def _uphill(private: float, length: Callable[[Scene], float]) -> Craft:
    """private: the share of noise in each update's length; length: of every update."""

    def craft(scene: Scene, knowledge: Knowledge, strength: float) -> Tensor:
        known, reach = scene.view(knowledge).known.float(), length(scene)
        share = strength * scene.f / len(scene.rows)
        honest = (1 - share) * known.mean(0)
        harm = scene.harm(knowledge)
        best = attacks_adaptive.ascent(known, lambda step: harm(honest + step), share * reach, scene.generator)
        noise = torch.randn(scene.f, len(best), generator=scene.generator)
        noise = noise / noise.norm(dim=1, keepdim=True)
        return reach * (private * noise + (1 - private**2) ** 0.5 * best)

    return craft


def _longest_honest(scene: Scene) -> float:
    return float(scene.honest.norm(dim=1).max())


def _sybil(scene: Scene, knowledge: Knowledge, strength: float) -> Tensor:
    return attacks_adaptive.sybil_cluster(scene.view(knowledge), strength, scene.f)


def _vouching(scene: Scene, knowledge: Knowledge, strength: float) -> Tensor:
    return attacks_adaptive.vouching_chain(scene.view(knowledge), strength, scene.f)


_ALL = Knowledge.ALL
_THREATS = (
    Threat("none", "nobody lies"),
    Threat("sign-flip", "−1 × its own update", strength=1.0, craft=_of_everyone(attacks.sign_flip)),
    Threat("sign-flip-10", "−10 × its own update", strength=10.0, craft=_of_everyone(attacks.sign_flip)),
    Threat("gaussian", "noise 10 × as long as its update", strength=10.0, craft=_of_everyone(attacks.gaussian)),
    Threat("label-flip", "trains on y ↦ classes − 1 − y", poison="label-flip"),
    Threat("label-shift", "trains on y ↦ y + 1", poison="label-shift"),
    Threat("label-single", "trains on one label for all", poison="label-single"),
    Threat("backdoor", "half of its rows wear a trigger and the target's label", poison="backdoor"),
    Threat("mimic", "repeats the most extreme honest update", _ALL, craft=_in_span(attacks.mimic)),
    Threat("alie-1.5", "μ − 1.5 σ", _ALL, 1.5, craft=_together(attacks.alie)),
    Threat("alie-10", "μ − 10 σ", _ALL, 10.0, craft=_together(attacks.alie)),
    Threat("foe-0.5", "−0.5 μ (IPM ε = 0.5)", _ALL, 0.5, craft=_together(attacks.ipm)),
    Threat("foe-2", "−2 μ", _ALL, 2.0, craft=_together(attacks.ipm)),
    Threat("foe-10", "−10 μ", _ALL, 10.0, craft=_together(attacks.ipm)),
    Threat("lone", "one sends −10 μ, the other malicious ones bide their time", _ALL, 10.0, craft=_lone),
    Threat("min-max", "as far as the widest honest pair", _ALL, craft=_in_span(attacks.min_max)),
    Threat("min-sum", "as far as the widest honest sum", _ALL, craft=_in_span(attacks.min_sum)),
    Threat("opt-alie", "μ − s σ, s searched against the defence", _ALL,
           craft=_optimised(lambda rows: -rows.std(0, correction=0))),
    Threat("opt-foe", "(1 − s) μ, s searched against the defence", _ALL, craft=_optimised(lambda rows: -rows.mean(0))),
    Threat("on-off", "−2 μ in every second five rounds", _ALL, 2.0, craft=_on_off),
    Threat("slow-poison", "ever further towards −2 μ", _ALL, 2.0, craft=_slow),
    Threat("sideways", "−0.6 μ and private noise, as long as C", _ALL, 0.6,
           craft=_of_everyone(attacks_adaptive.sideways)),
    Threat("ascent", "uphill, orthogonal to every honest update, as long as C", _ALL,
           craft=_uphill(PRIVATE, lambda scene: scene.bound)),
    Threat("hidden", "as ascent, but as long as the longest honest update and as unlike each other", _ALL,
           craft=_uphill(UNLIKE, _longest_honest)),
    Threat("sybil", "a dense cluster beside the median, half a deviation off", _ALL, 0.5, craft=_sybil),
    Threat("vouching", "a chain μ − s σ, s up to 3: each vouches for the next", _ALL, 3.0, craft=_vouching),
)  # fmt: skip

THREATS: dict[str, Threat] = {threat.name: threat for threat in _THREATS}
THREATS |= {
    f"{name}@colluders": replace(THREATS[name], name=f"{name}@colluders", knowledge=Knowledge.COLLUDERS)
    for name in ("alie-1.5", "alie-10", "foe-0.5", "foe-2", "min-max", "mimic", "sideways", "ascent")
}
THREATS |= {
    f"{name}@sketch": replace(THREATS[name], name=f"{name}@sketch", sketched=True)
    for name in ("alie-1.5", "foe-2", "min-max", "sign-flip")
}
THREATS |= {
    f"{name}@declared": replace(THREATS[name], name=f"{name}@declared", boasting=True)
    for name in ("sign-flip", "label-flip", "alie-1.5", "alie-10", "foe-2", "min-max", "sideways", "ascent")
}
