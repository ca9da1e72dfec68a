"""What a masked round asks of everybody alike: who were asked something else would stand out in the sum.

    asked = H(type, group, for each record: kind, name, its entries)      names, order, types and bytes of all entries

That is the whole train message but for the offer, which holds the plan that binds this digest: the model, the
strategy's configuration and whatever else it sends, and the layout of the masked row. Beside the message an app sees
its run's configuration, which the SuperLink hands out too; its digest is part of the layout. What is left are Flower's
own numbers of a message: ids, times and the time to live.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict

from flower_robust.commitments.encoding import f64, pack, u64
from flower_robust.errors import ConfigurationError, FaultyServer
from flower_robust.flower.envelope import ENVELOPE, PAYLOAD, RUN_CONFIG, envelope_of, field
from flower_robust.protocol.plan import RoundPlan
from flower_robust.types import Digest

CONTEXT = b"flower-robust/v1/asked"
KINDS = (ArrayRecord, MetricRecord, ConfigRecord)


def asked_digest(content: RecordDict, message_type: str, group_id: str) -> Digest:
    """SHA-256 over a train message, as above; the serialized arrays are hashed as they travel."""
    state = hashlib.sha256(pack(CONTEXT, message_type.encode(), group_id.encode(), u64(len(content))))
    for name, record in content.items():
        kind = next(kind for kind in KINDS if isinstance(record, kind))
        entries = {key: value for key, value in record.items() if (name, key) != (ENVELOPE, PAYLOAD)}
        state.update(pack(kind.__name__.encode(), name.encode(), u64(len(entries))))
        for key, value in entries.items():
            for part in (pack(key.encode()), *_parts(value)):
                state.update(part)
    return Digest(state.digest())


def asked_alike(messages: Iterable[Message], envelope: ConfigRecord) -> Digest:
    """The one digest of a strategy's messages with the envelope; ConfigurationError if they ask different things."""
    distinct = {(id(m.content), m.metadata.message_type, m.metadata.group_id): m for m in messages}
    digests = {
        asked_digest(RecordDict({**m.content, ENVELOPE: envelope}), m.metadata.message_type, m.metadata.group_id)
        for m in distinct.values()
    }
    if len(digests) != 1:
        required = "the same for every client: in a masked round, whoever is asked something else can be read"
        raise ConfigurationError("train messages of the wrapped strategy", f"{len(digests)} different ones", required)
    return digests.pop()


def run_config_digest(run_config: Mapping[str, Any]) -> Digest:
    """SHA-256 over a run's configuration, in the order of its keys."""
    entries = (part for key in sorted(run_config) for part in (pack(key.encode()), *_parts(run_config[key])))
    return Digest(hashlib.sha256(pack(CONTEXT + b"/run-config") + b"".join(entries)).digest())


def check_asked(message: Message, context: Context, plan: RoundPlan) -> None:
    """FaultyServer unless this client is asked what the plan asks of everybody."""
    if field(envelope_of(message.content), RUN_CONFIG, bytes) != run_config_digest(context.run_config):
        raise FaultyServer("offer", "another run configuration than the plan's", "the same for everybody")
    metadata = message.metadata
    if asked_digest(message.content, metadata.message_type, metadata.group_id) != plan.model_digest:
        found = "another message than the plan's (model, configuration or layout)"
        raise FaultyServer("offer", found, "the same for everybody")


def _parts(value: object) -> tuple[bytes, ...]:
    """A value's bytes, which no other value has."""
    match value:
        case Array():
            shape = b"".join(map(u64, value.shape))
            described = pack(b"array", value.dtype.encode(), value.stype.encode(), shape, u64(len(value.data)))
            return described, value.data
        case list():
            return pack(b"list", u64(len(value))), *(part for item in value for part in _parts(item))
        case bool() | int():
            return (pack(type(value).__name__.encode(), str(value).encode()),)
        case float():
            return (pack(b"float", f64(value)),)
        case str():
            return (pack(b"str", value.encode()),)
        case bytes():
            return (pack(b"bytes", value),)
    raise TypeError(f"found {type(value).__name__}, required what Flower's records hold")
