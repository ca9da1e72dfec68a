"""How a table's rows are dealt to hospitals: at random, skewed by label, or as they were collected.

Every partition is a tuple of n index arrays, disjoint, sorted, together all rows, each of at least `minimum` rows,
and a
function of its arguments alone: the same generator state deals the same rows.
"""

import numpy as np
from numpy.typing import NDArray

from flower_robust.errors import ConfigurationError

PARTITIONS = ("iid", "dirichlet", "natural")
MINIMUM_ROWS = 8

Indices = NDArray[np.int64]


def iid(rows: int, n: int, rng: np.random.Generator, minimum: int = MINIMUM_ROWS) -> tuple[Indices, ...]:
    """Equal shares of a random permutation.

    hospital i gets rows π(j) with j ≡ i (mod n)

    rows, n: how many rows and hospitals; minimum: rows that every hospital keeps.
    Raises ConfigurationError when n·minimum > rows.
    """
    _check_enough(rows, n, minimum)
    order = rng.permutation(rows)
    return tuple(np.sort(order[i::n]) for i in range(n))


def dirichlet(
    y: NDArray[np.int64], n: int, alpha: float, rng: np.random.Generator, minimum: int = MINIMUM_ROWS
) -> tuple[Indices, ...]:
    """Label skew: each class is dealt by its own draw of shares.

    p_k ~ Dir(α, …, α) over hospitals; hospital i gets a share p_k[i] of class k

    y: Int64[rows], labels; alpha > 0: small is skewed, large is IID; minimum: rows that every hospital keeps, taken
    from the largest hospital where a draw gave fewer.
    Raises ConfigurationError when n·minimum > rows or alpha is not above 0.

    Hsu, Qi, Brown 2019, section 3.
    """
    _check_enough(len(y), n, minimum)
    if not alpha > 0:
        raise ConfigurationError("alpha", alpha, "a number above 0")
    owner = np.empty(len(y), dtype=np.int64)
    for k in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == k))
        bounds = np.floor(np.cumsum(rng.dirichlet(np.full(n, alpha))) * len(members)).astype(np.int64)
        owner[members] = np.minimum(np.searchsorted(bounds, np.arange(len(members)), side="right"), n - 1)
    _top_up(owner, n, minimum, rng)
    return _by_owner(owner, n)


def natural(site: NDArray[np.int64]) -> tuple[Indices, ...]:
    """The hospitals that collected the rows. site: Int64[rows], 0..n-1."""
    return _by_owner(site, int(site.max()) + 1)


def _by_owner(owner: NDArray[np.int64], n: int) -> tuple[Indices, ...]:
    return tuple(np.flatnonzero(owner == i) for i in range(n))


def _top_up(owner: NDArray[np.int64], n: int, minimum: int, rng: np.random.Generator) -> None:
    counts = np.bincount(owner, minlength=n)
    for i in np.flatnonzero(counts < minimum):
        while counts[i] < minimum:
            largest = int(counts.argmax())
            owner[rng.choice(np.flatnonzero(owner == largest))] = i
            counts[largest] -= 1
            counts[i] += 1


def _check_enough(rows: int, n: int, minimum: int) -> None:
    if n < 1 or n * minimum > rows:
        raise ConfigurationError("hospitals", n, f"1 to {rows // minimum} ({rows} rows, at least {minimum} each)")
