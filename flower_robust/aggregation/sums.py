"""Weighted sums of rows: one read, float64 sums, only the rows that weigh anything."""

import numpy as np
import torch
from torch import Tensor

from flower_robust.aggregation.blocks import blocks, checked, is_direct, working_dtype
from flower_robust.aggregation.compiled import compiled, over_columns
from flower_robust.aggregation.gram import Float64, Rows
from flower_robust.errors import ConfigurationError

TILE = 16384
"""Columns whose sums (128 KiB) stay in the second cache level while the rows stream by."""


@compiled
def _add_four(rows: Rows, at: Rows, w: Float64, k: int, s: int, e: int, total: Float64) -> None:
    x0, x1, x2, x3 = rows[at[k], s:e], rows[at[k + 1], s:e], rows[at[k + 2], s:e], rows[at[k + 3], s:e]
    w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
    for c in range(e - s):
        total[c] += (w0 * x0[c] + w1 * x1[c]) + (w2 * x2[c] + w3 * x3[c])


@compiled
def _add_one(row: Rows, w: float, total: Float64) -> None:
    for c in range(row.shape[0]):
        total[c] += w * row[c]


@compiled
def _sum_span(rows: Rows, at: Rows, w: Float64, start: int, stop: int, out: Rows) -> None:
    total = np.empty(TILE, np.float64)
    for s in range(start, stop, TILE):
        e = min(stop, s + TILE)
        total[:] = 0.0
        whole = at.shape[0] // 4 * 4
        for k in range(0, whole, 4):
            _add_four(rows, at, w, k, s, e, total)
        for k in range(whole, at.shape[0]):
            _add_one(rows[at[k], s:e], w[k], total)
        out[s:e] = total[: e - s]


def _sum_block(weights: Tensor, at: Tensor, block: Tensor) -> Tensor:
    if not is_direct(block):
        return weights.to(block.device) @ block[at.to(block.device)].double()
    out = torch.empty(block.shape[1], dtype=block.dtype)
    arrays = block.numpy(), at.numpy(), weights.numpy()
    over_columns(lambda start, stop: _sum_span(*arrays, start, stop, out.numpy()), block.shape[1], TILE)
    return out


def weighted_sum(weights: Tensor, updates: Tensor) -> Tensor:
    """Return the weighted sum of the rows.

    Σ_i w_i x_i, over the rows with w_i ≠ 0

    weights: Float64[n]; updates: Float[n, d] of any floating dtype, on any device; left as they are.
    The sum is Float[d] of the updates' dtype and device; it is formed in float64.

    Raises ConfigurationError if there are not n weights: the caller's mistake.
    """
    rows = checked(updates)
    if weights.shape != rows.shape[:1]:
        raise ConfigurationError("weights", tuple(weights.shape), f"shape ({rows.shape[0]},)")
    at = torch.nonzero(weights).flatten().cpu()
    share = weights.detach().cpu().double()[at].contiguous()
    out = torch.empty(rows.shape[1], dtype=rows.dtype, device=rows.device)
    for start, stop, block in blocks(rows):
        out[start:stop] = _sum_block(share, at, block)
    return out


def mixed_rows(mixing: Tensor, updates: Tensor) -> Tensor:
    """Return M @ rows as Float[g, d], formed in float64, in blocks of columns; float32 where the rows are narrower.

    mixing: Float64[g, n]; updates: Float[n, d].
    """
    rows = checked(updates)
    out = torch.empty(mixing.shape[0], rows.shape[1], dtype=working_dtype(rows), device=rows.device)
    width = max(1, (1 << 19) // rows.shape[0])
    for start in range(0, rows.shape[1], width):
        block = rows[:, start : start + width].double()
        out[:, start : start + width] = mixing.to(block.device) @ block
    return out
