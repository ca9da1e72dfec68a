"""Seconds, bytes and exchanges of a round, seen from outside: between a strategy and Flower's grid."""

import time
from collections import Counter
from collections.abc import Callable

from flwr.app import Message
from flwr.serverapp import Grid

from flower_robust.flower.exchange import content_bytes


class Meter:
    """Counts what passes a grid, and times rounds."""

    def __init__(self, grid: Grid) -> None:
        self.up = self.down = 0
        self.messages: Counter[int] = Counter()
        push, pull = grid.push_messages, grid.pull_messages
        grid.push_messages = lambda messages: push(self._sent(list(messages)))
        grid.pull_messages = lambda ids: self._received(list(pull(ids)))

    def measure(self, round: Callable[[], object], clients: int) -> dict[str, float]:
        """Seconds of one round, bytes per client, and the messages of the client that got most."""
        self.up = self.down = 0
        self.messages.clear()
        started = time.perf_counter()
        round()
        seconds = time.perf_counter() - started
        exchanges = max(self.messages.values())
        return {"seconds": seconds, "up": self.up / clients, "down": self.down / clients, "exchanges": exchanges}

    def _sent(self, messages: list[Message]) -> list[Message]:
        self.down += sum(size(message) for message in messages)
        self.messages.update(message.metadata.dst_node_id for message in messages)
        return messages

    def _received(self, messages: list[Message]) -> list[Message]:
        self.up += sum(size(message) for message in messages)
        return messages


def size(message: Message) -> int:
    """Bytes of a message's records."""
    return content_bytes(message.content) if message.has_content() else 0
