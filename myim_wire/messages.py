"""Messages: one command each, end to end in a record's plaintext [P-3], and the one table of all commands [P-7].

`LAYOUTS` is that table; which flags are legal from which side, and what a content looks like, is derived from it and stated
nowhere else. The derived form, one byte of `_Check` per (command, flags), is what makes decoding cheap: a message in the common
form costs one table look-up and no comparison of flags. Structured contents are in `contents`; who may do what is the server's affair.
"""

from __future__ import annotations

import enum
import struct
from typing import NamedTuple

from myim_wire.bodies import CENTER_KINDS, GROUP_HEAD, HEAD_REST, HEAD_START, MAX_PAIRS, TERMINAL_KINDS, TRAILER_BYTES, encode_error_content
from myim_wire.bodies import MAX_BODY_BYTES as MAX_BODY_BYTES
from myim_wire.bodies import ErrorContent as ErrorContent
from myim_wire.bodies import decode_error as decode_error
from myim_wire.bodies import decode_pairs as decode_pairs
from myim_wire.bodies import encode_pairs as encode_pairs
from myim_wire.bodies import encode_trailer as encode_trailer
from myim_wire.bodies import split_trailer as split_trailer
from myim_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError

QOS1 = 0x01
QOS_MASK = 0x03
FIRST = 0x10
ERROR = 0x20
REPLY = 0x40
ADDRESS = 0x80
_RESERVED = 0x0C | 0x02  # bits 2-3, and bit 1 because QoS is 0 or 1

PING_ASK = b"\x03\x01\x01"
PING_ANSWER = b"\x03\x01\x00"

MAX_ENCODED_BYTES = 65520
SLOTS = 64


class Command(enum.IntEnum):
    """The code of every command [P-7]."""

    PING = 0x01
    USER_MESSAGE = 0x02
    GROUP_MESSAGE = 0x03
    FILE_OFFER = 0x04
    FILE_ANSWER = 0x05
    FILE_TOKEN = 0x06
    RECEIPT = 0x07
    GOODBYE = 0x08
    PRESENCE = 0x09
    OFFLINE_FETCH = 0x0A
    SIGNATURE = 0x0B
    FRIENDS = 0x0C
    FRIENDS_ONLINE = 0x0D
    FRIEND_CHANGE = 0x0E
    GROUP = 0x0F
    FILE_STORE = 0x10
    SERVERS = 0x11
    REKEY = 0x12
    TOKEN = 0x13
    LOOKUP = 0x14
    ACCOUNT = 0x15


class Side(enum.Enum):
    """Who speaks."""

    TERMINAL = "terminal"
    CENTER = "center"


class Shape(enum.Enum):
    """What a content is made of; (smallest, largest) size in bytes."""

    EMPTY = (0, 0)
    BODY = (0, MAX_BODY_BYTES)
    TRAILED_BODY = (TRAILER_BYTES, MAX_BODY_BYTES + TRAILER_BYTES)
    HEADED_BODY = (2 + TRAILER_BYTES, 256 + MAX_BODY_BYTES + TRAILER_BYTES)
    STRUCTURE = (1, MAX_ENCODED_BYTES)
    PAIRS = (17, 1 + MAX_PAIRS * 16)
    SETTLING = (1, 1)
    NUMBERED_SETTLING = (9, 9)
    COUNT = (4, 4)
    KEY_OR_NOTHING = (0, 32)
    KEY = (32, 32)


class Layout(NamedTuple):
    """One row of [P-7]: the content from each side (None: that side never sends it) and of the reply; whether *first* is legal."""

    from_terminal: Shape | None
    from_center: Shape | None
    reply: Shape
    may_be_first: bool = False


