"""What lies in a masked row, and where: the step, and beside it what must not weigh on the geometry.

    row = [ moving arrays | a·clip(buffer' − buffer, ±b)/b | a·share·clip(metric, ±b)/b ]       a = C·MARGIN/√(slots)

The step is clipped to C·√(1 − MARGIN²), so that the row stays within C. All that is beside it together is at most
MARGIN·C long: it shifts no distance by more than 2·MARGIN·C, whatever a client puts there. numpy only.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flower_robust.flower.records import Layout, NamedArrays

MARGIN = 1 / 64

Row = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MaskedRow:
    """The layout of a masked row of length d.

    `metrics`: name and largest absolute value of each metric that is summed in secret; `buffer_bound`: largest change
    of a float buffer in one round. Integer and boolean buffers are not sent: they stay as the server has them.
    """

    layout: Layout
    metrics: Mapping[str, float]
    buffer_bound: float

    @property
    def float_buffers(self) -> tuple[str, ...]:
        """Buffers that ride in the row, in order."""
        layout = self.layout
        return tuple(name for name in layout.shapes if name in layout.buffers and layout.dtypes[name].kind == "f")

    @property
    def slots(self) -> int:
        """Floats beside the step."""
        return sum(self.layout.size(name) for name in self.float_buffers) + len(self.metrics)

    @property
    def d(self) -> int:
        """Floats in a row."""
        return self.layout.d + self.slots

    def reachable(self, C: float) -> float:
        """The bound that the step is clipped to."""
        return C * math.sqrt(1 - MARGIN**2) if self.slots else C

    def amplitude(self, C: float) -> float:
        """What a value at its bound becomes in the row."""
        return C * MARGIN / math.sqrt(max(self.slots, 1))

    def write(self, update: NamedArrays, metrics: Mapping[str, float], share: float, C: float) -> Row:
        """One client's row Float32[d]; `update` holds differences, `share` (0..1) is its part of a metric's weight."""
        row: Row = np.zeros(self.d, np.float32)
        step, beside = row[: self.layout.d], row[self.layout.d :]
        self.layout.write(update, step)
        if (norm := float(np.sqrt(np.einsum("i,i->", step, step, dtype=np.float64)))) > self.reachable(C):
            step *= np.float32(self.reachable(C) / norm)
        fractions = [update[name].reshape(-1) / self.buffer_bound for name in self.float_buffers]
        values = [share * np.clip(metrics[name] / bound, -1, 1) for name, bound in self.metrics.items()]
        if self.slots:
            beside[:] = self.amplitude(C) * np.clip(np.concatenate([*fractions, np.array(values)]), -1, 1)
        return row

    def padded(self, step: NDArray[Any]) -> Row:
        """A step Float[layout.d] with nothing beside it, unclipped: Float32[d]."""
        row: Row = np.zeros(self.d, np.float32)
        row[: self.layout.d] = step
        return row

    def buffers(self, old: NamedArrays, mean: Row, C: float) -> dict[str, NDArray[Any]]:
        """Every buffer after the round: floats moved by the mean Float32[d], the others as they were."""
        new: dict[str, NDArray[Any]] = {name: old[name] for name in self.layout.buffers}
        start = self.layout.d
        for name in self.float_buffers:
            stop = start + self.layout.size(name)
            change = mean[start:stop].astype(np.float64) * (self.buffer_bound / self.amplitude(C))
            moved = old[name] + change.reshape(self.layout.shapes[name])
            new[name] = np.asarray(moved).astype(self.layout.dtypes[name])
            start = stop
        return new

    def means(self, mean: Row, mean_share: float, C: float) -> dict[str, float]:
        """Every masked metric, weighted as `share` was; `mean_share` is the mean of the shares under the same weights.

        Σ w_i·share_i·metric_i / Σ w_i·share_i
        """
        first = self.d - len(self.metrics)
        factor = 1 / (self.amplitude(C) * mean_share)
        return {name: float(mean[first + k]) * bound * factor for k, (name, bound) in enumerate(self.metrics.items())}
