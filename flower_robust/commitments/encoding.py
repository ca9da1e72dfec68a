"""Canonical bytes: every field carries its length, so two different field lists never encode alike."""

import math
import struct

VERSION = 1
"""First byte of every encoded message."""

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_F64 = struct.Struct(">d")


def u64(value: int) -> bytes:
    """`value` as 8 bytes, big endian; `struct.error` outside 0 <= value < 2^64."""
    return _U64.pack(value)


def from_u64(field: bytes) -> int:
    """Inverse of `u64`; ValueError unless `field` is 8 bytes long."""
    return int(_U64.unpack(_sized(field, 8))[0])


def f64(value: float) -> bytes:
    """`value` as 8 bytes, IEEE 754 double, big endian."""
    return _F64.pack(value)


def from_f64(field: bytes) -> float:
    """Inverse of `f64`; ValueError unless `field` is 8 bytes long and finite."""
    value = float(_F64.unpack(_sized(field, 8))[0])
    if not math.isfinite(value):
        raise ValueError(f"found {value}, required a finite number")
    return value


def pack(*fields: bytes) -> bytes:
    """Version byte, then each field as 4 bytes of length (big endian) and its bytes."""
    return bytes([VERSION]) + b"".join(_U32.pack(len(field)) + field for field in fields)


def unpack(encoded: bytes, count: int) -> list[bytes]:
    """Exactly `count` fields; ValueError on another version, another count or a cut field."""
    fields = unpack_all(encoded)
    if len(fields) != count:
        raise ValueError(f"found {len(fields)} fields, required {count}")
    return fields


def unpack_all(encoded: bytes) -> list[bytes]:
    """Every field there is; ValueError on another version or a cut field."""
    if encoded[:1] != bytes([VERSION]):
        raise ValueError(f"found version {encoded[:1].hex() or 'none'}, required {VERSION:02x}")
    fields, rest = [], memoryview(encoded)[1:]
    while len(rest):
        field, rest = _take(rest)
        fields.append(field)
    return fields


def _take(rest: memoryview) -> tuple[bytes, memoryview]:
    if len(rest) < 4:
        raise ValueError(f"found {len(rest)} bytes, required 4 of length")
    (length,) = _U32.unpack(rest[:4])
    if len(rest) - 4 < length:
        raise ValueError(f"found {len(rest) - 4} bytes, required a field of {length}")
    return bytes(rest[4 : 4 + length]), rest[4 + length :]


def _sized(field: bytes, length: int) -> bytes:
    if len(field) != length:
        raise ValueError(f"found {len(field)} bytes, required {length}")
    return field
