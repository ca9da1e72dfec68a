"""Distances and norms opened from shares are those of the sketches of the masked integers, exactly."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flower_robust.masking import decoding, fixed_point, masks, ring, sharing, sketch, squares
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.public import PublicElements

SEEDS = [bytes([i]) * 32 for i in range(128)]
few = settings(max_examples=6, deadline=None)


@few
@given(st.integers(5, 7), st.integers(0, 1000), st.integers(0, 2), st.integers(0, 1), st.booleans())
def test_opened_squares_are_those_of_the_open_sketches(
    n: int, seed: int, drop_outs: int, excluded: int, reference: bool
) -> None:
    t, B, rng = 1, 3, np.random.default_rng(seed)
    a = PublicElements(SEEDS[0], B)
    xs = [fixed_point.encode(rng.normal(size=B * 4096).astype(np.float32), 150.0, SEEDS[1]).x for _ in range(n)]
    noisy = [masks.add_noise(x, SEEDS[16 + i]) for i, x in enumerate(xs)]
    secrets = [masks.draw_secret(SEEDS[32 + i]) for i in range(n)]
    ys = [masks.mask(x, s, a, SEEDS[16 + i]) for i, (x, s) in enumerate(zip(xs, secrets, strict=True))]
    dealt = np.stack([sharing.share(s, t, n, SEEDS[48 + i]) for i, s in enumerate(secrets)], axis=1)
    zeros = np.stack([sharing.share_zero(squares.zero_length(n), 2 * t, n, SEEDS[64 + i]) for i in range(n)], axis=1)

    dealers = [i for i in range(n) if i != 1] if excluded else list(range(n))
    P = sketch.sketch_map(SEEDS[2], B)
    row = fixed_point.encode(rng.normal(size=B * 4096).astype(np.float32), 150.0, SEEDS[1]).x
    public = sketch.sketch(P, ring.from_integers(row.reshape(B, -1))) if reference else None
    A, shown = sketch.public_sums(P, a), sketch.sketches(P, [ys[i] for i in dealers])
    responders = sorted(int(j) for j in rng.choice(n, n - drop_outs, replace=False))
    answers = np.stack(
        [
            squares.square_shares(
                sketch.sketch_share_parts(P, A, shown, dealt[j, dealers]), zeros[j, dealers], dealers, public
            )
            for j in responders
        ]
    )
    opened = squares.read_squares(
        decoding.open_shares(answers, responders, 2 * t, SEEDS[3]).values, len(dealers), 2.0**PARAMETERS.scale_bits
    )

    plain = [ring.from_integers(noisy[i].reshape(B, -1)) for i in dealers]
    sketched = np.stack([ring.centred(sketch.sketch(P, v)) for v in plain]).astype(object)
    gain, m = PARAMETERS.gain, PARAMETERS.m
    for i, u in enumerate(sketched):
        partial = [float(int(row @ row) / gain) for row in u]
        np.testing.assert_allclose(opened.partial_squared_norms[i], partial, rtol=1e-12)
        for k, v in enumerate(sketched):
            difference = (u - v).reshape(-1)
            np.testing.assert_allclose(
                opened.squared_distances[i, k], float(int(difference @ difference) / gain / m), rtol=1e-12
            )
    check_reference(opened, sketched, public)


def check_reference(opened: squares.Squares, sketched: np.ndarray, public: ring.Residues | None) -> None:
    """Distances to the public row are exact, and its own norms are read in the same unit."""
    assert (opened.to_reference is None) == (public is None)
    if public is None or opened.to_reference is None:
        return
    v, gain = ring.centred(public).astype(object), PARAMETERS.gain
    differences = (sketched - v).reshape(len(sketched), -1)
    exact = [float(int(difference @ difference) / gain / PARAMETERS.m) for difference in differences]
    np.testing.assert_allclose(opened.to_reference, exact, rtol=1e-12)
    own = [float(int(row @ row) / gain) for row in v]
    np.testing.assert_allclose(squares.public_squared_norms(public, 2.0**PARAMETERS.scale_bits), own, rtol=1e-12)


@few
@given(st.integers(0, 1000))
def test_the_sketch_is_one_integer_map(seed: int) -> None:
    """P·(2x + 3y) = 2P·x + 3P·y, and a block of one coefficient lands in one bucket per ring sum, with weight κκ'."""
    rng = np.random.default_rng(seed)
    P = sketch.sketch_map(rng.bytes(32), 5)
    x, y = (ring.from_integers(rng.integers(-(2**40), 2**40, (5, 4096))) for _ in range(2))
    left = sketch.sketch(P, ring.weighted_sum([2, 3], [x, y]))
    assert (left == ring.weighted_sum([2, 3], [sketch.sketch(P, x), sketch.sketch(P, y)])).all()
    one = ring.zeros(5, 4096)
    one[:, rng.integers(5), rng.integers(4096)] = 1
    landed = ring.centred(sketch.sketch(P, one))
    assert (np.count_nonzero(landed, axis=1) == 1).all()
    products = {i * k for i in PARAMETERS.magnitudes for k in PARAMETERS.magnitudes}
    assert set(np.abs(landed[landed != 0]).tolist()) <= products


@few
@given(st.integers(0, 1000))
def test_the_gram_matrix_is_exact(seed: int) -> None:
    rows = ring.from_integers(np.random.default_rng(seed).integers(-(2**62), 2**62, (4, 2500)))
    grams = ring.zeros(rows.shape[1], rows.shape[1])
    squares.gram(np.ascontiguousarray(np.moveaxis(rows, 0, 1)), grams)
    for p, plane in enumerate(ring.planes()):
        exact = rows[p].astype(object) @ rows[p].astype(object).T % plane.q
        assert (np.tril(grams[p]) == np.tril(exact.astype(np.int64))).all()
