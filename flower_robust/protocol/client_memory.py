"""A client's state as bytes, for a process that lives for one message: what it deposits, the next one takes up.

    state of a phase  ──remember──>  bytes  ──recall──>  the same state

The run key is kept apart, once per run. After unmasking, the entropy that reproduces every secret of this client is not
remembered any more: what remains answers one recheck and nothing else. All of it is the client's own secret; it never
travels further than Flower's `Context.state`.
"""

from dataclasses import replace

import numpy as np

from flower_robust.commitments.keys import KeyAnnouncement, RunKey
from flower_robust.commitments.masked import NormOpening
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.protocol.client_states import (
    AwaitingChallenge,
    AwaitingRecheck,
    AwaitingUnmask,
    Dealt,
    Ended,
    Finished,
    Held,
    State,
)
from flower_robust.protocol.codec import Field, decode, encode, fixed, from_positions, kind_of, octets, positions
from flower_robust.protocol.pads import keys_of
from flower_robust.protocol.plan import RoundPlan
from flower_robust.types import Digest

RUN_KEY, CHALLENGE, UNMASK, RECHECK, FINISHED = (
    f"state/{phase}" for phase in ("run-key", "awaiting-challenge", "awaiting-unmask", "awaiting-recheck", "finished")
)


def remember_key(key: RunKey) -> bytes:
    """The run key, about 220 bytes."""
    return encode(RUN_KEY, key.secret, key.announcement.encode())


def recall_key(remembered: Field) -> RunKey:
    """Inverse of `remember_key`; ValueError or MalformedReply on anything else."""
    secret, announcement = decode(RUN_KEY, remembered, 2)
    return RunKey(fixed(secret, 32), KeyAnnouncement.decode(bytes(announcement), "this client"))


def remember(state: State) -> bytes:
    """The state without its run key: 33 kB before the challenge, 33 kB per accepted client after it."""
    match state:
        case AwaitingChallenge():
            return encode(CHALLENGE, _dealt(state.dealt), state.own_share)
        case AwaitingUnmask():
            shown = (from_positions(state.unreadable), state.challenge, state.shown, state.shown_signature)
            return encode(
                UNMASK, _dealt(state.dealt), *_held(state), *shown, state.echoed or b"", state.echoed_signature
            )
        case AwaitingRecheck():
            dealt, ended = _dealt(replace(state.dealt, entropy=b"")), (state.decision, state.decision_signature)
            return encode(RECHECK, dealt, *_held(state), state.pad_seed, state.challenge, state.shown, *ended)
        case Finished():
            return encode(FINISHED, _past(state.past))


def recall(remembered: Field, run_key: RunKey) -> State:
    """Inverse of `remember`; ValueError on anything else."""
    match kind_of(remembered):
        case "state/awaiting-challenge":
            dealt, own_share = decode(CHALLENGE, remembered, 2)
            return AwaitingChallenge(_from_dealt(dealt, run_key), bytes(own_share))
        case "state/awaiting-unmask":
            return _from_unmask(remembered, run_key)
        case "state/awaiting-recheck":
            return _from_recheck(remembered, run_key)
        case _:
            (past,) = decode(FINISHED, remembered, 1)
            return Finished(_from_past(past))


def _from_unmask(remembered: Field, run_key: RunKey) -> AwaitingUnmask:
    dealt, *held, unreadable, challenge, shown, signature, echoed, echoed_signature = decode(UNMASK, remembered, 11)
    before = _from_dealt(dealt, run_key)
    return AwaitingUnmask(
        before,
        *_from_held(*held),
        positions(unreadable, len(before.plan.cohort)),
        bytes(challenge),
        Digest(bytes(shown)),
        bytes(signature),
        Digest(bytes(echoed)) if echoed else None,
        bytes(echoed_signature),
    )


def _from_recheck(remembered: Field, run_key: RunKey) -> AwaitingRecheck:
    dealt, *held, seed, challenge, shown, decision, signature = decode(RECHECK, remembered, 10)
    return AwaitingRecheck(
        _from_dealt(dealt, run_key),
        *_from_held(*held),
        fixed(seed, 32),
        bytes(challenge),
        Digest(bytes(shown)),
        Digest(bytes(decision)),
        bytes(signature),
    )


def _dealt(dealt: Dealt) -> bytes:
    keys = encode("list", *(key.encode() for key in dealt.keys))
    own = (dealt.position.to_bytes(2, "big"), dealt.entropy, dealt.opening.encode(), dealt.commitment)
    return encode("dealt", dealt.plan.encode(), keys, *own, dealt.announcement, _past(dealt.past))


def _from_dealt(field: Field, run_key: RunKey) -> Dealt:
    *parts, past = decode("dealt", field, 8)
    plan, keys, place, entropy, opening, commitment, announcement = map(bytes, parts)
    announced = tuple(KeyAnnouncement.decode(bytes(key), "server") for key in decode("list", keys))
    own = (int.from_bytes(place, "big"), entropy, NormOpening.decode(opening), commitment)
    return Dealt(RoundPlan.decode(plan), announced, run_key, *own, announcement, _from_past(past))


def _past(past: tuple[Ended, ...]) -> bytes:
    return encode("list", b"", *map(_ended, past))


def _from_past(field: Field) -> tuple[Ended, ...]:
    _, *rounds = decode("list", field)
    return tuple(map(_from_ended, rounds))


def _ended(ended: Ended) -> bytes:
    digests = (ended.upload or b"", ended.decision or b"", ended.shown or b"")
    signatures = (ended.decision_signature, ended.shown_signature)
    return encode("ended", ended.plan.encode(), ended.position.to_bytes(2, "big"), *digests, *signatures)


def _from_ended(field: Field) -> Ended:
    plan, place, *digests, signature, shown_signature = map(bytes, decode("ended", field, 7))
    upload, decision, shown = (Digest(digest) if digest else None for digest in digests)
    position = int.from_bytes(place, "big")
    return Ended(RoundPlan.decode(plan), position, upload, decision, signature, shown, shown_signature)


def _held(state: AwaitingUnmask | AwaitingRecheck) -> tuple[Field, ...]:
    held = state.held
    keys = b"".join(held.pad_keys)
    return from_positions(state.accepted), octets(held.secrets), octets(held.recheck_zeros), keys


def _from_held(accepted: Field, secrets: Field, zeros: Field, keys: Field) -> tuple[tuple[int, ...], Held]:
    found = positions(accepted, 1 << 16)
    shares, blinds = (np.frombuffer(words, "<u4").reshape(len(found), 2, -1) for words in (secrets, zeros))
    if (shares.shape[2], blinds.shape[2]) != (PARAMETERS.N, PARAMETERS.m):
        raise ValueError(f"found shares of {shares.shape[2]} and {blinds.shape[2]} words")
    return found, Held(shares, blinds, keys_of(keys, len(found)))
