"""The one codec of masked messages: version byte, domain and type, then fields of stated length.

    message = 02 ‖ (length ‖ "flower-robust/v1/" + kind) ‖ (length ‖ field_1) ‖ ...      lengths: 4 bytes, big endian

Everything read here is checked for its exact length and range; anything else is a ValueError, which the step that reads
turns into a fault of the sender. Large fields are views of the message, not copies.
"""

import io
import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, pairwise
from typing import TypeVar

import numpy as np

from flower_robust.commitments.statement import CONTEXT
from flower_robust.errors import ClientFault, FaultyServer, MalformedReply, OversizedReply
from flower_robust.masking.parameters import PARAMETERS
from flower_robust.masking.ring import Residues

Field = bytes | memoryview
Message = TypeVar("Message")

VERSION = 2
"""First byte of every masked message; 2: what concerns a dealer is padded."""
_LENGTH = struct.Struct(">I")
_WORD = np.dtype("<u4")


def encode(kind: str, *fields: Field) -> bytes:
    """The message of this kind with these fields, copied once."""
    pieces: list[Field] = [bytes([VERSION])]
    for field in (CONTEXT + kind.encode(), *fields):
        pieces += (_LENGTH.pack(len(field)), field)
    return b"".join(pieces)


class Frame:
    """A message of known lengths, filled field by field, in any order and in place: nothing of it exists twice."""

    def __init__(self, kind: str, lengths: Sequence[int]) -> None:
        domain, self._lengths = CONTEXT + kind.encode(), tuple(lengths)
        head = bytes([VERSION]) + _LENGTH.pack(len(domain)) + domain
        self._starts = list(accumulate((4 + length for length in lengths), initial=len(head)))
        self._file = io.BytesIO(bytes(self._starts[-1]))
        self._octets = self._file.getbuffer()
        self._octets[: len(head)] = head
        for start, length in zip(self._starts, lengths, strict=False):
            self._octets[start : start + 4] = _LENGTH.pack(length)

    def room(self, field: int) -> memoryview:
        """Where one field lies, to be written to; whoever holds it must let go before `message`."""
        start = self._starts[field] + 4
        return self._octets[start : start + self._lengths[field]]

    def fill(self, field: int, content: Field) -> None:
        """Write one field; ValueError if it has another length than was said."""
        self.room(field)[:] = exact(content, self._lengths[field])

    def message(self) -> bytes:
        """What `encode` would have given; the frame cannot be filled any more."""
        self._octets.release()
        return self._file.getvalue()


def decode(kind: str, message: Field, count: int | None = None) -> list[memoryview]:
    """The fields of a message of this kind; ValueError on another version, kind or number of fields, or a cut one."""
    view = memoryview(message).cast("B")
    if bytes(view[:1]) != bytes([VERSION]):
        raise ValueError(f"found version {bytes(view[:1]).hex() or 'none'}, required {VERSION:02x}")
    domain, *fields = _split(view[1:])
    if domain != CONTEXT + kind.encode():
        raise ValueError(f"found another message, required {kind}")
    if count is not None and len(fields) != count:
        raise ValueError(f"found {len(fields)} fields, required {count}")
    return fields


def kind_of(message: Field) -> str:
    """Which message this claims to be; ValueError if it is none."""
    view = memoryview(message).cast("B")
    domain = bytes(_split(view[1:], most=1)[0])
    if bytes(view[:1]) != bytes([VERSION]) or not domain.startswith(CONTEXT):
        raise ValueError("found no message of this protocol")
    return domain[len(CONTEXT) :].decode()


def from_client(read: Callable[[], Message], sender: str, step: str) -> Message:
    """What `read` reads of a client's message; MalformedReply, which blames `sender`, where it cannot."""
    try:
        return read()
    except ValueError as error:
        raise MalformedReply(sender, step, f"no {step} ({error})", f"an encoded {step}") from None


def from_server(read: Callable[[], Message], step: str) -> Message:
    """What `read` reads of the server's message; FaultyServer where it cannot."""
    try:
        return read()
    except (ValueError, ClientFault) as error:
        raise FaultyServer(step, f"no {step} ({error})", f"an encoded {step}") from None


def check_size(message: Field, limit: int, sender: str, step: str) -> None:
    """OversizedReply, which blames `sender`, if the message is longer than anything that the plan asks for."""
    if len(message) > limit:
        raise OversizedReply(sender, step, f"{len(message)} bytes", f"at most {limit} bytes")


def residues(field: Field, *shape: int) -> Residues:
    """Residues uint32 [2, *shape] from 8·Π(shape) bytes, a view; ValueError on another length or a residue >= q."""
    exact(field, 8 * int(np.prod(shape, dtype=np.int64)))
    planes = np.frombuffer(field, _WORD).reshape(2, *shape)
    for plane, q in zip(planes, PARAMETERS.primes, strict=True):
        if plane.max(initial=0) >= q:
            raise ValueError(f"found a residue of {plane.max()}, required below {q}")
    return planes


def octets(planes: Residues) -> memoryview:
    """The bytes of residues: plane by plane, 4 bytes each, little endian; a view where they already lie so."""
    return np.ascontiguousarray(planes, _WORD).reshape(-1).view(np.uint8).data


def exact(field: Field, length: int) -> bytes | memoryview:
    """`field`, if it is `length` bytes long; else ValueError."""
    if len(field) != length:
        raise ValueError(f"found a field of {len(field)} bytes, required {length}")
    return field


def fixed(field: Field, length: int) -> bytes:
    """A copy of `field`, if it is `length` bytes long; else ValueError."""
    return bytes(exact(field, length))


def positions(field: Field, below: int) -> tuple[int, ...]:
    """Strictly increasing positions, 2 bytes each, big endian; ValueError on anything else."""
    if len(field) % 2:
        raise ValueError(f"found {len(field)} bytes of positions, required 2 each")
    found = tuple(int(p) for p in np.frombuffer(field, ">u2"))
    if any(a >= b for a, b in pairwise(found)) or (found and found[-1] >= below):
        raise ValueError(f"found positions out of order or range, required increasing ones below {below}")
    return found


def from_positions(found: Sequence[int]) -> bytes:
    """Inverse of `positions`."""
    return np.array(found, ">u2").tobytes()


def table(rows: Iterable[tuple[int, Field]]) -> bytes:
    """Byte strings by position: the positions, then the strings."""
    pairs = list(rows)
    return encode("table", from_positions([position for position, _ in pairs]), *(field for _, field in pairs))


def from_table(field: Field, below: int) -> dict[int, memoryview]:
    """Inverse of `table`; ValueError on anything else."""
    places, *fields = decode("table", field)
    found = positions(places, below)
    if len(found) != len(fields):
        raise ValueError(f"found {len(fields)} rows for {len(found)} positions")
    return dict(zip(found, fields, strict=True))


def _split(view: memoryview, most: int | None = None) -> list[memoryview]:
    fields: list[memoryview] = []
    while len(view) and (most is None or len(fields) < most):
        if len(view) < 4:
            raise ValueError(f"found {len(view)} bytes, required 4 of length")
        (length,) = _LENGTH.unpack(view[:4])
        if len(view) - 4 < length:
            raise ValueError(f"found {len(view) - 4} bytes, required a field of {length}")
        fields.append(view[4 : 4 + length])
        view = view[4 + length :]
    if not fields:
        raise ValueError("found no field")
    return fields
