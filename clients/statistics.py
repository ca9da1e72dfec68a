"""What a hospital adds to the private sums that standardise features before the first round."""

from collections.abc import Container

import numpy as np
from numpy.typing import NDArray

from clients.datasets import Rows

MAGNITUDES, SUMS = "magnitudes", ("count", "sum", "squares")
EXPONENTS = range(-16, 32)
"""A feature's magnitude is the least 2^k, k of these, that no value of it exceeds."""

Floats = NDArray[np.float64]


def statistics(rows: Rows, asked: Container[str]) -> dict[str, Floats]:
    """The magnitudes, one-hot [features, len(EXPONENTS)], if asked for; else count [1], sums and squares [features]."""
    X = rows.X.reshape(len(rows), -1).double().numpy()
    if MAGNITUDES in asked:
        return {MAGNITUDES: _one_hot(np.abs(X).max(axis=0, initial=0.0))}
    return {"count": np.array([float(len(X))]), "sum": X.sum(axis=0), "squares": (X**2).sum(axis=0)}


def _one_hot(largest: Floats) -> Floats:
    exponents = np.ceil(np.log2(np.maximum(largest, np.exp2(EXPONENTS[0]))))
    places = np.clip(exponents, EXPONENTS[0], EXPONENTS[-1]).astype(int) - EXPONENTS[0]
    one_hot: Floats = np.eye(len(EXPONENTS))[places]
    return one_hot
