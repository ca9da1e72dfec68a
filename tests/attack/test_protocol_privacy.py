"""What a curious server with colluding clients can and cannot work out: each check fails if its defence is removed.

The rank tests run on a small field and a small sketch, where all unknowns can be counted; the protocol's own sharing
and decoding are used wherever they are what is tested.
"""

from dataclasses import replace

import numpy as np
import pytest

from flower_robust.aggregation import Mean
from flower_robust.errors import InconsistentShares, NormBoundExceeded, RoundAborted, SumOutOfRange
from flower_robust.masking import ring
from flower_robust.masking.masks import mask
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.public import PublicElements
from flower_robust.masking.sharing import lagrange_at_zero, share
from flower_robust.masking.stream import uniform
from flower_robust.protocol import server_decide
from flower_robust.protocol.dealing import Dealing, Share, own_secret
from flower_robust.protocol.sizes import Sizes
from tests.protocol_liars import WrongRecheckKeys, both, fraction_of_q
from tests.protocol_world import World

Q = 65537


def rank(rows: np.ndarray) -> int:
    """Rank modulo the prime Q."""
    rows, found = np.array(rows, np.int64) % Q, 0
    for column in range(rows.shape[1]):
        pivots = np.flatnonzero(rows[found:, column])
        if not len(pivots):
            continue
        rows[[found, found + pivots[0]]] = rows[[found + pivots[0], found]]
        rows[found] = rows[found] * pow(int(rows[found, column]), -1, Q) % Q
        others = np.flatnonzero(rows[:, column])
        others = others[others != found]
        rows[others] = (rows[others] - rows[others, column][:, None] * rows[found]) % Q
        found += 1
        if found == len(rows):
            break
    return found


def views(n: int, t: int, k: int, colluders: list[int], blinded: bool, rng: np.random.Generator) -> np.ndarray:
    """The server's linear knowledge of one victim's sketch u (k unknowns) from shares of its inner products.

    The victim deals u with degree t; what the server gets are the n values of the polynomial <u(z), v(z)>, for each of
    many known sketches v (colluders' own updates), of degree 2t. Columns: k secrets, t·k share coefficients of the
    victim, then 2t blinding coefficients per value. Rows: linear equations, colluders' shares included.
    """
    known = max(4 * k, 8)
    columns = k + t * k + (2 * t * known if blinded else 0)
    rows = []
    for j in colluders:
        for entry in range(k):
            row = np.zeros(columns, np.int64)
            for degree in range(t + 1):
                row[degree * k + entry] = pow(j + 1, degree, Q)
            rows.append(row)
    for value in range(known):
        sketch = rng.integers(0, Q, (t + 1, k))
        for j in range(n):
            row = np.zeros(columns, np.int64)
            theirs = sum(sketch[degree] * pow(j + 1, degree, Q) for degree in range(t + 1)) % Q
            for degree in range(t + 1):
                row[degree * k : (degree + 1) * k] = theirs * pow(j + 1, degree, Q) % Q
            if blinded:
                for degree in range(1, 2 * t + 1):
                    row[k + t * k + 2 * t * value + degree - 1] = pow(j + 1, degree, Q)
            rows.append(row)
    return np.array(rows)


def determined(rows: np.ndarray, k: int, t: int) -> int:
    """How many independent combinations of the victim's shared polynomial beyond what colluders hold are fixed."""
    inner = k + t * k
    return rank(rows) - rank(rows[:, inner:]) if rows.shape[1] > inner else rank(rows)


@pytest.mark.parametrize(("n", "t", "k"), [(5, 1, 6), (9, 2, 4)])
def test_without_zero_sharings_the_inner_products_shares_leak_the_sharing_with_them_only_the_products(n, t, k):
    rng = np.random.default_rng(1)
    colluders = list(range(t))
    bare = views(n, t, k, colluders, blinded=False, rng=rng)
    assert determined(bare, k, t) == (t + 1) * k, "every coefficient of the victim's polynomial is recovered"
    few = min(2, k - 1)
    rng = np.random.default_rng(1)
    blinded = views(n, t, k, colluders, blinded=True, rng=rng)
    per_value = blinded[: t * k + few * n]
    assert determined(per_value, k, t) == t * k + few, "colluders' shares, and one inner product per opened value"


