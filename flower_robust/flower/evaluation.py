"""Federated evaluation: one bad reply loses its own numbers, nothing else; counts come from the roster."""

from flwr.app import Message, MetricRecord, RecordDict

from flower_robust.commitments import Roster
from flower_robust.errors import ClientFault, MalformedReply
from flower_robust.flower.exchange import Exchange, content_of
from flower_robust.flower.metrics import agreed, declared_rows, read_metrics
from flower_robust.types import RosterName

STEP = "evaluate"


def verified_evaluation(exchange: Exchange, roster: Roster, count_key: str) -> tuple[list[Message], list[ClientFault]]:
    """Replies that the wrapped strategy can average as it does, in the roster's order, and the faults of the others.

    Each holds one MetricRecord: finite, with the keys that most have, its `count_key` the roster's declared rows.
    """
    metrics: dict[RosterName, MetricRecord] = {}
    sent: dict[RosterName, Message] = {}
    faults: list[ClientFault] = []
    for name, message, reply in exchange.replies():
        try:
            metrics[name] = read_metrics(content_of(reply, name, STEP), roster[name], STEP, count_key)
            sent[name] = message
        except ClientFault as fault:
            faults.append(fault)
    kept = agreed(metrics, count_key)
    outvoted = [name for name in roster.names if name in metrics and name not in kept]
    faults += [MalformedReply(name, STEP, "NaN, Inf or other keys", "finite metrics like most") for name in outvoted]
    names = [name for name in roster.names if name in kept]
    counted = zip(names, declared_rows(roster, names), strict=True)
    return [_counted(sent[name], kept[name], count_key, rows) for name, rows in counted], faults


def _counted(sent: Message, metrics: MetricRecord, count_key: str, rows: float) -> Message:
    return Message(RecordDict({"metrics": MetricRecord({**metrics, count_key: rows})}), reply_to=sent)