LAYOUTS: dict[Command, Layout] = {
    Command.PING: Layout(Shape.EMPTY, Shape.EMPTY, Shape.EMPTY),
    Command.USER_MESSAGE: Layout(Shape.BODY, Shape.TRAILED_BODY, Shape.SETTLING, may_be_first=True),
    Command.GROUP_MESSAGE: Layout(Shape.BODY, Shape.HEADED_BODY, Shape.NUMBERED_SETTLING, may_be_first=True),
    Command.FILE_OFFER: Layout(Shape.STRUCTURE, Shape.STRUCTURE, Shape.SETTLING),
    Command.FILE_ANSWER: Layout(Shape.STRUCTURE, Shape.STRUCTURE, Shape.SETTLING),
    Command.FILE_TOKEN: Layout(Shape.STRUCTURE, Shape.STRUCTURE, Shape.SETTLING),
    Command.RECEIPT: Layout(Shape.PAIRS, Shape.PAIRS, Shape.EMPTY),
    Command.GOODBYE: Layout(Shape.EMPTY, Shape.STRUCTURE, Shape.EMPTY),
    Command.PRESENCE: Layout(Shape.STRUCTURE, Shape.STRUCTURE, Shape.STRUCTURE),
    Command.OFFLINE_FETCH: Layout(Shape.EMPTY, None, Shape.COUNT),
    Command.SIGNATURE: Layout(Shape.STRUCTURE, None, Shape.STRUCTURE),
    Command.FRIENDS: Layout(Shape.STRUCTURE, None, Shape.STRUCTURE),
    Command.FRIENDS_ONLINE: Layout(Shape.STRUCTURE, None, Shape.STRUCTURE),
    Command.FRIEND_CHANGE: Layout(Shape.STRUCTURE, Shape.STRUCTURE, Shape.STRUCTURE),
    Command.GROUP: Layout(Shape.STRUCTURE, Shape.STRUCTURE, Shape.STRUCTURE),
    Command.FILE_STORE: Layout(Shape.STRUCTURE, None, Shape.STRUCTURE),
    Command.SERVERS: Layout(Shape.EMPTY, Shape.STRUCTURE, Shape.STRUCTURE),
    Command.REKEY: Layout(Shape.KEY_OR_NOTHING, Shape.EMPTY, Shape.KEY),
    Command.TOKEN: Layout(Shape.EMPTY, None, Shape.STRUCTURE),
    Command.LOOKUP: Layout(Shape.STRUCTURE, None, Shape.STRUCTURE),
    Command.ACCOUNT: Layout(Shape.STRUCTURE, Shape.STRUCTURE, Shape.STRUCTURE),
}


class Message(NamedTuple):
    """One decoded message. `time` in microseconds with the slot in its low 6 bits; `address` = (endpoint id, center id) or None."""

    command: int
    flags: int
    user: int
    target: int
    time: int
    content: bytes
    address: tuple[int, int] | None = None


class _Check(enum.IntEnum):
    """What decoding has to do beyond the common form (COMMON must be 0)."""

    COMMON = 0
    HAS_ADDRESS = 1
    ENDS_RECORD = 2
    IS_PING = 3
    BAD_FLAGS = 4
    WRONG_SIDE = 5


def _check_of(command: int, flags: int, side: Side | None) -> _Check:
    """The verdict on a (command, flags) pair from `side` (None: either) [P-3.3], [P-7]."""
    layout = LAYOUTS.get(Command(command)) if command in Command._value2member_map_ else None
    if command == Command.PING:
        return _Check.IS_PING
    if flags & _RESERVED or (flags & ERROR and not flags & REPLY and command != Command.GOODBYE):
        return _Check.BAD_FLAGS
    if flags & FIRST and not (layout and layout.may_be_first and side is not Side.CENTER and not flags & REPLY):
        return _Check.BAD_FLAGS
    if layout and side is Side.CENTER and not flags & REPLY and layout.from_center is None:
        return _Check.WRONG_SIDE
    if command == Command.REKEY:
        return _Check.BAD_FLAGS if flags & ~REPLY else _Check.ENDS_RECORD
    return _Check.HAS_ADDRESS if flags & ADDRESS else _Check.COMMON


FlagTable = tuple[bytes, ...]


def _table(side: Side | None) -> FlagTable:
    return tuple(bytes(_check_of(command, flags, side) for flags in range(256)) for command in range(256))


