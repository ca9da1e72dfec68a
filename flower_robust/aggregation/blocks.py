"""Rows as blocks of columns: what fits a bounded buffer, in a dtype that the arithmetic can use."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from flower_robust.errors import ConfigurationError, NonFiniteRows

BLOCK_ELEMENTS = {"cpu": 1 << 20, "cuda": 1 << 24}
"""Elements of one converted block, whatever n and d: 8 MiB of float64 on a CPU, 128 MiB on a GPU."""


def checked(updates: Tensor) -> Tensor:
    """Return the updates, detached; refuse what is not Float[n, d] with n >= 1 (ConfigurationError, the caller's)."""
    if updates.ndim != 2 or updates.shape[0] < 1 or not updates.dtype.is_floating_point:
        found = f"{updates.dtype} of shape {tuple(updates.shape)}"
        raise ConfigurationError("updates", found, "floating point of shape [n, d] with n >= 1")
    return updates.detach()


def is_direct(updates: Tensor) -> bool:
    """Say whether the compiled loops can read these rows where they lie."""
    return updates.device.type == "cpu" and updates.dtype in (torch.float32, torch.float64) and updates.is_contiguous()


def working_dtype(updates: Tensor) -> torch.dtype:
    """float64 stays float64; everything narrower is held exactly by float32."""
    return torch.float64 if updates.dtype == torch.float64 else torch.float32


def blocks(updates: Tensor) -> Iterator[tuple[int, int, Tensor]]:
    """Yield (start, stop, rows[:, start:stop] in the working dtype, contiguous); the rows themselves where they are."""
    n, d = updates.shape
    width = d if is_direct(updates) else max(1, BLOCK_ELEMENTS.get(updates.device.type, 1 << 20) // n)
    for start in range(0, d, max(1, width)):
        stop = min(d, start + width)
        yield start, stop, updates[:, start:stop].to(working_dtype(updates)).contiguous()


def refuse_non_finite(updates: Tensor, rows: Sequence[int] | None = None) -> None:
    """Raise NonFiniteRows, with their indices, if one of `rows` (all of them by default) holds NaN or Inf."""
    suspects = range(updates.shape[0]) if rows is None else rows
    found = [row for row in suspects if not bool(torch.isfinite(updates[row]).all())]
    if found:
        raise NonFiniteRows(found)
