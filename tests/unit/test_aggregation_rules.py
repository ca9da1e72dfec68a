"""Every rule against its paper's formula, written out slowly on the rows themselves."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from flower_robust.aggregation import (
    AdaptiveClipping,
    Bucketing,
    Bulyan,
    CenteredClipping,
    ComparativeElimination,
    FoolsGold,
    GeometricMedian,
    Geometry,
    GreedyMinimumDiameter,
    Krum,
    MeanAroundMedian,
    Median,
    MinimumDiameter,
    MultiKrum,
    NearestNeighborMixing,
    NormClipping,
    ReferenceTrust,
    Spectral,
    TrimmedMean,
)
from flower_robust.aggregation.diameter import vertex_covers
from flower_robust.errors import ConfigurationError

SIZES = [(7, 1), (10, 2), (13, 3)]


def rows_of(n: int, d: int = 60, seed: int = 0) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.3


def krum_score(x: np.ndarray, i: int, neighbours: int) -> float:
    return sum(sorted(float(np.sum((x[i] - x[j]) ** 2)) for j in range(len(x)) if j != i)[:neighbours])


def diameter(x: np.ndarray, subset: tuple[int, ...]) -> float:
    return max((float(np.sum((x[i] - x[j]) ** 2)) for i, j in combinations(subset, 2)), default=0.0)


@pytest.mark.parametrize(("n", "f"), SIZES)
def test_krum_is_the_row_with_the_lowest_score(n: int, f: int) -> None:
    rows = rows_of(n)
    scores = [krum_score(rows.numpy(), i, n - f - 2) for i in range(n)]
    assert torch.equal(Krum(f)(rows), rows[int(np.argmin(scores))])


@pytest.mark.parametrize(("n", "f"), SIZES)
@pytest.mark.parametrize("m", [None, 1, 4])
def test_multi_krum_averages_the_lowest_scores(n: int, f: int, m: int | None) -> None:
    rows = rows_of(n)
    scores = [krum_score(rows.numpy(), i, n - f - 2) for i in range(n)]
    chosen = np.argsort(scores)[: m or n - f]
    assert torch.allclose(MultiKrum(f, m=m)(rows), rows[chosen.tolist()].mean(0))


@pytest.mark.parametrize(("n", "f"), [*SIZES, (9, 4), (11, 0)])
def test_minimum_diameter_is_that_of_all_subsets(n: int, f: int) -> None:
    rows = rows_of(n)
    best = min(diameter(rows.numpy(), subset) for subset in combinations(range(n), n - f))
    weights = MinimumDiameter(f).weights(Geometry.of(rows))
    chosen = tuple(torch.nonzero(weights).flatten().tolist())
    assert len(chosen) == n - f
    assert diameter(rows.numpy(), chosen) == pytest.approx(best)
    ties = [s for s in combinations(range(n), n - f) if diameter(rows.numpy(), s) <= best * (1 + 1e-12)]
    spread = [sum(diameter(rows.numpy(), pair) for pair in combinations(s, 2)) for s in ties]
    assert chosen == ties[int(np.argmin(spread))]


@pytest.mark.parametrize(("n", "f"), SIZES)
def test_greedy_minimum_diameter_is_within_twice_the_smallest(n: int, f: int) -> None:
    rows = rows_of(n)
    best = min(diameter(rows.numpy(), subset) for subset in combinations(range(n), n - f))
    chosen = torch.nonzero(GreedyMinimumDiameter(f).weights(Geometry.of(rows))).flatten().tolist()
    assert len(chosen) == n - f and diameter(rows.numpy(), tuple(chosen)) <= 4 * best  # squared: twice the length


def test_vertex_covers_are_all_the_minimal_ones() -> None:
    generator = np.random.default_rng(0)
    for _ in range(30):
        edges = [pair for pair in combinations(range(7), 2) if generator.random() < 0.35]
        conflicts = [sum(1 << (set(edge) - {row}).pop() for edge in edges if row in edge) for row in range(7)]
        for budget in range(6):
            covers = {
                s for k in range(budget + 1) for s in combinations(range(7), k) if all(set(s) & set(e) for e in edges)
            }
            minimal = {c for c in covers if not any(set(other) < set(c) for other in covers)}
            found = {tuple(row for row in range(7) if cover >> row & 1) for cover in vertex_covers(conflicts, budget)}
            assert minimal <= found <= covers


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("smoothing", ["far outliers", "clusters", "spread"])
def test_geometric_median_minimises_the_sum_of_distances(seed: int, smoothing: str) -> None:
    rows = rows_of(9, d=3, seed=seed)
    if smoothing == "far outliers":
        rows[:3] += 1e4
    if smoothing == "clusters":
        rows[4:] = rows[4:] * 1e-3
    x = rows.numpy()

    def objective(point: np.ndarray) -> float:
        return float(np.linalg.norm(x - point, axis=1).sum())

    best = min(
        (
            minimize(objective, start, method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-12, "maxiter": 9000})
            for start in (x.mean(0), np.median(x, axis=0))
        ),
        key=lambda found: found.fun,
    )
    assert objective(GeometricMedian()(rows).numpy()) <= best.fun * (1 + 1e-8)


@pytest.mark.parametrize("steps", [1, 3, 10])
@pytest.mark.parametrize("radius", [0.5, 5.0, 100.0])
def test_centered_clipping_follows_its_steps(steps: int, radius: float) -> None:
    rows = rows_of(8)
    v = torch.zeros(60, dtype=torch.float64)
    for _ in range(steps):
        lengths = (rows - v).norm(dim=1, keepdim=True)
        v = v + ((rows - v) * (radius / lengths).clamp(max=1)).mean(0)
    assert torch.allclose(CenteredClipping(radius=radius, steps=steps)(rows), v, rtol=1e-9)


def test_norm_clipping_shrinks_what_is_longer() -> None:
    rows = rows_of(5) * torch.tensor([[0.01], [1.0], [10.0], [0.0], [1e6]], dtype=torch.float64)
    expected = rows * torch.tensor([min(1.0, 2.5 / max(float(row.norm()), 1e-300)) for row in rows])[:, None].double()
    assert torch.allclose(NormClipping(bound=2.5)(rows), expected.mean(0), rtol=1e-6)


@pytest.mark.parametrize(("n", "f"), SIZES)
def test_adaptive_clipping_takes_its_radius_from_the_rows(n: int, f: int) -> None:
    rows = rows_of(n) * torch.arange(1, n + 1)[:, None]
    lengths = rows.norm(dim=1)
    radius = lengths.sort(descending=True).values[int(np.floor(2 * f / n * (n - f)))]
    assert torch.allclose(AdaptiveClipping(f)(rows), (rows * (radius / lengths).clamp(max=1)[:, None]).mean(0))


@pytest.mark.parametrize(("n", "f"), SIZES)
def test_comparative_elimination_keeps_the_shortest(n: int, f: int) -> None:
    rows = rows_of(n)
    kept = np.argsort(rows.norm(dim=1).numpy())[: n - f]
    assert torch.allclose(ComparativeElimination(f)(rows), rows[kept.tolist()].mean(0))


@pytest.mark.parametrize(("n", "f"), SIZES)
def test_spectral_projects_on_the_top_singular_vector(n: int, f: int) -> None:
    rows = rows_of(n)
    centred = rows - rows.mean(0)
    direction = torch.linalg.svd(centred, full_matrices=False).Vh[0]
    kept = torch.argsort((centred @ direction).square())[: n - f]
    assert torch.allclose(Spectral(f)(rows), rows[kept].mean(0))


def foolsgold_slowly(x: np.ndarray) -> np.ndarray:
    """Algorithm 1, index by index, as the authors' code computes it."""
    n = len(x)
    cs = np.array([[x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j]) for j in range(n)] for i in range(n)])
    cs -= np.diag(np.diag(cs))
    highest = cs.max(1)
    for i in range(n):
        for j in range(n):
            if i != j and highest[i] < highest[j]:
                cs[i, j] *= highest[i] / highest[j]
    wv = np.clip(1 - cs.max(1), 0, 1)
    wv /= wv.max()
    wv[wv == 1] = 0.99
    with np.errstate(divide="ignore"):
        return np.clip(np.log(wv / (1 - wv)) + 0.5, 0, 1)


