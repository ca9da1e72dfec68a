"""Who lied: a dealer that somebody contradicts opens, in public, the envelopes of those who signed a falsehood.

An honest dealer can always clear itself: it knows what it dealt to whom, and opens only shares of clients that are
provably malicious, so nothing is lost. One that answers and does not clear itself misdealt. One that stays silent is
blamed as far as the others' values alone convict it (docs/protocol.md, section 6.4).
"""

from collections.abc import Mapping

from flower_robust.commitments import Identity, Roster
from flower_robust.commitments.envelope import open_disclosed
from flower_robust.commitments.transcript import digest
from flower_robust.errors import (
    BadEnvelope,
    ClientFault,
    DisputedShares,
    FalseComplaint,
    FaultyServer,
    InconsistentShares,
    NonZeroSharing,
    StaleCommitment,
    WrongPadKey,
    WrongShare,
)
from flower_robust.masking.decoding import correctable, inspect_dealers
from flower_robust.masking.ring import Residues
from flower_robust.protocol.client_states import AwaitingRecheck, AwaitingUnmask
from flower_robust.protocol.codec import Field, check_size, from_client, from_positions, from_server, octets
from flower_robust.protocol.dealing import Dealing, Share, Shares, envelope_secret, route, test_answers
from flower_robust.protocol.pads import SKETCH, keys_of, pad_key, padded_tests, sketch_pads
from flower_robust.protocol.replies import Disclosure
from flower_robust.protocol.server_inspect import tests_of
from flower_robust.protocol.server_states import Inspected
from flower_robust.protocol.shown import Dispute
from flower_robust.protocol.sizes import Sizes, terms_of
from flower_robust.types import Digest

STEP = "dispute"


def dispute(inspected: Inspected) -> bytes:
    """What every suspect dealer is asked: all that its receivers signed about shares."""
    replies = inspected.replies.items()
    return Dispute({j: (reply.attestation, reply.parts.tests, reply.parts.complaints) for j, reply in replies}).encode()


def dispute_digest(message: Field) -> Digest:
    """Which dispute a disclosure answers."""
    return digest(STEP, message)


def answer_dispute(
    state: AwaitingUnmask | AwaitingRecheck, roster: Roster, identity: Identity, message: Field
) -> bytes:
    """A dealer's defence: the secret e of each envelope whose receiver signed a falsehood about it; maybe of none.

    Raises FaultyServer, and discloses nothing, unless every statement is signed by its receiver for this challenge.
    """
    plan, sizes = state.dealt.plan, Sizes.of(state.dealt.plan)
    found = from_server(lambda: Dispute.decode(message, len(state.accepted), sizes.n), STEP)
    dealing, column = Dealing.draw(state.dealt.entropy, sizes), state.accepted.index(state.dealt.position)
    secrets: dict[int, bytes] = {}
    for receiver, (attestation, tests, complaints) in found.statements.items():
        try:
            attestation.verify(roster, plan.cohort[receiver], plan.digest)
        except ClientFault as fault:
            raise FaultyServer(STEP, str(fault), "statements that verify") from None
        signed = (digest("tests", octets(tests)), digest("complaints", from_positions(complaints)))
        if (attestation.shown, attestation.tests, attestation.complaints) != (state.shown, *signed):
            raise FaultyServer(STEP, "a statement that was not signed for this challenge", "signed statements")
        right = _right_tests(dealing.share(receiver), state.challenge, state.shown, sizes)
        if receiver != state.dealt.position and (
            state.dealt.position in complaints or (tests[:, column] != right).any()
        ):
            secrets[receiver] = envelope_secret(state.dealt.entropy, receiver)
    return Disclosure.sign(identity, plan.digest, dispute_digest(message), secrets).encode()


def _right_tests(share: Share, challenge: bytes, shown: Digest, sizes: Sizes) -> Residues:
    """What the holder of this share should have signed about it, [2, 2·repetitions]: it binds the key of its pads."""
    pads = sketch_pads([pad_key(share.pad_key, SKETCH, shown)], sizes)
    return padded_tests(test_answers(Shares.of(share), challenge), pads, sizes)[:, 0]


def verify_disclosure(inspected: Inspected, name: str, message: Field, asked: Field) -> Disclosure:
    """The signed disclosure of `name`. Raises MalformedReply, OversizedReply, BadSignature or StaleCommitment."""
    round = inspected.challenged.round
    sizes = Sizes.of(round.plan)
    check_size(message, sizes.reply_bytes, name, STEP)
    disclosure = from_client(lambda: Disclosure.decode(message, sizes.n), name, STEP)
    disclosure.verify(round.roster, round.name(round.position(name)), round.plan.digest)
    if disclosure.dispute != dispute_digest(asked):
        raise StaleCommitment(name, STEP, "an answer to another dispute", "an answer to this one")
    return disclosure


