"""Steps 5 and 6 at the server: ask for one sum, decode Σ w_i·s_i, and take the mask off Σ w_i·y_i."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flower_robust.errors import (
    ClientFault,
    NotEnoughShares,
    StaleCommitment,
    WrongShare,
)
from flower_robust.masking.decoding import open_shares
from flower_robust.masking.fixed_point import decode
from flower_robust.masking.masks import Opener, open_weighted
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.public import PublicElements
from flower_robust.masking.ring import Residues
from flower_robust.protocol.client_unmask import echoes_needed
from flower_robust.protocol.codec import Field, check_size, from_client
from flower_robust.protocol.replies import Echo, SharesReply
from flower_robust.protocol.server_states import Decided, Opened, ServerRound
from flower_robust.protocol.shown import Unmask, Weights, decision_digest
from flower_robust.protocol.sizes import Sizes, terms_of
from flower_robust.types import Digest

STEP = "unmask-reply"


def unmask_request(decided: Decided, echoes: Mapping[int, Echo] | None = None) -> bytes:
    """The signed weights and what every client was shown; in a strict round first without echoes, then with them.

    Raises NotEnoughShares if too few clients echoed: nobody would unmask.
    """
    challenged = decided.challenged
    round = challenged.round
    signed = {j: decided.inspected.replies[j].attestation for j in decided.responders}
    signatures = {j: bytes(echo.signature) for j, echo in (echoes or {}).items()}
    if echoes is not None and len(echoes) < echoes_needed(round.plan):
        raise NotEnoughShares("echo", echoes_needed(round.plan), len(echoes), tuple(echoes))
    request = Unmask.sign(round.server, round.plan.digest, challenged.shown, decided.weights, signed, signatures)
    return request.encode()


def verify_echo(decided: Decided, name: str, message: Field) -> Echo:
    """The echo of `name`. Raises MalformedReply, BadSignature or StaleCommitment; each blames `name`."""
    round = decided.challenged.round
    check_size(message, 1024, name, "echo")
    echo = from_client(lambda: Echo.decode(message), name, "echo")
    echo.verify(round.roster, round.name(round.position(name)), round.plan.digest)
    if echo.decision != decision_of(decided):
        raise StaleCommitment(name, "echo", "an echo of another decision", "an echo of this one")
    return echo


def verify_unmask_reply(decided: Decided, name: str, message: Field) -> SharesReply:
    """The share of Σ w_i·s_i of `name`.

    Raises MalformedReply, OversizedReply, BadSignature or StaleCommitment; each blames `name`.
    """
    sizes = Sizes.of(decided.challenged.round.plan)
    return verify_shares(
        decided.challenged.round, name, STEP, message, decision_of(decided), sizes.groups, PARAMETERS.N
    )


def verify_shares(
    round: ServerRound, name: str, kind: str, message: Field, request: Digest, *shape: int, keys: int = 0
) -> SharesReply:
    """The signed shares [2, *shape] of `name`, and so many pad keys, in answer to this request."""
    check_size(message, Sizes.of(round.plan).reply_bytes, name, kind)
    reply = from_client(lambda: SharesReply.decode(kind, message, *shape, keys=keys), name, kind)
    reply.verify(round.roster, round.name(round.position(name)), round.plan.digest)
    if reply.request != request:
        raise StaleCommitment(name, kind, "shares for another request", "shares for this one")
    return reply


def decision_of(decided: Decided) -> Digest:
    """The digest that the server signed as its decision."""
    return decision_digest(decided.challenged.shown, decided.weights)


def open_sum(
    decided: Decided, replies: Mapping[int, SharesReply], seed: bytes, opener: Opener = open_weighted
) -> Opened:
    """Σ w_i·(x_i + e_i) of every group, and its weighted mean in the update's unit.

        Σ w_i·y_i − a·(Σ w_i·s_i)          mean = D ∘ that · C / (2^22·Σ w_i)

    `replies` by position; `seed`: 32 fresh secret bytes; `opener`: what computes the first line, on whatever device.
    Raises NotEnoughShares below t + 1 replies or with more wrong ones than can be located, and SumOutOfRange if some
    update wrapped around q (`recheck` names whose).
    """
    round = decided.challenged.round
    sizes, terms = Sizes.of(round.plan), terms_of(round.plan)
    responders = [j for j in sorted(replies) if j in decided.responders]
    shape = (2, sizes.groups * PARAMETERS.N)
    shares = np.array([replies[j].shares.reshape(shape) for j in responders]).reshape(-1, *shape)
    opened = open_shares(shares, responders, terms.threshold, seed, STEP)
    secrets = opened.values.reshape(2, sizes.groups, PARAMETERS.N)
    faults = [_wrong(round, j) for j in opened.wrong]
    sums = [_opened_group(decided, row, secrets[:, g], opener) for g, row in enumerate(decided.weights)]
    request = Unmask.sign(round.server, round.plan.digest, decided.challenged.shown, decided.weights, {}, {})
    return Opened(
        decided,
        np.stack([group.mean for group in sums]),
        np.stack([group.total for group in sums]),
        secrets,
        decision_of(decided),
        request.signature,
        tuple(faults),
    )


class Group(NamedTuple):
    """One opened group: its mean Float32[d] in the update's unit and its integer sum int64[B·N]."""

    mean: npt.NDArray[np.float32]
    total: npt.NDArray[np.int64]


def _opened_group(decided: Decided, row: Weights, secret: Residues, opener: Opener) -> Group:
    round = decided.challenged.round
    terms, members = terms_of(round.plan), [int(i) for i in np.flatnonzero(row)]
    weights = [int(row[i]) for i in members]
    uploads = [decided.challenged.submissions[i].upload for i in members]
    total = opener(weights, uploads, secret, PublicElements(terms.seed_a, Sizes.of(round.plan).B))
    mean = decode(total, terms.d, sum(weights), round.plan.norm_bound, terms.seed_signs)
    return Group(mean, total)


def _wrong(round: ServerRound, responder: int) -> ClientFault:
    return WrongShare(round.name(responder), STEP, "a share off the polynomial", "the sum of its own tested shares")
