"""Step 3 at a client: check what the server shows, then compute with the shares of everybody's secret."""

from collections.abc import Sequence

from flower_robust.commitments import Identity, Roster
from flower_robust.commitments.envelope import envelope_digest, open_envelope
from flower_robust.commitments.masked import MaskedNormCommitment
from flower_robust.commitments.transcript import challenge_seed, verify_shown
from flower_robust.errors import ClientFault, FaultyServer
from flower_robust.masking import ring
from flower_robust.masking.public import PublicElements
from flower_robust.masking.ring import Residues
from flower_robust.masking.sketch import SketchMap, public_sums_at, sketch, sketch_map, sketch_share_parts
from flower_robust.masking.squares import blinds, square_shares
from flower_robust.protocol.audit import auditor, check_audit
from flower_robust.protocol.client_states import AwaitingChallenge, AwaitingUnmask, Dealt
from flower_robust.protocol.codec import Field, from_server
from flower_robust.protocol.dealing import Share, Shares, route, test_answers
from flower_robust.protocol.pads import SKETCH, disclosed, pad_key, pad_seed, padded_tests, sketch_pads
from flower_robust.protocol.reference import check_length, check_opening
from flower_robust.protocol.replies import SketchParts, SketchReply
from flower_robust.protocol.shown import Challenge
from flower_robust.protocol.sizes import Sizes, terms_of
from flower_robust.types import Digest

STEP = "challenge"


def answer_challenge(
    state: AwaitingChallenge,
    roster: Roster,
    identity: Identity,
    y: Residues,
    message: Field,
    own: Residues | None = None,
) -> tuple[AwaitingUnmask, bytes]:
    """The client's shares of all distances and norms, blinded, and its answers to the dealers' tests.

        ⟨D_ik⟩ = Σ_l ‖⟨u_il⟩ − ⟨u_kl⟩‖² + ⟨0_ik⟩ + ⟨0_ki⟩ + pad_i + pad_k,    ⟨u_i⟩ = P·y_i − P(a·⟨s_i⟩)
        ⟨D_ir⟩ = Σ_l ‖⟨u_il⟩ − v_l‖² + ⟨0_ii⟩ + pad_i            where the plan has a reference

    The reply also discloses the keys under which others padded what concerns this client, if they were shown the same.
    `y` is what `submit` returned, `own` the y of the round that is announced (`audited_upload`), if it
    is not lost. Raises FaultyServer, and nothing is answered
    if the server shows a commitment that does not verify, another sketch of this client's y, an envelope that its
    dealer did not sign, too few clients, a reference that is longer than a client may be, or is not the
    planned one (which the auditor sees), or a result of the round before that fails the audit.
    """
    dealt, sizes = state.dealt, Sizes.of(state.dealt.plan)
    shown = from_server(lambda: Challenge.decode(message, sizes, dealt.position), STEP)
    digest = shown.shown
    promised = check_challenge(dealt, roster, shown, digest)
    challenge = challenge_seed(dealt.plan.digest, shown.commitments)
    P = sketch_map(challenge, sizes.B)
    check_own_sketch(dealt, P, y, shown.accepted, shown.sketches, STEP)
    _check_reference(dealt, shown, challenge, P)
    check_audit(dealt, shown, challenge, own)
    A = public_sums_at(challenge, PublicElements(terms_of(dealt.plan).seed_a, sizes.B))
    shares, unreadable = _open_all(state, sizes, shown, promised)
    nxt = AwaitingUnmask(dealt, shown.accepted, shares.held(sizes), unreadable, challenge, digest, shown.signature)
    parts = sketch_share_parts(P, A, shown.sketches, nxt.held.secrets)
    bare = square_shares(parts, shares.zeros, nxt.accepted, shown.reference)
    return nxt, _reply(nxt, identity, sizes, bare, shares).encode()


