"""The client's side of private sums: its statistics as fractions of the announced bounds. The mod masks them."""

import numpy as np
from flwr.app import Message, MetricRecord, RecordDict

from flower_robust.errors import ConfigurationError
from flower_robust.flower.records import NamedArrays, read_arrays, write_arrays

ACTION = "private_sums"
"""Name of the ClientApp's query function."""

ARRAYS, BOUNDS = "arrays", "bounds"


def summand(message: Message, statistics: NamedArrays) -> Message:
    """The answer of `@app.query("private_sums")`: what this client adds, before the mod masks it.

        clip(statistics / bounds, ±1)

    Raises ConfigurationError unless the statistics have the names and shapes that the server asked for.
    """
    bounds = read_arrays(dict(message.content.array_records[BOUNDS]))
    found = {name: np.shape(array) for name, array in statistics.items()}
    asked = {name: bound.shape for name, bound in bounds.items()}
    if found != asked:
        raise ConfigurationError("statistics", found, f"{asked}, as the server asks")
    fractions = {name: np.clip(statistics[name] / bound, -1, 1).astype(np.float32) for name, bound in bounds.items()}
    return Message(RecordDict({ARRAYS: write_arrays(fractions), "metrics": MetricRecord()}), reply_to=message)