@pytest.mark.parametrize("seed", range(5))
def test_foolsgold_is_its_algorithm(seed: int) -> None:
    rows = rows_of(8, d=5, seed=seed)
    rows[5:] = rows[4] * 0.9 + rows[5:] * 0.1
    expected = foolsgold_slowly(rows.numpy())
    found = FoolsGold().weights(Geometry.of(rows))
    np.testing.assert_allclose(found.numpy(), expected / expected.sum(), rtol=1e-6, atol=1e-9)


def test_reference_trust_is_its_formula() -> None:
    rows, reference = rows_of(8), rows_of(1, seed=9)[0]
    trust = [max(0.0, float(row @ reference / row.norm() / reference.norm())) for row in rows]
    expected = sum(t * row / row.norm() * reference.norm() for t, row in zip(trust, rows, strict=True)) / sum(trust)
    assert torch.allclose(ReferenceTrust()(rows, reference), torch.as_tensor(expected))
    assert torch.equal(ReferenceTrust()(-reference.repeat(3, 1), reference), torch.zeros(60).double())
    with pytest.raises(ConfigurationError, match="reference"):
        ReferenceTrust()(rows)


@pytest.mark.parametrize(("n", "f"), SIZES)
def test_nearest_neighbor_mixing_averages_the_nearest(n: int, f: int) -> None:
    rows = rows_of(n)
    mixed = NearestNeighborMixing(f).mixing(Geometry.of(rows)) @ rows
    for i in range(n):
        nearest = torch.argsort((rows - rows[i]).square().sum(1))[: n - f]
        assert torch.allclose(mixed[i], rows[nearest].mean(0))


