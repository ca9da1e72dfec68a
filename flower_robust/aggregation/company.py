"""Company: updates that lie keep closer company than honest ones, against them or beyond their length."""

from dataclasses import dataclass

import torch
from torch import Tensor

from flower_robust.aggregation.foolsgold import cosines
from flower_robust.aggregation.geometry import Geometry
from flower_robust.aggregation.mean import Mean, bounded_sizes, by_size
from flower_robust.aggregation.rule import Weighting
from flower_robust.aggregation.stranger import StrangerFilter

STRICT, LENIENT, SPREADS = 0.06, 0.2, 5.0
"""How far a contrast may lie above the honest ones': 5 spreads of theirs, within these bounds."""
ACQUAINTED, CLOSE = 0.4, 0.6
"""Mean cosine to its friends from which on a row may, and above which it does, belong to a minority."""
OPPOSED = 0.1
"""Mean cosine to strangers, negated, from which on a minority works against them."""
CROWD, CROWDED, FLOOD = 0.4, 0.7, 2.4
"""Joint excess of length from which on rows may, and above which they do, push further than honest ones need; above the
last they are cut to an honest length whatever their directions."""
COPY = 0.9
"""Above this cosine two updates begin to share a voice."""


def company(geometry: Geometry, f: int) -> Tensor:
    """How surely each row belongs to a minority of at most f that works against the others, Float64[n] in [0, 1].

        a_i = mean of the f−1 highest c_ij (its friends), o_i = mean of the n−1−f lowest outside quarantine (strangers)
        s_i = a_i − o_i; r = the (n−f)-th smallest s, m = median of the n−f smallest; τ = clip(5 (r − m), 0.06, 0.2)
        company_i = (clip(2 (s_i − r − τ) / τ, 0, 1) · clip((a_i − 0.4) / 0.2, 0, 1) · clip(−o_i / 0.1, 0, 1))²
        with c_ij = cos(x_i, x_j); 0 where f < 2: one liar has no friends

    f liars that pull one way resemble each other (a high) and point away from the others (o < 0), whatever they send
    and however long it is; honest rows resemble many others (IID) or nobody much (label skew), so their contrasts lie
    close together. At most f rows stand out, and f copies of an honest row stand out no more than that row. Who is in
    quarantine may be the friend that gives a liar away, but to be against it is no fault.
    """
    if not _can_be_told(geometry, f):
        return torch.zeros(geometry.n, dtype=torch.float64)
    contrast, apart = _apart(geometry, f)
    return (_standing_out(contrast, f) * apart).square() if bool(apart.any()) else apart


def joint_excess(geometry: Geometry, f: int) -> Tensor:
    """How much further the longest rows push together than honest ones need to, Float64[n] >= 0.

        q_i = max over j = rank_i .. f of j (z_(j) / b − 1), z_(j) the j-th largest, z_i the rank_i-th largest;
        0 for the n−f smallest; b = the (n−f)-th smallest z; z = |x_i|, or n_i |x_i| where that gives more (`by_size`)

    n − f rows are honest, so b is at most the largest honest z. One honest row may push much further than the others
    (a rare class), two or three less so; f liars who push where nobody else does are all as long as C lets them.
    """
    lengths = geometry.squared_norms.sqrt()
    return torch.maximum(_beyond(lengths, f), _beyond(lengths * bounded_sizes(geometry, f), f))


def _beyond(pushes: Tensor, f: int) -> Tensor:
    excess = torch.zeros_like(pushes)
    if f > 0:
        largest = pushes.argsort(descending=True, stable=True)
        usual, largest = pushes[largest[f]], largest[:f]
        joint = torch.arange(1, f + 1) * (pushes[largest] / usual - 1).nan_to_num(0.0)
        excess[largest] = joint.flip(0).cummax(0).values.flip(0).clamp(min=0)
    return excess


def camp(geometry: Geometry, f: int) -> Tensor:
    """How surely each row is in a camp: long rows that have more in common with each other than with the others.

        Λ = the rows with q_i > 0.4 (`joint_excess`), u_i = mean c_ij over the others in Λ
        v_i = mean of the n−|Λ|−f highest c_ij over the rows outside Λ: f of those may lie as well
        camp_i = clip((u_i − 0.1) / 0.1, 0, 1) · clip((u_i − 2 v_i − 0.1) / 0.1, 0, 1) · clip((q_i − 0.4) / 0.3, 0, 1)
        for i in Λ where there are two of them and n > |Λ| + f; 0 else

    Float64[n] in [0, 1]; at most f rows are above 0 by length, f by length times size. Liars who hide from `company`
    by private noise are unlike each other, but to move the model by it they are long, and what they do have in common
    the others do not have. Long honest rows have little in common with each other, or much with others.
    """
    excess = joint_excess(geometry, f)
    long, alike = excess > CROWD, torch.zeros(geometry.n, dtype=torch.float64)
    honest = geometry.n - (count := int(long.sum())) - f
    if count > 1 and honest > 0:
        likeness = cosines(geometry)
        within = (likeness[:, long].sum(1) - likeness.diagonal()) / (count - 1)
        outside = likeness[:, ~long].sort(dim=1, descending=True).values[:, :honest].mean(1)
        alike = _ramp(within, 0.1, 0.2) * _ramp(within - 2 * outside, 0.1, 0.2)
    return alike * _ramp(excess, CROWD, CROWDED)


def _can_be_told(geometry: Geometry, f: int) -> bool:
    return 1 < f < geometry.n - 1


