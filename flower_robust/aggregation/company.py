"""Company: updates that lie are alone against the honest ones, or close together; the honest ones are neither."""

from dataclasses import dataclass

import torch
from torch import Tensor

from flower_robust.aggregation.foolsgold import cosines
from flower_robust.aggregation.geometry import Geometry
from flower_robust.aggregation.loner import LonerFilter
from flower_robust.aggregation.mean import Mean, by_size
from flower_robust.aggregation.rule import Weighting

STRICT, LENIENT, SPREADS = 0.06, 0.2, 5.0
"""How far a contrast may lie above the honest ones': 5 spreads of theirs, within these bounds."""
ACQUAINTED, CLOSE = 0.4, 0.6
"""Mean cosine to its friends from which on a row may, and above which it does, belong to a minority."""
OPPOSED = 0.1
"""Mean cosine to strangers, negated, from which on a minority works against them."""
COPY = 0.95
"""Above this cosine two updates begin to share a voice."""


def company(geometry: Geometry, f: int) -> Tensor:
    """How surely each row belongs to a minority of at most f that acts together, Float64[n] in [0, 1].

        a_i = mean of the f−1 highest c_ij (its friends), o_i = mean of the n−1−f lowest (strangers, whoever lies)
        s_i = a_i − o_i; r = the (n−f)-th smallest s, m = median of the n−f smallest; τ = clip(5 (r − m), 0.06, 0.2)
        company_i = (clip(2 (s_i − r − τ) / τ, 0, 1) · clip((a_i − 0.4) / 0.2, 0, 1) · clip(−o_i / 0.1, 0, 1))²
        with c_ij = cos(x_i, x_j); 0 where f < 2: one liar has no friends

    f liars that pull one way resemble each other (a high) and point away from the others (o < 0), whatever they send
    and however long it is; honest rows resemble many others (IID) or nobody much (label skew), so their contrasts lie
    close together. At most f rows stand out, and f copies of an honest row stand out no more than that row.
    """
    contrast, apart = _apart(geometry, f)
    return (_standing_out(contrast, f) * apart).square() if bool(apart.any()) else apart


def _apart(geometry: Geometry, f: int) -> tuple[Tensor, Tensor]:
    """Each row's contrast s, and how surely it is close to friends and against strangers: clip(a) · clip(−o)."""
    n = geometry.n
    if not 1 < f < n - 1:
        return torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    ranked = cosines(geometry).fill_diagonal_(2.0).sort(dim=1).values[:, : n - 1]
    strangers = ranked[:, : n - 1 - f].mean(1)
    friends = ranked[:, n - f :].mean(1)
    close = ((friends - ACQUAINTED) / (CLOSE - ACQUAINTED)).clamp(0, 1)
    return friends - strangers, close * (-strangers / OPPOSED).clamp(0, 1)


def _standing_out(contrast: Tensor, f: int) -> Tensor:
    honest = contrast.sort().values[: len(contrast) - f]
    tolerance = (SPREADS * (honest[-1] - honest.median())).clamp(STRICT, LENIENT)
    return (2 * (contrast - honest[-1] - tolerance) / tolerance).clamp(0, 1)


def _within_reach(geometry: Geometry, f: int) -> Tensor:
    """min(1, m / |x_i|), Float64[n]."""
    lengths = geometry.squared_norms.sqrt()
    longest = lengths.sort().values[geometry.n - f - 1]
    return torch.where(lengths > longest, longest / lengths, 1.0)


@dataclass(frozen=True, repr=False)
class CompanyFilter(Weighting):
    """The mean, by declared size, of the rows that belong to no minority; near copies share one voice.

    k_i = [company_i < 1], v_i = k_i / Σ_j k_j clip((c_ij − 0.95) / 0.05, 0, 1), w_i = v_i r_i n_i / Σ_j v_j r_j n_j
    r_i = 1 − p_i (1 − min(1, m / |x_i|)), m = the (n−f)-th smallest |x_j|
    with p_i = clip((a_i − 0.4) / 0.2, 0, 1) · clip(−o_i / 0.1, 0, 1) of `company`

    Where honest rows agree as closely as liars do, two camps oppose each other and neither stands out. Then length
    tells: who keeps close company against the others pushes no further than an honest row of its size. n − f rows are
    honest, so m is at most the longest honest length, whatever the others send; at most f rows count less. A masked
    round rounds weights to thirds, so that there it may be up to twice as far.

    Updates Float[n, d], n >= 2f+1, each already clipped to the plan's norm bound. The rule judges one round;
    `BetaTrust` sums up `company` over many, which is what finds a minority that hides. Raises TooFewRows (nobody is
    blamed), NonFiniteRows (the rows' senders are at fault).

    FoolsGold's idea (Fung et al., RAID 2020: sybils are too similar), but measured against what honest updates show in
    the same round, so that honest agreement is no fault. `benchmarks/robustness` compares it.
    """

    f: int

    def min_rows(self) -> int:
        """2f+1."""
        return 2 * self.f + 1

    def weights(self, geometry: Geometry) -> Tensor:
        self.check(geometry.n)
        kept = (company(geometry, self.f) < 1).double()
        copies = ((cosines(geometry) - COPY) / (1 - COPY)).clamp(0, 1).fill_diagonal_(1.0)
        reach = 1 - _apart(geometry, self.f)[1] * (1 - _within_reach(geometry, self.f))
        return by_size(kept / (copies @ kept).clamp(min=1.0) * reach, geometry)


def default_rule(f: int) -> Weighting:
    """The rule that `RobustAggregation` uses where none is given: one liar has no company, two or more have.

    From one liar on, each is the mean by declared size as long as nobody stands out; without a liar nobody's declared
    rows count. docs/robustness.md shows the table that chose them.
    """
    if f == 0:
        return Mean()
    return LonerFilter(f) if f == 1 else CompanyFilter(f)
