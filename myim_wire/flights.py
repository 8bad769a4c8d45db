"""The outer form of handshake flights: version, kind, fixed fields, padding, and the error flight [P-1.4], [P-4.6].

Which flight is expected when, and what its fields mean, is in `login_handshake` and `center_handshake`.
"""

from __future__ import annotations

import struct

from myim_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError, ReportedError
from myim_wire.frames import encode_frame

VERSION = 1
SUITE = 1
ERROR_KIND = 0xFF
PADDING_BYTES = 512

_ERROR = struct.Struct(">BBH")
_U16 = struct.Struct(">H")


def bad_handshake(text: str) -> RemoteProtocolError:
    """A flight malformed, out of order, or not authentic."""
    return RemoteProtocolError(ErrorCode.BAD_HANDSHAKE, text)


def encode_flight(kind: int, *fields: bytes) -> bytes:
    """The plaintext of a flight: version, kind, fields."""
    return b"".join((bytes((VERSION, kind)), *fields))


def encode_error_flight(code: ErrorCode) -> bytes:
    """The whole frame of an error flight; only servers send it, only during a handshake [P-1.4]."""
    return encode_frame(_ERROR.pack(VERSION, ERROR_KIND, code))


def raise_reported(content: bytes) -> None:
    """Raise ReportedError if `content` is an error flight; a code that this release does not know counts as INTERNAL [P-1.4]."""
    if len(content) == _ERROR.size and content[0] == VERSION and content[1] == ERROR_KIND:
        code = _U16.unpack_from(content, 2)[0]
        known = ErrorCode(code) if code in ErrorCode._value2member_map_ else ErrorCode.INTERNAL
        raise ReportedError(known, f"the server ended the handshake with {code}")


def flight_kind(flight: bytes) -> int:
    """The kind; UNSUPPORTED_VERSION for another version, BAD_HANDSHAKE when there is none."""
    if flight[:1] != b"\x01":
        raise RemoteProtocolError(ErrorCode.UNSUPPORTED_VERSION, "another version")
    if len(flight) < 2:
        raise bad_handshake("a flight without a kind")
    return flight[1]


def split_flight(flight: bytes, kind: int, *sizes: int) -> list[bytes]:
    """The fields of a flight of `kind`, one per size; BAD_HANDSHAKE if it is of another kind or length."""
    if flight_kind(flight) != kind:
        raise bad_handshake(f"a flight of kind {flight[1]:#04x} where {kind:#04x} is due")
    if len(flight) != 2 + sum(sizes):
        raise bad_handshake(f"a flight of kind {kind:#04x} with {len(flight)} bytes")
    fields: list[bytes] = []
    offset = 2
    for size in sizes:
        fields.append(flight[offset : offset + size])
        offset += size
    return fields


def check_suite(suite: bytes) -> None:
    """BAD_HANDSHAKE for any suite but 0x01 [P-4]."""
    if suite[0] != SUITE:
        raise bad_handshake(f"suite {suite[0]}")


def pad(structure: bytes) -> bytes:
    """`length u16 ‖ structure ‖ zeros` up to the smallest multiple of 512 that holds it [P-4.6]."""
    if len(structure) > 0xFFFF:
        raise LocalProtocolError(ErrorCode.TOO_LARGE, "a structure too long to pad")
    padded = _U16.pack(len(structure)) + structure
    return padded + bytes(-len(padded) % PADDING_BYTES)


def unpad(padded: bytes) -> bytes:
    """The structure in `padded`; BAD_HANDSHAKE unless it is exactly as `pad` writes it [P-4.6]."""
    structure = padded[2 : 2 + int.from_bytes(padded[:2], "big")]
    if pad(structure) != padded:
        raise bad_handshake("padding that is not as it must be")
    return structure
