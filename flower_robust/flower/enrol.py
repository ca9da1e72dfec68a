"""Which participant a Flower node is: proven once per run by a signature, never taken from a node id or a reply.

    claim = Ed25519("enrol", run id, node id, nonce, roster digest)        by the identity key of the claimed name

The nonce is fresh per question, so a claim cannot be replayed; run and node id come from the client's own context, so
nobody can have it signed for another node.
"""

import os
import time
from collections.abc import Iterable, Mapping
from logging import WARNING

from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.common import log
from flwr.serverapp import Grid

from flower_robust.commitments import Identity, Roster, sign_statement, verify_statement
from flower_robust.commitments.encoding import u64
from flower_robust.commitments.keys import KeyAnnouncement
from flower_robust.errors import (
    BadSignature,
    ClientError,
    ClientFault,
    ConfigurationError,
    MalformedReply,
    NoReply,
    UnknownClient,
)
from flower_robust.flower.envelope import ENROL, ENVELOPE, KEY, RUN_CONFIG, SPOKEN, envelope_of, field
from flower_robust.flower.exchange import content_of
from flower_robust.flower.grid import collect, pause, push
from flower_robust.flower.records import UnreadableError
from flower_robust.types import RosterName

KIND = "enrol"


def question(nonce: bytes, roster_digest: bytes, keyed: bool = False) -> RecordDict:
    """What the server asks a node that it has not seen in this run: `nonce` 16 bytes, `roster_digest` 32 bytes.

    `keyed`: whether it also asks for the node's run key.
    """
    asked = ConfigRecord({"phase": ENROL, "spoken": SPOKEN, "nonce": nonce, "roster": roster_digest})
    if keyed:
        asked[KEY] = True
    return RecordDict({ENVELOPE: asked})


def claim(
    identity: Identity, asked: ConfigRecord, run_id: int, node_id: int, keyed: Mapping[str, bytes] | None = None
) -> RecordDict:
    """What the client answers; `keyed`: its run key and the digest of its run's configuration, if asked for them.

    Raises ConfigurationError where the server speaks another version: nothing that either signs would verify.
    """
    if (spoken := asked.get("spoken")) != SPOKEN:
        raise ConfigurationError("protocol version", f"{str(spoken)[:20]} at the server", f"{SPOKEN}, as here")
    nonce, roster_digest = field(asked, "nonce", bytes), field(asked, "roster", bytes)
    signature = sign_statement(identity, KIND, u64(run_id), u64(node_id), nonce, roster_digest)
    claimed = ConfigRecord({"phase": ENROL, "spoken": SPOKEN, "name": identity.name, "signature": bytes(signature)})
    claimed.update(keyed or {})
    return RecordDict({ENVELOPE: claimed})


def verify_claim(roster: Roster, content: RecordDict, run_id: int, node_id: int, nonce: bytes) -> RosterName:
    """The name that the node proved. Raises MalformedReply, UnknownClient or BadSignature, which blame the node."""
    culprit = f"node {node_id}"
    try:
        record = envelope_of(content)
        if (spoken := record.get("spoken")) != SPOKEN:
            raise UnreadableError(f"protocol version {str(spoken)[:20]}", f"{SPOKEN}, as at the server")
        name, signature = field(record, "name", str), field(record, "signature", bytes)
        fields = (u64(run_id), u64(node_id), nonce, roster.digest)
        return verify_statement(roster, name, KIND, *fields, signature=signature)
    except UnreadableError as error:
        raise MalformedReply(culprit, KIND, error.found, error.required) from None
    except UnknownClient:
        raise UnknownClient(culprit, KIND, f"the name {name[:128]!r}", f"one of {len(roster)} roster names") from None
    except BadSignature:
        raise BadSignature(
            culprit, KIND, f"the name {name!r}", "a signature by the key that the roster lists"
        ) from None


def verified_key(roster: Roster, record: ConfigRecord, run_id: int, name: RosterName) -> KeyAnnouncement:
    """The run key that a claim or a refusal carries. Raises MalformedReply, StaleCommitment or BadSignature."""
    try:
        announced = KeyAnnouncement.decode(field(record, KEY, bytes), name)
    except UnreadableError as error:
        raise MalformedReply(name, KIND, error.found, error.required) from None
    announced.verify(roster, run_id, name)
    return announced


