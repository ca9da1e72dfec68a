"""The client: `ClientApp(mods=[robust_mod(identity)])`. The user's functions run unchanged, no torch is imported."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp.typing import ClientAppCallable, Mod
from numpy.typing import NDArray

from flower_robust.commitments import Identity, Roster, update_norm
from flower_robust.errors import ConfigurationError, NonFiniteUpdate
from flower_robust.flower.enrol import claim
from flower_robust.flower.envelope import ENROL, ENVELOPE, TRAIN, envelope_of, field
from flower_robust.flower.records import Layout, NamedArrays, read_arrays, write_arrays
from flower_robust.protocol.plain import check_layout, clip_update, commit_update
from flower_robust.protocol.plan import RoundPlan

IdentitySource = Identity | Callable[[Context], Identity] | None


def robust_mod(identity: IdentitySource = None, roster: Roster | None = None) -> Mod:
    """A Flower mod that proves who this client is and sends signed, bounded updates instead of weights.

        update = new - old,  update *= min(1, C / |update|)

    `identity` is an Identity, a function of the Context, or None: then `node_config["identity"]` is the path of an
    identity file (`flower-supernode --node-config 'identity="/path"'`). With `roster`, a server that holds another one
    is refused. Messages without the protocol's record pass through untouched.

    Raises ConfigurationError where identity or roster do not fit, FaultyServer on a plan that does not ask this client,
    and NonFiniteUpdate, MalformedReply or ConfigurationError where the app returned something that cannot be sent; the
    server then sees an error from this client.
    """

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        if not message.has_content() or ENVELOPE not in message.content.config_records:
            return call_next(message, context)
        phase, signer = field(envelope_of(message.content), "phase", str), resolve_identity(identity, context)
        if phase == ENROL:
            asked = envelope_of(message.content)
            _check_roster(roster, field(asked, "roster", bytes))
            return Message(claim(signer, asked, context.run_id, context.node_id), reply_to=message)
        if phase == TRAIN:
            return train(message, context, call_next, signer)
        raise ConfigurationError("phase", phase, f"{ENROL!r} or {TRAIN!r}; is the server newer than this client?")

    return mod


def resolve_identity(identity: IdentitySource, context: Context) -> Identity:
    """The identity that `robust_mod` was given, or the file that the node's configuration names."""
    if isinstance(identity, Identity):
        return identity
    if identity is not None:
        return identity(context)
    path = context.node_config.get("identity")
    if not isinstance(path, str):
        raise ConfigurationError("node_config identity", path, "the path of this participant's identity file")
    return Identity.load(path)


def _check_roster(pinned: Roster | None, digest: bytes) -> None:
    if pinned is not None and pinned.digest != digest:
        raise ConfigurationError("roster", f"digest {digest.hex()} at the server", f"{pinned.digest.hex()}, as here")


def train(message: Message, context: Context, call_next: ClientAppCallable, identity: Identity) -> Message:
    """Run the user's app on the message as its strategy wrote it; answer with the signed update (DESIGN 4, step 1)."""
    envelope = envelope_of(message.content)
    plan, key = RoundPlan.decode(field(envelope, "plan", bytes)), field(envelope, "arrays", str)
    old = read_arrays(dict(message.content.array_records[key]))
    layout = Layout.with_buffers(old, field(envelope, "buffers", list[str]))
    message.content = RecordDict({name: record for name, record in message.content.items() if name != ENVELOPE})
    reply = call_next(message, context)
    if reply.has_error():
        return reply
    update = difference(layout, old, returned_model(reply.content, old, identity.name))
    norm = finite_norm(layout, update, identity.name)
    if norm > (bound := layout.reachable(plan.norm_bound)):
        update |= clip_update(layout.moved(update), bound)
        norm = update_norm(layout.moved(update))
    commitment = commit_update(plan, identity, update, norm)
    kept = {name: record for name, record in reply.content.items() if not isinstance(record, ArrayRecord)}
    signed = ConfigRecord({"phase": TRAIN, "commitment": commitment})
    reply.content = RecordDict({**kept, key: write_arrays(update), ENVELOPE: signed})
    return reply


def returned_model(content: RecordDict, old: NamedArrays, name: str) -> NamedArrays:
    """The one model in the app's reply. ConfigurationError or MalformedReply say what the app has to change."""
    if len(records := list(content.array_records.values())) != 1:
        raise ConfigurationError("reply of the train function", f"{len(records)} ArrayRecords", "one: the new weights")
    if (metrics := len(content.metric_records)) != 1:
        raise ConfigurationError("reply of the train function", f"{metrics} MetricRecords", "one, as Flower requires")
    new = read_arrays(dict(records[0]))
    check_layout(name, new, old)
    return new


def difference(layout: Layout, old: NamedArrays, new: NamedArrays) -> dict[str, NDArray[Any]]:
    """new - old for moving arrays, new for buffers; names, shapes and dtypes kept."""
    with np.errstate(over="ignore", invalid="ignore"):
        return {key: new[key] if key in layout.buffers else np.subtract(new[key], old[key]) for key in layout.shapes}


def finite_norm(layout: Layout, update: NamedArrays, name: str) -> float:
    """L2 norm of the moving arrays. NonFiniteUpdate names the array that holds NaN or Inf, buffers included."""
    norm = update_norm(layout.moved(update))
    suspects = layout.buffers if math.isfinite(norm) else update.keys()
    for key in suspects:
        if update[key].dtype.kind == "f" and not np.isfinite(update[key]).all():
            raise NonFiniteUpdate(name, TRAIN, f"NaN or Inf in {key!r}", "finite values")
    return norm
