"""Exchanges end, replies go to whom they answer, and one that does not parse loses nobody else's."""

import time

import pytest
from flwr.app import Message, RecordDict

from flower_robust.errors import QuorumNotReached
from flower_robust.flower.exchange import Exchange
from flower_robust.flower.grid import BoundedGrid, collect, pause, push
from tests.flower_double import FakeGrid

pytestmark = pytest.mark.window

NAMES = {1: "a", 2: "b", 3: "c"}


def echo(message: Message) -> Message:
    return Message(RecordDict(), reply_to=message)


def messages(*node_ids: int) -> list[Message]:
    return [Message(RecordDict(), node_id, "train") for node_id in node_ids]


def answers(grid: FakeGrid, timeout: float = 0.2, *node_ids: int) -> dict[str, object]:
    exchange = Exchange.open(grid, messages(*(node_ids or NAMES)), NAMES, timeout)
    return {name: reply for name, _, reply in exchange.replies()}


def test_every_message_is_answered_once_silence_included():
    found = answers(FakeGrid({1: echo, 2: lambda message: None, 3: lambda message: ValueError("cut short")}))
    assert isinstance(found["a"], Message)
    assert found["b"] is None
    assert isinstance(found["c"], ValueError)


def test_a_reply_to_another_message_is_nobodys():
    def misdirected(message: Message) -> Message:
        reply = echo(message)
        reply.metadata.__dict__["_reply_to_message_id"] = "message-1"
        return reply

    found = answers(FakeGrid({1: lambda message: None, 2: misdirected, 3: echo}))
    assert found["a"] is None
    assert found["b"] is None
    assert isinstance(found["c"], Message)


def test_a_network_failure_is_nobodys_fault():
    with pytest.raises(ConnectionError):
        answers(FakeGrid({1: lambda message: ConnectionError("SuperLink is gone"), 2: echo, 3: echo}))


def test_polls_leave_a_slow_superlink_four_fifths_of_its_time():
    far = time.monotonic() + 1000
    now = time.monotonic()
    assert pause(now, far) == 0.005
    assert 0.39 < pause(now, far, 0.1) <= 0.4 and pause(now, far, 10.0) == 1.0
    assert 0.19 < pause(now - 4, far) < 0.21
    assert pause(now, now - 1, 10.0) == 0.0 and pause(now, now + 0.1, 10.0) <= 0.1


def test_waiting_ends_at_the_deadline():
    started = time.monotonic()
    answers(FakeGrid(dict.fromkeys(NAMES, lambda message: None)), timeout=0.3)
    assert time.monotonic() - started >= 0.3


def test_only_named_nodes_are_asked_and_every_message_has_a_time_to_live():
    grid = FakeGrid(dict.fromkeys([1, 2, 3, 9], echo))
    assert set(answers(grid, 0.2, 1, 9)) == {"a"}
    assert [(m.metadata.dst_node_id, m.metadata.ttl) for m in grid.sent] == [(1, 0.2)]


class ChoosyGrid(FakeGrid):
    """A SuperLink that takes messages to some nodes only; Flower's grids drop the others or answer None."""

    def __init__(self, nodes, taken):
        super().__init__(nodes)
        self.taken = taken

    def push_messages(self, messages):
        ids = super().push_messages(messages)
        return [i if m.metadata.dst_node_id in self.taken else None for i, m in zip(ids, messages, strict=True)]


def test_a_message_that_was_not_taken_is_not_awaited():
    started = time.monotonic()
    found = answers(ChoosyGrid(dict.fromkeys(NAMES, echo), taken={1, 2}), timeout=30.0)
    assert found["c"] is None
    assert isinstance(found["a"], Message)
    assert time.monotonic() - started < 30.0


def test_a_superlink_that_takes_nothing_is_an_error():
    with pytest.raises(ConnectionError, match="took none of 3 messages"):
        answers(ChoosyGrid(dict.fromkeys(NAMES, echo), taken=set()))


def test_replies_come_as_they_arrive():
    grid = FakeGrid({1: lambda message: None, 2: echo})
    sent = messages(1, 2)
    assert push(grid, sent) == []
    arriving = collect(grid, sent, time.monotonic() + 5.0)
    assert next(arriving)[0] is sent[1]
    grid.answers[sent[0].metadata.message_id] = echo(sent[0])
    assert next(arriving)[0] is sent[0]
    assert list(arriving) == []


def test_a_bounded_grid_shows_eligible_nodes_until_its_deadline_and_passes_the_rest_on():
    grid = FakeGrid(dict.fromkeys(NAMES, echo))

    def shortage(found: int) -> QuorumNotReached:
        return QuorumNotReached(1, 3, 3, found)

    bounded = BoundedGrid(grid, lambda: [1, 3], time.monotonic() + 60.0, shortage)
    assert bounded.get_node_ids() == [1, 3]
    assert bounded.run is grid.run
    assert len(list(bounded.send_and_receive(messages(1, 3), timeout=1.0))) == 2
    late = BoundedGrid(grid, lambda: [1, 3], time.monotonic() - 1.0, shortage)
    with pytest.raises(QuorumNotReached, match="found 2 accepted"):
        late.get_node_ids()
