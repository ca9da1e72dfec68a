"""Malicious clients of the masked protocol: honest ones, except for what each class names."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import numpy as np

from flower_robust.commitments.envelope import envelope_digest, seal
from flower_robust.commitments.masked import MaskedNormCommitment, NormOpening
from flower_robust.commitments.transcript import digest
from flower_robust.masking import ring
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.squares import blinds
from flower_robust.protocol.client import MaskedClient
from flower_robust.protocol.client_states import AwaitingChallenge, AwaitingUnmask
from flower_robust.protocol.dealing import Dealing, Share, envelope_secret, route
from flower_robust.protocol.pads import padded_tests, sketch_pads
from flower_robust.protocol.replies import Disclosure, SharesReply, SketchReply, Submission, upload_digest
from flower_robust.protocol.sizes import Sizes


def plus(words: np.ndarray, index: tuple, amount: int = 1) -> np.ndarray:
    """A copy of residues with `amount` added at one place of either prime."""
    out = np.array(words)
    for p, q in enumerate(PARAMETERS.primes):
        out[(p, *index)] = (out[(p, *index)].astype(np.int64) + amount) % q
    return out


def resubmitted(
    client: MaskedClient,
    message: bytes,
    *,
    upload: np.ndarray | None = None,
    shares: Callable[[int, Share], Share] | None = None,
    opening: NormOpening | None = None,
    unreadable_to: tuple[int, ...] = (),
) -> bytes:
    """The client's submission with parts replaced and everything signed again."""
    state = client.state
    assert isinstance(state, AwaitingChallenge)
    dealt = state.dealt
    plan, sizes, me = dealt.plan, Sizes.of(dealt.plan), dealt.position
    old = Submission.decode(message, sizes, me, client.identity.name)
    y = np.array(old.upload) if upload is None else upload
    dealing = Dealing.draw(dealt.entropy, sizes)
    dealt_shares = [dealing.share(j) for j in range(sizes.n)]
    if shares is not None:
        dealt_shares = [shares(j, share) for j, share in enumerate(dealt_shares)]
    envelopes = [
        b""
        if j == me
        else seal(envelope_secret(dealt.entropy, j), dealt.keys[j].public_key, route(plan, me, j), share.encode())
        for j, share in enumerate(dealt_shares)
    ]
    for j in unreadable_to:
        envelopes[j] = envelopes[j][:-1] + bytes([envelopes[j][-1] ^ 1])
    opening = opening or dealt.opening
    commitment = MaskedNormCommitment.sign(
        client.identity,
        plan_digest=plan.digest,
        upload_digest=upload_digest(y),
        envelope_digests=[envelope_digest(route(plan, me, j), e) for j, e in enumerate(envelopes)],
        norm_commitment=opening.commitment(plan.digest, client.identity.name),
    )
    dealt = replace(dealt, opening=opening, commitment=commitment.encode())
    client.state, client._y = AwaitingChallenge(dealt, dealt_shares[me].encode()), y
    return Submission(commitment, y, tuple(envelopes)).encode()


def answered(client: MaskedClient, message: bytes, accepted: int, **parts: object) -> bytes:
    """The client's sketch reply with parts replaced and signed again."""
    state = client.state
    assert isinstance(state, AwaitingUnmask)
    old = SketchReply.decode(message, accepted, Sizes.of(state.dealt.plan))
    changed = replace(old.parts, **parts)  # type: ignore[arg-type]
    plan = state.dealt.plan.digest
    return SketchReply.sign(client.identity, plan, state.shown, state.shown_signature, changed).encode()


class Silent(MaskedClient):
    """Answers until the step in `silent_from`."""

    silent_from = "submission"
    STEPS = ("submission", "challenge", "echo", "unmask")

    def _quiet(self, step: str) -> bool:
        return self.STEPS.index(step) >= self.STEPS.index(self.silent_from)

    def submit(self, message, update):
        return None if self._quiet("submission") else super().submit(message, update)

    def answer_challenge(self, message):
        return None if self._quiet("challenge") else super().answer_challenge(message)

    def echo(self, message):
        return None if self._quiet("echo") else super().echo(message)

    def unmask(self, message):
        return None if self._quiet("unmask") else super().unmask(message)

    def answer_dispute(self, message):
        return None if self._quiet("echo") else super().answer_dispute(message)


def silent_from(step: str) -> type[Silent]:
    return type("Silent", (Silent,), {"silent_from": step})


class Shifted(MaskedClient):
    """Adds the residues of `shift(B·N)` to y: what it submits is x + shift, whatever that is mod q."""

    shift: ClassVar[Callable[[int], np.ndarray]]

    def submit(self, message, update):
        sent = super().submit(message, update)
        moved = ring.add(self._y, self.shift(self._y[0].size).reshape(self._y.shape))
        return resubmitted(self, sent, upload=moved)


def fraction_of_q(divisor: int, where: slice = slice(None)) -> type[Shifted]:
    """x = 1/divisor mod q: huge, but a multiple of it is 1."""

    def shift(length: int) -> np.ndarray:
        out = np.zeros((2, length), np.uint32)
        for p, q in enumerate(PARAMETERS.primes):
            out[p, where] = pow(divisor, -1, q)
        return out

    return type("FractionOfQ", (Shifted,), {"shift": staticmethod(shift)})


class NormLiar(MaskedClient):
    """Commits to `factor` times its squared norm."""

    factor = 4.0

    def submit(self, message, update):
        sent = super().submit(message, update)
        old = self.state.dealt.opening
        return resubmitted(self, sent, opening=NormOpening(int(old.squared_norm * self.factor), old.salt))


