"""Lies about the signed reply: a Flower mod outside `robust_mod`, so that it sees and changes what leaves the hospital.

The attacker owns its signing key, so where a lie survives a valid signature it signs again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable, Mod
from numpy.typing import NDArray

from clients.attacks import Attack
from flower_robust.commitments import Identity, update_norm
from flower_robust.flower.envelope import ENVELOPE, PAYLOAD
from flower_robust.flower.records import read_arrays, write_arrays
from flower_robust.protocol.codec import decode, encode
from flower_robust.protocol.plain import commit_update
from flower_robust.protocol.plan import RoundPlan

ARRAYS, METRICS, CONFIG, COUNT = "arrays", "metrics", "config", "num-examples"
ABSURD_COUNT = 10**9

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Situation:
    """What a lie can use: the model it was sent, the plan (None under plain FedAvg and in masked rounds), its key and
    its strength."""

    sent: Arrays
    plan: RoundPlan | None
    identity: Identity
    strength: float
    context: Context


Tampering = Callable[[RecordDict, Situation], RecordDict]


def tampering_mod(malice: Callable[[Context], tuple[Attack, float, Identity]]) -> Mod:
    """A mod that lets what `malice` returns for a context tamper with every reply to a training message."""

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        attack, strength, identity = malice(context)
        content = message.content
        if not attack.tampering or ARRAYS not in content.array_records:
            return call_next(message, context)
        envelope = content.config_records.get(ENVELOPE, ConfigRecord())
        plan = RoundPlan.decode(bytes(envelope["plan"])) if "plan" in envelope else None  # type: ignore[arg-type]
        tamperings = MASKED_TAMPERINGS if PAYLOAD in envelope else TAMPERINGS
        situation = Situation(read_arrays(dict(content.array_records[ARRAYS])), plan, identity, strength, context)
        reply = call_next(message, context)
        if not reply.has_error():
            reply.content = tamperings[attack.tampering](reply.content, situation)
        return reply

    return mod


def fill_nan(reply: RecordDict, situation: Situation) -> RecordDict:
    """Every float is NaN; the norm that it signs is an honest one."""
    return _filled(reply, situation, np.nan)


def fill_inf(reply: RecordDict, situation: Situation) -> RecordDict:
    """Every float is Inf; the norm that it signs is an honest one."""
    return _filled(reply, situation, np.inf)


def reshape(reply: RecordDict, situation: Situation) -> RecordDict:
    """Every array loses its last element and its shape."""
    return _replaced(reply, situation, {name: array.reshape(-1)[:-1] for name, array in _arrays(reply).items()}, None)


def absurd_count(reply: RecordDict, situation: Situation) -> RecordDict:
    """Claims 10^9 examples."""
    del situation
    reply.metric_records[METRICS][COUNT] = ABSURD_COUNT
    return reply


def lie_about_norm(reply: RecordDict, situation: Situation) -> RecordDict:
    """−strength times the update under the signed norm of the honest one."""
    arrays = _arrays(reply)
    origin: Arrays = (
        situation.sent if situation.plan is None else {name: np.zeros_like(a) for name, a in arrays.items()}
    )
    moved = {name: _reversed(array, origin[name], situation.strength) for name, array in arrays.items()}
    return _replaced(reply, situation, moved, update_norm(arrays))


def forge_signature(reply: RecordDict, situation: Situation) -> RecordDict:
    """The last bit of the signature is wrong."""
    del situation
    if (envelope := reply.config_records.get(ENVELOPE)) is not None:
        commitment = bytearray(bytes(envelope["commitment"]))  # type: ignore[arg-type]
        commitment[-1] ^= 1
        envelope["commitment"] = bytes(commitment)
    return reply


def replay_submission(reply: RecordDict, situation: Situation) -> RecordDict:
    """The submission of the first masked round, in every round."""
    kept = situation.context.state.config_records.setdefault("first", reply.config_records[ENVELOPE])
    return RecordDict({**reply, ENVELOPE: kept})


def cut(reply: RecordDict, situation: Situation) -> RecordDict:
    """The submission without its last byte."""
    del situation
    return _submitted(reply, lambda submission: submission[:-1])


def beyond_modulus(reply: RecordDict, situation: Situation) -> RecordDict:
    """Residues that are none, which is as near as a masked update comes to NaN."""
    del situation
    return _submitted(reply, lambda submission: _with_field(submission, 1, lambda y: b"\xff" * 4 + y[4:]))


def forge_commitment(reply: RecordDict, situation: Situation) -> RecordDict:
    """The last bit of the commitment's signature is wrong."""
    del situation
    return _submitted(
        reply, lambda submission: _with_field(submission, 0, lambda field: field[:-1] + bytes([field[-1] ^ 1]))
    )