def test_t_shares_fit_every_secret_and_t_plus_one_only_one():
    """n = 9, t = 2: any other secret has a polynomial through the same two shares; through three there is one."""
    n, t, length = 9, 2, 64
    secret, other = uniform(b"\x01" * 32, "s", length), uniform(b"\x02" * 32, "s", length)
    shares = share(secret, t, n, b"\x03" * 32)
    seen = [3, 6]
    for hidden in (secret, other):
        points = [0, *(j + 1 for j in seen)]
        values = np.stack([hidden, *shares[seen]])
        explained = interpolated(points, values, [j + 1 for j in range(n)])
        assert (explained[seen] == shares[seen]).all(), "the same view under either secret"
    weights = lagrange_at_zero([1, 3, 6])
    opened = [
        sum(int(w) * row.astype(object) for w, row in zip(weights[p], shares[[1, 3, 6], p], strict=True)) % q
        for p, q in enumerate(PARAMETERS.primes)
    ]
    assert (np.array(opened).astype(np.uint32) == secret).all(), "t + 1 shares are the secret"


def interpolated(points: list[int], values: np.ndarray, at: list[int]) -> np.ndarray:
    """Values [len(at), 2, K] of the polynomials through values [len(points), 2, K], over either prime."""
    out = np.zeros((len(at), *values.shape[1:]), np.uint32)
    for p, q in enumerate(PARAMETERS.primes):
        for row, z in enumerate(at):
            total = np.zeros(values.shape[2], object)
            for i, x in enumerate(points):
                weight = 1
                for k, other in enumerate(points):
                    if k != i:
                        weight = weight * (z - other) * pow(x - other, -1, q) % q
                total = (total + weight * values[i, p].astype(object)) % q
            out[row, p] = total.astype(np.uint32)
    return out


def dealt(entropy: bytes, sizes: Sizes) -> list[Share]:
    dealing = Dealing.draw(entropy, sizes)
    return [dealing.share(j) for j in range(sizes.n)]


def test_the_dealings_zeros_are_zero_fresh_and_of_full_degree():
    world = World(n=9, t=2)
    sizes = Sizes.of(world.plan(Mean()))
    first, second = (np.stack([s.zeros for s in dealt(bytes([b]) * 32, sizes)]) for b in (1, 2))
    weights = lagrange_at_zero(range(5))
    for p, q in enumerate(PARAMETERS.primes):
        opened = sum(int(w) * row.astype(object) for w, row in zip(weights[p], first[:5, p], strict=True)) % q
        assert not opened.any()
        short = lagrange_at_zero(range(4))
        partial = sum(int(w) * row.astype(object) for w, row in zip(short[p], first[:4, p], strict=True)) % q
        assert np.count_nonzero(partial) > 0.99 * len(partial), "four of five shares open nothing"
    assert (first != second).any(axis=(0, 1)).all(), "no zero polynomial repeats between dealings"
    assert len({first[:, :, k].tobytes() for k in range(first.shape[2])}) == first.shape[2]


