"""The ClientApp: three lines of training, the robust mod, and before it the mod that makes it fail on order."""

import json
from pathlib import Path

from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from flower_robust import robust_mod
from hospitals.faults import faulty_mod
from hospitals.task import update_of
from hospitals.timing import timing_mod

app = ClientApp(mods=[timing_mod, faulty_mod, robust_mod()])


@app.train()
def train(message: Message, context: Context) -> Message:
    """The model plus this hospital's update of the round."""
    name = json.loads(Path(str(context.node_config["identity"])).read_text())["name"]
    (w,) = message.content["arrays"].to_numpy_ndarrays()
    server_round = int(message.content["config"]["server-round"])
    trained = ArrayRecord({"w": Array(w + update_of(name, server_round, w.size))})
    content = {"arrays": trained, "metrics": _metrics()}
    return Message(RecordDict(content), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """A loss that says nothing."""
    return Message(RecordDict({"metrics": _metrics()}), reply_to=message)


def _metrics() -> MetricRecord:
    return MetricRecord({"num-examples": 10, "loss": 0.5})
