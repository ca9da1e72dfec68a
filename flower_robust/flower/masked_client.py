"""The mod's phases of a masked round: one function per phase, and what the client remembers between messages.

The memory lies in `Context.state`, is popped before a phase begins and written again once it has answered. A phase that
refuses leaves the run key and how the round ended: it is over for the client, no secret is used twice, and a server
cannot make a client forget what it signed by sending it nonsense.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from logging import WARNING
from typing import TypeVar

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.common import log

from flower_robust.commitments.keys import RunKey
from flower_robust.errors import ConfigurationError, EquivocatingServer, FaultyServer, RobustError
from flower_robust.flower.answered import answer_once
from flower_robust.flower.asked import check_asked, run_config_digest
from flower_robust.flower.envelope import (
    AUDIT,
    CHALLENGE,
    DISPUTE,
    ECHO,
    ENVELOPE,
    KEY,
    PAYLOAD,
    RECHECK,
    REFUSED,
    RUN_CONFIG,
    TRAIN,
    UNMASK,
    envelope_of,
    field,
)
from flower_robust.flower.kept_evidence import keep_evidence
from flower_robust.flower.kept_uploads import KeptUploads
from flower_robust.flower.masked_row import Row
from flower_robust.flower.site import Site
from flower_robust.masking.ring import Residues
from flower_robust.protocol.audit import audit_report, audited_upload
from flower_robust.protocol.client_memory import recall, recall_key, remember, remember_key
from flower_robust.protocol.client_shares import answer_challenge
from flower_robust.protocol.client_states import (
    AwaitingChallenge,
    AwaitingRecheck,
    AwaitingUnmask,
    Finished,
    State,
    finish,
)
from flower_robust.protocol.client_submit import submit
from flower_robust.protocol.client_unmask import echo, unmask
from flower_robust.protocol.disputes import answer_dispute
from flower_robust.protocol.recheck import answer_recheck
from flower_robust.protocol.shown import Offer
from flower_robust.protocol.sizes import Sizes, terms_of
from flower_robust.types import Digest

Phase = TypeVar("Phase")


@dataclass(frozen=True, slots=True)
class Memory:
    """What a client remembers of a run: its run key, and where it stands, with the rounds that it can still audit."""

    run_key: RunKey
    state: State | None = None

    @classmethod
    def pop(cls, context: Context) -> "Memory | None":
        """Take the memory out of the context, leaving the run key alone; None if there is none."""
        if (record := context.state.config_records.get(ENVELOPE)) is None:
            return None
        fields = {key: value for key, value in record.items() if isinstance(value, bytes)}
        context.state[ENVELOPE] = ConfigRecord({"run-key": fields["run-key"]})
        run_key = recall_key(fields["run-key"])
        return cls(run_key, recall(fields["state"], run_key) if "state" in fields else None)

    @classmethod
    def take(cls, site: Site, context: Context) -> "Memory | None":
        """`pop`, but None if what is there is not of this run and roster."""
        return None if known_key(site, context) is None else cls.pop(context)

    def put(self, context: Context) -> None:
        """Write the memory into the context."""
        state = {} if self.state is None else {"state": remember(self.state)}
        context.state[ENVELOPE] = ConfigRecord({"run-key": remember_key(self.run_key), **state})


def known_key(site: Site, context: Context) -> RunKey | None:
    """The run key in the context; None if there is none, or if it is of another run or roster, as Flower hands a state
    on to the next run of a series."""
    record = context.state.config_records.get(ENVELOPE, ConfigRecord())
    if not isinstance(kept := record.get("run-key"), bytes):
        return None
    run_key = recall_key(kept)
    announced = run_key.announcement
    return run_key if (announced.run_id, announced.roster_digest) == (context.run_id, site.roster.digest) else None


def announce_key(site: Site, context: Context) -> bytes:
    """Key set-up, once per run: the signed run key, the same whenever it is asked for."""
    run_key = known_key(site, context)
    if run_key is None:
        run_key = RunKey.create(site.identity, context.run_id, site.roster.digest, os.urandom(32))
        Memory(run_key).put(context)
    return run_key.announcement.encode()


def keyed(site: Site, context: Context) -> dict[str, bytes]:
    """What goes with a claim in a masked run: the signed run key, and which configuration of the run the app sees."""
    return {KEY: announce_key(site, context), RUN_CONFIG: run_config_digest(context.run_config)}


def ready(site: Site, context: Context, offer: Offer, message: Message) -> RecordDict | None:
    """Before training: None, or a refusal.

    A client that lost its run key gives a new one with it. Who is asked anything else than the plan says does not train
    for it: a server that sends each client its own model, configuration or layout of the row can make all updates but
    one vanish from the sum (Pasquini et al. 2022).
    """
    try:
        site.demands.check(terms_of(offer.plan))
        check_asked(message, context, offer.plan)
        if known_key(site, context) is None:
            found = "no run key: this client was restarted since it announced one"
            raise ConfigurationError("Context.state", found, "the run key; a new one goes with this answer")
    except RobustError as refusal:
        return _refused(TRAIN, site, refusal, {KEY: announce_key(site, context)})
    return None


def submission(site: Site, context: Context, offer: Offer, row: Row) -> RecordDict:
    """Step 1: the masked, shared, signed row; y goes to the site's folder. The last round's secrets are erased."""
    memory = Memory.take(site, context)
    assert memory is not None
    before = None if memory.state is None else finish(memory.state)
    uploads = KeptUploads(site.folder, site.identity.name)
    try:
        state, message, y = submit(
            offer, site.roster, site.identity, memory.run_key, row, os.urandom(32), before, site.demands
        )
        answer_once(site, offer.plan.digest, TRAIN, state.dealt.commitment)
        _forget(uploads, memory.state, state)
        uploads.save(y, state.dealt.upload)
    except RobustError as refusal:
        Memory(memory.run_key, before).put(context)
        return _refused(TRAIN, site, refusal)
    Memory(memory.run_key, state).put(context)
    return RecordDict({ENVELOPE: ConfigRecord({"phase": TRAIN, PAYLOAD: message})})


def answer(phase: str, site: Site, message: Message, context: Context) -> RecordDict:
    """The reply of one later phase; a refusal where the server broke the protocol."""
    payload = field(envelope_of(message.content), PAYLOAD, bytes)
    memory = Memory.take(site, context)
    try:
        if memory is None or memory.state is None:
            raise FaultyServer(phase, "a request out of turn", "a submission of this client before it")
        after, reply, beside = PHASES[phase](site, memory, payload)
        if phase in ONCE and not isinstance(memory.state, Finished):
            answer_once(site, memory.state.dealt.plan.digest, phase, reply)
    except RobustError as refusal:
        if memory is not None and memory.state is not None:
            ended = finish(memory.state)
            _forget(KeptUploads(site.folder, site.identity.name), memory.state, ended)
            replace(memory, state=ended).put(context)
        return _refused(phase, site, refusal)
    after.put(context)
    return RecordDict({ENVELOPE: ConfigRecord({"phase": phase, PAYLOAD: reply, **beside})})


Answered = tuple[Memory, bytes, dict[str, str]]
"""The memory after it, the reply, and what is said beside it."""


def _challenge(site: Site, memory: Memory, payload: bytes) -> Answered:
    """Step 3, and the audit of the round before (step 7)."""
    state = _expected(memory, AwaitingChallenge, CHALLENGE)
    uploads = KeptUploads(site.folder, site.identity.name)
    audited = audited_upload(state.dealt)
    B = _blocks(state)
    own = None if audited is None else uploads.load(audited, B)
    y = _own_y(uploads, state)
    try:
        after, reply = answer_challenge(state, site.roster, site.identity, y, payload, own)
    except FaultyServer:
        _check_disk(uploads, state)
        if audited is None or own is None or uploads.intact(audited, B):
            raise
        own = None
        after, reply = answer_challenge(state, site.roster, site.identity, y, payload)
    report = audit_report(state.dealt, own)
    if "skipped" in report:
        log(WARNING, "audit of the round before: %s", report)
    return replace(memory, state=after), reply, {AUDIT: report}


def _dispute(site: Site, memory: Memory, payload: bytes) -> Answered:
    state = _expected(memory, AwaitingUnmask, DISPUTE)
    return memory, answer_dispute(state, site.roster, site.identity, payload), {}


def _echo(site: Site, memory: Memory, payload: bytes) -> Answered:
    after, reply = echo(_expected(memory, AwaitingUnmask, ECHO), site.roster, site.identity, payload)
    return replace(memory, state=after), reply, {}


def _unmask(site: Site, memory: Memory, payload: bytes) -> Answered:
    after, reply = unmask(_expected(memory, AwaitingUnmask, UNMASK), site.roster, site.identity, payload)
    return replace(memory, state=after), reply, {}


def _recheck(site: Site, memory: Memory, payload: bytes) -> Answered:
    state = _expected(memory, AwaitingRecheck, RECHECK)
    uploads = KeptUploads(site.folder, site.identity.name)
    try:
        after, reply = answer_recheck(state, site.identity, _own_y(uploads, state), payload)
    except FaultyServer:
        _check_disk(uploads, state)
        raise
    return replace(memory, state=after), reply, {}


def _blocks(state: AwaitingChallenge | AwaitingRecheck) -> int:
    return Sizes.of(state.dealt.plan).B


def _own_y(uploads: KeptUploads, state: AwaitingChallenge | AwaitingRecheck) -> Residues:
    if (y := uploads.load(state.dealt.upload, _blocks(state))) is None:
        raise ConfigurationError("audit_folder", str(uploads.folder), "this round's y, which is gone")
    return y


def _check_disk(uploads: KeptUploads, state: AwaitingChallenge | AwaitingRecheck) -> None:
    """ConfigurationError if what looks like the server's fault may be this site's disk: y is not what was written."""
    if not uploads.intact(state.dealt.upload, _blocks(state)):
        raise ConfigurationError("audit_folder", str(uploads.folder), "this round's y, which was altered")


def _forget(uploads: KeptUploads, before: State | None, after: State) -> None:
    """Delete the y's that nothing refers to any more."""
    for upload in _uploads_of(before) - _uploads_of(after):
        uploads.forget(upload)


