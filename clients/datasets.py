"""The collections of the simulation and how they become a federation of hospitals.

breast-cancer and digits come with scikit-learn, heart is the UCI collection (`clients.heart`).
"""

import csv
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clients import heart
from clients.partitions import dirichlet, iid, natural
from flower_robust.errors import ConfigurationError

FEDERATED = "federated"
STANDARDISATIONS = ("pooled", FEDERATED, "hospital", "none")
TEST_SHARE = 0.25
CONSTANT = 1e-6
"""A column whose deviation is below this is constant: it is centred, not scaled."""

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Records and labels: X Float32[rows, *shape], y Int64[rows]."""

    X: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Hospital:
    """One participant's records; `test` is never trained on."""

    name: str
    train: Rows
    test: Rows


@dataclass(frozen=True)
class Federation:
    """The hospitals of one run, how many classes their labels have, and rows that the server trains on itself."""

    hospitals: tuple[Hospital, ...]
    classes: int
    root: Rows | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The hospitals' names, in order."""
        return tuple(hospital.name for hospital in self.hospitals)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one record."""
        return tuple(self.hospitals[0].train.X.shape[1:])

    def standardised(self, mean: Floats, deviation: Floats) -> "Federation":
        """The same hospitals with (X − mean) / deviation, both Float64[features]."""

        def scaled(rows: Rows) -> Rows:
            X = rows.X.double().numpy()
            return _rows((X - mean.reshape(X.shape[1:])) / deviation.reshape(X.shape[1:]), rows.y.numpy())

        hospitals = tuple(replace(h, train=scaled(h.train), test=scaled(h.test)) for h in self.hospitals)
        return replace(self, hospitals=hospitals, root=None if self.root is None else scaled(self.root))

    @property
    def pooled_test(self) -> Rows:
        """Every hospital's test rows together."""
        tests = [hospital.test for hospital in self.hospitals]
        return Rows(torch.cat([test.X for test in tests]), torch.cat([test.y for test in tests]))


@dataclass(frozen=True)
class Collection:
    """A table before it is dealt: X Float64[rows, *shape], y Int64[rows], and where it has them sites and a fixed
    split."""

    X: Floats
    y: Labels
    site: Labels | None = None
    site_names: tuple[str, ...] = ()
    is_test: NDArray[np.bool_] | None = None


def read_breast_cancer(data_dir: str) -> Collection:
    """Breast cancer Wisconsin (diagnostic): 569 rows, 30 inputs, malignant (1) or benign (0)."""
    del data_dir
    with _shipped("breast_cancer.csv").open(newline="") as file:
        table = np.array([[float(field) for field in row] for row in list(csv.reader(file))[1:]])
    return Collection(table[:, :-1], 1 - table[:, -1].astype(np.int64))


def read_digits(data_dir: str) -> Collection:
    """Optical recognition of handwritten digits: 1797 rows of 1 × 8 × 8 grey values in 0..1, 10 classes."""
    del data_dir
    table = np.loadtxt(_shipped("digits.csv.gz"), delimiter=",")
    return Collection(table[:, :-1].reshape(-1, 1, 8, 8) / 16, table[:, -1].astype(np.int64))


def read_heart(data_dir: str) -> Collection:
    """UCI heart disease: 740 complete rows of four hospitals, 13 inputs, with FLamby's split."""
    X, y, site, is_test = heart.read(heart.locate(data_dir))
    return Collection(X, y, site, heart.HOSPITALS, is_test)


DATASETS: dict[str, Callable[[str], Collection]] = {
    "breast-cancer": read_breast_cancer,
    "digits": read_digits,
    "heart": read_heart,
}


