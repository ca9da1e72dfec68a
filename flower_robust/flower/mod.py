"""The client: `ClientApp(mods=[robust_mod(identity)])`. The user's functions run unchanged, no torch is imported."""

from pathlib import Path

from flwr.app import Context, Message, MessageType
from flwr.clientapp.typing import ClientAppCallable, Mod

from flower_robust.errors import ConfigurationError
from flower_robust.flower.enrol import claim
from flower_robust.flower.envelope import ENROL, ENVELOPE, KEY, LATER, PAYLOAD, TRAIN, envelope_of, field
from flower_robust.flower.failures import guarded
from flower_robust.flower.momentum import check_momentum, smoothed
from flower_robust.flower.plain_train import plain_train
from flower_robust.flower.site import PRIVATE_SUMS, IdentitySource, RosterSource, Site, demands_of, refuse_unmasked
from flower_robust.protocol.demands import ANYTHING, Demands


def robust_mod(
    identity: IdentitySource = None,
    roster: RosterSource = None,
    *,
    demands: Demands = ANYTHING,
    momentum: float = 0.0,
    audit_folder: str | Path | None = None,
) -> Mod:
    """A Flower mod that proves who this client is and sends bounded updates, signed or masked, instead of weights.

        update = new - old,  update *= min(1, C / |update|)

    `identity` is an Identity, a function of the Context, or None: then `node_config["identity"]` is the path of an
    identity file (`flower-supernode --node-config 'identity="/path"'`). `roster`: likewise, `node_config["roster"]`; a
    server that holds another one is refused, and masked rounds need one. `demands`: the least that this site
    accepts of a plan (`Demands`: privacy threshold, clients in a sum, strict rounds, the server's key, no reference);
    with any, the server cannot have an update unmasked. `momentum`: 0.9 sends the mean of this client's recent updates,
    which tells honest clients from malicious ones (docs/robustness.md). `audit_folder`: where masked updates lie until
    the next round's audit of the server, and evidence against it. `node_config` may set "threshold", "min-accepted",
    "strict", "server-key", "no-reference" and "audit-folder". Messages without the protocol's record pass through
    untouched, but a site with demands trains for none of them, and nobody's part of private sums leaves without a mask.

    Raises ConfigurationError where identity or roster do not fit, FaultyServer on a plan that does not ask this client,
    and NonFiniteUpdate, MalformedReply or ConfigurationError where the app returned something that cannot be sent; the
    server then sees an error from this client. Of any other exception it sees the class, not the text, which may quote
    records. A client that distrusts the server of a masked round answers with a refusal, which says why.
    """

    check_momentum(momentum)

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        return guarded(lambda: answered(message, context, call_next), message.metadata.message_type, context)

    def answered(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        if not message.has_content() or ENVELOPE not in message.content.config_records:
            if message.metadata.message_type.startswith((MessageType.TRAIN, PRIVATE_SUMS)):
                refuse_unmasked(message, demands_of(context, demands))
            return call_next(message, context)
        site = Site.resolve(context, identity, roster, demands, audit_folder)
        envelope = envelope_of(message.content)
        phase = field(envelope, "phase", str)
        if phase == ENROL:
            return _enrolled(message, context, site)
        if phase == TRAIN and momentum:
            call_next = smoothed(
                call_next, momentum, field(envelope, "arrays", str), field(envelope, "buffers", list[str])
            )
        if phase == TRAIN and PAYLOAD not in envelope:
            refuse_unmasked(message, site.demands)
            return plain_train(message, context, call_next, site.identity)
        if phase in (TRAIN, *LATER):
            return _masked(phase, message, context, call_next, site)
        raise ConfigurationError("phase", phase, "one that this version knows; is the server newer than this client?")

    return mod


def _enrolled(message: Message, context: Context, site: Site) -> Message:
    asked = envelope_of(message.content)
    site.check_roster(field(asked, "roster", bytes))
    claimed = None
    if KEY in asked:
        from flower_robust.flower.masked_client import keyed

        claimed = keyed(site, context)
    return Message(claim(site.identity, asked, context.run_id, context.node_id, claimed), reply_to=message)


def _masked(phase: str, message: Message, context: Context, call_next: ClientAppCallable, site: Site) -> Message:
    """A phase of a masked round; what it needs is loaded only now."""
    if phase == TRAIN:
        from flower_robust.flower.masked_train import masked_train

        return masked_train(message, context, call_next, site)
    from flower_robust.flower.masked_client import answer

    return Message(answer(phase, site, message, context), reply_to=message)
