"""Traps seen in other implementations, each shown closed."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from flower_robust.aggregation import (
    RULES,
    CenteredClipping,
    GeometricMedian,
    Geometry,
    GreedyMinimumDiameter,
    Krum,
    Mean,
    Median,
    MinimumDiameter,
    MultiKrum,
    NearestNeighborMixing,
    Spectral,
    TrimmedMean,
    Weighting,
    rule_from_text,
)
from flower_robust.errors import ConfigurationError, NonFiniteRows, RobustError, TooFewRows


def rows_around(
    offset: float, seed: int, spread: float = 1e-2, n: int = 20, d: int = 100_000, liars: int = 4
) -> Tensor:
    """Float32 weights, not updates: a large common part, small differences, the last rows a little farther out."""
    generator = torch.Generator().manual_seed(seed)
    common = offset * torch.randn(d, generator=generator)
    steps = spread * torch.randn(n, d, generator=generator)
    steps[n - liars :] *= 1.02
    return common + steps


def exact_choice(rows: Tensor, f: int) -> set[int]:
    """The Multi-Krum set by differences in float64, one pair at a time."""
    x = rows.double().numpy()
    n = len(x)
    D = np.array([[np.sum((x[i] - x[j]) ** 2) for j in range(n)] for i in range(n)])
    scores = np.sort(D, axis=1)[:, 1 : n - f - 1].sum(1)
    return set(np.argsort(scores)[: n - f].tolist())


def chosen(rule: Weighting, rows: Tensor) -> set[int]:
    return set(torch.nonzero(rule.weights(Geometry.of(rows))).flatten().tolist())


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("offset", [1.0, 100.0])
def test_a_large_common_offset_does_not_change_the_multi_krum_set(seed: int, offset: float) -> None:
    rows = rows_around(offset, seed, d=20_000)
    assert chosen(MultiKrum(f=4), rows) == exact_choice(rows, 4)


def test_the_float32_gram_identity_misses_that_set() -> None:
    """The trap itself: the same rows, the same rule, distances as Flower's stock strategy computes them."""
    hits = 0
    for seed in range(5):
        x = rows_around(100.0, seed, d=20_000).numpy()
        norms = np.square(x).sum(axis=1)
        D = norms[:, None] + norms[None, :] - 2 * x @ x.T
        scores = np.sort(D, axis=1)[:, 1 : len(x) - 5].sum(1)
        hits += set(np.argsort(scores)[: len(x) - 4].tolist()) == exact_choice(torch.from_numpy(x), 4)
    assert hits < 5


@pytest.mark.parametrize("name", [name for name in RULES if name != "bucketing"])
def test_one_nan_never_wins_and_never_passes(name: str) -> None:
    rule = rule_from_text(name, f=2)
    rows = torch.randn(rule.min_rows() + 1, 50)
    rows[1, 7] = float("nan")
    with pytest.raises(NonFiniteRows, match=r"\[1\]"):
        rule(rows, rows[0]) if isinstance(rule, Weighting) else rule(rows)


def test_a_norm_beyond_float64_counts_as_infinite() -> None:
    rows = torch.ones(5, 3, dtype=torch.float64)
    rows[3] = 1e200
    with pytest.raises(NonFiniteRows, match=r"\[3\]"):
        Krum(f=1)(rows)


@pytest.mark.parametrize("name", RULES)
def test_f_as_large_as_n_is_refused(name: str) -> None:
    rule = rule_from_text(name, f=5)
    if rule.f == 5:
        with pytest.raises(TooFewRows, match="f=5"):
            rule(torch.randn(5, 3))


def test_float64_is_not_rounded_to_float32_on_the_way() -> None:
    rows = 1 + 1e-12 * torch.arange(7, dtype=torch.float64)[:, None].expand(7, 4)
    for name in ("mean", "median", "trimmedmean", "krum", "multikrum", "rfa", "nnm", "meamed", "mda"):
        found = rule_from_text(name, f=1)(rows)
        assert found.dtype == torch.float64
        assert bool(((found > 1) & (found <= 1 + 6.1e-12)).all())


@pytest.mark.parametrize(("n", "f"), [(60, 20), (200, 20)])
def test_minimum_diameter_answers_where_subsets_cannot_be_enumerated(n: int, f: int) -> None:
    assert math.comb(n, f) > 10**15
    rows = torch.randn(n, 30, generator=torch.Generator().manual_seed(1))
    rows[:f] += 20
    assert chosen(MinimumDiameter(f), rows) == set(range(f, n))


