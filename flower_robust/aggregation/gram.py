"""Compiled inner products of centred rows, in float64, one read of the rows (CPU, float32 and float64)."""

from typing import Any

import numpy as np
import numpy.typing as npt

from flower_robust.aggregation.compiled import compiled, over_columns, reassociated

Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[Any]
Measured = tuple[Float64, Float64, Float64]

TILE_BYTES = 800 * 1024
"""A tile of centred rows in float64: what a core's second-level cache holds."""


def tile_width(n: int) -> int:
    """Columns of one tile: a multiple of 16 between 64 and 2048."""
    return int(min(2048, max(64, TILE_BYTES // (8 * (n + 3)) // 16 * 16)))


@reassociated
def _add_products(tile: Rows, i: int, j: int, m: int, gram: Float64) -> None:
    # 16 running sums stay in registers, so each value loaded is used four times.
    a00 = a01 = a02 = a03 = a10 = a11 = a12 = a13 = 0.0
    a20 = a21 = a22 = a23 = a30 = a31 = a32 = a33 = 0.0
    x0, x1, x2, x3 = tile[i, :m], tile[i + 1, :m], tile[i + 2, :m], tile[i + 3, :m]
    y0, y1, y2, y3 = tile[j, :m], tile[j + 1, :m], tile[j + 2, :m], tile[j + 3, :m]
    for c in range(m):
        u0, u1, u2, u3 = x0[c], x1[c], x2[c], x3[c]
        v0, v1, v2, v3 = y0[c], y1[c], y2[c], y3[c]
        a00, a01, a02, a03 = a00 + u0 * v0, a01 + u0 * v1, a02 + u0 * v2, a03 + u0 * v3
        a10, a11, a12, a13 = a10 + u1 * v0, a11 + u1 * v1, a12 + u1 * v2, a13 + u1 * v3
        a20, a21, a22, a23 = a20 + u2 * v0, a21 + u2 * v1, a22 + u2 * v2, a23 + u2 * v3
        a30, a31, a32, a33 = a30 + u3 * v0, a31 + u3 * v1, a32 + u3 * v2, a33 + u3 * v3
    sums = (a00, a01, a02, a03, a10, a11, a12, a13, a20, a21, a22, a23, a30, a31, a32, a33)
    for k in range(16):
        gram[i + k // 4, j + k % 4] += sums[k]


@reassociated
def _squared_length(row: Rows) -> float:
    total = 0.0
    for c in range(row.shape[0]):
        x = np.float64(row[c])
        total += x * x
    return total


@reassociated
def _inner_product(row: Rows, other: Rows) -> float:
    total = 0.0
    for c in range(row.shape[0]):
        total += np.float64(row[c]) * np.float64(other[c])
    return total


@reassociated
def _squared_difference(row: Rows, other: Rows) -> float:
    total = 0.0
    for c in range(row.shape[0]):
        x = np.float64(row[c]) - np.float64(other[c])
        total += x * x
    return total


@compiled
def _centre(first: Rows, second: Rows, third: Rows, centre: Float64) -> None:
    # The median of three rows: one lying row among the three cannot move it.
    for c in range(first.shape[0]):
        x, y, z = np.float64(first[c]), np.float64(second[c]), np.float64(third[c])
        low = x if x < y else y
        high = y if x < y else x
        high = high if high < z else z
        centre[c] = high if low < high else low


@compiled
def _load_centred(row: Rows, centre: Float64, target: Float64) -> None:
    for c in range(row.shape[0]):
        target[c] = np.float64(row[c]) - centre[c]


@compiled
def _measure_span(rows: Rows, reference: Rows, start: int, stop: int, width: int, gram: Float64, flat: Float64) -> None:
    n = rows.shape[0]
    padded = gram.shape[0]
    tile = np.zeros((padded, width), np.float64)
    centre = np.empty(width, np.float64)
    for s in range(start, stop, width):
        e = min(stop, s + width)
        m = e - s
        _centre(rows[0, s:e], rows[n // 2, s:e], rows[n - 1, s:e], centre)
        for i in range(n):
            _load_centred(rows[i, s:e], centre, tile[i])
            flat[0, i] += _squared_length(rows[i, s:e])
            if reference.shape[0] > 0:
                flat[1, i] += _inner_product(rows[i, s:e], reference[s:e])
        for i in range(0, padded, 4):
            for j in range(0, i + 4, 4):
                _add_products(tile, i, j, m, gram)


@compiled
def _pair_span(rows: Rows, pairs: Rows, start: int, stop: int, width: int, squares: Float64) -> None:
    for s in range(start, stop, width):
        e = min(stop, s + width)
        for p in range(pairs.shape[0]):
            squares[p] += _squared_difference(rows[pairs[p, 0], s:e], rows[pairs[p, 1], s:e])


def measure(rows: Rows, reference: Rows) -> Measured:
    """Return the Gram matrix of the centred rows [n, n], the squared norms [n] and the products with the reference [n].

    `rows` Float32 or Float64 [n, d], contiguous; `reference` [d], or [0] for none. The centre is a coordinate-wise
    median of three rows; nobody may use the matrix but to form differences.
    """
    n, d = rows.shape
    padded, width = -(-n // 4) * 4, tile_width(n)

    def span(start: int, stop: int) -> tuple[Float64, Float64]:
        gram, flat = np.zeros((padded, padded)), np.zeros((2, n))
        _measure_span(rows, reference, start, stop, width, gram, flat)
        return gram, flat

    parts = over_columns(span, d, width)
    lower = np.tril(np.sum([gram for gram, _ in parts], axis=0)[:n, :n])
    flat = np.sum([flat for _, flat in parts], axis=0)
    return lower + np.tril(lower, -1).T, flat[0], flat[1]


def pair_distances(rows: Rows, pairs: npt.NDArray[np.int64]) -> Float64:
    """Return |x_i − x_j|² of the pairs [p, 2], by their differences: slower than `measure`, and never cancelling."""

    def span(start: int, stop: int) -> Float64:
        squares = np.zeros(len(pairs))
        _pair_span(rows, pairs, start, stop, tile_width(rows.shape[0]), squares)
        return squares

    return np.asarray(np.sum(over_columns(span, rows.shape[1], tile_width(rows.shape[0])), axis=0), np.float64)
