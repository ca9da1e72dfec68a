"""What a round is, fixed before it starts: everything below is bound to the digest of this."""

import hashlib
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, Self

from flower_robust.commitments import Roster
from flower_robust.commitments.encoding import f64, from_f64, from_u64, pack, u64, unpack, unpack_all
from flower_robust.errors import ConfigurationError, FaultyServer, TooFewRows
from flower_robust.protocol.terms import MaskingTerms
from flower_robust.types import Digest, RosterName

NONCE_BYTES = 16


class RuleBound(Protocol):
    """What a plan needs to know of an aggregation rule."""

    @property
    def f(self) -> int:
        """Byzantine rows that it tolerates."""

    def min_rows(self) -> int:
        """Its breakdown point: fewer rows cannot tolerate f."""


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """One round of one run, frozen; made by `create`, which validates it, and hashed into every message.

    `run_id`, `round`: whole numbers below 2^64; `roster_digest`: 32 bytes; `model_digest`: 32 bytes, of all that is
    trained on (the model, in masked rounds also configuration and layout of the row); `cohort`: the roster names that
    are asked, in order; `rule`: what a user would type; `f`: its Byzantine bound; `norm_bound` C: longest allowed L2
    norm of an update; `quorum`: fewest accepted clients; `nonce`: 16 bytes; `masking`: None when unmasked.
    """

    run_id: int
    round: int
    roster_digest: Digest
    cohort: tuple[RosterName, ...]
    rule: str
    f: int
    norm_bound: float
    model_digest: Digest
    quorum: int
    nonce: bytes
    masking: MaskingTerms | None = None

    @classmethod
    def create(
        cls,
        *,
        run_id: int,
        round: int,
        roster: Roster,
        cohort: Sequence[str],
        rule: RuleBound,
        norm_bound: float,
        model_digest: Digest,
        quorum: int | None = None,
        nonce: bytes | None = None,
        masking: MaskingTerms | None = None,
    ) -> Self:
        """The plan, if it can work: called before anything is sent.

        `quorum` defaults to what the rule needs or a majority of the cohort, whichever is more; `nonce` to fresh bytes
        of the operating system. Raises TooFewRows if the cohort or the quorum is below the rule's breakdown point, and
        ConfigurationError on every other option that cannot work.
        """
        names = _checked_cohort(cohort, roster)
        _check_rows("cohort", len(names), rule)
        quorum = max(rule.min_rows(), len(names) // 2 + 1) if quorum is None else quorum
        _check_quorum(quorum, len(names), rule)
        _check_numbers(run_id, round, norm_bound, model_digest)
        nonce = secrets.token_bytes(NONCE_BYTES) if nonce is None else nonce
        if len(nonce) != NONCE_BYTES:
            raise ConfigurationError("nonce", f"{len(nonce)} bytes", f"{NONCE_BYTES} bytes")
        bound = float(norm_bound)
        if masking is not None:
            masking.check(len(names), bound)
        return cls(run_id, round, roster.digest, names, repr(rule), rule.f, bound, model_digest, quorum, nonce, masking)

    @property
    def digest(self) -> Digest:
        """SHA-256 of the encoding: no two plans share it."""
        return _digest(self)

    def encode(self) -> bytes:
        """Version byte and eleven fields; a few hundred bytes."""
        cohort = pack(*(name.encode() for name in self.cohort))
        masking = self.masking.encode() if self.masking else b""
        numbers = u64(self.run_id), u64(self.round), u64(self.f), u64(self.quorum), f64(self.norm_bound)
        return pack(*numbers, self.roster_digest, self.model_digest, cohort, self.rule.encode(), self.nonce, masking)

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """Inverse of `encode`, for the client; FaultyServer on anything else: only the server sends plans."""
        try:
            run_id, number, f, quorum, bound, roster, model, cohort, rule, nonce, masking = unpack(encoded, 11)
            if (len(roster), len(model), len(nonce)) != (32, 32, NONCE_BYTES):
                raise ValueError("found digests or nonce of another length")
            names = tuple(RosterName(name.decode()) for name in unpack_all(cohort))
            if len(set(names)) != len(names) or not 1 <= from_u64(quorum) <= len(names):
                raise ValueError("found a name twice, or a quorum that the cohort cannot reach")
            return cls(
                run_id=from_u64(run_id),
                round=from_u64(number),
                roster_digest=Digest(roster),
                cohort=names,
                rule=rule.decode(),
                f=from_u64(f),
                norm_bound=_positive(from_f64(bound)),
                model_digest=Digest(model),
                quorum=from_u64(quorum),
                nonce=nonce,
                masking=MaskingTerms.decode(masking) if masking else None,
            )
        except ValueError as error:
            raise FaultyServer("plan", f"no plan ({error})", "an encoded RoundPlan") from None


@lru_cache(maxsize=16)
def _digest(plan: RoundPlan) -> Digest:
    return Digest(hashlib.sha256(pack(b"flower-robust/v1/plan", plan.encode())).digest())


def _checked_cohort(cohort: Sequence[str], roster: Roster) -> tuple[RosterName, ...]:
    if unknown := [name for name in cohort if name not in roster]:
        raise ConfigurationError("cohort", unknown[0], f"names of the roster: {', '.join(roster.names)}")
    if repeated := [name for name in cohort if list(cohort).count(name) > 1]:
        raise ConfigurationError("cohort", f"{repeated[0]} twice", "every name once")
    return tuple(roster[name].name for name in cohort)


def _check_rows(what: str, n: int, rule: RuleBound) -> None:
    if n < rule.min_rows():
        raise TooFewRows(f"{rule!r} ({what})", n, rule.f, rule.min_rows())


def _check_quorum(quorum: int, n: int, rule: RuleBound) -> None:
    if not 1 <= quorum <= n:
        raise ConfigurationError("quorum", quorum, f"1 to {n}, the size of the cohort")
    _check_rows("quorum", quorum, rule)


def _check_numbers(run_id: int, round: int, norm_bound: float, model_digest: Digest) -> None:
    for option, number in (("run_id", run_id), ("round", round)):
        if not 0 <= number < 2**64:
            raise ConfigurationError(option, number, "0 to 2^64 - 1")
    if not (math.isfinite(norm_bound) and norm_bound > 0):
        raise ConfigurationError("norm_bound", norm_bound, "a finite number above 0")
    if len(model_digest) != 32:
        raise ConfigurationError("model_digest", f"{len(model_digest)} bytes", "32 bytes")


def _positive(number: float) -> float:
    if number <= 0:
        raise ValueError(f"found {number}, required a number above 0")
    return number
