"""Rank tests: what t colluders and the server can solve for, over the field, through the code that clients run."""

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest

from flower_robust.masking import ring, sharing, squares
from flower_robust.masking.stream import uniform

SEED = bytes(32)
Q = ring.planes()[0].q
Matrix = npt.NDArray[np.object_]


def rank(rows: Matrix) -> int:
    """Rank over the first prime field, by elimination on python integers."""
    matrix = rows.astype(object) % Q
    done = 0
    for column in range(matrix.shape[1]):
        pivot = next((r for r in range(done, len(matrix)) if matrix[r, column]), None)
        if pivot is None:
            continue
        matrix[[done, pivot]] = matrix[[pivot, done]]
        matrix[done] = matrix[done] * pow(int(matrix[done, column]), -1, Q) % Q
        below = matrix[done + 1 :]
        below[:] = (below - np.outer(below[:, column], matrix[done])) % Q
        done += 1
        if done == len(matrix):
            break
    return done


def share_map(degree: int, n: int) -> Matrix:
    """[n, degree + 1]: the shares as a linear map of (secret, r_1, ..., r_degree), read off the code."""
    units = np.broadcast_to(np.eye(degree + 1, dtype=np.uint32), (2, degree + 1, degree + 1))
    return sharing.evaluate(np.ascontiguousarray(units), n)[:, 0].astype(object)


@pytest.mark.parametrize(("n", "t"), [(3, 1), (7, 1), (10, 2), (13, 3)])
def test_t_shares_leave_every_secret_possible_and_t_plus_one_leave_one(n: int, t: int) -> None:
    secret = np.eye(1, t + 1, dtype=np.int64).astype(object)
    shares = share_map(t, n)
    rng = np.random.default_rng(n)
    for _ in range(10):
        view = shares[rng.choice(n, t, replace=False)]
        assert rank(np.vstack([view, secret])) == rank(view) + 1
        view = shares[rng.choice(n, t + 1, replace=False)]
        assert rank(np.vstack([view, secret])) == rank(view)


def test_the_view_of_t_colluders_is_also_that_of_another_secret() -> None:
    n, t, K = 7, 2, 5
    polynomial = uniform(SEED, "polynomial", t + 1, K)
    vanishing = np.array([2, -3, 1])
    other = ring.add(polynomial, ring.from_integers(np.repeat(vanishing[:, None], K, axis=1)))
    first, second = sharing.evaluate(polynomial, n), sharing.evaluate(other, n)
    assert (first[:2] == second[:2]).all()
    assert (polynomial[:, 0] != other[:, 0]).all()
    assert (first[2:] != second[2:]).all()


class View:
    """What the server and client 0 see of 5 clients (t = 1), sketches of m·c values, as a function of the secrets."""

    n, t, m, c = 5, 1, 2, 3

    def __init__(self, reference: bool = False) -> None:
        self.reference = uniform(SEED, "reference", self.m, self.c) if reference else None
        self.u0 = ring.centred(uniform(SEED, "known", self.n, self.m * self.c)) % Q
        self.length = self.m + self.n + 1
        self.unknown = (self.n - 1) * self.m * self.c
        self.blinds = (self.n - 1) * self.length * 2 * self.t

    def sketch_shares(self, v: Matrix, j: int) -> ring.Residues:
        """Client j's shares: known at client 0's point, with one unknown slope per value of every other client."""
        u = self.u0.astype(object).copy()
        u[1:] += j * v.reshape(self.n - 1, -1)
        plane = (u % Q).astype(np.uint32).reshape(self.n, 1, self.m, self.c)
        return np.repeat(plane, 2, axis=1)

    def zeros(self, z: Matrix, j: int) -> ring.Residues:
        """Client j's shares of the others' sharings of zero, degree 2t, coefficients z; client 0's own are known."""
        powers = np.array([(j + 1) ** k for k in range(1, 2 * self.t + 1)], object)
        shares = np.zeros((self.n, self.length), object)
        shares[1:] = z.reshape(self.n - 1, self.length, -1) @ powers
        return np.repeat((shares % Q).astype(np.uint32)[:, None], 2, axis=1)

    def __call__(self, v: Matrix, z: Matrix) -> Matrix:
        """All answers of all clients, and the sharings of zero that client 0 received."""
        answers = [
            squares.square_shares([self.sketch_shares(v, j)], self.zeros(z, j), range(self.n), self.reference)[0]
            for j in range(self.n)
        ]
        return np.concatenate([*answers, self.zeros(z, 0)[:, 0].reshape(-1)]).astype(object)

    def jacobian(self, at: Matrix, blinded: bool) -> tuple[Matrix, Matrix]:
        """Derivatives by the unknown slopes and by the blinds: exact central differences, as the view is quadratic."""
        none, half = np.zeros(self.blinds, object), pow(2, -1, Q)
        steps = np.eye(self.unknown, dtype=np.int64).astype(object)
        by_slope = [(self(at + e, none) - self(at - e, none)) * half % Q for e in steps]
        units = np.eye(self.blinds, dtype=np.int64).astype(object)
        by_blind = [(self(at, e) - self(at, none)) % Q for e in units if blinded]
        return np.array(by_slope, object), np.array(by_blind, object).reshape(len(by_blind), len(by_slope[0]))


@pytest.fixture(scope="module")
def view() -> View:
    return View()


def learned(view: View, *, blinded: bool) -> int:
    """Independent equations on the unknown slopes that remain when everything blinded is discounted."""
    at = ring.centred(uniform(SEED, "slopes", view.unknown)).astype(object) % Q
    by_slope, by_blind = view.jacobian(at, blinded)
    return rank(np.vstack([by_slope, by_blind]).T) - (rank(by_blind.T) if blinded else 0)


def test_without_sharings_of_zero_one_colluder_solves_for_everything(view: View) -> None:
    assert learned(view, blinded=False) == view.unknown


def test_with_sharings_of_zero_only_the_opened_squares_are_learned(view: View) -> None:
    """One equation per distance (the colluder's own update is known) and per partial norm of an honest client."""
    distances, norms = view.n * (view.n - 1) // 2, (view.n - 1) * view.m
    assert learned(view, blinded=True) == distances + norms < view.unknown


def test_a_reference_adds_one_equation_on_each_honest_client_and_no_more() -> None:
    """As a colluder that chooses its own update would: its distance to the public row, blinded by its own sharing."""
    with_one, opened = View(reference=True), 5 * 4 // 2 + 4 * 2
    assert learned(with_one, blinded=True) == opened + 4 < with_one.unknown
    assert learned(with_one, blinded=False) == with_one.unknown


def test_rank_is_that_of_known_matrices() -> None:
    rows = np.array([[i * k for k in range(1, 5)] for i in range(1, 4)], object)
    assert rank(rows) == 1
    assert rank(np.array(list(product(range(2), repeat=3)), object)) == 3
