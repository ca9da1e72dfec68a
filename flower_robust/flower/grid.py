"""Exchanges over Flower's Grid that end: every wait has a deadline, every reply answers a message that was sent.

`Grid.send_and_receive` polls every three seconds, attributes replies by a node id that the SuperLink sets to 1 on
errors, and loses a whole batch to one reply that does not parse. Replies are pulled here one message at a time.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from flwr.app import Message
from flwr.serverapp import Grid
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from flower_robust.errors import RobustError

Reply = Message | Exception
"""What answered a message: a reply (which may carry an error), or why it could not be read."""

_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, AssertionError, RecursionError, DecodeError)
"""What parsing a reply raises; anything else is the network's failure, which is nobody's fault."""

_SHORTEST, _LONGEST = 0.005, 1.0


def push(grid: Grid, messages: Sequence[Message]) -> list[Message]:
    """Send the messages; those that the grid did not take are returned. Flower iterates twice, so it gets a list."""
    taken = set(grid.push_messages(list(messages)))
    return [message for message in messages if message.metadata.message_id not in taken]


def collect(grid: Grid, messages: Iterable[Message], deadline: float) -> Iterator[tuple[Message, Reply]]:
    """Each message with its reply, as replies arrive, until all have or `deadline` (time.monotonic(), s) is past."""
    pending = {message.metadata.message_id: message for message in messages}
    started = time.monotonic()
    while pending:
        spent = 0.0
        for message_id in list(pending):
            asked = time.monotonic()
            reply = _pull(grid, message_id)
            spent += time.monotonic() - asked
            if reply is not None:
                yield pending.pop(message_id), reply
        if not pending or time.monotonic() >= deadline:
            return
        time.sleep(pause(started, deadline, spent))


def pause(started: float, deadline: float, spent: float = 0.0) -> float:
    """Seconds until the next poll: a twentieth of the time waited so far, or four times what the last poll took if that
    is more, so that polling leaves a SuperLink most of its time; at least 5 ms, at most 1 s, never past the deadline.
    """
    now = time.monotonic()
    wanted = max(_SHORTEST, (now - started) / 20, 4 * spent)
    return max(0.0, min(wanted, _LONGEST, deadline - now))


def _pull(grid: Grid, message_id: str) -> Reply | None:
    try:
        replies = [reply for reply in grid.pull_messages([message_id]) if _answers(reply, message_id)]
    except _UNREADABLE as error:
        return error
    return replies[0] if replies else None


def _answers(reply: Message, message_id: str) -> bool:
    return reply.metadata.reply_to_message_id == message_id


class BoundedGrid(Grid):
    """The grid that a wrapped strategy samples from: only eligible nodes, and no waiting without end.

    Flower's `sample_nodes` asks for node ids until there are enough. Past `deadline` (time.monotonic(), s) the next
    question raises `shortage(node ids found)` instead of an answer.
    """

    def __init__(
        self, grid: Grid, eligible: Callable[[], list[int]], deadline: float, shortage: Callable[[int], RobustError]
    ) -> None:
        self._grid, self._eligible, self._deadline, self._shortage = grid, eligible, deadline, shortage

    def get_node_ids(self) -> list[int]:
        """Nodes that may take part now."""
        node_ids = self._eligible()
        if time.monotonic() > self._deadline:
            raise self._shortage(len(node_ids))
        return node_ids

    def get_nodes(self) -> Any:
        """What the grid knows about the nodes that may take part now."""
        eligible = set(self.get_node_ids())
        return [node for node in self._grid.get_nodes() if node.node_id in eligible]

    def set_run(self, run: Any) -> None:
        """As the grid does."""
        self._grid.set_run(run)

    @property
    def run(self) -> Any:
        """As the grid's."""
        return self._grid.run

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        """As the grid does."""
        return self._grid.create_message(*args, **kwargs)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """As the grid does."""
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """As the grid does."""
        return self._grid.pull_messages(message_ids)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """As the grid does, but never past the deadline."""
        left = max(0.0, self._deadline - time.monotonic())
        return self._grid.send_and_receive(messages, timeout=left if timeout is None else min(timeout, left))