def replay_first(reply: RecordDict, situation: Situation) -> RecordDict:
    """The reply of the first round, commitment included, in every round."""
    state, arm = situation.context.state, "plain" if situation.plan is None else "robust"
    if f"{arm}-{ARRAYS}" not in state.array_records:
        for name, record in reply.items():
            state[f"{arm}-{name}"] = record
        return reply
    kept = {name: state[f"{arm}-{name}"] for name in reply}
    return RecordDict(kept)


TAMPERINGS: dict[str, Tampering] = {
    "nan": fill_nan,
    "inf": fill_inf,
    "wrong-shape": reshape,
    "example-count": absurd_count,
    "norm-lie": lie_about_norm,
    "bad-signature": forge_signature,
    "replay": replay_first,
}


MASKED_TAMPERINGS: dict[str, Tampering] = {
    "nan": beyond_modulus,
    "inf": beyond_modulus,
    "wrong-shape": cut,
    "example-count": absurd_count,
    "bad-signature": forge_commitment,
    "replay": replay_submission,
}
"""The same lies about a masked submission. A norm is not signed in clear there, so nobody can lie about one."""


def _submitted(reply: RecordDict, change: Callable[[bytes], bytes]) -> RecordDict:
    envelope = reply.config_records[ENVELOPE]
    if PAYLOAD in envelope:
        envelope[PAYLOAD] = change(bytes(envelope[PAYLOAD]))  # type: ignore[arg-type]
    return reply


def _with_field(submission: bytes, index: int, change: Callable[[bytes], bytes]) -> bytes:
    fields = [bytes(field) for field in decode("submission", submission)]
    fields[index] = change(fields[index])
    return encode("submission", *fields)


def _filled(reply: RecordDict, situation: Situation, number: float) -> RecordDict:
    arrays = _arrays(reply)
    filled = {name: np.full_like(a, number) if a.dtype.kind == "f" else a for name, a in arrays.items()}
    honest_norm = 0.0 if situation.plan is None else situation.plan.norm_bound / 2
    return _replaced(reply, situation, filled, honest_norm)


def _reversed(array: NDArray[np.generic], origin: NDArray[np.generic], strength: float) -> NDArray[np.generic]:
    if array.dtype.kind != "f":
        return array
    moved: NDArray[np.generic] = np.subtract(origin, np.multiply(np.subtract(array, origin), strength))
    return moved.astype(array.dtype)


def _arrays(reply: RecordDict) -> Arrays:
    return read_arrays(dict(reply.array_records[ARRAYS]))


def _replaced(reply: RecordDict, situation: Situation, arrays: Arrays, norm: float | None) -> RecordDict:
    content: dict[str, ArrayRecord | ConfigRecord] = {ARRAYS: write_arrays(arrays)}
    if situation.plan is not None:
        commitment = commit_update(situation.plan, situation.identity, arrays, norm)
        content[ENVELOPE] = ConfigRecord({**reply.config_records[ENVELOPE], "commitment": commitment})
    return RecordDict({**reply, **content})
