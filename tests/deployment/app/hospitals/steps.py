"""Which step of which round a message is, from the message alone."""

from flwr.app import Message

from flower_robust.flower.envelope import ENVELOPE
from flower_robust.protocol.plan import RoundPlan


def step_of(message: Message) -> str:
    """The protocol's phase, or the message's type."""
    record = message.content.config_records.get(ENVELOPE)
    return str(record["phase"]) if record is not None else message.metadata.message_type


def round_of(message: Message) -> int:
    """The round that the message belongs to, 0 before the first."""
    records = message.content.config_records
    if "server-round" in records.get("config", {}):
        return int(records["config"]["server-round"])
    envelope = records.get(ENVELOPE, {})
    if "plan" in envelope:
        return RoundPlan.decode(envelope["plan"]).round
    return int(envelope.get("round", 0))
