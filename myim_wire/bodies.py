"""The binary contents of messages: receipts, the trailer of delivered messages, settlings, refusals [P-3.8], [P-3.10], [P-7.2].

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
MAX_PAIRS = 2048
MAX_BODY_BYTES = 32768
TRAILER_BYTES = 24
RECEIVED = 1
STORED = 2

_PAIR = struct.Struct(">QQ")
_TRAILER = struct.Struct(">QQQ")
_COUNT = struct.Struct(">I")
encode_trailer = _TRAILER.pack


def split_trailer(content: bytes) -> tuple[bytes, int, int, int]:
    """(body, id of the server where it entered, message id there, id of the server where it left); BAD_COMMAND if too short [P-3.10]."""
    if len(content) < TRAILER_BYTES:
        raise RemoteProtocolError(ErrorCode.BAD_COMMAND, "a delivered message without its trailer", field="content")
    entered, message_id, left = _TRAILER.unpack_from(content, len(content) - TRAILER_BYTES)
    return content[:-TRAILER_BYTES], entered, message_id, left


def encode_pairs(kind: int, pairs: Iterable[tuple[int, int]]) -> bytes:
    """The content of a RECEIPT: `kind` 1-3, then 1 to 2,048 pairs of u64 [P-7.2], [P-7.3]; LocalProtocolError otherwise."""
    numbers = list(itertools.chain.from_iterable(pairs))
    count = len(numbers)
    if not 1 <= kind <= REACHED or not 0 < count <= 2 * MAX_PAIRS or count & 1:
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
    if not 1 <= content[0] <= REACHED:
        raise RemoteProtocolError(ErrorCode.BAD_COMMAND, f"a receipt of kind {content[0]}", field="kind")
    if size == 16:
        return content[0], [_PAIR.unpack_from(content, 1)]
    return content[0], list(_PAIR.iter_unpack(memoryview(content)[1:]))


def decode_settling(content: bytes) -> int:
    """1 received or 2 stored [P-8.1]; RemoteProtocolError(BAD_COMMAND) for anything else."""
    if content != b"\x01" and content != b"\x02":
        raise RemoteProtocolError(ErrorCode.BAD_COMMAND, "not a settling", field="content")
    return content[0]


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
