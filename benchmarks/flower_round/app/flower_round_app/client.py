"""A client that trains for no time at all: what is left is Flower and us."""

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from flower_robust import Identity, robust_mod


def identity(index: int) -> Identity:
    """The simulated key of a client: secret to nobody."""
    return Identity.from_seed(f"client-{index}", index.to_bytes(32, "big"))


app = ClientApp(mods=[robust_mod(lambda context: identity(int(context.node_config["partition-id"])))])


@app.train()
def train(message: Message, context: Context) -> Message:
    """Add a constant of one's own."""
    old = message.content["arrays"].to_numpy_ndarrays()
    new = [array + np.float32(1e-3 * (1 + int(context.node_config["partition-id"]))) for array in old]
    content = RecordDict({"arrays": ArrayRecord(new), "metrics": MetricRecord({"num-examples": 100})})
    return Message(content, reply_to=message)
