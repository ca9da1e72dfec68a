"""Flower's own FedAvg, with its replies in the hospitals' order: float sums depend on the order of their terms."""

from collections.abc import Iterable

from flwr.app import ArrayRecord, Message, MetricRecord
from flwr.serverapp.strategy import FedAvg


class OrderedFedAvg(FedAvg):
    """FedAvg, bit for bit the same whenever the same replies arrive."""

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """As FedAvg does, over the sorted replies."""
        return super().aggregate_train(server_round, sorted(replies, key=sender))


def sender(reply: Message) -> str:
    """The hospital that a reply says it is from, "" where it says nothing."""
    record = None if reply.has_error() else reply.content.config_records.get("hospital")
    return "" if record is None else str(record.get("name", ""))