LEGAL_FROM_EITHER = _table(None)
LEGAL_FROM_TERMINAL = LEGAL_FROM_EITHER  # a terminal may send all that anyone may
LEGAL_FROM_CENTER = _table(Side.CENTER)

_pack_short = struct.Struct(">BBBQQQ").pack
_pack_medium = struct.Struct(">BBBBQQQ").pack
_pack_long = struct.Struct(">BBBBBQQQ").pack
_unpack_head = struct.Struct(">BBQQQ").unpack_from
_ADDRESS_AND_TIME = struct.Struct(">QQQ")
_pack_trailer = struct.Struct(">QQQ").pack
_pack_group_head = struct.Struct(">BBBBQQQ10sQ10sQ").pack
_GROUP_AROUND = GROUP_HEAD.size + TRAILER_BYTES
_HEAD_BYTES = 26
_ADDRESS_BYTES = 16
_MIN_BYTES = 1 + _HEAD_BYTES
_MAX_SHORT_CONTENT = 127 - 1 - _HEAD_BYTES
_MAX_MEDIUM_CONTENT = 16383 - 2 - _HEAD_BYTES
_make = tuple.__new__


def _bad_frame(text: str) -> RemoteProtocolError:
    return RemoteProtocolError(ErrorCode.BAD_FRAME, text)


def decode_messages(plaintext: bytes, legal: FlagTable = LEGAL_FROM_EITHER) -> list[Message]:
    """All messages of a record's plaintext, in order; `legal` says whose flags are legal (LEGAL_FROM_TERMINAL, LEGAL_FROM_CENTER).

    A PING is Message(1, flags, 0, 0, 0, b""). RemoteProtocolError: BAD_FRAME for a length, varint or flag that [P-3] forbids,
    BAD_COMMAND for a command that this side never sends or a REKEY that does not end its record. Nothing of the record is then used.
    """
    messages: list[Message] = []
    append = messages.append
    end = len(plaintext)
    offset = 0
    while offset < end:
        total = plaintext[offset]
        if total < 128:
            head = offset + 1
            if total < _MIN_BYTES:
                offset, message = _decode_ping(plaintext, offset)
                append(message)
                continue
        elif offset + 1 < end and plaintext[offset + 1] < 128 and (total := total & 127 | plaintext[offset + 1] << 7) > 128:
            head = offset + 2
        else:
            total, head = _decode_long_length(plaintext, offset)
        offset += total
        if offset > end:
            raise _bad_frame("a message runs past its record")
        command, flags, user, target, time = _unpack_head(plaintext, head)
        if check := legal[command][flags]:
            append(_decode_rare(plaintext, head, offset, check))
        else:
            append(_make(Message, (command, flags, user, target, time, plaintext[head + _HEAD_BYTES : offset], None)))
    return messages


def _decode_ping(plaintext: bytes, offset: int) -> tuple[int, Message]:
    ping = plaintext[offset : offset + 3]
    if ping != PING_ASK and ping != PING_ANSWER:
        raise _bad_frame("a message shorter than 27 bytes that is not a PING")
    return offset + 3, Message(Command.PING, ping[2], 0, 0, 0, b"")


def _decode_long_length(plaintext: bytes, offset: int) -> tuple[int, int]:
    """(total, offset of the head) for a length of three bytes; two are read in line, more never fit a record."""
    size = plaintext[offset : offset + 3]
    if len(size) < 3 or size[1] < 128 or size[2] > 127:
        raise _bad_frame("a length is not a minimal varint, or is cut off")
    total = size[0] & 127 | (size[1] & 127) << 7 | size[2] << 14
    if total <= 16384:
        raise _bad_frame("a length is not the smaller of two that fit")
    return total, offset + 3


