"""The ConfigRecord that marks protocol messages. A mod only runs where the app registered a function for the message's
type, so protocol phases travel as the strategy's own train messages and carry this record beside the user's."""

from typing import TypeVar, get_origin

from flwr.app import ConfigRecord, RecordDict

from flower_robust.commitments.encoding import VERSION
from flower_robust.flower.records import UnreadableError
from flower_robust.protocol import codec

ENVELOPE = "flower_robust"
"""Key of the record in a message's content, and of the client's memory in `Context.state`."""

ENROL, TRAIN = "enrol", "train"
"""Phases: which participant a node is; one update."""

CHALLENGE, DISPUTE, ECHO, UNMASK, RECHECK = "challenge", "dispute", "echo", "unmask", "recheck"
"""Further phases of a masked round. Their messages and replies hold one field `PAYLOAD`, as the protocol encodes it."""

LATER = (CHALLENGE, DISPUTE, ECHO, UNMASK, RECHECK)

PAYLOAD, REFUSED, KEY, AUDIT, RUN_CONFIG = "payload", "refused", "key", "audit", "run-config"
"""Fields: a message of the masked protocol; why there is none; a run key; what became of the audit; a digest."""

SPOKEN = f"{VERSION}.{codec.VERSION}"
"""Versions of signed statements and of masked messages: sides that differ in either do not understand each other."""

Field = TypeVar("Field", str, bytes, float, list[str], list[float])


def envelope_of(content: RecordDict) -> ConfigRecord:
    """The protocol's record; UnreadableError if there is none."""
    if (record := content.config_records.get(ENVELOPE)) is None:
        raise UnreadableError(f"no record {ENVELOPE!r}", "a signed reply: has the ClientApp mods=[robust_mod(...)]?")
    return record


def field(record: ConfigRecord, key: str, kind: type[Field]) -> Field:
    """One field of the record; UnreadableError if it is missing or of another type."""
    value = record.get(key)
    if not isinstance(value, get_origin(kind) or kind):
        raise UnreadableError(f"field {key!r} of type {type(value).__name__}", kind.__name__)
    return value