class Enrolment:
    """Node id -> roster name, for one run. Nodes are asked when they are first seen; answers may come rounds later.

    With `keyed`, nobody is admitted without a run key; `keys` are the last ones that the names announced, `run_configs`
    the digests of the configuration with which each says that it was started. `faults` collects what unproven nodes did
    since it was last taken; they blame nodes, not names, and cost no trust.
    """

    def __init__(self, roster: Roster, ttl: float, keyed: bool = False) -> None:
        self.roster, self.ttl, self.keyed = roster, ttl, keyed
        self.keys: dict[RosterName, KeyAnnouncement] = {}
        self.run_configs: dict[RosterName, bytes] = {}
        self.names: dict[int, RosterName] = {}
        self.faults: list[ClientFault] = []
        self._asked: dict[int, tuple[Message, bytes]] = {}
        self._refused: set[int] = set()
        self._failed: set[int] = set()

    def gather(self, grid: Grid, enough: int, deadline: float) -> dict[int, RosterName]:
        """Connected nodes that proved a name, once `enough` have answered or `deadline` (time.monotonic()) is past."""
        started = time.monotonic()
        while True:
            connected = set(grid.get_node_ids())
            self._ask(grid, connected)
            self._hear(grid)
            answered = connected & (self.names.keys() | self._refused | self._failed)
            if len(answered) >= enough or time.monotonic() >= deadline:
                return {node_id: name for node_id, name in self.names.items() if node_id in connected}
            time.sleep(pause(started, deadline))

    def absent(self, connected: Mapping[int, RosterName]) -> list[ClientFault]:
        """A NoReply for each roster name that no connected node has proven."""
        missing = [name for name in self.roster.names if name not in connected.values()]
        return [NoReply(name, KIND, "no connected node that proved this name", "one") for name in missing]

    def take_faults(self) -> list[ClientFault]:
        """The faults since the last call; nodes whose app failed will be asked again."""
        taken, self.faults = self.faults, []
        self._failed.clear()
        return taken

    def _ask(self, grid: Grid, connected: Iterable[int]) -> None:
        known = self.names.keys() | self._asked.keys() | self._refused | self._failed
        asked = [self._question(node_id) for node_id in sorted(set(connected) - known)]
        if asked:
            self._asked |= {message.metadata.dst_node_id: (message, nonce) for message, nonce in asked}
            for message in push(grid, [message for message, _ in asked]):
                del self._asked[message.metadata.dst_node_id]

    def _question(self, node_id: int) -> tuple[Message, bytes]:
        nonce = os.urandom(16)
        content = question(nonce, self.roster.digest, self.keyed)
        return Message(content, node_id, MessageType.TRAIN, ttl=self.ttl, group_id=KIND), nonce

    def _hear(self, grid: Grid) -> None:
        for message, reply in collect(grid, [message for message, _ in self._asked.values()], deadline=0.0):
            node_id = message.metadata.dst_node_id
            _, nonce = self._asked.pop(node_id)
            try:
                content = content_of(reply, f"node {node_id}", KIND)
                name = verify_claim(self.roster, content, grid.run.run_id, node_id, nonce)
                if self.keyed:
                    self._note(name, envelope_of(content), grid.run.run_id)
                self._admit(node_id, name)
            except ClientFault as fault:
                (self._failed if isinstance(fault, ClientError | NoReply) else self._refused).add(node_id)
                self._report(fault)

    def _note(self, name: RosterName, record: ConfigRecord, run_id: int) -> None:
        try:
            self.run_configs[name] = field(record, RUN_CONFIG, bytes)
        except UnreadableError as error:
            raise MalformedReply(name, KIND, error.found, error.required) from None
        self.keys[name] = verified_key(self.roster, record, run_id, name)

    def _admit(self, node_id: int, name: RosterName) -> None:
        # Both nodes hold the key: a participant that came back under another node id, or one that runs twice.
        for other in [other for other, taken in self.names.items() if taken == name]:
            del self.names[other]
            self._refused.add(other)
            found = f"the name {name!r}, which node {node_id} proved later"
            self._report(UnknownClient(f"node {other}", KIND, found, "one node per name"))
        self.names[node_id] = name

    def _report(self, fault: ClientFault) -> None:
        log(WARNING, "%s", fault)
        self.faults.append(fault)
