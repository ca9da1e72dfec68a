"""One masked update: the user's app trains as it always does, and what it returns leaves the client masked."""

from collections.abc import Mapping

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp.typing import ClientAppCallable
from numpy.typing import NDArray

from flower_robust.errors import ConfigurationError, NonFiniteUpdate
from flower_robust.flower.envelope import ENVELOPE, PAYLOAD, REFUSED, TRAIN, envelope_of, field
from flower_robust.flower.masked_client import ready, submission
from flower_robust.flower.masked_row import MaskedRow
from flower_robust.flower.metrics import declared_rows
from flower_robust.flower.plain_train import returned_model
from flower_robust.flower.records import Layout, NamedArrays, read_arrays
from flower_robust.flower.site import Site
from flower_robust.protocol.codec import from_server
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.shown import Offer
from flower_robust.types import RosterName

Returned = Mapping[str, NDArray[np.generic]]


def masked_train(message: Message, context: Context, call_next: ClientAppCallable, site: Site) -> Message:
    """docs/protocol.md, section 4, step 1. The app sees the message as its strategy wrote it.

    In the reply, the model and the masked metrics give way to the submission; other metrics stay in clear.
    """
    envelope = envelope_of(message.content)
    offer = from_server(lambda: Offer.decode(field(envelope, PAYLOAD, bytes)), "offer")
    if (refusal := ready(site, context, offer, message)) is not None:
        return Message(refusal, reply_to=message)
    old = read_arrays(dict(message.content.array_records[field(envelope, "arrays", str)]))
    message.content = RecordDict({name: record for name, record in message.content.items() if name != ENVELOPE})
    reply = call_next(message, context)
    if reply.has_error():
        return reply
    masked = row_of(envelope, old)
    update = differences(masked, old, returned_model(reply.content, old, site.identity.name), site.identity.name)
    metrics = taken_metrics(reply.content, masked.metrics)
    row = masked.write(update, metrics, share_of(offer.plan, site), offer.plan.norm_bound)
    submitted = submission(site, context, offer, row)
    kept = {name: record for name, record in reply.content.items() if not isinstance(record, ArrayRecord)}
    refused = REFUSED in envelope_of(submitted)
    reply.content = submitted if refused else RecordDict({**kept, **submitted})
    return reply


def row_of(envelope: ConfigRecord, model: NamedArrays) -> MaskedRow:
    """The row's layout as the server announced it."""
    layout = Layout.with_buffers(model, field(envelope, "buffers", list[str]))
    names, bounds = field(envelope, "metrics", list[str]), field(envelope, "bounds", list[float])
    return MaskedRow(layout, dict(zip(names, bounds, strict=True)), field(envelope, "buffer-bound", float))


def differences(masked: MaskedRow, old: NamedArrays, new: NamedArrays, name: str) -> Returned:
    """new - old of everything that rides in the row. NonFiniteUpdate names the array."""
    with np.errstate(over="ignore", invalid="ignore"):
        update = {key: np.subtract(new[key], old[key]) for key in (*masked.layout.moving, *masked.float_buffers)}
    for key, array in update.items():
        if not np.isfinite(array).all():
            raise NonFiniteUpdate(name, TRAIN, f"NaN or Inf in {key!r}", "finite values")
    return update


def taken_metrics(content: RecordDict, names: Mapping[str, float]) -> dict[str, float]:
    """The masked metrics, which leave the reply's own record. ConfigurationError names one that is not a number."""
    record = next(iter(content.metric_records.values()), MetricRecord())
    taken: dict[str, float] = {}
    for name in names:
        value = record.get(name)
        if not isinstance(value, int | float) or not np.isfinite(value):
            found = "a number that is not finite" if isinstance(value, float) else type(value).__name__
            raise ConfigurationError(f"masked metric {name!r}", found, "a finite number in the app's MetricRecord")
        taken[name] = float(record.pop(name))  # type: ignore[arg-type]
    return taken


def share_of(plan: RoundPlan, site: Site) -> float:
    """This client's declared rows as a part of the cohort's largest."""
    rows = declared_rows(site.roster, plan.cohort)
    return rows[plan.cohort.index(RosterName(site.identity.name))] / max(rows)
