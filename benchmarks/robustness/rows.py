"""Whose rows: the participants' training rows, what poisoners make of them, the test rows and the server's root rows.

Training rows are dealt to the honest participants alone and the malicious ones draw theirs from all training rows, as
in ByzFL's and the bucketing paper's experiments: a cell then measures the rule, not the classes that left with the
attackers. `natural` is the exception: there the malicious ones are hospitals of the collection; their rows are lost.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.robustness.cells import Setting
from clients.attacks_adaptive import POISONS
from clients.datasets import Federation, load_federation

ROOT_ROWS = 50


@dataclass(frozen=True, eq=False)
class Pool:
    """The rows of one setting and seed.

    X Float32[v, r, inputs], y Int64[v, r]: training rows, and each poison's version of them (v = 1 + poisons);
    owners: n index arrays into r, the malicious participants last; root: the server's own index array.
    """

    X: Tensor
    y: Tensor
    owners: tuple[NDArray[np.int64], ...]
    held_out: Tensor
    held_out_y: Tensor
    test_parts: tuple[int, ...]
    triggered: Tensor
    root: NDArray[np.int64]
    classes: int

    @property
    def variants(self) -> tuple[str, ...]:
        """The poisons, in the order of the leading axis."""
        return ("", *POISONS)


@lru_cache(maxsize=8)
def load_pool(setting: Setting, honest: int, seed: int, data_dir: str = "") -> Pool:
    """The rows of `setting`, dealt to `honest` participants and n − honest malicious ones."""
    federation = _federation(setting, honest, seed, data_dir)
    trains = [hospital.train for hospital in federation.hospitals]
    X, y = torch.cat([t.X for t in trains]).flatten(1), torch.cat([t.y for t in trains])
    starts = np.cumsum([0, *(len(t) for t in trains)])
    parts = [np.arange(a, b) for a, b in pairwise(starts.tolist())]
    rng = np.random.default_rng([seed, 7])
    owners = _owners(setting, parts, y.numpy(), honest, seed, rng)
    test, classes = federation.pooled_test, federation.classes
    poisoned = [poison(X, y, classes) for poison in POISONS.values()]
    return Pool(
        X=torch.stack([X, *(p[0] for p in poisoned)]),
        y=torch.stack([y, *(p[1] for p in poisoned)]),
        owners=tuple(owners),
        held_out=test.X.flatten(1),
        held_out_y=test.y,
        test_parts=tuple(len(hospital.test) for hospital in federation.hospitals),
        triggered=POISONS["backdoor"](test.X.flatten(1), test.y, classes, share=1.0)[0],
        root=np.sort(rng.permutation(len(y))[:ROOT_ROWS]),
        classes=classes,
    )


def _federation(setting: Setting, honest: int, seed: int, data_dir: str) -> Federation:
    if setting.partition == "natural":
        return load_federation(
            setting.dataset, hospitals=4, partition="natural", seed=seed, data_dir=data_dir, standardise="hospital"
        )
    kind, _, alpha = setting.partition.partition("-")
    kind = "iid" if kind == "sorted" else kind
    return load_federation(
        setting.dataset, hospitals=honest, partition=kind, alpha=float(alpha or 1), seed=seed, data_dir=data_dir
    )


def _owners(
    setting: Setting,
    parts: list[NDArray[np.int64]],
    y: NDArray[np.int64],
    honest: int,
    seed: int,
    rng: np.random.Generator,
) -> list[NDArray[np.int64]]:
    if setting.partition == "natural":
        return _of_hospitals(parts, setting.n, seed, rng)
    if setting.partition == "sorted":
        parts = [np.sort(part) for part in np.array_split(np.argsort(y, kind="stable"), honest)]
    share = len(y) // honest
    return parts + [np.sort(rng.permutation(len(y))[:share]) for _ in range(setting.n - honest)]


def _of_hospitals(
    parts: list[NDArray[np.int64]], n: int, seed: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """n participants of four hospitals; the seed decides whose come last, and are malicious where somebody is."""
    wards = [np.sort(ward) for part in parts for ward in np.array_split(rng.permutation(part), n // 4)]
    order = [(hospital + 1 + seed) % 4 * (n // 4) + ward for ward in range(n // 4) for hospital in range(4)]
    return [wards[i] for i in order]
