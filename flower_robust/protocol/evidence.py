"""Two statements under a server's key that exclude each other: bytes that convict it before anybody, offline.

An honest server signs one challenge and one decision for a plan, and the decision rests on the challenge.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from flower_robust.commitments.transcript import verify_shown
from flower_robust.errors import FaultyServer
from flower_robust.protocol.codec import Field, decode, encode, exact, fixed
from flower_robust.protocol.plan import RoundPlan
from flower_robust.protocol.shown import decision_digest
from flower_robust.protocol.sizes import Sizes, terms_of
from flower_robust.types import Digest

CHALLENGE, DECISION = "challenge", "decision"


@dataclass(frozen=True, slots=True)
class Signed:
    """One digest under the server's signature: of a "challenge", or of a "decision".

    `basis`: of a decision, the digest of the challenge it rests on and its weights; empty where they are not needed.
    """

    step: str
    digest: Digest
    signature: bytes
    basis: bytes = b""

    def encode(self) -> bytes:
        """About 150 bytes, and g·n of weights."""
        return encode("signed", self.step.encode(), self.digest, self.signature, self.basis)

    @classmethod
    def decode(cls, field: Field) -> Self:
        """Inverse of `encode`; ValueError on anything else."""
        step, digest, signature, basis = decode("signed", field, 4)
        return cls(bytes(step).decode(), Digest(fixed(digest, 32)), fixed(signature, 64), bytes(basis))


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two statements about one plan; made by the client that got both."""

    plan: RoundPlan
    first: Signed
    second: Signed

    def encode(self) -> bytes:
        """About 1 kB."""
        return encode("evidence", self.plan.encode(), self.first.encode(), self.second.encode())

    @classmethod
    def decode(cls, message: Field) -> Self:
        """Inverse of `encode`; ValueError or FaultyServer on anything else."""
        plan, first, second = decode("evidence", message, 3)
        return cls(RoundPlan.decode(bytes(plan)), Signed.decode(first), Signed.decode(second))

    def verify(self) -> str:
        """Who signed what, in one line; ValueError unless both signatures hold and exclude each other.

        The server is whoever holds the plan's key: compare it with the key that the server is known by.
        """
        for statement in (self.first, self.second):
            self._check_signature(statement)
        plan = self.plan
        where = f"round {plan.round} of run {plan.run_id}, plan {plan.digest.hex()}"
        return f"the server with the key {terms_of(plan).server_key.hex()} signed {self._contradiction()} for {where}"

    def _check_signature(self, statement: Signed) -> None:
        if statement.step not in (CHALLENGE, DECISION):
            raise ValueError(f"found a signed {statement.step!r}, required a challenge or a decision")
        key, plan = terms_of(self.plan).server_key, self.plan.digest
        try:
            verify_shown(key, statement.step, plan, statement.digest, statement.signature)
        except FaultyServer as error:
            raise ValueError(f"found {error.found}, required {error.required}") from None

    def _contradiction(self) -> str:
        first, second = self.first, self.second
        if first.step == second.step:
            if first.digest == second.digest:
                raise ValueError(f"found one {first.step} twice, required two that differ")
            return f"two {first.step}s, {first.digest.hex()} and {second.digest.hex()},"
        challenge, decision = (first, second) if first.step == CHALLENGE else (second, first)
        rests_on = self._basis(decision)
        if rests_on == challenge.digest:
            raise ValueError("found a decision on the challenge beside it, required one on another")
        return f"the challenge {challenge.digest.hex()}, and a decision on another one, {rests_on.hex()},"

    def _basis(self, decision: Signed) -> Digest:
        sizes = Sizes.of(self.plan)
        shown, weights = Digest(decision.basis[:32]), exact(decision.basis[32:], sizes.groups * sizes.n)
        grid = np.frombuffer(weights, np.uint8).reshape(sizes.groups, sizes.n)
        if decision_digest(shown, grid) != decision.digest:
            raise ValueError("found a basis that is not the decision's, required the one that it was made of")
        return shown
