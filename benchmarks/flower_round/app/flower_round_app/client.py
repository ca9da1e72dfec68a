"""A client that trains for no time at all: what is left is Flower and the arm that asks.

On SuperNodes every message is a fresh process, so an arm's code is loaded only for its own messages.
"""

from functools import cache

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable

from flower_round_app.memory import peak_mod

OURS, SECAGG_PLUS, OLDER_API, IDLE = "flower_robust", "secaggplus_configs", "fitins.config", "idle"
"""Records by which a message says whose it is."""


def arm_mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """The mod of the arm that the message belongs to; plain FedAvg has none."""
    records = message.content.config_records
    if OURS in records:
        from flower_round_app.robust import mod

        return mod(message, context, call_next)
    if SECAGG_PLUS in records:
        from flwr.client.mod import secaggplus_mod

        return secaggplus_mod(message, context, call_next)
    if IDLE in records:
        from flower_round_app.idle import idle_reply

        return idle_reply(message)
    return call_next(message, context)


app = ClientApp(mods=[peak_mod, arm_mod])


@cache
def own_update(index: int, d: int) -> np.ndarray:
    """A common step of 1e-3 and as much of one's own."""
    return np.random.default_rng(index).normal(1e-3, 1e-3, d).astype(np.float32)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Add a vector of one's own."""
    index, rows = int(context.node_config["partition-id"]), 100
    if OLDER_API in message.content.config_records:
        from flower_round_app.secagg_plus import trained

        return trained(message, lambda d: own_update(index, d), rows)
    old = message.content["arrays"].to_numpy_ndarrays()
    new = [array + own_update(index, array.size) for array in old]
    content = RecordDict({"arrays": ArrayRecord(new), "metrics": MetricRecord({"num-examples": rows})})
    return Message(content, reply_to=message)