def _decode_rare(plaintext: bytes, head: int, end: int, check: int) -> Message:
    command, flags, user, target, time = _unpack_head(plaintext, head)
    if check == _Check.HAS_ADDRESS:
        if end - head < _HEAD_BYTES + _ADDRESS_BYTES:
            raise _bad_frame("no room for the address")
        endpoint, center, time = _ADDRESS_AND_TIME.unpack_from(plaintext, head + 18)
        return Message(command, flags, user, target, time, plaintext[head + _HEAD_BYTES + _ADDRESS_BYTES : end], (endpoint, center))
    if check == _Check.ENDS_RECORD:
        if end != len(plaintext) or user or target or time:
            raise RemoteProtocolError(ErrorCode.BAD_COMMAND, "a REKEY that names something or does not end its record")
        return Message(command, flags, 0, 0, 0, plaintext[head + _HEAD_BYTES : end])
    if check == _Check.WRONG_SIDE:
        raise RemoteProtocolError(ErrorCode.BAD_COMMAND, f"command {command} is never sent by this side")
    raise _bad_frame("a PING is three bytes" if check == _Check.IS_PING else f"flags {flags:#04x} are not legal for command {command}")


def encode_message(
    command: int, flags: int, user: int, target: int, time: int, content: bytes = b"", address: tuple[int, int] | None = None
) -> bytes:
    """One message; `address` = (endpoint id, center id) sets bit 7 by itself. A PING is PING_ASK or PING_ANSWER by its flags.

    LocalProtocolError: flags that are never legal, a number that does not fit, more than a record holds.
    """
    size = len(content)
    try:
        if address is None and not LEGAL_FROM_EITHER[command][flags]:
            if size <= _MAX_SHORT_CONTENT:
                return _pack_short(size + 27, command, flags, user, target, time) + content
            if size <= _MAX_MEDIUM_CONTENT:
                total = size + 28
                return _pack_medium(total & 127 | 128, total >> 7, command, flags, user, target, time) + content
        return _encode_rare(command, flags, user, target, time, content, address)
    except (struct.error, IndexError, TypeError) as error:
        raise LocalProtocolError(ErrorCode.BAD_FRAME, f"a number does not fit: {error}") from None


def encode_delivery(qos: int, user: int, target: int, time: int, body: bytes, trailer: tuple[int, int, int]) -> bytes:
    """A USER_MESSAGE from a center to a terminal; trailer = (where it entered, its message id there, where it leaves) [P-3.10].

    The same bytes as encode_message with the trailer behind the body, at two thirds of the cost. LocalProtocolError as there.
    """
    size = len(body)
    try:
        if _MAX_SHORT_CONTENT < size + 24 <= _MAX_MEDIUM_CONTENT and qos <= QOS1:
            total = size + 52
            return _pack_medium(total & 127 | 128, total >> 7, 2, qos, user, target, time) + body + _pack_trailer(*trailer)
        return encode_message(2, qos, user, target, time, body + _pack_trailer(*trailer))
    except struct.error as error:
        raise LocalProtocolError(ErrorCode.BAD_FRAME, f"a number does not fit: {error}") from None


def encode_group_delivery(
    qos: int, user: int, group: int, time: int, number: int, accepted: int, body: bytes, trailer: tuple[int, int, int]
) -> bytes:
    """A GROUP_MESSAGE from a center to a terminal, the same for all members; number 0: QoS 0, not stored [P-7.8].

    accepted: µs since 1970; trailer as in encode_delivery. LocalProtocolError as there.
    """
    size = len(body) + _GROUP_AROUND
    try:
        if _MAX_SHORT_CONTENT < size <= _MAX_MEDIUM_CONTENT and qos <= QOS1:
            total = size + 28
            head = _pack_group_head(total & 127 | 128, total >> 7, 3, qos, user, group, time, HEAD_START, number, HEAD_REST, accepted)
            return head + body + _pack_trailer(*trailer)
        content = GROUP_HEAD.pack(HEAD_START, number, HEAD_REST, accepted) + body + _pack_trailer(*trailer)
        return encode_message(3, qos, user, group, time, content)
    except struct.error as error:
        raise LocalProtocolError(ErrorCode.BAD_FRAME, f"a number does not fit: {error}") from None