class ChangedMind(MaskedClient):
    """Opens another norm than it committed to."""

    def answer_challenge(self, message):
        sent = super().answer_challenge(message)
        opening = self.state.dealt.opening
        lie = NormOpening(opening.squared_norm + 1, opening.salt)
        return answered(self, sent, len(self.state.accepted), opening=lie)


class Misdealer(MaskedClient):
    """Sends `to` shares that are off the polynomial of the others."""

    to: tuple[int, ...] = ()
    words = "secret"

    def submit(self, message, update):
        def change(j: int, share: Share) -> Share:
            changed = replace(share, **{self.words: plus(getattr(share, self.words), (3,))})
            return changed if j in self.to else share

        return resubmitted(self, super().submit(message, update), shares=change)


def misdealer(*to: int, words: str = "secret") -> type[Misdealer]:
    return type("Misdealer", (Misdealer,), {"to": to, "words": words})


class NonZero(MaskedClient):
    """Shares 10^12 in place of a zero: all its distances to client 0 would grow."""

    def submit(self, message, update):
        sent = super().submit(message, update)
        column = PARAMETERS.m
        return resubmitted(
            self, sent, shares=lambda _, share: replace(share, zeros=plus(share.zeros, (column,), 10**12))
        )


class UnreadableTo(MaskedClient):
    """Breaks the envelopes to `to`."""

    to: tuple[int, ...] = ()

    def submit(self, message, update):
        return resubmitted(self, super().submit(message, update), unreadable_to=self.to)


class FalseComplainer(MaskedClient):
    """Complains about `about`, whose envelopes were good."""

    about: tuple[int, ...] = (0,)

    def answer_challenge(self, message):
        sent = super().answer_challenge(message)
        return answered(self, sent, len(self.state.accepted), complaints=self.about)


class WrongTests(MaskedClient):
    """Answers wrongly about the shares of `about`."""

    about: tuple[int, ...] = (0,)

    def answer_challenge(self, message):
        sent = super().answer_challenge(message)
        tests = SketchReply.decode(sent, len(self.state.accepted), Sizes.of(self.state.dealt.plan)).parts.tests
        for column in self.about:
            tests = plus(tests, (column, 0))
        return answered(self, sent, len(self.state.accepted), tests=tests)


class WrongPads(MaskedClient):
    """Pads what concerns `about` with another stream than its key says."""

    about: tuple[int, ...] = (0,)

    def answer_challenge(self, message):
        sent, sizes = super().answer_challenge(message), Sizes.of(self.state.dealt.plan)
        old = SketchReply.decode(sent, len(self.state.accepted), sizes).parts
        other = np.zeros((len(self.state.accepted), 2, sizes.pad_words), np.uint32)
        other[list(self.about)] = sketch_pads([bytes([7]) * 32] * len(self.about), sizes)
        tests, geometry = (
            padded_tests(old.tests, other, sizes),
            ring.add(old.geometry, blinds(other, range(len(other)), reference=sizes.reference)),
        )
        return answered(self, sent, len(other), tests=tests, geometry=geometry)


class WrongKeys(MaskedClient):
    """Discloses wrong pad keys for what `to` sent about it."""

    to: tuple[int, ...] = (0,)

    def answer_challenge(self, message):
        sent, sizes = super().answer_challenge(message), Sizes.of(self.state.dealt.plan)
        keys = bytearray(SketchReply.decode(sent, len(self.state.accepted), sizes).parts.pad_keys)
        for j in self.to:
            keys[32 * j] ^= 1
        return answered(self, sent, len(self.state.accepted), pad_keys=bytes(keys))


def wrong_keys(*to: int) -> type[WrongKeys]:
    return type("WrongKeys", (WrongKeys,), {"to": to})


class Opener(MaskedClient):
    """Answers disputes by opening its envelopes to clients that did not lie about it."""

    to: tuple[int, ...] = (0,)

    def answer_dispute(self, message):
        secrets, plan = {j: envelope_secret(self.state.dealt.entropy, j) for j in self.to}, self.state.dealt.plan
        return Disclosure.sign(self.identity, plan.digest, digest("dispute", message), secrets).encode()


class WrongRecheckKeys(MaskedClient):
    """Discloses wrong pad keys in a recheck, so that its fresh norms cannot be read."""

    def recheck(self, message):
        plan, A, kind = self.state.dealt.plan.digest, len(self.state.accepted), "recheck-reply"
        sent = SharesReply.decode(kind, super().recheck(message), A, PARAMETERS.m, keys=A)
        return SharesReply.sign(self.identity, kind, plan, sent.request, sent.shares, bytes(32 * A)).encode()


class WrongDistances(MaskedClient):
    """Shifts its share of one distance: that of clients 0 and 6."""

    def answer_challenge(self, message):
        sent = super().answer_challenge(message)
        old = SketchReply.decode(sent, len(self.state.accepted), Sizes.of(self.state.dealt.plan))
        return answered(self, sent, len(self.state.accepted), geometry=plus(old.parts.geometry, (5,), 10**9))


class WrongUnmask(MaskedClient):
    """Shifts its share of the sum of secrets."""

    def unmask(self, message):
        plan = self.state.dealt.plan
        sizes = Sizes.of(plan)
        sent = SharesReply.decode("unmask-reply", super().unmask(message), sizes.groups, PARAMETERS.N)
        wrong = plus(sent.shares, (0, 5))
        return SharesReply.sign(self.identity, "unmask-reply", plan.digest, sent.request, wrong).encode()


class Stubborn(MaskedClient):
    """Answers disputes without clearing itself."""

    def answer_dispute(self, message):
        plan = self.state.dealt.plan
        return Disclosure.sign(self.identity, plan.digest, digest("dispute", message), {}).encode()


def both(*kinds: type) -> type:
    """One client with several vices."""
    return type("_".join(kind.__name__ for kind in kinds), kinds, {})