def test_a_masked_upload_is_uniform_and_gradient_inversion_finds_nothing():
    """Inverting a linear model's gradient (label times input) recovers the input exactly in the clear, never masked."""
    rng = np.random.default_rng(3)
    patient = rng.standard_normal(PARAMETERS.N)
    gradient = np.rint(-1.7 * patient / np.linalg.norm(patient) * 2**20).astype(np.int32)
    clear = abs(np.corrcoef(gradient, patient)[0, 1])
    assert clear > 0.999
    a = PublicElements(b"\x05" * 32, 1)
    guesses = []
    for k in range(20):
        entropy = bytes([k + 1]) * 32
        y = mask(gradient, own_secret(entropy), a, entropy)
        guesses.append(abs(np.corrcoef(ring.centred(y).reshape(-1).astype(np.float64), patient)[0, 1]))
        for p, q in enumerate(PARAMETERS.primes):
            counts = np.histogram(y[p], bins=16, range=(0, q))[0]
            assert ((counts - 256) ** 2 / 256).sum() < 60, "uniform: chi-square with 15 degrees of freedom"
    assert max(guesses) < 6 / np.sqrt(PARAMETERS.N), "no more than chance"
    total = ring.centred(ring.subtract(y, mask(0 * gradient, own_secret(entropy), a, entropy))).reshape(-1)
    assert (total == gradient).all(), "the attack itself works where the mask is known"


def test_two_rounds_of_the_same_update_share_no_mask():
    world = World(n=5, t=1)
    updates = world.updates()
    first = world.run(Mean(), updates).opened.decided.challenged.submissions[0].upload
    second = world.run(Mean(), updates, round=2).opened.decided.challenged.submissions[0].upload
    assert not (first == second).all(axis=(0, 1, 2)).any()
    assert np.count_nonzero(np.array(first) == np.array(second)) <= 2


def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrapped update passes its sketch once in more than a thousand rounds; make the first check miss it."""
    monkeypatch.setattr(server_decide, "bound_fault", lambda *_: None)
    monkeypatch.setattr(server_decide, "mismatch_fault", lambda *_: None)
    monkeypatch.setattr(server_decide, "contradictions", lambda *_: [])


@pytest.mark.parametrize(("divisor", "trust"), [(2, 1.0), (3, 0.5)])
def test_a_wrapped_update_that_passes_its_sketch_is_caught_by_the_range_and_named_by_a_fresh_challenge(
    divisor, trust, monkeypatch
):
    world = World(n=7, t=1, make={4: fraction_of_q(divisor)})
    blind(monkeypatch)
    with pytest.raises(RoundAborted) as aborted:
        world.run(Mean(), trust=dict.fromkeys(world.names, 1.0) | {"h4": trust})
    assert isinstance(aborted.value.reason, SumOutOfRange)
    assert {(fault.culprit, type(fault)) for fault in aborted.value.faults} == {("h4", NormBoundExceeded)}


def test_a_wrapped_update_whose_owner_hides_its_fresh_norms_is_named_all_the_same(monkeypatch):
    """Wrong pad keys spoil the liar's own norms only, and an honest dealer's norms always decode."""
    world = World(n=7, t=1, make={4: both(WrongRecheckKeys, fraction_of_q(2))})
    blind(monkeypatch)
    with pytest.raises(RoundAborted) as aborted:
        world.run(Mean())
    assert {(fault.culprit, type(fault)) for fault in aborted.value.faults} == {("h4", InconsistentShares)}


def test_a_wrapped_update_whose_weight_undoes_it_is_harmless(monkeypatch):
    """255 times a third (mod q) is 85: it moves the weighted sum by 85 steps, the mean by 1/21 of a step of C/2^22."""
    world = World(n=7, t=1, make={4: fraction_of_q(3)})
    updates = world.updates()
    blind(monkeypatch)
    outcome = world.run(Mean(), updates)
    expected = np.mean([updates[name].astype(np.float64) for name in world.names], axis=0)
    assert np.abs(outcome.aggregate - expected).max() <= 10 / 2**22


def test_the_view_of_a_client_holds_no_unmasked_word_of_another():
    """Everything client 0 holds after its last step: shares, never y, x, s or a norm of another client."""
    world = World(n=5, t=1)
    world.run(Mean())
    state = world.clients["h0"].state
    secrets = [own_secret(client.state.dealt.entropy) for client in world.clients.values()]
    for i in range(1, 5):
        assert (state.held.secrets[i] != secrets[i]).mean() > 0.99
    assert not hasattr(replace(state), "y")
