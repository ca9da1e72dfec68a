"""Metrics that clients report in clear, weighted by what the roster declares, never by what a reply claims."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from flwr.app import MetricRecord, MetricRecordValues, RecordDict

from flower_robust.commitments import Roster, RosterEntry
from flower_robust.errors import ExampleCountLie, MalformedReply
from flower_robust.types import RosterName

LARGEST = 1e300
"""A metric beyond this is as good as infinite: sums of it overflow."""

Metrics = Mapping[RosterName, MetricRecord]


def read_metrics(content: RecordDict, entry: RosterEntry, step: str, count_key: str) -> MetricRecord:
    """A reply's one MetricRecord. Raises MalformedReply on none or several, ExampleCountLie on an impossible count.

    A count is possible if it is a number between 0 and the roster's declared rows (any, where the roster declares 0).
    """
    if len(records := list(content.metric_records.values())) != 1:
        raise MalformedReply(entry.name, step, f"{len(records)} MetricRecords", "one")
    count = records[0].get(count_key, 0)
    highest = entry.rows or math.inf
    if isinstance(count, list) or not 0 <= count <= highest or count == math.inf:
        raise ExampleCountLie(entry.name, step, f"{count_key} {str(count)[:40]}", f"a number of 0 to {highest}")
    return records[0]


def declared_rows(roster: Roster, names: Sequence[RosterName]) -> list[float]:
    """Rows of each name, or 1 each where any of them declares none."""
    rows = [float(roster[name].rows) for name in names]
    return rows if all(rows) else [1.0] * len(rows)


def agreed(metrics: Metrics, count_key: str) -> dict[RosterName, MetricRecord]:
    """The records that are finite and have the keys and list lengths that most of the finite ones have."""
    finite = {name: record for name, record in metrics.items() if _finite(record)}
    shapes = {name: _shape(record, count_key) for name, record in finite.items()}
    usual = Counter(shapes.values()).most_common(1)
    return {name: record for name, record in finite.items() if shapes[name] == usual[0][0]}


def weighted(metrics: Metrics, roster: Roster, count_key: str) -> MetricRecord:
    """Mean of agreed metrics weighted by declared rows; `count_key` becomes the rows that were counted.

    metric = sum(rows_i * metric_i) / sum(rows_i)
    """
    rows = declared_rows(roster, list(metrics))
    mean = MetricRecord({count_key: sum(rows)})
    for key in next(iter(metrics.values()), MetricRecord()):
        if key != count_key:
            columns = [record[key] for record in metrics.values()]
            mean[key] = _mean([_listed(column) for column in columns], rows, isinstance(columns[0], list))
    return mean


def _mean(columns: list[list[int] | list[float]], rows: list[float], listed: bool) -> float | list[float]:
    total = sum(rows)
    means = [sum(w * v for w, v in zip(rows, values, strict=True)) / total for values in zip(*columns, strict=True)]
    return means if listed else means[0]


def _listed(value: MetricRecordValues) -> list[int] | list[float]:
    return value if isinstance(value, list) else [value]


def _finite(record: MetricRecord) -> bool:
    return all(abs(number) < LARGEST for value in record.values() for number in _listed(value))


def _shape(record: MetricRecord, count_key: str) -> tuple[tuple[str, int | None], ...]:
    shape = {key: len(value) if isinstance(value, list) else None for key, value in record.items() if key != count_key}
    return tuple(sorted(shape.items()))
