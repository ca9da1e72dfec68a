"""Where a client stands in a masked round: one frozen type per phase, printed without its secrets, used once.

    AwaitingChallenge ── answer_challenge ──> AwaitingUnmask ── unmask ──> AwaitingRecheck ── recheck ──> Finished

A state that has answered is replaced by the next one; whoever keeps states must forget the old one.
"""

from dataclasses import dataclass

from flower_robust.commitments.keys import KeyAnnouncement, RunKey
from flower_robust.commitments.masked import MaskedNormCommitment, NormOpening
from flower_robust.masking.ring import Residues
from flower_robust.protocol.plan import RoundPlan
from flower_robust.types import Digest, RosterName


class _Redacted:
    """Prints only where the client stands."""

    __slots__ = ()
    dealt: "Dealt"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.dealt.name!r}, round {self.dealt.plan.round}, secrets=<redacted>)"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Dealt:
    """What a client keeps of its own submission until the round ends.

    `entropy` (32 bytes) is what all its secrets were derived from; it reproduces the envelopes' secrets e, and nothing
    else is ever derived from it again. `commitment` is the encoded commitment; `announcement` what the
    server said of the round before; `past` the earlier rounds that may still be announced, oldest first.
    """

    plan: RoundPlan
    keys: tuple[KeyAnnouncement, ...]
    run_key: RunKey
    position: int
    entropy: bytes
    opening: NormOpening
    commitment: bytes
    announcement: bytes = b""
    past: "tuple[Ended, ...]" = ()

    @property
    def name(self) -> RosterName:
        """The client's own name."""
        return self.plan.cohort[self.position]

    @property
    def upload(self) -> Digest:
        """The digest of its y."""
        return MaskedNormCommitment.decode(self.commitment, len(self.plan.cohort), self.name).upload_digest

    def __repr__(self) -> str:
        return f"Dealt({self.name!r}, round {self.plan.round}, secrets=<redacted>)"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class AwaitingChallenge(_Redacted):
    """After step 1. `own_share`: the client's share of its own dealing, as an envelope would carry it."""

    dealt: Dealt
    own_share: bytes


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Held:
    """What a client holds of A dealers' secrets: `secrets` [A, 2, N], shares of s; `recheck_zeros` [A, 2, m];
    `pad_keys`: k of its pads, 32 bytes each."""

    secrets: Residues
    recheck_zeros: Residues
    pad_keys: tuple[bytes, ...]

    def __repr__(self) -> str:
        return "Held(<redacted>)"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class AwaitingUnmask(_Redacted):
    """After step 3, with the shares that it opened.

    `accepted`: positions of the A dealers; `held`: of their secrets; `unreadable`: the dealers it complained about;
    `shown`, `shown_signature`: what the server showed it and signed; `challenge`: 32 bytes; `echoed`: the one decision
    that it signed in a strict round, and the server's signature on it.
    """

    dealt: Dealt
    accepted: tuple[int, ...]
    held: Held
    unreadable: tuple[int, ...]
    challenge: bytes
    shown: Digest
    shown_signature: bytes
    echoed: Digest | None = None
    echoed_signature: bytes = b""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class AwaitingRecheck(_Redacted):
    """After step 5: the shares are still there for one recheck, in case the sum turns out void.

    `pad_seed`: what its own keys k are drawn from, 32 bytes; nothing else of its entropy is needed any more.
    """

    dealt: Dealt
    accepted: tuple[int, ...]
    held: Held
    pad_seed: bytes
    challenge: bytes
    shown: Digest
    decision: Digest
    decision_signature: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """What a client remembers of a round that it submitted to: enough to audit its result, and no secret.

    `upload`: the digest of its y, None if it only read of the round; `decision` is what it unmasked (the server's
    signature beside it), None if it never came that far; `shown` is the challenge that it was then left with, None if
    it unmasked (the decision binds the challenge) or saw none.
    """

    plan: RoundPlan
    position: int
    upload: Digest | None = None
    decision: Digest | None = None
    decision_signature: bytes = b""
    shown: Digest | None = None
    shown_signature: bytes = b""


@dataclass(frozen=True, slots=True, repr=False)
class Finished:
    """Between rounds. `past`: the rounds that may still be announced, oldest first."""

    past: tuple[Ended, ...] = ()

    def __repr__(self) -> str:
        return f"Finished({len(self.past)} rounds to audit, secrets=<none>)"


State = AwaitingChallenge | AwaitingUnmask | AwaitingRecheck | Finished


def finish(state: State) -> Finished:
    """Forget everything secret: what the keeper of states does when the round is over."""
    match state:
        case Finished():
            return state
        case AwaitingChallenge():
            left = _ended(state.dealt)
        case AwaitingUnmask():
            left = _ended(state.dealt, shown=state.shown, shown_signature=state.shown_signature)
        case AwaitingRecheck():
            left = _ended(state.dealt, decision=state.decision, decision_signature=state.decision_signature)
    return Finished((*state.dealt.past, left))


def _ended(dealt: Dealt, **signed: Digest | bytes) -> Ended:
    return Ended(dealt.plan, dealt.position, dealt.upload, **signed)  # type: ignore[arg-type]
