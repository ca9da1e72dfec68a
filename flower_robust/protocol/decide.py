"""From geometry to weights (docs/protocol.md, section 4): the rule decides, trust multiplies, evidence comes out.

Masked and unmasked rounds decide here, from the same numbers. Server side: the only module of `protocol` with torch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from flower_robust.aggregation import Geometry, Rule, Weighting, company, weighted_sum
from flower_robust.errors import Certainty, ClientFault
from flower_robust.trust import Evidence


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What the round decided.

    `weights` Float64[n]: factors of the updates in the sum, after trust; `rule_weights` Float64[n]: before trust. Both
    are None for coordinate-wise rules, which give no weights. `names` and `evidence` are in the rows' order.
    """

    names: tuple[str, ...]
    geometry: Geometry
    rule_weights: Tensor | None
    weights: Tensor | None
    evidence: tuple[Evidence, ...]


def decide(geometry: Geometry, rule: Weighting, names: Sequence[str], trust: Sequence[float]) -> Decision:
    """The weights of one round.

        w_i = rule_i * trust_i / sum_j(rule_j * trust_j)      where the rule's weights sum to 1
        w_i = rule_i * trust_i / max_j(trust_j)               where they do not: a clipped row is never scaled up

    `names` and `trust` (0..1) belong to the geometry's n rows. Rows without trust do not vote as long as the rule has
    enough rows without them; where it `sees_quarantined` they are judged beside the others, which get their weight.
    All weights are 0 if the rule chose only rows without trust. Raises TooFewRows below the rule's breakdown point.
    """
    factors = torch.tensor(trust, dtype=torch.float64)
    geometry = replace(geometry, quarantined=factors == 0)
    rule_weights = _before_trust(geometry, rule, factors)
    weights = _trusted(rule_weights, factors)
    distances = distances_to_sum(geometry, weights)
    evidence = evidence_of(names, rule_weights, distances, geometry, rule.f, trust)
    return Decision(tuple(names), geometry, rule_weights, weights, evidence)


def voices(decision: Decision, rule: Weighting) -> Tensor:
    """Float64[n]: the decided weights as one sum of the rows can carry them.

        w_i·min(1, |x_i| / |r|)        where the rule carries rows to the length of a reference; w_i elsewhere

    The shorter a row, the larger its weight, while the row stays as short: where weights are few and coarse, some rows
    of no length would leave none to the others. So no row counts more than one of the length of r that points its way.
    """
    reference = decision.geometry.reference
    assert decision.weights is not None
    if not rule.needs_reference or reference is None or not reference.squared_norm > 0:
        return decision.weights
    return decision.weights * (decision.geometry.squared_norms / reference.squared_norm).sqrt().clamp(max=1)


def decide_rows(
    rows: Tensor,
    rule: Rule,
    names: Sequence[str],
    trust: Sequence[float],
    reference: Tensor | None = None,
    sizes: Sequence[float] | None = None,
) -> tuple[Tensor, Decision]:
    """The unmasked round's aggregate Float[d] and its decision.

    `rows` Float[n, d] are the accepted updates, on any device; `reference` Float[d] is a server-side update for rules
    that ask for one; `sizes` (`Roster.sizes`) for those that weigh by size. Coordinate-wise rules see the rows with
    trust above 0 (all rows, if those are too few).
    """
    geometry = sized(Geometry.of(rows, reference), sizes)
    if isinstance(rule, Weighting):
        decision = decide(geometry, rule, names, trust)
        assert decision.weights is not None
        return weighted_sum(decision.weights, rows), decision
    voters = _voters(torch.tensor(trust, dtype=torch.float64), rule)
    aggregate = rule(rows if len(voters) == len(rows) else rows[voters])
    distances = torch.stack([torch.linalg.vector_norm(row - aggregate, dtype=torch.float64) for row in rows]).cpu()
    evidence = evidence_of(names, None, distances, geometry, rule.f, trust)
    return aggregate, Decision(tuple(names), geometry, None, None, evidence)


def sized(geometry: Geometry, sizes: Sequence[float] | None) -> Geometry:
    """The geometry with what each of its rows counts in a mean."""
    return geometry if sizes is None else replace(geometry, sizes=torch.tensor(sizes, dtype=torch.float64))


def fault_evidence(faults: Iterable[ClientFault], known: Iterable[str]) -> list[Evidence]:
    """One evidence for each of the `known` names that was blamed: of a round that decided nothing."""
    return with_faults((), faults, known)


def with_faults(decided: Iterable[Evidence], faults: Iterable[ClientFault], known: Iterable[str]) -> list[Evidence]:
    """`decided` and, for each of the `known` names that was blamed, the certainty of its surest fault."""
    found = {evidence.name: evidence for evidence in decided}
    known = set(known)
    for fault in sorted(faults, key=lambda fault: _SURENESS.index(fault.certainty), reverse=True):
        if fault.culprit in known:
            found[fault.culprit] = replace(found.get(fault.culprit, Evidence(fault.culprit)), certainty=fault.certainty)
    return list(found.values())


