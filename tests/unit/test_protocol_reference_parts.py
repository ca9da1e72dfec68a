"""The parts that read a reference, one at a time: what a whole honest round does not tell apart."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from flower_robust.aggregation import Geometry, Mean, Reference, ReferenceTrust
from flower_robust.masking import ring
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.sketch import sketch, sketch_map
from flower_robust.masking.squares import Squares, square_shares, zero_length
from flower_robust.protocol.masked_round import share_of_mean
from flower_robust.protocol.norms import impossible
from flower_robust.protocol.reference import PublicRow
from flower_robust.protocol.server_decide import _beside, _consistent
from flower_robust.protocol.terms import NO_DIGEST, MaskingTerms
from tests.protocol_world import World

M, C = PARAMETERS.m, PARAMETERS.c


def residues(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Uniform residues [2, ...]."""
    return np.stack([rng.integers(0, q, shape, np.uint32) for q in PARAMETERS.primes])


@pytest.mark.parametrize("size", [1, 2, 5, 17, 18])
def test_distances_to_the_public_row_do_not_depend_on_how_many_ring_sums_are_at_hand(size: int) -> None:
    """From about 20 clients on, shares of sketches exist a few ring sums at a time (`sketch.ROOM`)."""
    rng, n = np.random.default_rng(0), 4
    shares, zeros = residues(rng, n, M, C).swapaxes(0, 1), residues(rng, n, zero_length(n)).swapaxes(0, 1)
    public = residues(rng, M, C)
    parts = [shares[:, :, start : start + size] for start in range(0, M, size)]
    found = square_shares(iter(parts), zeros, range(n), public)
    assert (found == square_shares(iter([shares]), zeros, range(n), public)).all()


def test_all_blocks_of_a_large_reference_are_in_its_sketch() -> None:
    rng, blocks = np.random.default_rng(0), 67
    x = rng.integers(-1000, 1000, blocks * PARAMETERS.N, np.int32)
    P = sketch_map(bytes(32), blocks)
    whole = sketch(P, ring.from_integers(x.reshape(blocks, -1)))
    assert (PublicRow(x, 1.0, bytes(32)).sketch(P) == whole).all()


def measured(norms: np.ndarray, to_reference: np.ndarray) -> Squares:
    """Rows at right angles to one another, with these squared norms and squared distances to the public row."""
    return Squares(np.add.outer(norms, norms) * (1 - np.eye(len(norms))), np.tile(norms[:, None], M), to_reference)


@pytest.mark.parametrize("length", [0.01, 1.0, 3.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_distance_is_impossible_exactly_beyond_the_triangle(length: float, sign: int) -> None:
    """|D − N − N_r| = 2·√(N·N_r) for a row along the reference, or against it: no further."""
    own, reference = length**2, np.full(M, 0.25)
    reach = 2 * (own * 0.25) ** 0.5
    squares = measured(np.full(2, own), own + 0.25 + sign * reach * np.array([1 - 1e-7, 1 + 1e-6]))
    assert impossible(squares, reference) == [1]


def test_who_contradicts_the_reference_alone_is_named_and_left_out() -> None:
    plan = World(n=4, t=1).plan(Mean())
    round = SimpleNamespace(plan=plan, name=lambda i: plan.cohort[i])
    inspected = SimpleNamespace(challenged=SimpleNamespace(round=round), members=(0, 1, 2, 3))
    squares = measured(np.ones(4), np.array([1.25, 1.25, 2.5, 1.25]))
    kept, faults = _consistent(inspected, squares, set(), np.full(M, 0.25), 1)
    assert kept == [0, 1, 3] and [fault.culprit for fault in faults] == ["h2"]


def test_a_product_with_the_reference_is_at_most_that_of_the_lengths() -> None:
    """Of a row that is hardly longer than the noise the norm may come out shorter than the product says."""
    row = PublicRow(np.zeros(1, np.int32), 2.0, bytes(32))
    norms = np.array([1e-4, 1e-4, 0.25])
    squares = measured(np.full(3, 0.25), 0.5 - 2 * np.array([0.2, -0.2, 0.2]))
    beside = _beside(row, squares, np.arange(3), norms, np.full(M, 0.25))
    assert beside.squared_norm == 4.0
    np.testing.assert_allclose(beside.inner, [0.02, -0.02, 0.8], rtol=1e-12)


@pytest.mark.parametrize(("decided", "share"), [([1.0, 0.0], 1.0), ([0.0, 1.0], 0.0), ([0.75, 0.25], 0.5)])
def test_the_aggregate_never_points_against_what_was_opened(decided: list[float], share: float) -> None:
    """Thirds may be far from the weights: here only the first of two opposite rows was opened."""
    geometry = Geometry(
        torch.tensor([[0.0, 4.0], [4.0, 0.0]], dtype=torch.float64),
        torch.ones(2, dtype=torch.float64),
        Reference(1.0, torch.zeros(2, dtype=torch.float64)),
    )
    decision = SimpleNamespace(
        names=("a", "b"), geometry=geometry, weights=torch.tensor(decided, dtype=torch.float64), rule_weights=None
    )
    round = SimpleNamespace(position=("a", "b").index)
    challenged = SimpleNamespace(challenged=SimpleNamespace(round=round), weights=np.array([[255, 0]], np.uint8))
    opened = SimpleNamespace(decided=challenged, means=np.array([[0.6, 0.8, 7.0]], np.float32))
    assert share_of_mean(opened, decision, ReferenceTrust(), 2) == pytest.approx(share)


def test_terms_have_one_encoding() -> None:
    terms = World(n=5, t=1).plan(Mean()).masking
    assert terms is not None and not terms.has_reference
    with_one = replace(terms, reference=b"\x01" * 32)
    for each in (terms, with_one):
        assert MaskingTerms.decode(each.encode()) == each
    assert with_one.encode()[: len(terms.encode())] == terms.encode()
    with pytest.raises(ValueError, match="found 13 fields"):
        MaskingTerms.decode(terms.encode() + (32).to_bytes(4, "big") + NO_DIGEST)
    with pytest.raises(ValueError, match="another length"):
        MaskingTerms.decode(terms.encode() + (31).to_bytes(4, "big") + bytes(31))