def settle(inspected: Inspected, disclosures: Mapping[int, Disclosure]) -> list[ClientFault]:
    """The verdict on every suspect and on everybody who contradicted one; `disclosures` by dealer (position).

    Blame is proven: by an opened envelope, or by a dealer that answered and did not clear itself. Silent dealers are
    blamed only if no polynomial fits their shares (under the plan's bound on liars) or more receivers complain than can
    be lying.
    """
    faults: list[ClientFault] = []
    for dealer in sorted(inspected.suspects):
        found = disclosures.get(dealer)
        faults += _silent(inspected, dealer) if found is None else _answered(inspected, dealer, found)
    return faults


def _answered(inspected: Inspected, dealer: int, disclosure: Disclosure) -> list[ClientFault]:
    name, liars = inspected.challenged.round.name(dealer), set[int]()
    faults: list[ClientFault] = []
    for receiver, secret in disclosure.secrets.items():
        try:
            fault = _verdict(inspected, dealer, receiver, _disclosed(inspected, dealer, receiver, secret))
        except ValueError as error:
            return [*faults, BadEnvelope(name, STEP, str(error), "an envelope that its dealer can open")]
        if fault is not None:
            faults.append(fault)
            liars.add(receiver)
        if isinstance(fault, WrongPadKey):
            return faults
    complainants = {j for j, reply in inspected.replies.items() if dealer in reply.parts.complaints}
    if complainants - liars:
        return [*faults, BadEnvelope(name, STEP, "no opening of an envelope complained about", "its opening")]
    return faults + _retested(inspected, dealer, liars)


def _disclosed(inspected: Inspected, dealer: int, receiver: int, secret: bytes) -> Share:
    challenged = inspected.challenged
    plan, key = challenged.round.plan, challenged.round.keys[receiver].public_key
    envelope = challenged.submissions[dealer].envelopes[receiver]
    plaintext = open_disclosed(secret, key, route(plan, dealer, receiver), envelope)
    return Share.decode(plaintext, Sizes.of(plan))


def _verdict(inspected: Inspected, dealer: int, receiver: int, share: Share) -> ClientFault | None:
    """What the opened envelope says: of its dealer, that it disclosed another key; of its receiver, that it complained,
    or answered, against what it had."""
    challenged, reply = inspected.challenged, inspected.replies.get(receiver)
    if reply is None:
        return None
    names = challenged.round.name(receiver), challenged.round.name(dealer)
    keys = keys_of(inspected.replies[dealer].parts.pad_keys, len(challenged.accepted))
    if keys[challenged.accepted.index(receiver)] != pad_key(share.pad_key, SKETCH, challenged.shown):
        return WrongPadKey(names[1], STEP, f"another pad key for {names[0]}", "the one in its envelope")
    if dealer in reply.parts.complaints:
        return FalseComplaint(names[0], STEP, f"a complaint about {names[1]}", "no complaint about a good envelope")
    right = _right_tests(share, challenged.challenge, challenged.shown, Sizes.of(challenged.round.plan))
    if (reply.parts.tests[:, challenged.accepted.index(dealer)] != right).any():
        return WrongShare(names[0], STEP, f"wrong test values of {names[1]}'s shares", "the values of the opened share")
    return None


def _retested(inspected: Inspected, dealer: int, liars: set[int]) -> list[ClientFault]:
    """Without the values of proven liars, those of an honest dealer fit exactly."""
    responders = [j for j in sorted(inspected.replies) if j not in liars]
    t = terms_of(inspected.challenged.round.plan).threshold
    return _misfits(inspected, dealer, responders, t, exact=True) if len(responders) > 2 * t else []


def _silent(inspected: Inspected, dealer: int) -> list[ClientFault]:
    round, responders = inspected.challenged.round, sorted(inspected.replies)
    t = terms_of(round.plan).threshold
    spare = correctable(len(responders), 2 * t)
    if spare >= 1 and not inspected.suspects[dealer]:
        return _misfits(inspected, dealer, responders, t, exact=False)
    if len(inspected.suspects[dealer]) > max(spare, 1):
        found = f"contradicted by {len(inspected.suspects[dealer])} clients, and silent about it"
        return [DisputedShares(round.name(dealer), STEP, found, f"at most {max(spare, 1)} contradictions")]
    return []


def _misfits(inspected: Inspected, dealer: int, responders: list[int], t: int, *, exact: bool) -> list[ClientFault]:
    challenged = inspected.challenged
    name, column = challenged.round.name(dealer), challenged.accepted.index(dealer)
    for values, degree, vanishing in tests_of(inspected.values, responders, [column], t):
        found = inspect_dealers(values, responders, degree, vanishing=vanishing)
        if found.faulty or (exact and found.dissent):
            kind = NonZeroSharing if vanishing else InconsistentShares
            return [kind(name, STEP, f"values that fit no polynomial of degree {degree}", "shares of one polynomial")]
    return []
