"""One unmasked update: the user's app trains as it always does; the mod sends the signed, bounded difference."""

import math
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable
from numpy.typing import NDArray

from flower_robust.commitments import Identity, update_norm
from flower_robust.errors import ConfigurationError, NonFiniteUpdate
from flower_robust.flower.envelope import ENVELOPE, TRAIN, envelope_of, field
from flower_robust.flower.records import Layout, NamedArrays, read_arrays, write_arrays
from flower_robust.protocol.plain import check_layout, clip_update, commit_update
from flower_robust.protocol.plan import RoundPlan


def plain_train(message: Message, context: Context, call_next: ClientAppCallable, identity: Identity) -> Message:
    """Run the user's app on the message as its strategy wrote it; answer with the signed update."""
    envelope = envelope_of(message.content)
    plan, key = RoundPlan.decode(field(envelope, "plan", bytes)), field(envelope, "arrays", str)
    old = read_arrays(dict(message.content.array_records[key]))
    layout = Layout.with_buffers(old, field(envelope, "buffers", list[str]))
    message.content = RecordDict({name: record for name, record in message.content.items() if name != ENVELOPE})
    reply = call_next(message, context)
    if reply.has_error():
        return reply
    update = difference(layout, old, returned_model(reply.content, old, identity.name))
    norm = finite_norm(layout, update, identity.name)
    if norm > (bound := layout.reachable(plan.norm_bound)):
        update |= clip_update(layout.moved(update), bound)
        norm = update_norm(layout.moved(update))
    commitment = commit_update(plan, identity, update, norm)
    kept = {name: record for name, record in reply.content.items() if not isinstance(record, ArrayRecord)}
    signed = ConfigRecord({"phase": TRAIN, "commitment": commitment})
    reply.content = RecordDict({**kept, key: write_arrays(update), ENVELOPE: signed})
    return reply


def returned_model(content: RecordDict, old: NamedArrays, name: str) -> NamedArrays:
    """The one model in the app's reply. ConfigurationError or MalformedReply say what the app has to change."""
    if len(records := list(content.array_records.values())) != 1:
        raise ConfigurationError("reply of the train function", f"{len(records)} ArrayRecords", "one: the new weights")
    if (metrics := len(content.metric_records)) != 1:
        raise ConfigurationError("reply of the train function", f"{metrics} MetricRecords", "one, as Flower requires")
    new = read_arrays(dict(records[0]))
    check_layout(name, new, old)
    return new


def difference(layout: Layout, old: NamedArrays, new: NamedArrays) -> dict[str, NDArray[Any]]:
    """new - old for moving arrays, new for buffers; names, shapes and dtypes kept."""
    with np.errstate(over="ignore", invalid="ignore"):
        return {key: new[key] if key in layout.buffers else np.subtract(new[key], old[key]) for key in layout.shapes}


def finite_norm(layout: Layout, update: NamedArrays, name: str) -> float:
    """L2 norm of the moving arrays. NonFiniteUpdate names the array that holds NaN or Inf, buffers included."""
    norm = update_norm(layout.moved(update))
    suspects = layout.buffers if math.isfinite(norm) else update.keys()
    for key in suspects:
        if update[key].dtype.kind == "f" and not np.isfinite(update[key]).all():
            raise NonFiniteUpdate(name, TRAIN, f"NaN or Inf in {key!r}", "finite values")
    return norm
