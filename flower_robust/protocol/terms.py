"""What a masked round adds to the plan (DESIGN section 4)."""

from dataclasses import dataclass
from typing import Self

from flower_robust.commitments.encoding import f64 as f64_field
from flower_robust.commitments.encoding import from_f64, from_u64, pack, u64, unpack


@dataclass(frozen=True, slots=True)
class MaskingTerms:
    """The masking part of a plan.

    `threshold` t: any t clients together learn nothing; `scale`: integer steps per unit of the update;
    `seed_a`, `seed_signs`: 32 bytes each, public; `parameter_set`: which ring; `weight_cap`: largest integer weight.
    """

    threshold: int
    scale: float
    seed_a: bytes
    seed_signs: bytes
    parameter_set: int
    weight_cap: int

    def encode(self) -> bytes:
        """Version byte and the six fields."""
        numbers = u64(self.threshold), f64_field(self.scale), u64(self.parameter_set), u64(self.weight_cap)
        return pack(*numbers, self.seed_a, self.seed_signs)

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """Inverse of `encode`; ValueError on anything else."""
        t, scale, parameter_set, cap, seed_a, seed_signs = unpack(encoded, 6)
        if (len(seed_a), len(seed_signs)) != (32, 32):
            raise ValueError("found a seed of another length, required 32 bytes")
        return cls(from_u64(t), from_f64(scale), seed_a, seed_signs, from_u64(parameter_set), from_u64(cap))
