"""Step 3 at the server: who of the dealers and responders contradict each other, before anything is opened.

Two clients that contradict each other are not both honest. Both leave the round, so every liar takes at most one honest
client with it, and what is left agrees: n − D >= 2t + 1 + 2e is enough for D drop-outs and e liars, as for decoding
(player elimination: Hirt, Maurer, Przydatek 2000). Who of the two lied is settled by `disputes`; `reinspect` then
brings the honest one back.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain

import numpy as np

from flower_robust.errors import Certainty, ClientFault, MalformedReply, ReplayedCommitment, StaleCommitment
from flower_robust.masking.decoding import correctable, inspect_dealers
from flower_robust.masking.ring import Residues
from flower_robust.protocol.codec import Field, check_size, from_client
from flower_robust.protocol.pads import Values, keys_of, stripped
from flower_robust.protocol.replies import SketchReply
from flower_robust.protocol.server_states import Challenged, Inspected
from flower_robust.protocol.sizes import REPETITIONS, Sizes, terms_of

STEP = "sketch-reply"
Edge = tuple[int, int]
"""A dealer and the receiver that contradicts it."""


def verify_sketch_reply(challenged: Challenged, name: str, message: Field) -> SketchReply:
    """The sketch shares of `name`, once they are signed for what this server showed.

    Raises MalformedReply, OversizedReply, BadSignature, StaleCommitment (an answer to something else) or
    ReplayedCommitment (somebody who is not in the round); each blames `name`.
    """
    round, accepted = challenged.round, challenged.accepted
    position = round.position(name)
    if position not in accepted:
        raise ReplayedCommitment(name, STEP, "a reply of a client that did not submit", "one of the accepted clients")
    sizes = Sizes.of(round.plan)
    check_size(message, sizes.reply_bytes, name, STEP)
    reply = from_client(lambda: SketchReply.decode(message, len(accepted), sizes), name, STEP)
    reply.attestation.verify(round.roster, round.name(position), round.plan.digest)
    if (reply.attestation.shown, reply.shown_signature) != (challenged.shown, challenged.common.signature):
        raise StaleCommitment(name, STEP, "an answer to another challenge", "an answer to this round's challenge")
    if not set(reply.parts.complaints) <= set(accepted) - {position}:
        raise MalformedReply(name, STEP, "a complaint about itself or an absent client", "complaints about dealers")
    return reply


def inspect(challenged: Challenged, replies: Mapping[int, SketchReply]) -> Inspected:
    """Take the pads off, run both tests of every dealer, and remove whoever is part of a contradiction.

    `replies` by position. A dealer that did not reply disclosed no keys: what concerns it cannot be read, and it leaves
    the round unblamed. Nobody is blamed here; `suspects` go to `disputes`.
    """
    sizes = Sizes.of(challenged.round.plan)
    keys = {i: keys_of(reply.parts.pad_keys, len(challenged.accepted)) for i, reply in replies.items()}
    values = {}
    for column, j in enumerate(challenged.accepted):
        if j in replies:
            sent, known = (replies[j].parts.tests, replies[j].parts.geometry), {i: k[column] for i, k in keys.items()}
            values[j] = stripped(sent, challenged.accepted, known, sizes)
    return _inspected(challenged, replies, values, set())


def _inspected(
    challenged: Challenged, replies: Mapping[int, SketchReply], values: Mapping[int, Values], excluded: set[int]
) -> Inspected:
    heard = {j: reply for j, reply in replies.items() if j not in excluded}
    removed = set(challenged.accepted) - set(heard)
    complaints = [(i, j) for j, reply in heard.items() for i in reply.parts.complaints if i not in removed]
    spare = max(correctable(len(heard), 2 * terms_of(challenged.round.plan).threshold), 1)
    removed |= eliminated(complaints, spare)
    faulty, dissent = _tested(challenged, values, removed)
    removed |= faulty
    removed |= eliminated((edge for edge in dissent if not removed & set(edge)), spare)
    suspects: dict[int, tuple[int, ...]] = dict.fromkeys(faulty, ())
    for dealer, receiver in chain(complaints, dissent):
        suspects[dealer] = (*suspects.get(dealer, ()), receiver)
    members = tuple(i for i in challenged.accepted if i not in removed)
    return Inspected(challenged, replies, values, members, suspects)


def reinspect(inspected: Inspected, faults: Iterable[ClientFault]) -> Inspected:
    """The inspection without those who were proven to lie: whoever was only contradicted by them comes back."""
    round = inspected.challenged.round
    proven = {round.position(fault.culprit) for fault in faults if fault.certainty is Certainty.PROVEN}
    return _inspected(inspected.challenged, inspected.replies, inspected.values, proven)


def eliminated(edges: Iterable[Edge], liars: int) -> set[int]:
    """Clients to leave out so that no contradiction remains.

    An honest client contradicts liars only: who contradicts more than `liars` others leaves alone, others in pairs.
    """
    left, removed = set(edges), set[int]()
    while left:
        counts = Counter(chain.from_iterable(left))
        worst, contradictions = max(counts.items(), key=lambda item: (item[1], -item[0]))
        gone = {worst} if contradictions > liars else set(min(left))
        removed |= gone
        left = {edge for edge in left if not gone & set(edge)}
    return removed


def _tested(challenged: Challenged, values: Mapping[int, Values], removed: set[int]) -> tuple[set[int], list[Edge]]:
    """Dealers whose values no polynomial fits, and the contradictions with the others."""
    t = terms_of(challenged.round.plan).threshold
    columns = [c for c, dealer in enumerate(challenged.accepted) if dealer not in removed]
    left = [challenged.accepted[c] for c in columns]
    faulty, dissent = set[int](), set[Edge]()
    if len(left) <= 2 * t:
        return faulty, []
    for tested, degree, vanishing in tests_of(values, left, columns, t):
        found = inspect_dealers(tested, left, degree, vanishing=vanishing)
        faulty |= {left[k] for k in found.faulty}
        dissent |= {(left[k], j) for k, members in found.dissent.items() for j in members}
    return faulty, sorted(edge for edge in dissent if edge[0] not in faulty)


def tests_of(
    values: Mapping[int, Values], responders: list[int], columns: list[int], t: int
) -> Iterable[tuple[Residues, int, bool]]:
    """For each repetition of each test: values [r, 2, dealers], their degree, and whether they vanish at 0."""
    for k in range(2 * REPETITIONS):
        tested = np.stack([values[j][0][:, columns, k] for j in responders])
        yield (tested, t, False) if k < REPETITIONS else (tested, 2 * t, True)
