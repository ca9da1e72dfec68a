"""Known answers of every step of the masking core: every machine and every version agrees bit for bit.

`python tests/vectors/test_masking_vectors.py` writes masking.json again; a difference is a new parameter set id.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from flower_robust.masking import decoding, fixed_point, masks, ring, sharing, sketch, squares
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.public import PublicElements

FILE = Path(__file__).with_name("masking.json")


def seed(label: str) -> bytes:
    return hashlib.sha256(label.encode()).digest()


def digest(array: np.ndarray) -> str:  # type: ignore[type-arg]
    return hashlib.sha256(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()).hexdigest()


def known_answers() -> dict[str, str | int]:
    """SHA-256 of the little-endian bytes of each step's result, n = 4, t = 1, d = 9000."""
    n, t, d = 4, 1, 9000
    B = PARAMETERS.blocks(d)
    update = (np.arange(d) % 257 - 128).astype(np.float32) / 1024
    a = PublicElements(seed("a"), B)
    encoded = fixed_point.encode(update, 8.0, seed("D"))
    secret = masks.draw_secret(seed("s"))
    y = masks.mask(encoded.x, secret, a, seed("e"))
    shares = sharing.share(secret, t, n, seed("shares"))
    zeros = sharing.share_zero(squares.zero_length(n), 2 * t, n, seed("zeros"))
    P = sketch.sketch_map(seed("challenge"), B)
    A, shown = sketch.public_sums(P, a), np.stack([sketch.sketch(P, y)] * n)
    u = sketch.sketch_shares(P, A, shown, np.stack([shares[0]] * n))
    answers = squares.square_shares([u], np.stack([zeros[0]] * n), range(n))
    return {
        "parameter set": PARAMETERS.id,
        "public elements": digest(np.stack([a.points(p, slice(0, B)) for p in ring.PLANES])),
        "fixed point": digest(encoded.x),
        "secret": digest(secret),
        "masked update": digest(y),
        "shares": digest(shares),
        "sharings of zero": digest(zeros),
        "sketch": digest(shown[0]),
        "sketch of the public elements": digest(A),
        "sketch shares": digest(u),
        "square shares": digest(answers),
        "degree test": digest(decoding.test_values(shares, seed("test"), "degree test")),
        "unmasked": digest(masks.unmask(y, secret, a)),
    }


def test_every_step_gives_the_known_answer() -> None:
    assert known_answers() == json.loads(FILE.read_text())


if __name__ == "__main__":
    FILE.write_text(json.dumps(known_answers(), indent=1) + "\n")
