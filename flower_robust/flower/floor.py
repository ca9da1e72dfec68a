"""The later exchanges of a masked round over Flower's grid: one message per client and step, answers as they arrive."""

import time
from collections.abc import Iterable, Iterator, Mapping

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from flower_robust.errors import ClientFault, MalformedReply, NoReply, Refused
from flower_robust.flower.envelope import (
    AUDIT,
    CHALLENGE,
    DISPUTE,
    ECHO,
    ENVELOPE,
    PAYLOAD,
    RECHECK,
    REFUSED,
    UNMASK,
    envelope_of,
    field,
)
from flower_robust.flower.exchange import content_bytes, content_of
from flower_robust.flower.grid import Reply, collect, push
from flower_robust.flower.records import UnreadableError
from flower_robust.protocol.codec import Field
from flower_robust.protocol.masked_round import Answer, Floor
from flower_robust.protocol.server_states import ServerRound
from flower_robust.types import RosterName

PHASES = {
    "sketch-reply": CHALLENGE,
    "dispute": DISPUTE,
    "echo": ECHO,
    "unmask-reply": UNMASK,
    "recheck-reply": RECHECK,
}
"""The protocol's steps, by the message that starts them."""


class GridFloor(Floor):
    """`nodes`: which node speaks for a name; `message_type` and `group_id` as the strategy's own train messages have.

    Counts `exchanges`, seconds by step, and the bytes of every message and reply by name; `audits`: what became of each
    client's audit of the round before; `refusals`: why a client did not answer, in its own words.
    """

    def __init__(
        self, round: ServerRound, grid: Grid, nodes: Mapping[RosterName, int], sample: Message, timeout: float
    ) -> None:
        super().__init__(round)
        self.grid, self.nodes, self.timeout = grid, nodes, timeout
        self.message_type, self.group_id = sample.metadata.message_type, sample.metadata.group_id
        self.exchanges = 0
        self.seconds: dict[str, float] = {}
        self.sent_bytes: dict[str, int] = {}
        self.received_bytes: dict[str, int] = {}
        self.audits: dict[str, str] = {}
        self.refusals: dict[str, str] = {}

    def exchange(self, step: str, requests: Iterable[tuple[RosterName, bytes]]) -> Iterator[Answer]:
        """As `Floor.exchange`; nobody is awaited longer than `timeout`."""
        started = time.monotonic()
        self.exchanges += 1
        asked: dict[str, RosterName] = {}
        sent = [message for name, payload in requests for message in self._pushed(step, name, payload, asked)]
        silent = dict(asked)
        for message, reply in collect(self.grid, sent, started + self.timeout):
            name = silent.pop(message.metadata.message_id)
            yield name, self.payload(name, step, reply)
        for name in silent.values():
            yield name, NoReply(name, step, "no reply", f"a {step} within {self.timeout:g} s")
        self.seconds[step] = time.monotonic() - started

    def payload(self, name: RosterName, step: str, reply: Reply | None) -> Field | ClientFault:
        """The protocol's message in a reply, or the fault that it is."""
        try:
            content = content_of(reply, name, step)
            _add(self.received_bytes, name, content_bytes(content))
            record = envelope_of(content)
            if REFUSED in record:
                return self._refusal(name, step, field(record, REFUSED, str))
            if AUDIT in record:
                self.audits[name] = field(record, AUDIT, str)
            return field(record, PAYLOAD, bytes)
        except UnreadableError as error:
            return MalformedReply(name, step, error.found, error.required)
        except ClientFault as fault:
            return fault

    def _refusal(self, name: RosterName, step: str, why: str) -> ClientFault:
        self.refusals[name] = why = why[:400]
        return Refused(name, step, f"a refusal ({why})", f"a {step}")

    def _pushed(self, step: str, name: RosterName, payload: bytes, asked: dict[str, RosterName]) -> list[Message]:
        envelope = ConfigRecord({"phase": PHASES[step], "round": self.round.plan.round, PAYLOAD: payload})
        content = RecordDict({ENVELOPE: envelope})
        message = Message(content, self.nodes[name], self.message_type, ttl=self.timeout, group_id=self.group_id)
        _add(self.sent_bytes, name, content_bytes(content))
        lost = push(self.grid, [message])
        # A message that the grid did not take has no answer; its addressee is then silent.
        asked[message.metadata.message_id if not lost else f"lost/{name}"] = name
        return [] if lost else [message]


def _add(counted: dict[str, int], name: str, size: int) -> None:
    counted[name] = counted.get(name, 0) + size
