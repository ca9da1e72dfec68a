"""Feature means and deviations of all hospitals together, as private sums before the first round.

Two masked rounds: a histogram of magnitudes, which says how large each feature can be, then sums of rows and squares.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from flwr.app import ConfigRecord
from flwr.serverapp import Grid
from numpy.typing import NDArray

from clients.datasets import CONSTANT
from clients.statistics import EXPONENTS, MAGNITUDES, SUMS
from flower_robust import PeerMasking, Roster
from flower_robust.errors import ConfigurationError
from flower_robust.flower.private_sums import private_sums

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Standardisation:
    """Float64[features] each; what the server learns beside the two sums is nothing of a single hospital."""

    mean: Floats
    deviation: Floats

    def config(self) -> ConfigRecord:
        """As the clients get it with every training message."""
        return ConfigRecord({"mean": self.mean.tolist(), "deviation": self.deviation.tolist()})


def federated_standardisation(
    grid: Grid, features: int, roster: Roster, masking: PeerMasking, f: int
) -> Standardisation:
    """Mean and deviation of the training rows of every hospital that answers. Raises as a masked round does.

    A magnitude counts if more than f hospitals reach it or a larger one: f liars cannot blow up the scale. Raises
    ConfigurationError where the roster declares no rows: they bound what a hospital can add to a sum.
    """
    if undeclared := [entry.name for entry in roster if not entry.rows]:
        raise ConfigurationError("roster", f"{undeclared[0]} with 0 rows", "rows for everybody, or standardise=none")
    seconds = masking.step_timeout
    asked = partial(private_sums, grid, roster=roster, masking=masking, wait=seconds, timeout=seconds)
    votes = asked({MAGNITUDES: np.ones((features, len(EXPONENTS)))})
    reaching = votes.sums[MAGNITUDES][:, ::-1].cumsum(axis=1)[:, ::-1] > f + 0.5
    reach = np.exp2([EXPONENTS[np.flatnonzero(row)[-1]] for row in reaching])
    rows = float(max(entry.rows for entry in roster))
    bounds = {"count": np.array([rows]), "sum": rows * reach, "squares": rows * reach**2}
    assert tuple(bounds) == SUMS
    found = asked(bounds).sums
    n = found["count"][0]
    mean = found["sum"] / n
    variance = np.clip(found["squares"] / n - mean**2, 0, None) * n / (n - 1)
    deviation, noise = np.sqrt(variance), 1e-4 * reach
    return Standardisation(mean, np.where(deviation < np.maximum(CONSTANT, noise), 1.0, deviation))