def distances_to_sum(geometry: Geometry, weights: Tensor) -> Tensor:
    """Float64[n]: |x_i - sum_j w_j x_j|, from the geometry alone.

    |x_i - s|^2 = sum_j w_j D_ij - 1/2 sum_jk w_j w_k D_jk        with the zero update taking the rest of the weight
    """
    rest = 1.0 - weights.sum()
    to_rows = geometry.squared_distances @ weights + rest * geometry.squared_norms
    spread = weights @ to_rows + rest * (weights @ geometry.squared_norms)
    return (to_rows - spread / 2).clamp(min=0).sqrt()


def cosines_to_others(geometry: Geometry, heard: Tensor | None = None) -> Tensor:
    """Float64[n]: cosine of each update to the centre of the others' directions.

        cos(x_i, sum_{j != i} h_j x_j / |x_j|)          heard: h, Float64[n] of 0 and 1; None: everybody

    A direction counts 1 however long its update is, so f < n/2 liars cannot turn the centre by shouting (spatial sign:
    Möttönen and Oja 1995, section 2). The zero update has cosine 0.
    """
    norms = geometry.squared_norms.sqrt()
    inverse = torch.where(norms > 0, 1 / norms.clamp(min=torch.finfo(torch.float64).tiny), 0.0)
    cosines = geometry.gram * inverse[:, None] * inverse[None, :]
    heard = torch.ones_like(norms) if heard is None else heard
    own = heard * cosines.diagonal()
    inner = cosines @ heard - own
    squared = (heard @ cosines @ heard - heard * (2 * inner + own)).clamp(min=0)
    return torch.where(squared > 1e-12, inner / squared.clamp(min=1e-12).sqrt(), 0.0).clamp(-1, 1)


def evidence_of(
    names: Sequence[str],
    weights: Tensor | None,
    distances: Tensor,
    geometry: Geometry,
    f: int,
    trust: Sequence[float],
) -> tuple[Evidence, ...]:
    """What trust is told of the accepted updates: `weights` of the rule, before trust, None for coordinate-wise ones;
    `distances` to the aggregate; f: how many may act together. The centre is that of those with `trust` above 0: from
    quarantine nobody turns it. Company counts everybody, since liars that are left are known by those already found.
    Where the server has an update of its own, that says as much as all others together: a half of each cosine."""
    given = [None] * len(names) if weights is None else weights.tolist()
    heard = torch.tensor(trust, dtype=torch.float64).sign()
    geometry = replace(geometry, quarantined=heard == 0)
    cosines = cosines_to_others(geometry, heard) if weights is None else _unaccused(geometry, heard, weights > 0)
    if geometry.reference is not None and geometry.reference.squared_norm > 0:
        cosines = (cosines + geometry.reference.cosines(geometry.squared_norms)) / 2
    seen = (distances.tolist(), cosines.tolist(), company(geometry, f).tolist())
    rows = zip(names, given, *seen, strict=True)
    return tuple(Evidence(name, weight=w, distance=d, cosine=c, company=m) for name, w, d, c, m in rows)


def _unaccused(geometry: Geometry, heard: Tensor, kept: Tensor) -> Tensor:
    """Cosines to the others' centre; who was left out clears nobody below the usual, and accuses none of the kept.

    max(c_i, min(c'_i, median of the kept c))       c' with only the kept heard; c for the others, and for everybody
                                                    where fewer than half are kept
    """
    cosines = cosines_to_others(geometry, heard)
    if 2 * int(kept.sum()) < geometry.n:
        return cosines
    cleared = torch.minimum(cosines_to_others(geometry, heard * kept), cosines[kept].quantile(0.5))
    return torch.where(kept, torch.maximum(cosines, cleared), cosines)


_SURENESS = (Certainty.PROVEN, Certainty.ACCUSED, Certainty.SILENT)


def _before_trust(geometry: Geometry, rule: Weighting, trust: Tensor) -> Tensor:
    if rule.sees_quarantined:
        weights = rule.weights(geometry) * (trust > 0)
        return weights / weights.sum() if weights.sum() > 0 else weights
    voters = _voters(trust, rule)
    rule.check(len(voters))
    weights = torch.zeros(geometry.n, dtype=torch.float64)
    weights[voters] = rule.weights(geometry.subset(voters))
    return weights


def _voters(trust: Tensor, rule: Rule) -> Tensor:
    voters = trust.nonzero().flatten()
    return voters if len(voters) >= rule.min_rows() else torch.arange(len(trust))


def _trusted(rule_weights: Tensor, trust: Tensor) -> Tensor:
    weights = rule_weights * (trust / trust.max().clamp(min=torch.finfo(torch.float64).tiny))
    total = weights.sum()
    on_simplex = abs(float(rule_weights.sum()) - 1) < 1e-9
    return weights / total if on_simplex and total > 0 else weights
