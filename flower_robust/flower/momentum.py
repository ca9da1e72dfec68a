"""Client momentum: a site sends the recent mean of its updates, kept in its own state. No torch, no protocol."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message
from flwr.clientapp.typing import ClientAppCallable
from numpy.typing import NDArray

from flower_robust.errors import ConfigurationError
from flower_robust.flower.records import NamedArrays, read_arrays, write_arrays

STATE = "flower_robust.momentum"


def check_momentum(momentum: float) -> None:
    """ConfigurationError unless 0 <= momentum < 1."""
    if isinstance(momentum, bool) or not isinstance(momentum, int | float) or not 0 <= momentum < 1:
        raise ConfigurationError("momentum", momentum, "a number of at least 0 and below 1")


def smoothed(app: ClientAppCallable, momentum: float, key: str, buffers: Sequence[str]) -> ClientAppCallable:
    """The app, with its model replaced by the old one plus the bias-corrected mean of its updates so far.

        m ← β·m + (1 − β)·(new − old),  returned = old + m / (1 − β^k)          k: rounds since m began

    `key` names the model in the message; `buffers` are returned as the app gave them. m lives in `context.state`, as
    large as the model; it begins anew when the model's arrays change.

    Karimireddy, He, Jaggi, "Learning from History for Byzantine Robust Optimization", ICML 2021, section 5.
    """

    def smooth(message: Message, context: Context) -> Message:
        old = read_arrays(dict(message.content.array_records[key]))
        reply = app(message, context)
        if reply.has_error() or len(names := list(reply.content.array_records)) != 1:
            return reply
        new = read_arrays(dict(reply.content.array_records[names[0]]))
        if _shapes(new) == _shapes(old):
            moving = [name for name in old if name not in set(buffers)]
            reply.content[names[0]] = write_arrays({**new, **_moved(old, new, moving, momentum, context)})
        return reply

    return smooth


def _moved(
    old: NamedArrays, new: NamedArrays, moving: Sequence[str], beta: float, context: Context
) -> dict[str, NDArray[Any]]:
    with np.errstate(over="ignore", invalid="ignore"):
        update = {name: np.subtract(new[name], old[name]) for name in moving}
        if not all(np.isfinite(array).all() for array in update.values()):
            return {}
        mean, k = _remembered(context, update)
        mean = {name: (beta * mean[name] + (1 - beta) * update[name]).astype(update[name].dtype) for name in moving}
        context.state[STATE] = write_arrays(mean)
        context.state[f"{STATE}.rounds"] = ConfigRecord({"k": k + 1})
        scale = 1 / (1 - beta ** (k + 1))
        return {name: (old[name] + scale * mean[name]).astype(old[name].dtype) for name in moving}


def _remembered(context: Context, update: NamedArrays) -> tuple[NamedArrays, int]:
    record = context.state.array_records.get(STATE)
    mean = {} if not isinstance(record, ArrayRecord) else read_arrays(dict(record))
    if _shapes(mean) != _shapes(update):
        return {name: np.zeros_like(array) for name, array in update.items()}, 0
    k = context.state.config_records[f"{STATE}.rounds"]["k"]
    return mean, k if isinstance(k, int) else 0


def _shapes(arrays: NamedArrays) -> dict[str, tuple[tuple[int, ...], str]]:
    return {name: (array.shape, array.dtype.str) for name, array in arrays.items()}
