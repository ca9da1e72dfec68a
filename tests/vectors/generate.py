"""Known-answer vectors of the masked protocol: python -m tests.vectors.generate writes one JSON per message and step.

All randomness is explicit, so the files come out byte for byte alike everywhere; CI regenerates them and compares.
Messages above 4 kB are given by length and SHA-256. Invalid cases are patches of the valid message, or another one in
its place, with the error that must be raised and whom it must blame (nobody, where the server itself is at fault).
"""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from flower_robust.commitments.transcript import derived
from flower_robust.errors import ClientFault, RobustError
from flower_robust.masking.ring import Residues
from flower_robust.protocol.announcement import sum_octets
from flower_robust.protocol.codec import octets
from flower_robust.protocol.dealing import Dealing, envelope_secret, own_secret
from flower_robust.protocol.server_open import decision_of
from flower_robust.protocol.sizes import Sizes, terms_of
from tests.protocol_recorded import Recorded
from tests.protocol_world import SERVER, World

REFERENCE = (np.arange(1, 101) / 1000).astype(np.float32)
"""The server's own update."""
FOLDER = Path(__file__).parent
LONGEST_HEX = 4096
SENT = {
    "keys": "key set-up, once per run",
    "submission": "step 1",
    "sketch-reply": "step 3",
    "disclosure": "step 3, if somebody contradicts a dealer",
    "echo": "step 5, strict rounds",
    "unmask-reply": "step 5",
    "recheck-reply": "after a void sum",
}
SHOWN = {
    "offer": "before step 1",
    "challenge": "step 2",
    "dispute": "step 3, if somebody contradicts a dealer",
    "decision": "step 5, strict rounds",
    "unmask": "step 5",
    "recheck": "after a void sum",
}
AUDIT = {
    "announcement": "step 7, in the offer of the next round, which binds it",
    "audited-challenge": "step 7, in the challenge of the next round; h0 is its auditor",
}
AUDIT_ROUND = 4
"""A round whose challenge draws h0 as auditor."""
REFERENCED_ROUND = 11
"""As well: h0 is shown the server's own row."""
REFERENCED = ("offer", "challenge", "sketch-reply")
"""The messages of a round with a reference that differ from those of one without."""
Json = dict[str, object]


def sha(words: Residues | bytes) -> str:
    """SHA-256 of bytes, or of residues as they travel."""
    return hashlib.sha256(words if isinstance(words, bytes) else octets(words)).hexdigest()


def described(message: bytes) -> Json:
    """A message: all of it, or length and digest."""
    whole = {"hex": message.hex()} if len(message) <= LONGEST_HEX else {}
    return {"length": len(message), "sha256": sha(message), **whole}


def patches(message: bytes) -> dict[str, tuple[Json, bytes]]:
    """The invalid cases that every message has: a description and the bytes."""
    middle = len(message) // 2
    flipped = message[:middle] + bytes([message[middle] ^ 1]) + message[middle + 1 :]
    return {
        "empty": ({"truncate": 0}, b""),
        "another version": ({"offset": 0, "xor": "03"}, bytes([message[0] ^ 3]) + message[1:]),
        "another kind": ({"offset": 24, "xor": "01"}, message[:24] + bytes([message[24] ^ 1]) + message[25:]),
        "cut": ({"truncate": len(message) - 1}, message[:-1]),
        "lengthened": ({"append": "00"}, message + b"\0"),
        "one bit in the middle": ({"offset": middle, "xor": "01"}, flipped),
        "one bit at the end": ({"offset": len(message) - 1, "xor": "01"}, message[:-1] + bytes([message[-1] ^ 1])),
    }


def one_bit_of_the_sum(now: Recorded, message: bytes) -> dict[str, tuple[Json, bytes]]:
    """What no signature covers and only the auditor finds."""
    assert now.previous is not None
    return {"one bit of the announced sum": flipped(message, message.index(sum_octets(now.previous.sums)[:64]))}


def one_bit_of_the_row(now: Recorded, message: bytes) -> dict[str, tuple[Json, bytes]]:
    """The server's own row, which the plan binds and only the auditor sees, and its sketch, which all see."""
    row, v = now.round.reference, now.challenged.common.reference
    assert row is not None and v is not None
    return {
        "one bit of the server's own row": flipped(message, message.index(row.opening) + 40),
        "one bit of its sketch": flipped(message, message.index(bytes(octets(v))) + 40),
    }


def flipped(message: bytes, offset: int) -> tuple[Json, bytes]:
    """The message with one bit changed there."""
    changed = message[:offset] + bytes([message[offset] ^ 1]) + message[offset + 1 :]
    return {"offset": offset, "xor": "01"}, changed


def outcome(read: Callable[[], object]) -> Json:
    """What reading it raises, and whom that blames."""
    try:
        read()
    except ClientFault as fault:
        return {"error": fault.kind, "culprit": fault.culprit, "certainty": fault.certainty.value}
    except RobustError as error:
        return {"error": type(error).__name__, "culprit": None}
    return {"error": None, "culprit": None}


def sent_vector(now: Recorded, later: Recorded, kind: str) -> Json:
    """A message of client h0, read by the server."""
    message = now.sent[kind]
    cases = [{"case": "valid", **outcome(lambda: now.at_server(kind, message))}]
    for name, (patch, changed) in patches(message).items():
        cases.append({"case": name, "patch": patch, **outcome(lambda changed=changed: now.at_server(kind, changed))})  # type: ignore[misc]
    if kind in now.others:
        cases.append({"case": "the message of h1", **outcome(lambda: now.at_server(kind, now.others[kind]))})
    if kind != "keys":
        cases.append({"case": "replayed in the next round", **outcome(lambda: later.at_server(kind, message))})
    return {"message": kind, "step": SENT[kind], "from": "h0", "to": "server", **described(message), "cases": cases}


