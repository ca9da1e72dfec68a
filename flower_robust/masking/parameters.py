"""The one parameter set of the masks, the argument for its security, and what fits into its modulus.

Security of y = x + a·s + e (docs/protocol.md, section 6.2). A block is a ring learning-with-errors sample of degree
N = 4096 and modulus q ≈ 2^62 under a *uniform* secret; a round gives B samples of one RLWE instance.

- The Homomorphic Encryption Standard (Albrecht et al. 2018, classical attacks, error σ ≈ 3.2) allows log2 q up to 109
  for 128-bit and 75 for 192-bit security at N = 4096 with a ternary secret, the weakest it lists; with a uniform one,
  as here, 111 and 77 (256-bit: 60). The 62 bits used here lie 13 bits below the ternary 192-bit row. The margin is
  spent on three things that the table does not have:
- the error is narrower: centred binomial η = 8, σ = 2, so log2(q/σ) = 61.0 instead of 60.3 for the same q, which is
  less than one bit of modulus against a margin of 47 bits to the 128-bit row;
- the opened Σ w_i·s_i and Σ w_i·e_i are hints. The secret is uniform, so Σ w_i·s_i is uniform and independent of any
  single s_i as long as one other honest client is in the sum. The noise of the sum is seen by nobody alone (x_i are
  unknown), but if all x_i were known it would be a hint on e_i. With weights of 1, 2 or 3 units it leaves a deviation
  of at least 2/√13 on its grid, up to 1.9 bits. Kim et al. 2023 reduce hint-RLWE to RLWE for noise wider than this,
  so the step is heuristic (docs/protocol.md, section 6.1);
- B grows with the model. The table assumes as many samples as the attack wants, so this costs nothing.

No lattice estimator was run for this table; the row of the standard is the source. Nobody outside the project has
reviewed the argument.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from flower_robust.errors import ConfigurationError


@dataclass(frozen=True)
class ParameterSet:
    """Sizes of the ring, the noise, the fixed point and the sketch. `id` travels in the plan."""

    id: int = 1
    N: int = 4096
    primes: tuple[int, int] = (2147377153, 2147352577)
    """The two largest primes below 2^31 that are 1 mod 2N."""
    roots: tuple[int, int] = (1202012506, 760495213)
    """A primitive 2N-th root of unity modulo each prime."""
    eta: int = 8
    scale_bits: int = 22
    """The norm bound C is 2^scale_bits in fixed point."""
    m: int = 18
    """Ring sums of the sketch."""
    c: int = 512
    """Buckets of each ring sum."""
    magnitudes: tuple[int, ...] = (5, 6, 7)
    """The absolute values of κ and κ', each equally likely (why these: see `sketch`)."""
    weight_cap: int = 255
    weight_unit: int = 85
    """Weights are 0, 1, 2 or 3 units. A sum with weights (w, g, ..., g) shows its first update modulo g: with one
    client at 255 and all others at 254 that is the update itself. Modulo 2 and 3 the noise hides it: the largest
    Fourier coefficient of e modulo g is cos(π/g)^(2·eta), 0 for g = 2, 2^-16 for 3, 2^-8 for 4 and 0.03 for 5."""

    @property
    def q(self) -> int:
        """The modulus q1·q2."""
        return self.primes[0] * self.primes[1]

    @property
    def unit_norm(self) -> int:
        """2^scale_bits: the fixed-point length of an update of norm C."""
        return 1 << self.scale_bits

    @property
    def gain(self) -> Fraction:
        """E[(κκ')²]: the expected partial squared norm of a vector of squared norm 1."""
        return Fraction(sum(v * v for v in self.magnitudes), len(self.magnitudes)) ** 2

    def blocks(self, d: int) -> int:
        """B = max(2, ⌈d/N⌉).

        One block alone would make the audit empty: a_0 is a unit, so to any announced sum there is a Σ w·s that fits.
        With two, another sum in range is a short vector of the lattice {(a_0·s, a_1·s)}: a ring-SIS problem.
        """
        return max(2, -(-d // self.N))


PARAMETERS = ParameterSet()


def check_capacity(n: int, d: int, norm_bound: float) -> None:
    """Refuse a round whose numbers do not fit into q.

        gain·m·(2·2^22)² < q          distances of two opposite updates of norm C
        2·n·255·(2^22 + noise) < q    the opened weighted sum

    n: clients; d: parameters; norm_bound: C, in the unit of the update.
    Raises ConfigurationError; nobody is blamed.
    """
    p = PARAMETERS
    if n < 1:
        raise ConfigurationError("n", n, "at least one client")
    if not 1 <= d <= p.N << 18:
        raise ConfigurationError("d", d, f"between 1 and {p.N << 18} parameters")
    if not (math.isfinite(norm_bound) and norm_bound > 0):
        raise ConfigurationError("norm_bound", norm_bound, "a finite norm above zero")
    check_modulus(p, n)


def check_modulus(p: ParameterSet, n: int) -> None:
    """Refuse a parameter set whose distances or weighted sums of n clients overflow q (see `check_capacity`)."""
    if p.gain * p.m * (2 * p.unit_norm) ** 2 >= p.q:
        raise ConfigurationError("scale_bits", p.scale_bits, f"gain·m·(2·2^scale_bits)² below q = {p.q}")
    if 2 * n * p.weight_cap * (p.unit_norm + p.eta) >= p.q:
        raise ConfigurationError("n", n, f"2·n·{p.weight_cap}·(2^scale_bits + eta) below q = {p.q}")
