"""Laws of every partition: all rows, each once, never fewer than the minimum, a function of the seed."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.partitions import dirichlet, iid


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 12),
    rows=st.integers(120, 400),
    classes=st.integers(1, 5),
    alpha=st.sampled_from([0.01, 0.1, 1.0, 100.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_row_goes_to_one_hospital_and_every_hospital_keeps_its_minimum(n, rows, classes, alpha, seed) -> None:
    y = np.random.default_rng(seed).integers(0, classes, rows)
    for deal in (lambda rng: iid(rows, n, rng, 10), lambda rng: dirichlet(y, n, alpha, rng, 10)):
        parts, again = deal(np.random.default_rng(seed)), deal(np.random.default_rng(seed))
        assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(rows))
        assert len(parts) == n and min(len(part) for part in parts) >= 10
        assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
