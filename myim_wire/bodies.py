"""The binary contents of messages: receipts, head and trailer of delivered ones, settlings, refusals [P-3.8], [P-3.10], [P-7.2] ff.

Contents that are msgpack maps are in `contents`; a refusal is one too, but every command has it, so it stands here. Which
command carries which content is the table's affair (`messages`).
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from myim_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from myim_wire.fields import Fields
from myim_wire.packing import pack_map

CONFIRMED_MESSAGES = 1
CONFIRMED_GROUPS = 2
REACHED = 3
EXPIRED = 4
TERMINAL_KINDS = (CONFIRMED_MESSAGES, CONFIRMED_GROUPS)
CENTER_KINDS = (REACHED, EXPIRED)
MAX_PAIRS = 2048
MAX_BODY_BYTES = 32768
TRAILER_BYTES = 24
RECEIVED = 1
STORED = 2

_PAIR = struct.Struct(">QQ")
_TRAILER = struct.Struct(">QQQ")
_COUNT = struct.Struct(">I")
_NUMBERED = struct.Struct(">BQ")
# the head of a group's message as this library writes it: its size, {number: u64, accepted: u64}, both at their full width
GROUP_HEAD = struct.Struct(">10sQ10sQ")
HEAD_START, HEAD_REST = b"\x23\x82\xa6number\xcf", b"\xa8accepted\xcf"
encode_trailer = _TRAILER.pack


def split_trailer(content: bytes) -> tuple[bytes, int, int, int]:
    """(body, id of the server where it entered, message id there, id of the server where it left); BAD_COMMAND if too short [P-3.10]."""
    if len(content) < TRAILER_BYTES:
        raise RemoteProtocolError(ErrorCode.BAD_COMMAND, "a delivered message without its trailer", field="content")
    entered, message_id, left = _TRAILER.unpack_from(content, len(content) - TRAILER_BYTES)
    return content[:-TRAILER_BYTES], entered, message_id, left


def split_group_content(content: bytes) -> tuple[int, int, bytes, int, int, int]:
    """(number, accepted, body, id of the server where it entered, message id there, id of the server where it left) [P-7.8].

    number: in the group, 0 for QoS 0; accepted: µs since 1970. BAD_COMMAND for a head, a trailer or a body that cannot be.
    """
    size = len(content)
    if GROUP_HEAD.size + TRAILER_BYTES <= size <= GROUP_HEAD.size + TRAILER_BYTES + MAX_BODY_BYTES:
        start, number, rest, accepted = GROUP_HEAD.unpack_from(content)
        if start == HEAD_START and rest == HEAD_REST:
            trailer = _TRAILER.unpack_from(content, size - TRAILER_BYTES)
            return number, accepted, content[GROUP_HEAD.size : -TRAILER_BYTES], *trailer
    head = 1 + content[0] if content else 1
    if not head + TRAILER_BYTES <= size <= head + TRAILER_BYTES + MAX_BODY_BYTES:
        raise RemoteProtocolError(ErrorCode.BAD_COMMAND, "a group's message without head and trailer, or too long", field="content")
    fields = Fields.unpack(content[1:head])
    return fields.number("number", 64), fields.number("accepted", 64), *split_trailer(content[head:])


def encode_pairs(kind: int, pairs: Iterable[tuple[int, int]]) -> bytes:
    """The content of a RECEIPT: `kind` 1-4, then 1 to 2,048 pairs of u64 [P-7.2], [P-7.3]; LocalProtocolError otherwise."""
    numbers = list(itertools.chain.from_iterable(pairs))
    count = len(numbers)
    if not 1 <= kind <= EXPIRED or not 0 < count <= 2 * MAX_PAIRS or count & 1:
        raise LocalProtocolError(ErrorCode.BAD_COMMAND, f"a receipt of kind {kind} with {count} numbers", field="content")
    try:
        return struct.pack(f">B{count}Q", kind, *numbers)
    except struct.error as error:
        raise LocalProtocolError(ErrorCode.BAD_COMMAND, str(error), field="content") from None


def decode_pairs(content: bytes) -> tuple[int, list[tuple[int, int]]]:
    """(kind, pairs) of a RECEIPT; RemoteProtocolError(BAD_COMMAND) for an unknown kind, no pair, more than 2,048, or half a pair."""
    size = len(content) - 1
    if size < 16 or size & 15 or size > 16 * MAX_PAIRS:
        raise RemoteProtocolError(ErrorCode.BAD_COMMAND, f"a receipt of {size + 1} bytes", field="content")
    if not 1 <= content[0] <= EXPIRED:
        raise RemoteProtocolError(ErrorCode.BAD_COMMAND, f"a receipt of kind {content[0]}", field="kind")
    if size == 16:
        return content[0], [_PAIR.unpack_from(content, 1)]
    return content[0], list(_PAIR.iter_unpack(memoryview(content)[1:]))


def decode_settling(content: bytes) -> int:
    """1 received or 2 stored [P-8.1]; RemoteProtocolError(BAD_COMMAND) for anything else."""
    if content != b"\x01" and content != b"\x02":
        raise RemoteProtocolError(ErrorCode.BAD_COMMAND, "not a settling", field="content")
    return content[0]


def encode_numbered_settling(number: int) -> bytes:
    """The content of the reply to a post: stored, under this number in its group [P-8.8]; LocalProtocolError for 0."""
    if not 0 < number < 1 << 64:
        raise LocalProtocolError(ErrorCode.BAD_COMMAND, f"no post has the number {number}", field="content")
    return _NUMBERED.pack(STORED, number)


def decode_numbered_settling(content: bytes) -> tuple[int, int]:
    """(2 stored, number) of the reply to a post; RemoteProtocolError(BAD_COMMAND) for anything else [P-8.8]."""
    if len(content) != _NUMBERED.size:
        raise RemoteProtocolError(ErrorCode.BAD_COMMAND, "not a settling with a number", field="content")
    settling, number = _NUMBERED.unpack(content)
    if settling != STORED or not number:
        raise RemoteProtocolError(ErrorCode.BAD_COMMAND, f"a settling {settling} with the number {number}", field="content")
    return settling, number


def encode_count(count: int) -> bytes:
    """The content of the reply to OFFLINE_FETCH: how many stored messages came before it [P-7.5]."""
    return _COUNT.pack(count)


def decode_count(content: bytes) -> int:
    """The count of the reply to OFFLINE_FETCH; RemoteProtocolError(BAD_COMMAND) unless it is a u32 [P-7.5]."""
    if len(content) != _COUNT.size:
        raise RemoteProtocolError(ErrorCode.BAD_COMMAND, "not a count", field="content")
    return int.from_bytes(content, "big")


@dataclass(frozen=True, slots=True)
class ErrorContent:
    """Why something was refused [P-3.8]; `code` may be one this release does not know; `retry_ms` in milliseconds."""

    code: int
    text: str
    retry_ms: int | None = None
    field: str | None = None


def encode_error_content(code: int, text: str, retry_ms: int | None = None, field: str | None = None) -> bytes:
    """The map of a refusal [P-3.8]; `retry_ms` in milliseconds."""
    fields: dict[str, object] = {"code": int(code), "text": text}
    if retry_ms is not None:
        fields["retry_ms"] = retry_ms
    if field is not None:
        fields["field"] = field
    return pack_map(fields)


def decode_error(content: bytes) -> ErrorContent:
    """The reason in a refusal or GOODBYE; RemoteProtocolError(BAD_COMMAND) with `field` if it is malformed [P-3.8]."""
    fields = Fields.unpack(content)
    return ErrorContent(
        code=fields.number("code", 16),
        text=fields.text("text"),
        retry_ms=fields.number("retry_ms", 32) if fields.has("retry_ms") else None,
        field=fields.text("field") if fields.has("field") else None,
    )
