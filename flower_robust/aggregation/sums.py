"""Weighted sums of rows: one read, float64 sums, only the rows that weigh anything."""

import numpy as np
import torch
from torch import Tensor

from flower_robust.aggregation.blocks import blocks, checked, is_direct, working_dtype
from flower_robust.aggregation.compiled import compiled, over_columns
from flower_robust.aggregation.gram import Float64, Rows
from flower_robust.errors import ConfigurationError

TILE = 32768
"""Columns whose sums (256 KiB) stay in the second cache level while the rows stream by."""


@compiled
def _add_eight(rows: Rows, at: Rows, w: Float64, k: int, s: int, e: int, total: Float64) -> None:
    x0, x1, x2, x3 = rows[at[k], s:e], rows[at[k + 1], s:e], rows[at[k + 2], s:e], rows[at[k + 3], s:e]
    x4, x5, x6, x7 = rows[at[k + 4], s:e], rows[at[k + 5], s:e], rows[at[k + 6], s:e], rows[at[k + 7], s:e]
    w0, w1, w2, w3, w4, w5, w6, w7 = w[k], w[k + 1], w[k + 2], w[k + 3], w[k + 4], w[k + 5], w[k + 6], w[k + 7]
    for c in range(e - s):
        near = (w0 * x0[c] + w1 * x1[c]) + (w2 * x2[c] + w3 * x3[c])
        total[c] += near + ((w4 * x4[c] + w5 * x5[c]) + (w6 * x6[c] + w7 * x7[c]))


@compiled
def _sum_span(rows: Rows, at: Rows, w: Float64, start: int, stop: int, out: Rows) -> None:
    total = np.empty(TILE, np.float64)
    for s in range(start, stop, TILE):
        e = min(stop, s + TILE)
        total[:] = 0.0
        for k in range(0, at.shape[0], 8):
            _add_eight(rows, at, w, k, s, e, total)
        out[s:e] = total[: e - s]


def _in_eights(weights: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    # A row that is read once more with weight 0 comes from the cache, and is as finite as it was with its own weight.
    missing = -at.numel() % 8
    return torch.cat([weights, weights.new_zeros(missing)]), torch.cat([at, at[-1:].expand(missing)])


def _sum_block(weights: Tensor, at: Tensor, block: Tensor, out: Tensor) -> None:
    if not is_direct(block):
        out.copy_(weights.to(block.device) @ block[at.to(block.device)].double())
    elif at.numel() == 0:
        out.zero_()
    else:
        w, rows = _in_eights(weights, at)
        total = out if out.dtype == block.dtype else torch.empty(out.shape, dtype=block.dtype)
        arrays, sums = (block.numpy(), rows.numpy(), w.numpy()), total.numpy()
        over_columns(lambda start, stop: _sum_span(*arrays, start, stop, sums), block.shape[1], TILE)
        if total is not out:
            out.copy_(total)


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
        _sum_block(share, at, block, out[start:stop])
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