def _uploads_of(state: State | None) -> set[Digest]:
    if state is None:
        return set()
    past, own = (state.past, set()) if isinstance(state, Finished) else (state.dealt.past, {state.dealt.upload})
    return own | {ended.upload for ended in past if ended.upload is not None}


PHASES: dict[str, Callable[[Site, Memory, bytes], Answered]] = {
    CHALLENGE: _challenge,
    DISPUTE: _dispute,
    ECHO: _echo,
    UNMASK: _unmask,
    RECHECK: _recheck,
}
"""The later phases of a masked round, docs/protocol.md, section 4, steps 3 to 6a."""

ONCE = (CHALLENGE, ECHO, UNMASK, RECHECK)
"""Phases with one answer per plan. Disputes may come twice: they open what a receiver lied about, for one challenge."""


def _expected(memory: Memory, phase: type[Phase], step: str) -> Phase:
    if not isinstance(memory.state, phase):
        raise FaultyServer(step, "a request out of turn", f"one that fits {memory.state!r}")
    return memory.state


def _refused(phase: str, site: Site, refusal: RobustError, fields: dict[str, bytes] | None = None) -> RecordDict:
    log(WARNING, "%s: this client does not answer: %s", phase, refusal)
    if isinstance(refusal, EquivocatingServer):
        log(WARNING, "%s: both signatures of the server are kept, %s", phase, keep_evidence(site, refusal.evidence))
    return RecordDict({ENVELOPE: ConfigRecord({"phase": phase, REFUSED: str(refusal), **(fields or {})})})
