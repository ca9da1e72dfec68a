"""Step 1 at a client: from an update to a masked, shared, signed submission."""

import numpy as np
import numpy.typing as npt

from flower_robust.commitments import Identity, Roster
from flower_robust.commitments.envelope import envelope_digest, seal
from flower_robust.commitments.keys import KeyAnnouncement, RunKey
from flower_robust.commitments.masked import MaskedNormCommitment, NormOpening
from flower_robust.commitments.transcript import derived, keys_digest
from flower_robust.errors import ClientFault, ConfigurationError, FaultyServer
from flower_robust.masking.fixed_point import encode
from flower_robust.masking.masks import mask_into
from flower_robust.masking.public import PublicElements
from flower_robust.masking.ring import Residues
from flower_robust.protocol.announcement import look_back, read_announcement
from flower_robust.protocol.client_states import AwaitingChallenge, Dealt, Finished
from flower_robust.protocol.codec import Field, Frame, decode, from_server
from flower_robust.protocol.dealing import Dealing, envelope_secret, own_secret, route
from flower_robust.protocol.demands import ANYTHING, Demands
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.replies import Submission, upload_digest, upload_of
from flower_robust.protocol.shown import Offer
from flower_robust.protocol.sizes import Sizes, terms_of

_CHUNK = 1 << 14


def read_offer(message: Field) -> Offer:
    """The server's offer; FaultyServer if it is none."""
    return from_server(lambda: Offer.decode(message), "offer")


def submit(
    offer: Offer,
    roster: Roster,
    identity: Identity,
    run_key: RunKey,
    update: npt.NDArray[np.float32],
    entropy: bytes,
    before: Finished | None = None,
    demands: Demands = ANYTHING,
) -> tuple[AwaitingChallenge, bytes, Residues]:
    """Clip, round, mask, share, seal and sign one update.

        y = x + a·s + e,    x = rint(D ∘ clip(update, C)·2^22/C)

    `update` float32 [d], new − old, in the model's unit; `entropy`: 32 bytes of the operating system's CSPRNG, used for
    this submission only; `before`: what is left of the rounds before, None for a client without memory of this run;
    `demands`: what this client insists on. Returns the next state, the message (8 bytes per parameter + n·33 kB) and y
    uint32 [2, B, N], a view of the message, which the client needs again for the challenge and for the audit of this
    round. Raises FaultyServer if the offer does not fit the roster, could isolate this client, is less than it demands
    or announces what cannot be, NonFiniteRows if the update holds NaN or Inf, ConfigurationError if it has another
    length than the plan says.
    """
    plan, terms = offer.plan, terms_of(offer.plan)
    check_offer(offer, roster, identity, run_key, demands)
    found = read_announcement(plan, roster, offer.announcement)
    past = look_back(found, identity.name, before)
    if update.shape != (terms.d,):
        raise ConfigurationError("update", f"shape {update.shape}", f"[{terms.d}], as planned")
    position, sizes = plan.cohort.index(identity.name), Sizes.of(plan)
    frame = Submission.frame(sizes, position, identity.name)
    opening = _masked(plan, update, entropy, upload_of(frame.room(1), sizes))
    dealing = Dealing.draw(entropy, sizes)
    commitment = _signed(offer, identity, position, entropy, opening, dealing, frame)
    message = frame.message()
    own = (run_key, position, entropy, opening, commitment.encode())
    dealt = Dealt(plan, offer.keys, *own, offer.announcement, past)
    nxt = AwaitingChallenge(dealt, dealing.share(position).encode())
    return nxt, message, upload_of(decode("submission", message)[1], sizes)


def _masked(plan: RoundPlan, update: npt.NDArray[np.float32], entropy: bytes, y: Residues) -> NormOpening:
    """Write y; return what opens the commitment to its norm."""
    terms = terms_of(plan)
    x = encode(update, plan.norm_bound, terms.seed_signs).x
    opening = NormOpening(_squared_norm(x), derived(entropy, "norm-salt"))
    a = PublicElements(terms.seed_a, Sizes.of(plan).B)
    mask_into(y, x, own_secret(entropy), a, derived(entropy, "noise"))
    return opening


def check_offer(offer: Offer, roster: Roster, identity: Identity, run_key: RunKey, demands: Demands) -> None:
    """FaultyServer unless the plan is for this roster and this client, safe for it, and binds these run keys."""
    plan, terms = offer.plan, terms_of(offer.plan)
    demands.check(terms)
    if plan.roster_digest != roster.digest:
        raise FaultyServer("offer", "another roster", f"roster {roster.digest.hex()[:16]}")
    if identity.name not in plan.cohort or len(set(plan.cohort)) != len(plan.cohort):
        raise FaultyServer("offer", f"a cohort without {identity.name} or with a name twice", "one that names it once")
    try:
        terms.check(len(plan.cohort), plan.norm_bound)
        for name, key in zip(plan.cohort, offer.keys, strict=True):
            key.verify(roster, plan.run_id, name)
    except (ConfigurationError, ClientFault) as error:
        raise FaultyServer("offer", str(error), "terms and keys that are safe for every client") from None
    if keys_digest(offer.keys) != terms.keys_digest:
        raise FaultyServer("offer", "other run keys", "the keys that the plan binds")
    if offer.keys[plan.cohort.index(identity.name)] != run_key.announcement:
        raise FaultyServer("offer", f"another run key of {identity.name}", "the one it announced")


def _signed(
    offer: Offer,
    identity: Identity,
    position: int,
    entropy: bytes,
    opening: NormOpening,
    dealing: Dealing,
    frame: Frame,
) -> MaskedNormCommitment:
    """Fill the frame around y, envelope by envelope: a share exists only until it is sealed."""
    plan, digests = offer.plan, []
    for j, key in enumerate(offer.keys):
        envelope = b"" if j == position else _sealed(plan, position, j, key, entropy, dealing)
        frame.fill(2 + j, envelope)
        digests.append(envelope_digest(route(plan, position, j), envelope))
    commitment = MaskedNormCommitment.sign(
        identity,
        plan_digest=plan.digest,
        upload_digest=upload_digest(upload_of(frame.room(1), Sizes.of(plan))),
        envelope_digests=digests,
        norm_commitment=opening.commitment(plan.digest, identity.name),
    )
    frame.fill(0, commitment.encode())
    return commitment


def _sealed(
    plan: RoundPlan, dealer: int, receiver: int, key: KeyAnnouncement, entropy: bytes, dealing: Dealing
) -> bytes:
    secret, share = envelope_secret(entropy, receiver), dealing.share(receiver)
    return seal(secret, key.public_key, route(plan, dealer, receiver), share.encode())


def _squared_norm(x: npt.NDArray[np.int32]) -> int:
    chunks = (x[start : start + _CHUNK].astype(np.int64) for start in range(0, x.shape[0], _CHUNK))
    return sum(int((chunk * chunk).sum()) for chunk in chunks)