def _encode_rare(command: int, flags: int, user: int, target: int, time: int, content: bytes, address: tuple[int, int] | None) -> bytes:
    check = LEGAL_FROM_EITHER[command][flags | ADDRESS if address else flags]
    if check == _Check.IS_PING and flags in (0, QOS1) and not (user or target or time or content or address):
        return PING_ASK if flags else PING_ANSWER
    if check >= _Check.IS_PING or (address is None and flags & ADDRESS):
        raise LocalProtocolError(ErrorCode.BAD_FRAME, f"flags {flags:#04x} are not legal for command {command}")
    if address is not None:
        flags |= ADDRESS
        # the address stands between target and time [P-3.1], so the head's last field is its first half
        content = _ADDRESS_AND_TIME.pack(*address, time)[8:] + content
        time = address[0]
    size = len(content)
    if size > MAX_ENCODED_BYTES - 29:
        raise LocalProtocolError(ErrorCode.TOO_LARGE, f"no record holds a content of {size} bytes")
    if size <= _MAX_SHORT_CONTENT:
        return _pack_short(size + 27, command, flags, user, target, time) + content
    if size <= _MAX_MEDIUM_CONTENT:
        total = size + 28
        return _pack_medium(total & 127 | 128, total >> 7, command, flags, user, target, time) + content
    total = size + 29
    return _pack_long(total & 127 | 128, total >> 7 & 127 | 128, total >> 14, command, flags, user, target, time) + content


def encode_error(
    command: int, user: int, target: int, time: int, code: int, text: str, retry_ms: int | None = None, field: str | None = None
) -> bytes:
    """The whole message that refuses (command, user, target, time), or, for GOODBYE, that ends the session with a reason [P-7.6]."""
    flags = ERROR if command == Command.GOODBYE else ERROR | REPLY
    return encode_message(command, flags, user, target, time, encode_error_content(code, text, retry_ms, field))


def content_shape(message: Message, side: Side) -> Shape | None:
    """What the content of a message sent by `side` must be; None for a command not in the table or never sent by `side` [P-7]."""
    if message.command not in Command._value2member_map_:
        return None
    layout = LAYOUTS[Command(message.command)]
    if message.flags & ERROR and message.flags & REPLY:
        return Shape.STRUCTURE
    if message.command == Command.OFFLINE_FETCH and message.target and (message.flags & REPLY or side is Side.TERMINAL):
        return Shape.STRUCTURE  # of a group [P-7.8]
    if message.flags & REPLY:
        return layout.reply
    return layout.from_terminal if side is Side.TERMINAL else layout.from_center


def check_content(message: Message, side: Side) -> None:
    """Raise RemoteProtocolError if the size of the content is not of the shape the table says for `side` [P-7.1].

    UNKNOWN_COMMAND: not in the table; TOO_LARGE: a body [P-3.5]; BAD_COMMAND with field "kind": a receipt that is not this side's,
    with field "content": all else. What is inside a structure or a receipt is for its decoder to judge.
    """
    shape = content_shape(message, side)
    if shape is None:
        raise RemoteProtocolError(ErrorCode.UNKNOWN_COMMAND, f"command {message.command}")
    smallest, largest = shape.value
    size = len(message.content)
    if shape is Shape.BODY and size > largest:
        raise RemoteProtocolError(ErrorCode.TOO_LARGE, f"a body of {size} bytes")
    if not smallest <= size <= largest or (shape is Shape.KEY_OR_NOTHING and 0 < size < largest):
        raise RemoteProtocolError(ErrorCode.BAD_COMMAND, f"a content of {size} bytes", field="content")
    if shape is Shape.PAIRS and message.content[0] not in (TERMINAL_KINDS if side is Side.TERMINAL else CENTER_KINDS):
        raise RemoteProtocolError(ErrorCode.BAD_COMMAND, f"a receipt of kind {message.content[0]}", field="kind")


def slot_of(time: int) -> int:
    """The slot (0-63) in the low 6 bits of a name's time [P-3.6]."""
    return time & (SLOTS - 1)


def name_time(now_us: int, last: int, slot: int) -> int:
    """The time that names the next message: max(now, last + 64) with the slot in the low 6 bits; microseconds [P-3.6]."""
    if not 0 <= slot < SLOTS:
        raise LocalProtocolError(ErrorCode.BAD_TIME, f"slot {slot}")
    return max(now_us, last + SLOTS) & -SLOTS | slot