@pytest.mark.parametrize(("n", "size"), [(1, 1), (6, 2), (7, 2), (7, 3), (5, 9)])
def test_bucketing_partitions_the_rows(n: int, size: int) -> None:
    M = Bucketing(size=size, seed=5).mixing(Geometry.of(rows_of(n)))
    assert M.shape == (-(-n // size), n)
    assert torch.equal((M > 0).sum(0), torch.ones(n, dtype=torch.int64))
    assert torch.allclose(M.sum(1), torch.ones(len(M)).double())
    assert all(int((bucket > 0).sum()) == size for bucket in M[:-1])


def test_bucketing_is_fixed_by_its_seed_and_fresh_with_another() -> None:
    geometry = Geometry.of(rows_of(12))
    rule = Bucketing(size=3, seed=1) >> Krum(f=0)
    again = [rule.reseeded(seed).weights(geometry) for seed in (1, 1, 2, 3, 4)]
    assert torch.equal(again[0], again[1])
    assert torch.equal(again[0], rule.weights(geometry))
    assert any(not torch.equal(again[0], other) for other in again[2:])


def nearest_mean_slowly(x: np.ndarray, keep: int) -> np.ndarray:
    order = np.argsort(np.abs(x - np.median(x, axis=0)), axis=0)[:keep]
    return np.take_along_axis(x, order, 0).mean(0)


@pytest.mark.parametrize(("n", "f"), [(7, 1), (11, 2), (16, 3)])
def test_bulyan_is_repeated_krum_then_a_mean_around_the_median(n: int, f: int) -> None:
    x = rows_of(n).numpy()
    left, chosen = list(range(n)), []
    while len(chosen) < n - 2 * f:
        scores = [
            (krum_score(x[left], k, max(1, len(left) - f - 2)), krum_score(x[left], k, n)) for k in range(len(left))
        ]
        chosen.append(left.pop(scores.index(min(scores))))
    np.testing.assert_allclose(Bulyan(f)(torch.from_numpy(x)).numpy(), nearest_mean_slowly(x[chosen], n - 4 * f))


@pytest.mark.parametrize(("n", "f"), SIZES)
def test_coordinate_rules_are_their_formulas(n: int, f: int) -> None:
    rows = rows_of(n)
    x = rows.numpy()
    np.testing.assert_allclose(Median(f)(rows).numpy(), np.median(x, axis=0))
    np.testing.assert_allclose(TrimmedMean(f)(rows).numpy(), np.sort(x, axis=0)[f : n - f].mean(0))
    np.testing.assert_allclose(MeanAroundMedian(f)(rows).numpy(), nearest_mean_slowly(x, n - f))


def test_a_mixing_before_a_row_rule_mixes_the_rows() -> None:
    rows = rows_of(9)
    mixing = NearestNeighborMixing(f=2)
    expected = TrimmedMean(f=2)(mixing.mixing(Geometry.of(rows)) @ rows)
    assert torch.allclose((mixing >> TrimmedMean(f=2))(rows), expected)


def test_chains_of_mixings_apply_from_left_to_right() -> None:
    rows = rows_of(17)
    chain = AdaptiveClipping(f=1) >> Bucketing(size=2) >> NearestNeighborMixing(f=1) >> MultiKrum(f=1)
    mixed = rows
    for mixing in (AdaptiveClipping(f=1), Bucketing(size=2), NearestNeighborMixing(f=1)):
        mixed = mixing.mixing(Geometry.of(mixed)) @ mixed
    assert torch.allclose(chain(rows), MultiKrum(f=1)(mixed))
    assert torch.allclose(chain.weights(Geometry.of(rows)) @ rows, chain(rows))
