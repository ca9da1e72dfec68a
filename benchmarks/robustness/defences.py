"""The defences of the bench: the rule with its client settings and its trust, ours and the peers'."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.robustness.cells import NORM_BOUNDS, Setting
from benchmarks.robustness.peers import PEERS, Aggregator, independent
from benchmarks.robustness.threats import SKETCH_BIAS, SKETCH_NOISE
from flower_robust.aggregation import (
    AdaptiveClipping,
    GeometricMedian,
    Geometry,
    Mean,
    NearestNeighborMixing,
    ReferenceTrust,
    Rule,
    Weighting,
    default_rule,
    weighted_sum,
)
from flower_robust.commitments.roster import capped_sizes
from flower_robust.protocol.decide import decide, decide_rows, sized
from flower_robust.trust import BetaTrust, TrustState

MOMENTUM = 0.9
EARLY = 10
"""The round after which trust is scored."""


@dataclass(frozen=True)
class Defence:
    """rule: from f to a rule, or to a function of rows and of how many rows everybody declares, as peers have.

    sized: whether the roster declares rows, as a deployment's does; momentum: the clients'; bounded: whether updates
    are clipped to the setting's norm bound C; bound_share: how much of C is the bound;
    masked: whether rounds run masked (benchmarks.robustness.masked).
    """

    name: str
    rule: Callable[[int], Rule | Aggregator]
    momentum: float = MOMENTUM
    bounded: bool = True
    trust: BetaTrust | None = None
    reference: bool = False
    sized: bool = True
    masked: bool = False
    bound_share: float = 1.0


class Defender:
    """One cell's defence in action: its rule at f, and its trust from round to round."""

    def __init__(self, defence: Defence, setting: Setting, sizes: Sequence[int]) -> None:
        self.defence = defence
        bound = defence.bound_share * NORM_BOUNDS[setting.dataset, setting.model]
        self.norm_bound = bound if defence.bounded else float("inf")
        self.rule = defence.rule(setting.f)
        self.names = [str(i) for i in range(setting.n)]
        self.state = defence.trust.init(self.names) if defence.trust else TrustState()
        self.quarantined = [0] * setting.n
        self.decided, self.early_trust = 0, list[float]()
        self.rows = torch.tensor(sizes, dtype=torch.float64)
        self.sizes = capped_sizes(sizes, sizes) if defence.sized else None

    def preview(self, rows: Tensor, reference: Tensor) -> Tensor:
        """The aggregate of rows Float[n, d] if they were sent; nothing changes."""
        if not isinstance(self.rule, Rule):
            return independent(self.rule)(rows, self.rows)
        return self._decided(rows, reference, 0, torch.Generator())[0]

    def aggregate(self, rows: Tensor, reference: Tensor, biased: int, generator: torch.Generator) -> Tensor:
        """The round's aggregate Float[d]; trust is updated. biased: how many last rows bias their sketches."""
        aggregate, evidence = self._decided(rows, reference, biased, generator)
        if self.defence.trust:
            self.state = self.defence.trust.update(self.state, evidence)
            for i, name in enumerate(self.names):
                self.quarantined[i] += self.state[name].quarantined
            self.decided += 1
            self.early_trust = self.trust_means() if self.decided <= EARLY else self.early_trust
        return aggregate

    def trust_means(self) -> list[float]:
        """Everybody's trust after the last round."""
        return [round(self.state[name].mean, 4) for name in self.names] if self.defence.trust else []

    def _decided(self, rows: Tensor, reference: Tensor, biased: int, generator: torch.Generator):
        if not isinstance(self.rule, Rule):
            return self.rule(rows, self.rows), ()
        trust = self.defence.trust.weights(self.state, self.names) if self.defence.trust else [1.0] * len(rows)
        server_side = reference if self.defence.reference else None
        if biased and isinstance(self.rule, Weighting):
            geometry = sketched(Geometry.of(rows, server_side), biased, generator)
            decision = decide(sized(geometry, self.sizes), self.rule, self.names, trust)
            return weighted_sum(decision.weights, rows), decision.evidence
        aggregate, decision = decide_rows(rows, self.rule, self.names, trust, server_side, self.sizes)
        return aggregate, decision.evidence


def sketched(geometry: Geometry, biased: int, generator: torch.Generator) -> Geometry:
    """The geometry as sketches show it when the last `biased` rows are crafted to look as close as a sketch allows."""
    n = geometry.n
    factor = 1 + SKETCH_NOISE * torch.randn(n, n, generator=generator, dtype=torch.float64)
    factor[:, n - biased :] = factor[n - biased :, :] = 1 - SKETCH_BIAS
    factor = torch.triu(factor, diagonal=1)
    factor = factor + factor.T
    norms = 1 + SKETCH_NOISE * torch.randn(n, generator=generator, dtype=torch.float64)
    norms[n - biased :] = 1 - SKETCH_BIAS
    return Geometry(geometry.squared_distances * factor, geometry.squared_norms * norms, geometry.reference)


def _by_rows(rows: Tensor, counts: Tensor) -> Tensor:
    return weighted_sum(counts / counts.sum(), rows)


_OURS = (
    Defence("fedavg", lambda f: _by_rows, momentum=0.0, bounded=False),
    Defence("mean", lambda f: Mean()),
    Defence("honest only", lambda f: lambda rows, counts: rows[: len(rows) - f].mean(0)),
    Defence("default", default_rule, trust=BetaTrust()),
    Defence("default with reference", default_rule, trust=BetaTrust(), reference=True),
    Defence("default without trust", default_rule),
    Defence("default without sizes", default_rule, trust=BetaTrust(), sized=False),
    Defence("default without momentum", default_rule, momentum=0.0, trust=BetaTrust()),
    Defence("default masked", default_rule, trust=BetaTrust(), masked=True),
    Defence("default with reference masked", default_rule, trust=BetaTrust(), reference=True, masked=True),
    Defence("default at C/2", default_rule, trust=BetaTrust(), bound_share=1 / 2),
    Defence("default at C/4", default_rule, trust=BetaTrust(), bound_share=1 / 4),
    Defence("arc >> default", lambda f: AdaptiveClipping(f) >> default_rule(f), trust=BetaTrust()),
    Defence("nnm >> geometric median", lambda f: NearestNeighborMixing(f) >> GeometricMedian(f), trust=BetaTrust()),
    Defence("reference", lambda f: ReferenceTrust(), reference=True),
    Defence("reference with trust", lambda f: ReferenceTrust(), trust=BetaTrust(), reference=True),
    Defence("reference with trust masked", lambda f: ReferenceTrust(), trust=BetaTrust(), reference=True, masked=True),
)

DEFENCES: dict[str, Defence] = {defence.name: defence for defence in _OURS}
DEFENCES |= {name: Defence(name, rule) for name, rule in PEERS.items()}
