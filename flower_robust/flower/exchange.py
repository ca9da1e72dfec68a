"""One set of messages to named participants, and who answered them."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Self

from flwr.app import Array, ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from flower_robust.errors import ClientError, MalformedReply, NoReply
from flower_robust.flower.envelope import ENVELOPE
from flower_robust.flower.failures import shown_reason
from flower_robust.flower.grid import Reply, collect, push
from flower_robust.types import RosterName

CLIENT_CODES = {1, 2, 6, 7, 8}
"""flwr.common.constant.ErrorCode: the client's app did not load, raised or crashed. The SuperLink makes the others."""


class Exchange:
    """Messages on their way. Names come from the message that a reply answers, never from the reply."""

    def __init__(self, grid: Grid, sent: Sequence[Message], names: Mapping[int, RosterName], deadline: float) -> None:
        self.grid, self.sent, self.names, self.deadline = grid, list(sent), names, deadline
        self.lost: list[Message] = []

    @classmethod
    def open(cls, grid: Grid, messages: Iterable[Message], names: Mapping[int, RosterName], timeout: float) -> Self:
        """Send those of a strategy's messages that go to a node in `names`; they live for `timeout` seconds.

        Raises ConnectionError if the SuperLink takes none of them.
        """
        sent = [_living(message, timeout) for message in messages if message.metadata.dst_node_id in names]
        exchange = cls(grid, sent, names, time.monotonic() + timeout)
        exchange.lost = push(grid, sent)
        if sent and len(exchange.lost) == len(sent):
            raise ConnectionError(f"the SuperLink took none of {len(sent)} messages: is the model too large?")
        return exchange

    def replies(self) -> Iterator[tuple[RosterName, Message, Reply | None]]:
        """Name, message and reply as they arrive; at the end, with None, those who stayed silent until the deadline."""
        silent = {message.metadata.message_id: message for message in self.sent}
        awaited = [message for message in self.sent if message not in self.lost]
        for message, reply in collect(self.grid, awaited, self.deadline):
            del silent[message.metadata.message_id]
            yield self.names[message.metadata.dst_node_id], message, reply
        for message in silent.values():
            yield self.names[message.metadata.dst_node_id], message, None


def marked(messages: Iterable[Message], envelope: ConfigRecord) -> list[Message]:
    """The messages with the protocol's record beside the user's; what shared its content before still does."""
    messages = list(messages)
    contents = {id(m.content): RecordDict({**m.content, ENVELOPE: envelope}) for m in messages}
    return [_copy(message, contents[id(message.content)], message.metadata.ttl) for message in messages]


def content_of(reply: Reply | None, name: str, step: str) -> RecordDict:
    """What a reply holds. Raises NoReply, ClientError (the client's app said that it failed) or MalformedReply."""
    if reply is None:
        raise NoReply(name, step, "no reply", "a reply before the deadline")
    if isinstance(reply, Exception):
        raise MalformedReply(name, step, f"an unreadable reply ({type(reply).__name__})", "a Flower message")
    if reply.has_error():
        kind = ClientError if reply.error.code in CLIENT_CODES else NoReply
        raise kind(name, step, f"error {reply.error.code}{shown_reason(str(reply.error.reason))}", "a reply")
    if not reply.has_content() or not isinstance(reply.content, RecordDict):
        raise MalformedReply(name, step, "content of another kind", "a RecordDict")
    return reply.content


def content_bytes(content: RecordDict) -> int:
    """Bytes of names and values; Flower's own count fails on an empty list."""
    return sum(len(key) + _bytes(value) for record in content.values() for key, value in record.items())


def _bytes(value: object) -> int:
    if isinstance(value, Array):
        return len(value.data)
    if isinstance(value, list):
        return sum(_bytes(item) for item in value)
    return len(value) if isinstance(value, str | bytes) else 8


def _living(message: Message, ttl: float) -> Message:
    return _copy(message, message.content, ttl)


def _copy(message: Message, content: RecordDict, ttl: float) -> Message:
    meta = message.metadata
    return Message(content, meta.dst_node_id, meta.message_type, ttl=ttl, group_id=meta.group_id)
