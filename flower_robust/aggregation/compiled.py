"""How a loop becomes machine code, and how machine code is spread over the columns of a matrix."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeVar, cast

import torch
from numba import njit

Loop = TypeVar("Loop", bound=Callable[..., Any])
Result = TypeVar("Result")


def compiled(loop: Loop, *, reassociate: bool = False) -> Loop:
    """Compile `loop` without the interpreter lock; kept on disk where a folder is writable.

    `reassociate` lets sums run in vector lanes; NaN and Inf keep their meaning.
    """
    fastmath = {"reassoc", "contract"} if reassociate else False
    try:
        return cast(Loop, njit(nogil=True, fastmath=fastmath, cache=True)(loop))
    except RuntimeError:  # numba found no folder to keep machine code in
        return cast(Loop, njit(nogil=True, fastmath=fastmath)(loop))


def reassociated(loop: Loop) -> Loop:
    """`compiled`, with sums in vector lanes."""
    return compiled(loop, reassociate=True)


def spans(d: int, width: int, parts: int) -> list[tuple[int, int]]:
    """Cut d columns into at most `parts` spans (start, stop), whole tiles of `width` columns each but the last."""
    tiles = max(1, -(-d // width))
    parts = min(parts, tiles)
    cuts = [min(d, width * (tiles * part // parts)) for part in range(parts)] + [d]
    return list(pairwise(cuts))


def over_columns(work: Callable[[int, int], Result], d: int, width: int) -> list[Result]:
    """Call `work(start, stop)` on spans of the d columns, in as many threads as torch uses; results in column order."""
    parts = spans(d, width, torch.get_num_threads())
    if len(parts) == 1:
        return [work(*parts[0])]
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(lambda span: work(*span), parts))