def test_minimum_diameter_says_where_it_stops_and_what_goes_on() -> None:
    with pytest.raises(ConfigurationError, match="GreedyMinimumDiameter"):
        MinimumDiameter(f=100)
    rows = torch.randn(300, 10, generator=torch.Generator().manual_seed(2))
    rows[:100] += 50
    assert chosen(GreedyMinimumDiameter(f=100), rows) == set(range(100, 300))


def test_minimum_diameter_is_not_stalled_by_a_crafted_tie() -> None:
    """Twenty pairs of far rows, all at one distance: 2^20 subsets share the smallest diameter."""
    points = torch.zeros(44, 44, dtype=torch.float64)
    for k in range(20):
        points[2 * k, k], points[2 * k + 1, k] = 1.0, -1.0
    assert len(chosen(MinimumDiameter(f=20), points)) == 24


def test_spectral_gives_the_same_answer_every_time() -> None:
    rows = torch.randn(20, 500, generator=torch.Generator().manual_seed(3))
    first = Spectral(f=4)(rows)
    torch.manual_seed(99)
    assert all(torch.equal(first, Spectral(f=4)(rows)) for _ in range(5))


def test_f_zero_rows_do_not_capture_the_geometric_median() -> None:
    """ByzFL starts at zero with a floor of 0.1 and stops after three steps: zero rows hold it there."""
    honest = 1 + 0.05 * torch.randn(6, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    rows = torch.cat([torch.zeros(4, 400, dtype=torch.float64), honest])
    found = GeometricMedian(f=4)(rows)
    assert (found - honest.mean(0)).norm() < 0.15 * honest.mean(0).norm()
    v = torch.zeros(400, dtype=torch.float64)
    for _ in range(3):
        pull = 1 / (rows - v).norm(dim=1).clamp(min=0.1)
        v = (pull @ rows) / pull.sum()
    assert (v - honest.mean(0)).norm() > 0.8 * honest.mean(0).norm()


@pytest.mark.parametrize("far", [1e6, 1e10, 1e19, 1e38])
@pytest.mark.parametrize("rule", [GeometricMedian(f=3), CenteredClipping(radius=5.0, steps=20, f=3)])
def test_huge_rows_pull_no_harder_than_far_ones(rule: Weighting, far: float) -> None:
    """Beside rows of 1e38 the products <x_i, x_j> are rounding only; they must not blur the honest rows' distances."""
    honest = torch.randn(7, 50, generator=torch.Generator().manual_seed(5)) + 2
    liars = torch.full((3, 50), far)
    liars[2] = -far
    assert (rule(torch.cat([honest, liars])) - honest.mean(0)).norm() < 1.2 * honest.std(0).norm()


def test_trimmed_sums_do_not_cancel() -> None:
    """Total minus extremes loses everything beside 1e30; summing what is kept loses nothing."""
    rows = torch.tensor([[1e30], [1.0], [2.0], [3.0], [-1e30]])
    assert float(TrimmedMean(f=1)(rows)) == 2.0
    assert float(rows.sum() - rows.max() - rows.min()) / 3 != 2.0


def test_the_middle_of_two_large_values_does_not_overflow() -> None:
    rows = torch.full((4, 3), 3e38)
    assert torch.equal(Median()(rows), rows[0])
    assert torch.equal(Mean()(rows), rows[0])


@pytest.mark.parametrize("copies", [2, 3, 5])
def test_duplicates_of_a_liar_stay_f_rows(copies: int) -> None:
    rows = torch.randn(4 * copies + 3, 200, generator=torch.Generator().manual_seed(6))
    rows[:copies] = 30.0
    for rule in (MultiKrum(f=copies), NearestNeighborMixing(f=copies) >> MultiKrum(f=copies), MinimumDiameter(copies)):
        assert float(rule(rows).abs().max()) < 5


def test_square_roots_of_rounding_noise_are_never_ranked() -> None:
    """Identical rows but one: their distances are zero exactly, so no noise can push one of them out."""
    rows = torch.full((9, 1000), 0.1) + 1e3
    rows[4] += 1
    D = Geometry.of(rows).squared_distances
    same = [row for row in range(9) if row != 4]
    assert not D[same][:, same].any() and bool((D >= 0).all())
    assert torch.equal(Krum(f=1)(rows), rows[0])


@pytest.mark.parametrize("name", sorted(RULES))
def test_one_row_is_its_own_aggregate_or_too_few(name: str) -> None:
    row = torch.tensor([[0.25, -0.5]])
    rule = rule_from_text(name, f=0)
    try:
        found = rule(row, row[0]) if isinstance(rule, Weighting) else rule(row)
    except RobustError as refused:
        assert isinstance(refused, TooFewRows)
    else:
        assert torch.allclose(found, row[0])