def _reply(state: AwaitingUnmask, identity: Identity, sizes: Sizes, bare: Residues, shares: Shares) -> SketchReply:
    pads = sketch_pads([pad_key(key, SKETCH, state.shown) for key in state.held.pad_keys], sizes)
    parts = SketchParts(
        padded_tests(test_answers(shares, state.challenge), pads, sizes),
        ring.add(bare, blinds(pads, state.accepted, reference=sizes.reference)),
        state.dealt.opening,
        state.unreadable,
        disclosed(pad_seed(state.dealt.entropy), state.accepted, SKETCH, state.shown),
    )
    return SketchReply.sign(identity, state.dealt.plan.digest, state.shown, state.shown_signature, parts)


def check_challenge(dealt: Dealt, roster: Roster, shown: Challenge, digest: Digest) -> list[Digest]:
    """What each accepted dealer signed of its envelope to this client; FaultyServer unless all of it is signed by whom
    it should be."""
    plan, terms = dealt.plan, terms_of(dealt.plan)
    verify_shown(terms.server_key, STEP, plan.digest, digest, shown.signature)
    fewest = max(2 * terms.threshold + 1, terms.min_accepted)
    if len(shown.accepted) < fewest or dealt.position not in shown.accepted:
        found = f"{len(shown.accepted)} accepted clients"
        raise FaultyServer(STEP, found, f"at least {fewest}, with {dealt.name} among them")
    accepted = zip(shown.accepted, shown.commitments, strict=True)
    return [_checked_commitment(dealt, roster, *each).envelope_digest(dealt.position) for each in accepted]


def _checked_commitment(dealt: Dealt, roster: Roster, position: int, encoded: Field) -> MaskedNormCommitment:
    plan = dealt.plan
    if position == dealt.position and encoded != dealt.commitment:
        raise FaultyServer(STEP, f"another commitment of {dealt.name}", "the one it signed")
    try:
        commitment = MaskedNormCommitment.decode(bytes(encoded), len(plan.cohort), "server")
        if (commitment.name, commitment.plan_digest) != (plan.cohort[position], plan.digest):
            raise FaultyServer(STEP, "a commitment of somebody else or to another plan", plan.cohort[position])
        commitment.verify(roster)
    except ClientFault as fault:
        raise FaultyServer(STEP, str(fault), "commitments that verify") from None
    return commitment


def check_own_sketch(
    dealt: Dealt, P: SketchMap, y: Residues, accepted: tuple[int, ...], sketches: Residues, step: str
) -> None:
    """FaultyServer unless P·y of this client is what the server shows: it could ask for distances to a shifted y."""
    if (sketch(P, y) != sketches[accepted.index(dealt.position)]).any():
        raise FaultyServer(step, f"another sketch of {dealt.name}'s y", "P·y")


def _check_reference(dealt: Dealt, shown: Challenge, challenge: bytes, P: SketchMap) -> None:
    """FaultyServer unless v is short enough and, at the auditor, that of the row which the plan binds."""
    if shown.reference is None:
        return
    check_length(dealt.plan, shown.reference, STEP)
    if auditor(challenge, shown.accepted) == dealt.position:
        check_opening(dealt.plan, P, shown.reference, shown.opened_row, STEP)


def _open_all(
    state: AwaitingChallenge, sizes: Sizes, shown: Challenge, promised: Sequence[Digest]
) -> tuple[Shares, tuple[int, ...]]:
    shares, unreadable = Shares.none(len(shown.accepted), sizes), []
    for row, (dealer, signed) in enumerate(zip(shown.accepted, promised, strict=True)):
        if dealer == state.dealt.position:
            shares.put(row, Share.decode(state.own_share, sizes))
            continue
        try:
            shares.put(row, _open_one(state.dealt, sizes, dealer, signed, shown.envelopes[row]))
        except ValueError:
            unreadable.append(dealer)
    return shares, tuple(unreadable)


def _open_one(dealt: Dealt, sizes: Sizes, dealer: int, signed: Digest, envelope: Field) -> Share:
    way = route(dealt.plan, dealer, dealt.position)
    if envelope_digest(way, envelope) != signed:
        raise FaultyServer(STEP, f"an envelope that {way.dealer} did not sign", "the signed one")
    return Share.decode(open_envelope(dealt.run_key.secret, way, envelope), sizes)
