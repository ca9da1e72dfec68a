"""A client that trains for no time at all: what is left is Flower and us."""

from functools import cache

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from flower_robust import Identity, Roster, robust_mod
from flower_robust.commitments import RosterEntry


def identity(index: int) -> Identity:
    """The simulated key of a client: secret to nobody."""
    return Identity.from_seed(f"client-{index}", index.to_bytes(32, "big"))


def roster(n: int) -> Roster:
    """The roster of n clients."""
    return Roster(RosterEntry.of(identity(i), rows=100) for i in range(n))


app = ClientApp(
    mods=[
        robust_mod(
            lambda context: identity(int(context.node_config["partition-id"])),
            lambda context: roster(int(context.run_config["clients"])),
        )
    ]
)


@cache
def own_update(index: int, d: int) -> np.ndarray:
    """A common step of 1e-3 and as much of one's own."""
    return np.random.default_rng(index).normal(1e-3, 1e-3, d).astype(np.float32)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Add a vector of one's own."""
    old = message.content["arrays"].to_numpy_ndarrays()
    new = [array + own_update(int(context.node_config["partition-id"]), array.size) for array in old]
    content = RecordDict({"arrays": ArrayRecord(new), "metrics": MetricRecord({"num-examples": 100})})
    return Message(content, reply_to=message)
