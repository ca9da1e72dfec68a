"""Known answers: Ed25519 from RFC 8032; our own encodings frozen, so that no release changes them unseen."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from flower_robust.commitments import Identity, Roster, RosterEntry, SignedNormCommitment, update_digest
from flower_robust.commitments.statement import statement

CASES = json.loads((Path(__file__).parent / "rfc8032.json").read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=["test1", "test2", "test3", "sha-abc"])
def test_rfc_8032(case: dict[str, str]) -> None:
    identity = Identity.from_seed("hospital", bytes.fromhex(case["seed"]))
    assert identity.public_key.hex() == case["public_key"]
    assert identity.sign(bytes.fromhex(case["message"])).hex() == case["signature"]


def test_a_statement_is_what_the_docstring_says() -> None:
    expected = b"\x01" + b"\x00\x00\x00\x17flower-robust/v1/thing!" + b"\x00\x00\x00\x02ab" + b"\x00\x00\x00\x00"
    assert statement("thing!", b"ab", b"") == expected


def test_the_update_digest_from_bytes_written_out() -> None:
    def field(content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + content

    def packed(*fields: bytes) -> bytes:
        return b"\x01" + b"".join(map(field, fields))

    weight = np.array([[1.0, -2.0, 0.5]], dtype="<f4")
    bias = np.array(7, dtype="<i8")
    expected = hashlib.sha256(
        packed(b"flower-robust/v1/update", (2).to_bytes(8, "big"))
        + packed(b"b", b"<i8", b"", (8).to_bytes(8, "big"))
        + (7).to_bytes(8, "little")
        + packed(b"w", b"<f4", (1).to_bytes(8, "big") + (3).to_bytes(8, "big"), (12).to_bytes(8, "big"))
        + bytes.fromhex("0000803f000000c00000003f")
    )
    assert update_digest({"w": weight, "b": bias}) == expected.digest()


def test_a_commitment_is_what_the_docstring_says() -> None:
    identity = Identity.from_seed("A", bytes(32))
    digest = update_digest({})
    commitment = SignedNormCommitment.sign(identity, plan_digest=digest, round=3, update_digest=digest, norm=1.5)
    fields = [digest, (3).to_bytes(8, "big"), b"A", digest, bytes.fromhex("3ff8000000000000")]
    context = b"flower-robust/v1/norm-commitment"
    signed = b"\x01" + b"".join(len(x).to_bytes(4, "big") + x for x in [context, *fields])
    assert commitment.signature == identity.sign(signed)
    commitment.verify(Roster([RosterEntry.of(identity)]))
