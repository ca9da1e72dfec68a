"""Equality with ByzFL 0.0.11 within 1e-5 relative, wherever definitions coincide.

Where they differ, ByzFL's parameters are set to ours and the test says how: its Krum and Multi-Krum sum the distances
to n−f−1 neighbours (ours, the paper's, n−f−2), so its f is ours plus one; its geometric median takes three steps from
the zero vector with ν = 0.1 (ours converges), so it is given 3000 steps and a small ν; its centred clipping goes on
from its last result, so a fresh object is asked. It has no Bulyan, CGE, DnC, FoolsGold or FLTrust.
"""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from flower_robust.aggregation import (
    AdaptiveClipping,
    Bucketing,
    CenteredClipping,
    GeometricMedian,
    Geometry,
    Krum,
    Mean,
    MeanAroundMedian,
    Median,
    MinimumDiameter,
    MultiKrum,
    NearestNeighborMixing,
    NormClipping,
    Rule,
    TrimmedMean,
)

pytest.importorskip("scipy")
# Its benchmark package asks for torchvision, which none of its rules need.
sys.modules.setdefault("byzfl.benchmark", ModuleType("byzfl.benchmark"))
pytest.importorskip("byzfl")
peer: Any = importlib.import_module("byzfl.aggregators.aggregators")
before: Any = importlib.import_module("byzfl.aggregators.preaggregators")

Array = np.ndarray[Any, Any]
SHAPES = [(9, 2, 40), (15, 3, 1000), (30, 6, 5000)]
PAIRS: dict[str, tuple[Callable[[int, int], Rule], Callable[[int, int], Callable[[Array], Array]]]] = {
    "Mean": (lambda n, f: Mean(), lambda n, f: peer.Average()),
    "Median": (lambda n, f: Median(f), lambda n, f: peer.Median()),
    "TrimmedMean": (lambda n, f: TrimmedMean(f), lambda n, f: peer.TrMean(f)),
    "MeanAroundMedian": (lambda n, f: MeanAroundMedian(f), lambda n, f: peer.Meamed(f)),
    "Krum": (lambda n, f: Krum(f), lambda n, f: peer.Krum(f + 1)),
    "MultiKrum": (lambda n, f: MultiKrum(f, m=n - f - 1), lambda n, f: peer.MultiKrum(f + 1)),
    "GeometricMedian": (lambda n, f: GeometricMedian(f), lambda n, f: peer.GeometricMedian(nu=1e-9, T=500)),
    "CenteredClipping": (
        lambda n, f: CenteredClipping(radius=7.0, steps=5, f=f),
        lambda n, f: peer.CenteredClipping(L=5, tau=7.0),
    ),
    "NormClipping": (lambda n, f: NormClipping(bound=6.0), lambda n, f: after(before.Clipping(6.0), peer.Average())),
    "AdaptiveClipping": (lambda n, f: AdaptiveClipping(f), lambda n, f: after(before.ARC(f), peer.Average())),
    "NearestNeighborMixing": (lambda n, f: NearestNeighborMixing(f), lambda n, f: after(before.NNM(f), peer.Average())),
    "NNM >> MultiKrum": (
        lambda n, f: NearestNeighborMixing(f) >> MultiKrum(f, m=n - f - 1),
        lambda n, f: after(before.NNM(f), peer.MultiKrum(f + 1)),
    ),
    "NNM >> TrimmedMean": (
        lambda n, f: NearestNeighborMixing(f) >> TrimmedMean(f),
        lambda n, f: after(before.NNM(f), peer.TrMean(f)),
    ),
    "ARC >> NNM >> GeometricMedian": (
        lambda n, f: AdaptiveClipping(f) >> NearestNeighborMixing(f) >> GeometricMedian(f),
        lambda n, f: after(before.ARC(f), after(before.NNM(f), peer.GeometricMedian(nu=1e-9, T=500))),
    ),
}


def after(first: Callable[[Array], Array], then: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda rows: then(first(rows))


def difference(found: Array, expected: Array) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def attacked(n: int, f: int, d: int, seed: int) -> Array:
    """Honest rows around a mean, f of them replaced by a stretched mean."""
    rows = np.random.default_rng(seed).standard_normal((n, d)) + 0.5
    rows[:f] = -3 * rows[f:].mean(0) + 0.1 * rows[:f]
    return rows


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(("n", "f", "d"), SHAPES)
def test_equal_to_byzfl(name: str, n: int, f: int, d: int) -> None:
    ours, theirs = PAIRS[name]
    for seed in range(3):
        rows = attacked(n, f, d, seed) if seed else np.random.default_rng(7).standard_normal((n, d))
        expected = theirs(n, f)(rows.copy())  # ARC and Clipping overwrite what they are given
        assert difference(ours(n, f)(torch.from_numpy(rows)).numpy(), expected) < 1e-5
        single = rows.astype(np.float32)
        assert difference(ours(n, f)(torch.from_numpy(single)).numpy(), theirs(n, f)(single.copy())) < 1e-5


@pytest.mark.parametrize("seed", range(12))
def test_minimum_diameter_equals_byzfl_or_beats_it_on_a_tie(seed: int) -> None:
    """Several subsets can share one smallest diameter; ByzFL takes the first, ours the one that lies closest."""
    rows = np.random.default_rng(seed).standard_normal((9, 30))
    D = Geometry.of(torch.from_numpy(rows)).squared_distances
    weights = MinimumDiameter(2).weights(Geometry.of(torch.from_numpy(rows)))
    chosen = torch.nonzero(weights).flatten()
    theirs = torch.from_numpy(byzfl_subset(rows))
    assert float(D[chosen][:, chosen].max()) == pytest.approx(float(D[theirs][:, theirs].max()), rel=1e-12)
    assert float(D[chosen][:, chosen].sum()) <= float(D[theirs][:, theirs].sum()) * (1 + 1e-12)
    if set(chosen.tolist()) == set(theirs.tolist()):
        assert difference(MinimumDiameter(2)(torch.from_numpy(rows)).numpy(), peer.MDA(2)(rows)) < 1e-5


def byzfl_subset(rows: Array) -> Array:
    """The rows that ByzFL's MDA averages, read off its result: 7 of 9 rows, so the sum is of one subset only."""
    found = peer.MDA(2)(np.hstack([rows, 1e-9 * 2.0 ** np.arange(len(rows))[:, None]]))[-1]
    code = round(found * 7 / 1e-9)
    return np.array([row for row in range(len(rows)) if code >> row & 1])


def test_minimum_diameter_equals_byzfl_under_attack() -> None:
    for seed in range(5):
        rows = attacked(9, 2, 30, seed)
        assert difference(MinimumDiameter(2)(torch.from_numpy(rows)).numpy(), peer.MDA(2)(rows)) < 1e-5


@pytest.mark.parametrize(("n", "size"), [(10, 2), (11, 3)])
def test_bucketing_equals_byzfl_on_one_permutation(n: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(1).standard_normal((n, 50))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(3)).numpy()
    monkeypatch.setattr(np.random, "permutation", lambda vectors: vectors[order])
    ours = Bucketing(size=size, seed=3).mixing(Geometry.of(torch.from_numpy(rows))).numpy() @ rows
    assert difference(ours, before.Bucketing(size)(rows)) < 1e-5
