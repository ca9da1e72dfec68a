"""What a masked round adds to the plan (docs/protocol.md, section 4), validated once and bound by the plan's digest."""

import secrets
from dataclasses import dataclass
from typing import Self

from flower_robust.commitments.encoding import from_u64, pack, u64, unpack_all
from flower_robust.errors import ConfigurationError
from flower_robust.masking.parameters import PARAMETERS, check_capacity
from flower_robust.types import Digest

NO_DIGEST = Digest(bytes(32))
"""Stands where there is nothing: the first round announces no previous result, most rounds have no reference."""
WEIGHT_CAP = 4
"""Default of how far the heaviest of the accepted weights may lie above the others."""

MOST_WORDS = 1 << 29
"""All sums of a round, 8 bytes a word, are one field of a message, whose length has 4 bytes."""


@dataclass(frozen=True, slots=True)
class MaskingTerms:
    """The masking part of a plan; made by `create`, checked again by every client with `check`.

    `threshold` t: any t clients, even with the server, learn nothing of another's secret; `d`: parameters;
    `min_accepted`: fewest clients in a sum that is opened; `weight_cap`: a client counts as accepted only if its
    integer weight times the cap reaches the largest weight; `groups`: disjoint sums that are opened (1, or at least
    2f + 1 for coordinate rules); `strict`: nobody unmasks before a majority signed one decision; `seed_a`,
    `seed_signs`: 32 public bytes each, of the ring element a and of the signs D; `server_key`: the Ed25519 key that
    signs what the server shows; `keys_digest`: of the cohort's run keys; `previous`: of the announced last result;
    `reference`: of the server's own row (`PublicRow.digest`), zeros where distances are to other clients only.
    """

    threshold: int
    d: int
    min_accepted: int
    weight_cap: int
    groups: int
    strict: bool
    seed_a: bytes
    seed_signs: bytes
    server_key: bytes
    keys_digest: Digest
    previous: Digest = NO_DIGEST
    parameter_set: int = PARAMETERS.id
    reference: Digest = NO_DIGEST

    @classmethod
    def create(
        cls,
        *,
        n: int,
        d: int,
        norm_bound: float,
        server_key: bytes,
        keys_digest: Digest,
        threshold: int | None = None,
        min_accepted: int | None = None,
        weight_cap: int = WEIGHT_CAP,
        groups: int = 1,
        strict: bool = False,
        previous: Digest = NO_DIGEST,
        seeds: bytes | None = None,
    ) -> Self:
        """Terms for a cohort of n, if they can work; ConfigurationError says what cannot.

        `threshold` defaults to ⌊(n − 1)/4⌋, at least 1; `min_accepted` to 2t + 1; `seeds` (64 bytes) to fresh ones.
        """
        t = max(1, (n - 1) // 4) if threshold is None else threshold
        fewest = 2 * t + 1 if min_accepted is None else min_accepted
        seeds = secrets.token_bytes(64) if seeds is None else seeds
        terms = cls(t, d, fewest, weight_cap, groups, strict, seeds[:32], seeds[32:], server_key, keys_digest, previous)
        terms.check(n, norm_bound)
        return terms

    def check(self, n: int, norm_bound: float) -> None:
        """Refuse terms under which a cohort of n would be insecure or could never finish.

            2t + 1 <= n        enough honest shares of degree 2t (distances)
            t + 2 <= min_accepted <= n/groups      t colluders in a sum leave at least two other clients in it

        Raises ConfigurationError; at a client, whoever planned the round is to blame.
        """
        t = self.threshold
        _require("threshold", t, t >= 1 and 2 * t + 1 <= n, f"1 <= t and 2t + 1 <= {n}")
        _require("min_accepted", self.min_accepted, self.min_accepted >= t + 2, f"at least t + 2 = {t + 2}")
        _require("groups", self.groups, 1 <= self.groups <= 255, "1 to 255")
        fits = self.min_accepted * self.groups <= n
        _require("min_accepted", self.min_accepted, fits, f"at most {n} clients in {self.groups} groups")
        _require("weight_cap", self.weight_cap, 1 <= self.weight_cap <= PARAMETERS.weight_cap, "1 to 255")
        _require("parameter_set", self.parameter_set, self.parameter_set == PARAMETERS.id, f"{PARAMETERS.id}")
        seeds = (self.seed_a, self.seed_signs, self.server_key, self.keys_digest, self.previous, self.reference)
        _require("seeds", [len(seed) for seed in seeds], all(len(seed) == 32 for seed in seeds), "32 bytes each")
        check_capacity(n, self.d, norm_bound)
        words = PARAMETERS.blocks(self.d) * PARAMETERS.N * self.groups
        _require(
            "d",
            self.d,
            words < MOST_WORDS,
            f"d·groups below 2^29, so at most {MOST_WORDS // self.groups - PARAMETERS.N}",
        )

    @property
    def has_reference(self) -> bool:
        """Whether distances to a row of the server's are opened too."""
        return self.reference != NO_DIGEST

    def survives(self, n: int) -> list[tuple[int, int]]:
        """Every maximal (drop-outs D, liars e) that a cohort of n survives: n − D >= 2t + 1 + 2e."""
        spare = n - (2 * self.threshold + 1)
        return [(spare - 2 * e, e) for e in range(spare // 2 + 1)]

    def encode(self) -> bytes:
        """Version byte and twelve fields, about 290 bytes; with a reference a thirteenth."""
        numbers = (self.threshold, self.d, self.min_accepted, self.weight_cap, self.groups, int(self.strict))
        fixed = (self.seed_a, self.seed_signs, self.server_key, self.keys_digest, self.previous)
        reference = [self.reference] if self.has_reference else []
        return pack(*map(u64, numbers), *fixed, u64(self.parameter_set), *reference)

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """Inverse of `encode`; ValueError on anything else."""
        fields = unpack_all(encoded)
        if len(fields) not in (12, 13) or fields[12:] == [NO_DIGEST]:
            raise ValueError(f"found {len(fields)} fields, required 12, or 13 with a reference")
        t, d, fewest, cap, groups, strict, a, signs, key, keys, previous, parameter_set, *reference = fields
        if any(len(field) != 32 for field in (a, signs, key, keys, previous, *reference)) or from_u64(strict) > 1:
            raise ValueError("found terms with a field of another length, required 32 bytes")
        numbers = (from_u64(t), from_u64(d), from_u64(fewest), from_u64(cap), from_u64(groups), bool(from_u64(strict)))
        digests = (Digest(keys), Digest(previous))
        return cls(*numbers, a, signs, key, *digests, from_u64(parameter_set), *map(Digest, reference))


def _require(option: str, given: object, holds: bool, required: str) -> None:
    if not holds:
        raise ConfigurationError(option, given, required)