def shown_vector(now: Recorded, later: Recorded, kind: str) -> Json:
    """A message of the server, read by client h0."""
    message = now.shown[kind]
    cases = [{"case": "valid", **outcome(lambda: now.at_client(kind, message))}]
    more = one_bit_of_the_sum(now, message) if kind == "audited-challenge" else {}
    more |= one_bit_of_the_row(now, message) if kind == "challenge" and now.round.reference else {}
    for name, (patch, changed) in (patches(message) | more).items():
        cases.append({"case": name, "patch": patch, **outcome(lambda changed=changed: now.at_client(kind, changed))})  # type: ignore[misc]
    if kind != "offer":
        cases.append({"case": "replayed in the next round", **outcome(lambda: later.at_client(kind, message))})
    step = (SHOWN | AUDIT)[kind]
    return {"message": kind, "step": step, "from": "server", "to": "h0", **described(message), "cases": cases}


def federation(now: Recorded) -> Json:
    """Everything that the messages are computed from, and the values between them."""
    world, plan, dealt = now.world, now.plan, now.submitted.dealt
    sizes, dealing = Sizes.of(plan), Dealing.draw(dealt.entropy, Sizes.of(plan))
    return {
        "identity seeds": {n: hashlib.sha256(f"id/{world.seed}/{n}".encode()).hexdigest() for n in world.names},
        "server public key": SERVER.public_key.hex(),
        "roster digest": world.roster.digest.hex(),
        "run keys": [key.encode().hex() for key in world.keys],
        "plan": plan.encode().hex(),
        "plan digest": plan.digest.hex(),
        "terms": terms_of(plan).encode().hex(),
        "update of h0 (float32)": now.update.tobytes().hex(),
        "entropy of h0": dealt.entropy.hex(),
        "secret s of h0": sha(own_secret(dealt.entropy)),
        "noise seed of h0": derived(dealt.entropy, "noise").hex(),
        "shares of h0": [sha(dealing.share(j).encode()) for j in range(sizes.n)],
        "envelope secret of h0 to h1": envelope_secret(dealt.entropy, 1).hex(),
        "norm opening of h0": dealt.opening.encode().hex(),
        "y of h0": sha(now.challenged.submissions[0].upload),
        "commitment of h0": dealt.commitment.hex(),
        "share bytes": sizes.share_bytes,
        "challenge": now.challenged.challenge.hex(),
        "shown digest": now.challenged.shown.hex(),
        "sketch of h0": sha(now.challenged.common.sketches[0].tobytes()),
        "tests of h0, padded": octets(now.inspected.replies[0].parts.tests).hex(),
        "tests of h0": octets(now.inspected.values[0][0]).hex(),
        "pad keys that h0 discloses": now.inspected.replies[0].parts.pad_keys.hex(),
        "decision digest": decision_of(now.decided).hex(),
        "weights": now.decided.weights.tolist(),
        "sum of secrets": sha(now.opened.secrets),
        "sum": sha(now.opened.sums.tobytes()),
        "mean (float32)": now.opened.means.tobytes().hex(),
    }


def reference(now: Recorded) -> Json:
    """The server's own row, what the plan binds of it, and what is shown."""
    row, values = now.round.reference, now.inspected.values[0][1]
    assert row is not None and now.challenged.common.reference is not None
    return {
        "update of the server (float32)": REFERENCE.tobytes().hex(),
        "salt": row.salt.hex(),
        "x_r (int32)": sha(row.x.tobytes()),
        "digest in the plan": row.digest.hex(),
        "terms": terms_of(now.plan).encode().hex(),
        "challenge": now.challenged.challenge.hex(),
        "v": sha(now.challenged.common.reference),
        "shown digest": now.challenged.shown.hex(),
        "shares of distances to it by h0": octets(values[:, -len(now.world.names) :].copy()).hex(),
        "decision digest": decision_of(now.decided).hex(),
    }


def referenced() -> dict[str, Json]:
    """A round with a reference, in a federation of its own."""
    now = Recorded(REFERENCED_ROUND, World(n=5, d=100, t=1), reference=REFERENCE)
    later = Recorded(REFERENCED_ROUND + 1, now.world, reference=REFERENCE)
    vector = {"offer": shown_vector, "challenge": shown_vector, "sketch-reply": sent_vector}
    files = {f"protocol-referenced-{kind}": vector[kind](now, later, kind) for kind in REFERENCED}
    return {"protocol-reference": reference(now), **files}


def vectors() -> dict[str, str]:
    """File name -> contents."""
    now = Recorded()
    later = Recorded(round=2, world=now.world)
    files: dict[str, Json] = {"protocol-federation": federation(now)}
    files |= {f"protocol-{kind}": sent_vector(now, later, kind) for kind in SENT}
    files |= {f"protocol-{kind}": shown_vector(now, later, kind) for kind in SHOWN}
    audited = Recorded(AUDIT_ROUND, now.world, now.opened)
    files |= {f"protocol-{kind}": shown_vector(audited, later, kind) for kind in AUDIT} | referenced()
    return {f"{name}.json": json.dumps(body, indent=1) + "\n" for name, body in files.items()}


def main() -> int:
    """Write them beside this file."""
    for name, text in vectors().items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