def _apart(geometry: Geometry, f: int) -> tuple[Tensor, Tensor]:
    """Each row's contrast s, and how surely it is close to friends and against strangers: clip(a) · clip(−o)."""
    n = geometry.n
    likeness = cosines(geometry).fill_diagonal_(2.0)
    friends = likeness.sort(dim=1).values[:, n - f : n - 1].mean(1)
    if geometry.quarantined is not None:
        likeness[:, geometry.quarantined] = 2.0
    strangers = likeness.sort(dim=1).values[:, : n - 1 - f]
    strangers = torch.where(strangers < 2, strangers, torch.nan).nanmean(1).nan_to_num(0.0)
    return friends - strangers, _ramp(friends, ACQUAINTED, CLOSE) * _ramp(-strangers, 0, OPPOSED)


def _standing_out(contrast: Tensor, f: int) -> Tensor:
    honest = contrast.sort().values[: len(contrast) - f]
    tolerance = (SPREADS * (honest[-1] - honest.median())).clamp(STRICT, LENIENT)
    return (2 * (contrast - honest[-1] - tolerance) / tolerance).clamp(0, 1)


def _ramp(values: Tensor, low: float, high: float) -> Tensor:
    return ((values - low) / (high - low)).clamp(0, 1)


def _within_reach(geometry: Geometry, f: int) -> Tensor:
    """min(1, b / |x_i|), b the (n−f)-th smallest length, Float64[n]."""
    lengths = geometry.squared_norms.sqrt()
    usual = lengths.sort().values[geometry.n - f - 1]
    return torch.where(lengths > usual, usual / lengths, 1.0)


@dataclass(frozen=True, repr=False)
class CompanyFilter(Weighting):
    """The mean, by declared size, of the rows that belong to no minority; near copies share one voice.

    w_i = v_i n_i / Σ_j v_j n_j, v_i = k_i r_i / max(1, h_i / h), h_i = Σ_j k_j clip((c_ij − 0.9) / 0.1, 0, 1)
    k_i = [company_i < 1], and 0 where camp_i = 1 and the camp has f' rows, f' = f − how many company leaves out
    r_i = 1 − max(p_i, camp_i, [q_i >= 2.4]) · (1 − min(1, b / |x_i|)), n_i of `by_size`, h: the lower median of the h_i
    with p_i = clip((a_i − 0.4) / 0.2, 0, 1) · clip(−o_i / 0.1, 0, 1), a and o of `company`; camp, q of `joint_excess`
    and b, the (n'−f')-th smallest length, among the n' rows that company keeps

    Where honest rows agree as closely as liars do, two camps oppose each other and neither stands out. Then length
    tells: who keeps close company against the others pushes no further than an honest row of its size, nor does a crowd
    of long rows. At most f rows are left out. Where the others share their voice with no more rows than usual and none
    of them is cut or left out, at most half of the weight is the liars', whatever rows they declare. A masked round
    rounds weights to thirds: there who counts less may count up to twice as much.

    Updates Float[n, d], n >= 2f+1, each already clipped to the plan's norm bound. The rule judges one round;
    `BetaTrust` sums up `company` over many, which is what finds a minority that hides. Raises TooFewRows (nobody is
    blamed), NonFiniteRows (the rows' senders are at fault).

    FoolsGold's idea (Fung et al., RAID 2020: sybils are too similar), but measured against what honest updates show in
    the same round, so that honest agreement is no fault. `benchmarks/robustness` compares it.
    """

    f: int
    sees_quarantined = True

    def min_rows(self) -> int:
        """2f+1."""
        return 2 * self.f + 1

    def weights(self, geometry: Geometry) -> Tensor:
        self.check(geometry.n)
        kept, cut = self._judged(geometry)
        return by_size(_voices(geometry, kept) * cut, geometry, self.f)

    def _judged(self, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """k and r, Float64[n] each."""
        kept, cut = (company(geometry, self.f) < 1).double(), torch.ones(geometry.n, dtype=torch.float64)
        left = kept.nonzero().flatten()
        rest, liars = geometry.subset(left), self.f - (geometry.n - len(left))
        gathered = camp(rest, liars)
        flood = (joint_excess(rest, liars) >= FLOOD).double()
        against = _apart(geometry, self.f)[1][left] if _can_be_told(geometry, self.f) else flood
        doubt = torch.maximum(torch.maximum(gathered, flood), against)
        cut[left] = 1 - doubt * (1 - _within_reach(rest, liars))
        if int((gathered > 0).sum()) == liars:
            kept[left[gathered == 1]] = 0
        return kept, cut


def _voices(geometry: Geometry, kept: Tensor) -> Tensor:
    """k_i / max(1, h_i / h), h_i = Σ_j k_j clip((c_ij − 0.9) / 0.1, 0, 1), h: the lower median of the kept ones' h."""
    copies = ((cosines(geometry) - COPY) / (1 - COPY)).clamp(0, 1).fill_diagonal_(1.0)
    crowd = (copies @ kept).clamp(min=1.0)
    usual = crowd[kept > 0].sort().values[: (int(kept.sum()) + 1) // 2]
    return kept / (crowd / usual[-1]).clamp(min=1.0) if len(usual) else kept


def default_rule(f: int) -> Weighting:
    """The rule that `RobustAggregation` uses where none is given: one liar has no company, two or more have.

    From one liar on, each is the mean by declared size as long as nobody stands out; without a liar nobody's declared
    rows count. docs/robustness.md shows the table that chose them.
    """
    if f == 0:
        return Mean()
    return StrangerFilter(f) if f == 1 else CompanyFilter(f)
