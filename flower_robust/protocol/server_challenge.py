"""Step 2 at the server: check every submission, then show all of them and their sketches under one challenge."""

from collections.abc import Mapping
from dataclasses import replace

from flower_robust.commitments.envelope import envelope_digest
from flower_robust.commitments.transcript import challenge_seed, sign_shown
from flower_robust.errors import (
    ConfigurationError,
    DigestMismatch,
    NotEnoughShares,
    ReplayedCommitment,
    StaleCommitment,
)
from flower_robust.masking.sketch import sketch_map, sketches
from flower_robust.protocol.announcement import sum_octets
from flower_robust.protocol.audit import audit_shown, auditor
from flower_robust.protocol.codec import Field, check_size, from_client
from flower_robust.protocol.dealing import route
from flower_robust.protocol.replies import Submission, upload_digest
from flower_robust.protocol.server_states import Challenged, Opened, ServerRound
from flower_robust.protocol.shown import Challenge, shown_digest
from flower_robust.protocol.sizes import Sizes, terms_of
from flower_robust.protocol.terms import NO_DIGEST

STEP = "submission"


def verify_submission(round: ServerRound, name: str, message: Field) -> Submission:
    """The submission of `name`, once everything in it is what `name` signed for this plan.

    Raises MalformedReply, OversizedReply, StaleCommitment, ReplayedCommitment, BadSignature or DigestMismatch; each
    blames `name`, whom the transport says the message came from.
    """
    sizes, position = Sizes.of(round.plan), round.position(name)
    check_size(message, sizes.submission_bytes, name, STEP)
    submission = from_client(lambda: Submission.decode(message, sizes, position, name), name, STEP)
    commitment = submission.commitment
    if commitment.plan_digest != round.plan.digest:
        raise StaleCommitment(name, STEP, "a commitment to another plan", f"the plan of round {round.plan.round}")
    if commitment.name != name:
        raise ReplayedCommitment(name, STEP, f"a commitment of {commitment.name}", f"one of {name}")
    commitment.verify(round.roster)
    if upload_digest(submission.upload) != commitment.upload_digest:
        raise DigestMismatch(name, STEP, "another y", "the committed y")
    _check_envelopes(round, position, submission)
    return submission


def _check_envelopes(round: ServerRound, dealer: int, submission: Submission) -> None:
    name = round.name(dealer)
    for receiver, envelope in enumerate(submission.envelopes):
        signed = submission.commitment.envelope_digest(receiver)
        if envelope_digest(route(round.plan, dealer, receiver), envelope) != signed:
            raise DigestMismatch(name, STEP, f"another envelope to {round.name(receiver)}", "the committed envelope")


def issue_challenge(
    round: ServerRound, submissions: Mapping[int, Submission], previous: Opened | None = None
) -> Challenged:
    """Draw the challenge from all accepted commitments and compute every P·y_i.

        challenge = H(plan ‖ commitments)

    `submissions` by position; `previous`: the round that this one's plan announces. Raises NotEnoughShares if fewer
    clients submitted than the plan needs to decode and to hide anybody, ConfigurationError if the round's reference is
    not the one that its plan binds; nothing is then shown.
    """
    _check_reference(round)
    accepted = tuple(sorted(submissions))
    terms = terms_of(round.plan)
    needed = max(2 * terms.threshold + 1, terms.min_accepted * terms.groups)
    if len(accepted) < needed:
        raise NotEnoughShares("challenge", needed, len(accepted), accepted)
    commitments = tuple(submissions[i].commitment.encode() for i in accepted)
    challenge = challenge_seed(round.plan.digest, commitments)
    P = sketch_map(challenge, Sizes.of(round.plan).B)
    rows = sketches(P, [submissions[i].upload for i in accepted])
    audit = b"" if previous is None else audit_shown(previous, challenge)
    reference = None if round.reference is None else round.reference.sketch(P)
    shown = shown_digest(accepted, commitments, rows, audit, reference)
    signature = sign_shown(round.server, "challenge", round.plan.digest, shown)
    common = Challenge(accepted, commitments, rows, audit, signature, (), reference=reference)
    return Challenged(round, dict(submissions), challenge, common, shown, previous)


def _check_reference(round: ServerRound) -> None:
    planned, found = terms_of(round.plan).reference, round.reference
    if planned != (NO_DIGEST if found is None else found.digest):
        raise ConfigurationError(
            "reference", found, f"the row with the digest {planned.hex()} in the plan, zeros: none"
        )


def challenge_for(challenged: Challenged, position: int) -> bytes:
    """The challenge as the client at `position` gets it: with its envelopes and, for the auditor, the announced sum and
    the server's own row."""
    envelopes = tuple(challenged.submissions[dealer].envelopes[position] for dealer in challenged.accepted)
    audited: Field = b""
    row: Field = b""
    if position == auditor(challenged.challenge, challenged.accepted):
        audited = b"" if challenged.previous is None else sum_octets(challenged.previous.sums)
        row = b"" if challenged.round.reference is None else challenged.round.reference.opening
    return replace(challenged.common, envelopes=envelopes, audited_sum=audited, opened_row=row).encode()
