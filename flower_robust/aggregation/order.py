"""Order statistics of columns, compiled for the CPU and in plain torch for every other device."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from flower_robust.aggregation.blocks import blocks, is_direct, refuse_non_finite
from flower_robust.aggregation.compiled import compiled, over_columns
from flower_robust.aggregation.gram import Float64, Rows
from flower_robust.aggregation.networks import selection

Ranks = tuple[int, int]
Span = Callable[[Rows, Rows, Rows, Ranks, int, int, Rows], bool]

TILE = 128
"""Columns sorted side by side: a tile of 50 float32 rows fits the first cache level, and a fixed width is unrolled."""


@compiled
def _sort(flat: Rows, network: Rows) -> None:
    for k in range(network.shape[0]):
        low, high = network[k, 0], network[k, 1]
        for c in range(TILE):
            x, y = flat[low + np.uint64(c)], flat[high + np.uint64(c)]
            flat[low + np.uint64(c)] = x if x < y else y
            flat[high + np.uint64(c)] = y if x < y else x


@compiled
def _load(row: Rows, target: Rows) -> None:
    for c in range(row.shape[0]):
        target[c] = row[c]


@compiled
def _watch(row: Rows, alarm: Rows) -> None:
    for c in range(TILE):
        alarm[c] += row[c] - row[c]  # 0, or NaN for ever after a NaN or an Inf


@compiled
def _add(row: Rows, total: Float64) -> None:
    for c in range(row.shape[0]):
        total[c] += row[c]


@compiled
def _add_inside(rows: Rows, j: int, keep: int, middle: Float64, total: Float64) -> None:
    # The window of the `keep` nearest starts behind x_s as long as x_s is farther from the middle than x_{s+keep} is.
    has_above, has_below = j + keep < rows.shape[0], j >= keep
    row, above, below = rows[j], rows[j + keep if has_above else j], rows[j - keep if has_below else j]
    for c in range(total.shape[0]):
        x, m = np.float64(row[c]), middle[c]
        passed = has_above and m - x > above[c] - m
        reached = not has_below or m - below[c] > x - m
        total[c] += x if reached and not passed else 0.0


@compiled
def _load_sorted(rows: Rows, at: Rows, network: Rows, s: int, e: int, tile: Rows, alarm: Rows) -> None:
    m = e - s
    for i in range(at.shape[0]):
        _load(rows[at[i], s:e], tile[i, :m])
    for i in range(at.shape[0]):
        _watch(tile[i], alarm)
    _sort(tile.reshape(-1), network)


@compiled
def _window_span(rows: Rows, at: Rows, network: Rows, ranks: Ranks, start: int, stop: int, out: Rows) -> bool:
    first, last = ranks
    tile = np.zeros((at.shape[0], TILE), rows.dtype)
    alarm = np.zeros(TILE, rows.dtype)
    total = np.empty(TILE, np.float64)
    for s in range(start, stop, TILE):
        e = min(stop, s + TILE)
        _load_sorted(rows, at, network, s, e, tile, alarm)
        total[:] = 0.0
        for i in range(first, last):
            _add(tile[i], total)
        out[s:e] = (total / (last - first))[: e - s]
    return bool(np.isfinite(alarm).all())


@compiled
def _nearest_span(rows: Rows, at: Rows, network: Rows, ranks: Ranks, start: int, stop: int, out: Rows) -> bool:
    n, keep = at.shape[0], ranks[0]
    tile = np.zeros((n, TILE), rows.dtype)
    alarm = np.zeros(TILE, rows.dtype)
    total, middle = np.empty(TILE, np.float64), np.empty(TILE, np.float64)
    for s in range(start, stop, TILE):
        e = min(stop, s + TILE)
        _load_sorted(rows, at, network, s, e, tile, alarm)
        middle[:] = 0.0
        total[:] = 0.0
        for i in range((n - 1) // 2, n // 2 + 1):
            _add(tile[i], middle)
        middle /= n // 2 + 1 - (n - 1) // 2
        for j in range(n):
            _add_inside(tile, j, keep, middle, total)
        out[s:e] = (total / keep)[: e - s]
    return bool(np.isfinite(alarm).all())


def _window_with_torch(block: Tensor, first: int, last: int) -> Tensor:
    return block.sort(dim=0).values[first:last].double().mean(0)


def _nearest_with_torch(block: Tensor, keep: int) -> Tensor:
    n = block.shape[0]
    ordered = block.sort(dim=0).values.double()
    middle = ordered[(n - 1) // 2 : n // 2 + 1].mean(0)
    passed = middle - ordered[: n - keep] > ordered[keep:] - middle
    edge = torch.ones(keep, block.shape[1], dtype=torch.bool, device=block.device)
    inside = torch.cat([edge, passed]) & torch.cat([~passed, edge])
    return torch.where(inside, ordered, 0.0).sum(0) / keep


def _compiled_block(span: Span, block: Tensor, at: list[int], network: Rows, ranks: tuple[int, int]) -> Tensor | None:
    out = torch.empty(block.shape[1], dtype=block.dtype)
    rows, index, target = block.numpy(), np.array(at, dtype=np.int64), out.numpy()
    lanes = (network * TILE).astype(np.uint64)
    finite = over_columns(
        lambda start, stop: span(rows, index, lanes, ranks, start, stop, target), block.shape[1], TILE
    )
    return out if all(finite) else None


def _finite(found: Tensor | None, updates: Tensor) -> Tensor:
    if found is None:
        refuse_non_finite(updates)
        raise AssertionError("an alarm without a row")  # the loop and torch disagree on what is finite
    return found


def window_mean(updates: Tensor, first: int, last: int) -> Tensor:
    """Return the mean of the values of ranks first .. last−1 in each column, Float[d], summed in float64.

    Raises NonFiniteRows: the senders of these rows are at fault.
    """
    out = updates.new_empty(updates.shape[1])
    rows = list(range(updates.shape[0]))
    for start, stop, block in blocks(updates):
        if is_direct(block):
            network = selection(len(rows), first, last)
            found = _compiled_block(_window_span, block, rows, network, (first, last))
        else:
            found = _window_with_torch(block, first, last) if bool(torch.isfinite(block).all()) else None
        out[start:stop] = _finite(found, updates)
    return out


def nearest_mean(updates: Tensor, keep: int, rows: list[int] | None = None) -> Tensor:
    """Return the mean, in each column, of the `keep` values nearest to the column's median; of equal ones the lower.

    Only `rows` are seen, all by default. Raises NonFiniteRows: the senders of these rows are at fault.
    """
    out = updates.new_empty(updates.shape[1])
    at = list(range(updates.shape[0])) if rows is None else rows
    for start, stop, block in blocks(updates):
        if is_direct(block):
            found = _compiled_block(_nearest_span, block, at, selection(len(at), 0, len(at)), (keep, 0))
        else:
            found = _nearest_with_torch(block[at], keep) if bool(torch.isfinite(block).all()) else None
        out[start:stop] = _finite(found, updates)
    return out
