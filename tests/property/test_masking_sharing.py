"""Sharing and decoding: exact for every subset that is large enough, liars named up to the bound, refused beyond."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flower_robust.errors import ConfigurationError, NotEnoughShares
from flower_robust.masking import decoding, ring, sharing
from flower_robust.masking.ring import Residues
from flower_robust.masking.stream import uniform
from flower_robust.masking.thresholds import survives

SEED, LATER = bytes(32), bytes([1]) * 32
few = settings(max_examples=80, deadline=None)
cohorts = st.tuples(st.integers(2, 24), st.integers(1, 8)).filter(lambda c: c[1] < c[0])


def corrupt(shares: Residues, rows: list[int], rng: np.random.Generator) -> Residues:
    """Each row wrong in one random entry of one random plane."""
    wrong = shares.copy()
    for row in rows:
        p, k = int(rng.integers(2)), int(rng.integers(shares.shape[2]))
        q = ring.planes()[p].q
        wrong[row, p, k] = (int(wrong[row, p, k]) + int(rng.integers(1, q))) % q
    return wrong


def choose(rng: np.random.Generator, n: int, size: int) -> list[int]:
    return sorted(int(v) for v in rng.choice(n, size, replace=False))


@few
@given(cohorts, st.integers(0, 2**32), st.integers(0, 8), st.integers(0, 8))
def test_values_are_opened_and_liars_named_up_to_the_bound(
    cohort: tuple[int, int], seed: int, drop_outs: int, liars: int
) -> None:
    (n, degree), rng = cohort, np.random.default_rng(seed)
    assume(n - drop_outs >= degree + 1 + 2 * liars)
    values = uniform(SEED, "values", 5)
    clients = choose(rng, n, n - drop_outs)
    rows = choose(rng, len(clients), liars)
    shares = corrupt(sharing.share(values, degree, n, SEED)[clients], rows, rng)
    opened = decoding.open_shares(shares, clients, degree, LATER)
    assert (opened.values == values).all()
    assert opened.wrong == tuple(clients[row] for row in rows)


@few
@given(cohorts, st.integers(0, 2**32))
def test_one_liar_too_many_is_refused_and_nothing_is_opened(cohort: tuple[int, int], seed: int) -> None:
    (n, degree), rng = cohort, np.random.default_rng(seed)
    liars = (n - degree - 1) // 2 + 1
    assume(n - liars > 0 and n > degree + 1)
    shares = sharing.share(uniform(SEED, "values", 5), degree, n, SEED)
    with pytest.raises(NotEnoughShares) as error:
        decoding.open_shares(corrupt(shares, choose(rng, n, liars), rng), range(n), degree, LATER)
    assert (error.value.had, error.value.needed) == (n, degree + 1 + 2 * liars)


@few
@given(cohorts)
def test_degree_many_answers_are_refused(cohort: tuple[int, int]) -> None:
    n, degree = cohort
    shares = sharing.share(uniform(SEED, "values", 5), degree, n, SEED)
    with pytest.raises(NotEnoughShares, match=f"required {degree + 1}"):
        decoding.open_shares(shares[:degree], range(degree), degree, LATER)


@few
@given(cohorts, st.lists(st.integers(0, 255), min_size=3, max_size=3))
def test_shares_are_linear(cohort: tuple[int, int], weights: list[int]) -> None:
    n, degree = cohort
    dealt = [uniform(SEED, f"values {i}", 5) for i in range(3)]
    shares = [sharing.share(v, degree, n, bytes([i]) * 32) for i, v in enumerate(dealt)]
    combined = np.stack([ring.weighted_sum(weights, [s[j] for s in shares]) for j in range(n)])
    opened = decoding.open_shares(combined, range(n), degree, LATER)
    assert (opened.values == ring.weighted_sum(weights, dealt)).all()


@few
@given(st.integers(5, 16), st.integers(0, 2**32))
def test_dealers_are_judged_by_the_degree_of_what_they_shared(n: int, seed: int) -> None:
    t, rng = (n - 1) // 4, np.random.default_rng(seed)
    bad, liar = (int(v) for v in rng.choice(n, 2, replace=False))
    liars = [liar] if survives(n, t, 0, 1) else []
    dealt = [sharing.share(uniform(SEED, f"{i}", 4), n - 1 if i == bad else t, n, bytes([i]) * 32) for i in range(n)]
    received = np.stack(dealt, axis=1)
    answers = np.stack([decoding.test_values(received[j], LATER, "degree test") for j in range(n)])
    answers[liars] = uniform(SEED, "lies", n)
    inspection = decoding.inspect_dealers(answers, range(n), t)
    assert inspection.faulty == (bad,)
    assert inspection.dissent == {i: (liar,) for i in range(n) if liars and i != bad}


@few
@given(st.integers(5, 16), st.integers(0, 2**32))
def test_a_sharing_of_zero_that_is_not_zero_is_seen(n: int, seed: int) -> None:
    t = (n - 1) // 4
    bad = seed % n
    zeros = [sharing.share_zero(6, 2 * t, n, bytes([i]) * 32) for i in range(n)]
    lie = ring.zeros(6)
    lie[:, seed % 5] = 1
    zeros[bad] = sharing.share(lie, 2 * t, n, LATER)
    received = np.stack(zeros, axis=1)
    answers = np.stack([decoding.test_values(received[j], LATER, "zero test") for j in range(n)])
    assert decoding.inspect_dealers(answers, range(n), 2 * t).faulty == ()
    assert decoding.inspect_dealers(answers, range(n), 2 * t, vanishing=True).faulty == (bad,)


@pytest.mark.parametrize(("degree", "n"), [(0, 3), (3, 3), (1, 1)])
def test_sharings_that_nobody_could_open_are_refused(degree: int, n: int) -> None:
    with pytest.raises(ConfigurationError):
        sharing.share(ring.zeros(2), degree, n, SEED)