def load_federation(
    dataset: str,
    *,
    hospitals: int,
    partition: str,
    alpha: float = 0.5,
    seed: int = 0,
    data_dir: str = "",
    standardise: str = "pooled",
    root_rows: int = 0,
) -> Federation:
    """Read a collection, deal it to hospitals, split and standardise.

    dataset: a name in DATASETS; hospitals: n; partition: "iid", "dirichlet" (with `alpha`) or "natural"; seed fixes
    every draw; standardise: by the statistics of all training rows ("pooled"), of the hospital's own ("hospital"), or
    not here: "none" at all, "federated" by private sums before the first round (`server.standardisation`). root_rows:
    so many training rows, whosever they were, are the server's and no hospital's.
    Raises ConfigurationError naming the option that cannot work, CorruptFile on a wrong checksum.
    """
    collection = DATASETS[dataset](data_dir)
    rng = np.random.default_rng([seed, 1])
    parts = _deal(dataset, collection, hospitals, partition, alpha, rng)
    tests = [_test_mask(collection, partition, part, rng) for part in parts]
    trains = [part[~test] for part, test in zip(parts, tests, strict=True)]
    pooled = collection.X[np.concatenate(trains)]
    root, trains = _set_aside(root_rows, trains, np.random.default_rng([seed, 2]))

    def standardised(own: Labels, *others: Labels) -> list[Rows]:
        mean, deviation = _statistics(standardise, pooled, collection.X[own])
        return [_rows((collection.X[rows] - mean) / deviation, collection.y[rows]) for rows in (own, *others)]

    built = [
        Hospital(_name(collection, partition, i), *standardised(train, part[test]))
        for i, (train, part, test) in enumerate(zip(trains, parts, tests, strict=True))
    ]
    classes = int(collection.y.max()) + 1
    return Federation(tuple(built), classes, standardised(root)[0] if len(root) else None)


def _set_aside(count: int, trains: list[Labels], rng: np.random.Generator) -> tuple[Labels, list[Labels]]:
    """Row numbers for the server, drawn from everybody's, and what that leaves each hospital."""
    pooled = np.concatenate(trains)
    root = np.sort(rng.permutation(pooled)[:count])
    left = [train[~np.isin(train, root)] for train in trains]
    if count and (count == 1 or len(root) < count or not all(len(train) > 1 for train in left)):
        required = f"0, or 2 and more that leave each hospital two of the {len(pooled)} training rows"
        raise ConfigurationError("root-rows", count, required)
    return root, left


def _deal(
    dataset: str, collection: Collection, n: int, partition: str, alpha: float, rng: np.random.Generator
) -> tuple[Labels, ...]:
    if partition == "iid":
        return iid(len(collection.y), n, rng)
    if partition == "dirichlet":
        return dirichlet(collection.y, n, alpha, rng)
    if collection.site is None:
        raise ConfigurationError(
            "partition", partition, f"iid or dirichlet ({dataset} does not say who collected a row)"
        )
    if n != len(collection.site_names):
        raise ConfigurationError("hospitals", n, f"{len(collection.site_names)}, the hospitals of {dataset}")
    return natural(collection.site)


def _test_mask(collection: Collection, partition: str, part: Labels, rng: np.random.Generator) -> NDArray[np.bool_]:
    if partition == "natural" and collection.is_test is not None:
        return collection.is_test[part]
    mask = np.zeros(len(part), dtype=np.bool_)
    for k in np.unique(collection.y[part]):
        members = rng.permutation(np.flatnonzero(collection.y[part] == k))
        mask[members[: round(TEST_SHARE * len(members))]] = True
    return mask


def _statistics(standardise: str, pooled: Floats, own: Floats) -> tuple[Floats | float, Floats | float]:
    if standardise in ("none", FEDERATED):
        return 0.0, 1.0
    rows = pooled if standardise == "pooled" else own
    deviation = rows.std(axis=0, ddof=1)
    return rows.mean(axis=0), np.where(deviation < CONSTANT, 1.0, deviation)


def _rows(X: Floats, y: Labels) -> Rows:
    return Rows(torch.from_numpy(X.astype(np.float32)), torch.from_numpy(y))


def _name(collection: Collection, partition: str, i: int) -> str:
    return collection.site_names[i] if partition == "natural" else f"hospital-{i + 1:02d}"


def _shipped(name: str) -> Path:
    """A file that scikit-learn ships, found without the seconds that importing scikit-learn takes."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise ConfigurationError("dataset", name, "scikit-learn installed (pip install 'flower-robust[app]')")
    return Path(spec.origin).parent / "datasets" / "data" / name
