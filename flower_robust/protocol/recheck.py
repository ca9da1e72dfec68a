"""After a void sum: fresh norms of the same submissions name whose update wrapped around the modulus.

A wrapped update passes all m ring sums of one challenge with probability below 10^-3; a second challenge, drawn from
the first and from the void decision, catches it. Every dealer shared the zeros that blind this second opening with its
submission; a client answers it once. Fresh norms are padded as the first ones were (`pads`), so those of a client that
does not answer stay closed: it is blamed for its silence only.
"""

from collections.abc import Mapping

import numpy as np

from flower_robust.commitments import Identity
from flower_robust.commitments.transcript import digest, sign_shown, verify_shown
from flower_robust.errors import ClientFault, InconsistentShares, NotEnoughShares, accused
from flower_robust.masking import ring
from flower_robust.masking.decoding import correctable, open_shares
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.public import PublicElements
from flower_robust.masking.ring import Residues
from flower_robust.masking.sketch import SketchMap, public_sums, sketch_map, sketch_shares, sketches
from flower_robust.masking.squares import partial_norms, read_squares
from flower_robust.protocol.client_shares import check_own_sketch
from flower_robust.protocol.client_states import AwaitingRecheck, Finished, finish
from flower_robust.protocol.codec import Field, from_server
from flower_robust.protocol.norms import bound_fault
from flower_robust.protocol.pads import RECHECK, disclosed, keys_of, pad_key, recheck_pads
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.replies import SharesReply
from flower_robust.protocol.server_open import decision_of, verify_shares
from flower_robust.protocol.server_states import Decided
from flower_robust.protocol.shown import Recheck
from flower_robust.protocol.sizes import Sizes, terms_of
from flower_robust.types import Digest

STEP = "recheck"


def recheck_request(decided: Decided) -> bytes:
    """Fresh sketches of all accepted submissions, signed."""
    challenged = decided.challenged
    round = challenged.round
    P = _fresh_map(round.plan, challenged.challenge, decision_of(decided))
    rows = sketches(P, [challenged.submissions[i].upload for i in challenged.accepted])
    shown = Recheck(rows, b"").shown
    return Recheck(rows, sign_shown(round.server, STEP, round.plan.digest, shown)).encode()


def answer_recheck(state: AwaitingRecheck, identity: Identity, y: Residues, message: Field) -> tuple[Finished, bytes]:
    """The client's blinded shares of the fresh partial norms of all accepted dealers; it then forgets every secret.

    `y` is what `submit` returned. Raises FaultyServer if the server did not sign the request or shows another sketch of
    this client's y.
    """
    plan, terms = state.dealt.plan, terms_of(state.dealt.plan)
    found = from_server(lambda: Recheck.decode(message, len(state.accepted)), STEP)
    verify_shown(terms.server_key, STEP, plan.digest, found.shown, found.signature)
    P = _fresh_map(plan, state.challenge, state.decision)
    check_own_sketch(state.dealt, P, y, state.accepted, found.sketches, STEP)
    A = public_sums(P, PublicElements(terms.seed_a, Sizes.of(plan).B))
    norms = partial_norms(sketch_shares(P, A, found.sketches, state.held.secrets))
    view = _view(state.decision, found)
    pads = recheck_pads([pad_key(key, RECHECK, view) for key in state.held.pad_keys])
    hidden = ring.add(*(np.moveaxis(words, 1, 0) for words in (state.held.recheck_zeros, pads)))
    keys = disclosed(state.pad_seed, state.accepted, RECHECK, view)
    reply = SharesReply.sign(identity, "recheck-reply", plan.digest, found.shown, ring.add(norms, hidden), keys)
    return finish(state), reply.encode()


def verify_recheck_reply(decided: Decided, name: str, message: Field, asked: Field) -> SharesReply:
    """The shares of `name`. Raises MalformedReply, OversizedReply, BadSignature or StaleCommitment."""
    accepted = len(decided.challenged.accepted)
    request = Recheck.decode(asked, accepted).shown
    shape = (accepted, PARAMETERS.m)
    return verify_shares(decided.challenged.round, name, "recheck-reply", message, request, *shape, keys=accepted)


def name_wrapped(decided: Decided, replies: Mapping[int, SharesReply], seed: bytes) -> list[ClientFault]:
    """The blame of every dealer that answered and whose fresh norms are not all small; `seed`: 32 secret bytes.

    Dealers are decoded one by one: who disclosed wrong keys spoils its own norms only, and InconsistentShares names it
    where no polynomial fits them. Where no wrong reply could be corrected each is an accusation: one lying responder
    shifts all of them. Raises NotEnoughShares below 2t + 1 replies.
    """
    needed = 2 * terms_of(decided.challenged.round.plan).threshold + 1
    if len(replies) < needed:
        raise NotEnoughShares(STEP, needed, len(replies), sorted(replies))
    found = (_fresh_fault(decided, replies, dealer, seed) for dealer in sorted(replies))
    faults = [fault for fault in found if fault is not None]
    return faults if correctable(len(replies), needed - 1) > 0 else [accused(fault) for fault in faults]


def _fresh_fault(decided: Decided, replies: Mapping[int, SharesReply], dealer: int, seed: bytes) -> ClientFault | None:
    round, accepted = decided.challenged.round, decided.challenged.accepted
    keys = keys_of(replies[dealer].pad_keys, len(accepted))
    pads = recheck_pads([keys[accepted.index(j)] for j in sorted(replies)])
    padded = np.stack([replies[j].shares[:, accepted.index(dealer)] for j in sorted(replies)])
    shares = np.moveaxis(ring.subtract(*(np.moveaxis(words, 1, 0) for words in (padded, pads))), 1, 0)
    try:
        opened = open_shares(shares, sorted(replies), 2 * terms_of(round.plan).threshold, seed, STEP)
    except NotEnoughShares:
        found = "fresh norms that fit no polynomial"
        return InconsistentShares(round.name(dealer), STEP, found, "shares of one polynomial")
    squares = read_squares(opened.values, 1, round.plan.norm_bound)
    return bound_fault(round.plan, round.name(dealer), squares, 0, STEP)


def _view(decision: Digest, shown: Recheck) -> Digest:
    """What a client was shown when it answered: the decision binds the first challenge, and so the fresh one."""
    return digest("recheck-view", decision, shown.shown)


def _fresh_map(plan: RoundPlan, challenge: bytes, decision: Digest) -> SketchMap:
    return sketch_map(digest("recheck-challenge", challenge, decision), Sizes.of(plan).B)
