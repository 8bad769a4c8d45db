"""What centers tell each other over a link: the messages of delivery, of sessions that came, of questions (docs/links.md, [L-5]).

What lives here: their bytes, as functions in pairs. What must not: how they travel (`link_batches`), what they cause
(`myim_server.chat.peers`). A message is its kind, u8, and a payload; all integers are big-endian.

    OPEN      0x10  user u64 slot u8 generation u32 number u64 | target u64 attempt u64 count u16 letters
    FOLLOW    0x11  user u64 slot u8                           | target u64 attempt u64 count u16 letters
    END       0x12  user u64 slot u8 target u64 attempt u64
    RECEIVED  0x13  user u64 slot u8 target u64 attempt u64 times u64...      RETURNED 0x14 and
    ABSENT    0x1F  the same
    POKE      0x15  target u64
    CAME      0x16  (user u64 slot u8 generation u32 number u64 endpoint u64)...
    COPY      0x17  user u64 slot u8 generation u32 number u64 | receiver u64 target u64 letter
    RECEIPTS  0x18  (user u64 slot u8)...
    CHANGED   0x19
    DRAIN     0x1A  is_wished u8
    ONCE      0x1B  user u64 slot u8 generation u32 number u64 | target u64 accepted u64 letter
    ASK       0x1C  question u32 users u64...
    PLACES    0x1D  question u32 (user u64 endpoint u64 slot u8 generation u32 number u64)...
    EXPIRED   0x1E  user u64 slot u8 (target u64 time u64)...

    a letter: time u64 message_id u64 size u16 body
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from myim_wire.bodies import MAX_BODY_BYTES
from myim_wire.errors import ErrorCode, RemoteProtocolError

OPEN, FOLLOW, END, RECEIVED, RETURNED, POKE, CAME, COPY, RECEIPTS, CHANGED, DRAIN, ONCE = range(0x10, 0x1C)
ASK, PLACES, EXPIRED, ABSENT = 0x1C, 0x1D, 0x1E, 0x1F
_SLOTS = 64
MAX_TOLD = 1_000  # entries of one CAME, RECEIPTS, ASK or PLACES; more come in several messages

_LANE = struct.Struct(">BQBQQ")
_FOLLOW = struct.Struct(">BQBQQH")
_OPEN = struct.Struct(">BQBIQQQH")
_COPY = struct.Struct(">BQBIQQQ")
_LETTER = struct.Struct(">QQH")
_ONE = struct.Struct(">BQBQQHQQH")  # a FOLLOW with one letter: by far the most of all
_ANSWER = struct.Struct(">BQBQQQ")  # and its answer
_CAME = struct.Struct(">QBIQQ")
_TERMINAL = struct.Struct(">QB")
_PLACE = struct.Struct(">QQBIQ")
_NUMBER = struct.Struct(">BI")
_HEAD = struct.Struct(">BQB")
_NAME = struct.Struct(">QQ")

Letters = Sequence[tuple[int, int, bytes]]


class Opening(NamedTuple):
    """Letters that open a lane, or a copy; (generation, number) is the sender's session at the center that speaks.

    letters: (time, message id, body).
    """

    user: int
    slot: int
    generation: int
    number: int
    target: int
    attempt: int
    letters: Letters


class Copy(NamedTuple):
    """A letter of user to target, to be shown to the sessions of receiver, who is one of the two, as QoS 0."""

    user: int
    slot: int
    generation: int
    number: int
    receiver: int
    target: int
    letter: tuple[int, int, bytes]


class Once(NamedTuple):
    """A QoS 0 letter of user to target, of which this is all there is; accepted: when the speaking center took it, µs since 1970."""

    user: int
    slot: int
    generation: int
    number: int
    target: int
    accepted: int
    letter: tuple[int, int, bytes]


class Came(NamedTuple):
    """A session that the speaking center holds."""

    user: int
    slot: int
    generation: int
    number: int
    endpoint: int


def encode_open(sender: tuple[int, int, int, int], target: int, attempt: int, letters: Letters) -> bytes:
    """OPEN; sender = (user, slot, generation, number)."""
    return _OPEN.pack(OPEN, *sender, target, attempt, len(letters)) + _encode_letters(letters)


def encode_follow(user: int, slot: int, target: int, attempt: int, letters: Letters) -> bytes:
    """FOLLOW."""
    if len(letters) == 1:
        time, message_id, body = letters[0]
        return _ONE.pack(FOLLOW, user, slot, target, attempt, 1, time, message_id, len(body)) + body
    return _FOLLOW.pack(FOLLOW, user, slot, target, attempt, len(letters)) + _encode_letters(letters)


def encode_lane(kind: int, user: int, slot: int, target: int, attempt: int, times: Sequence[int] = ()) -> bytes:
    """END (without times), RECEIVED, RETURNED or ABSENT."""
    if len(times) == 1:
        return _ANSWER.pack(kind, user, slot, target, attempt, times[0])
    return _LANE.pack(kind, user, slot, target, attempt) + struct.pack(f">{len(times)}Q", *times)


def encode_poke(target: int) -> bytes:
    """POKE."""
    return b"\x15" + target.to_bytes(8, "big")


def encode_came(sessions: Iterable[Came]) -> bytes:
    """CAME, at most MAX_TOLD of them."""
    return b"\x16" + b"".join(_CAME.pack(*session) for session in sessions)


def encode_copy(sender: tuple[int, int, int, int], receiver: int, target: int, letter: tuple[int, int, bytes]) -> bytes:
    """COPY; sender = (user, slot, generation, number)."""
    return _COPY.pack(COPY, *sender, receiver, target) + _encode_letters([letter])


def encode_once(sender: tuple[int, int, int, int], target: int, accepted: int, letter: tuple[int, int, bytes]) -> bytes:
    """ONCE; sender = (user, slot, generation, number)."""
    return _COPY.pack(ONCE, *sender, target, accepted) + _encode_letters([letter])


def encode_receipts(terminals: Iterable[tuple[int, int]]) -> bytes:
    """RECEIPTS: for these (user, slot) receipts wait in the store; at most MAX_TOLD."""
    return b"\x18" + b"".join(_TERMINAL.pack(*terminal) for terminal in terminals)


def encode_changed() -> bytes:
    """CHANGED: generations were raised, look into the store."""
    return b"\x19"


def encode_drain(is_wished: bool) -> bytes:
    """DRAIN, or its undoing."""
    return b"\x1a" + bytes([is_wished])


def encode_ask(question: int, users: Sequence[int]) -> bytes:
    """ASK: which of these users, at most MAX_TOLD, have sessions at the center that is asked?"""
    return _NUMBER.pack(ASK, question) + struct.pack(f">{len(users)}Q", *users)


def encode_places(question: int, places: Mapping[int, Iterable[tuple[int, int, int, int]]]) -> bytes:
    """PLACES, the answer to ASK: user -> (endpoint, slot, generation, number) of each session at the answering center."""
    told = [_PLACE.pack(user, *place) for user, found in places.items() for place in found]
    return _NUMBER.pack(PLACES, question) + b"".join(told)


def encode_expired(user: int, slot: int, pairs: Iterable[tuple[int, int]]) -> bytes:
    """EXPIRED: these messages (target, time) of a terminal were removed before their target came; at most MAX_TOLD."""
    return _HEAD.pack(EXPIRED, user, slot) + b"".join(_NAME.pack(*pair) for pair in pairs)


def decode_open(message: bytes) -> Opening:
    """An OPEN, kind included; RemoteProtocolError(BAD_FRAME) if it is none."""
    _, user, slot, generation, number, target, attempt, count = _unpack(_OPEN, message)
    return Opening(user, slot, generation, number, target, attempt, _decode_letters(message, _OPEN.size, count, slot))


def decode_follow(message: bytes) -> tuple[int, int, int, int, Letters]:
    """(user, slot, target, attempt, letters) of a FOLLOW, kind included; BAD_FRAME."""
    _, user, slot, target, attempt, count = _unpack(_FOLLOW, message)
    return user, slot, target, attempt, _decode_letters(message, _FOLLOW.size, count, slot)


def decode_lane(message: bytes) -> tuple[int, int, int, int, Sequence[int]]:
    """(user, slot, target, attempt, times) of an END, RECEIVED, RETURNED or ABSENT, kind included; BAD_FRAME."""
    if len(message) == _ANSWER.size:
        _, user, slot, target, attempt, time = _ANSWER.unpack(message)
        if slot >= _SLOTS:
            raise _bad("a slot beyond 63")
        return user, slot, target, attempt, (time,)
    _, user, slot, target, attempt = _unpack(_LANE, message)
    if slot >= _SLOTS:
        raise _bad("a slot beyond 63")
    return user, slot, target, attempt, _numbers(message, _LANE.size)


def decode_poke(message: bytes) -> int:
    """The target of a POKE; BAD_FRAME."""
    if len(message) != 9:
        raise _bad("a POKE")
    return int.from_bytes(message[1:], "big")


def decode_came(message: bytes) -> list[Came]:
    """The sessions of a CAME; BAD_FRAME."""
    return [Came(*entry) for entry in _entries(_CAME, message, 1)]


def decode_copy(message: bytes) -> Copy:
    """A COPY; BAD_FRAME."""
    _, user, slot, generation, number, receiver, target = _unpack(_COPY, message)
    return Copy(user, slot, generation, number, receiver, target, _decode_letters(message, _COPY.size, 1, slot)[0])


def decode_once(message: bytes) -> Once:
    """A ONCE; BAD_FRAME."""
    _, user, slot, generation, number, target, accepted = _unpack(_COPY, message)
    return Once(user, slot, generation, number, target, accepted, _decode_letters(message, _COPY.size, 1, slot)[0])


def decode_receipts(message: bytes) -> list[tuple[int, int]]:
    """The (user, slot) of a RECEIPTS; BAD_FRAME."""
    return [(user, slot) for user, slot in _entries(_TERMINAL, message, 1)]


def decode_drain(message: bytes) -> bool:
    """Whether to drain, or to undo it; BAD_FRAME."""
    if len(message) != 2 or message[1] > 1:
        raise _bad("a DRAIN")
    return message[1] == 1


def decode_expired(message: bytes) -> tuple[int, int, list[tuple[int, int]]]:
    """(user, slot, (target, time) of each) of an EXPIRED; BAD_FRAME."""
    _, user, slot = _unpack(_HEAD, message)
    if slot >= _SLOTS:
        raise _bad("a slot beyond 63")
    return user, slot, [(target, time) for target, time in _entries(_NAME, message, _HEAD.size)]


def decode_ask(payload: bytes) -> tuple[int, Sequence[int]]:
    """(question, users) of an ASK without its kind; BAD_FRAME."""
    if len(payload) < 4:
        raise _bad("an ASK")
    return int.from_bytes(payload[:4], "big"), _numbers(payload, 4)


def decode_places(payload: bytes) -> tuple[int, dict[int, list[tuple[int, int, int, int]]]]:
    """(question, user -> (endpoint, slot, generation, number) each) of a PLACES without its kind; BAD_FRAME."""
    if len(payload) < 4:
        raise _bad("a PLACES")
    found: dict[int, list[tuple[int, int, int, int]]] = {}
    for user, endpoint, slot, generation, number in _entries(_PLACE, payload, 4):
        found.setdefault(user, []).append((endpoint, slot, generation, number))
    return int.from_bytes(payload[:4], "big"), found


def _encode_letters(letters: Letters) -> bytes:
    return b"".join(_LETTER.pack(time, message_id, len(body)) + body for time, message_id, body in letters)


def _decode_letters(message: bytes, start: int, count: int, slot: int) -> Letters:
    letters = []
    size, unpack = _LETTER.size, _LETTER.unpack_from
    for _ in range(count):
        if start + size > len(message):
            raise _bad("a cut letter")
        time, message_id, length = unpack(message, start)
        start += size + length
        if time & 63 != slot or length > MAX_BODY_BYTES:
            raise _bad("a letter of another slot, or too long")
        letters.append((time, message_id, message[start - length : start]))
    if start != len(message) or not count:
        raise _bad("letters of another size than told")
    return letters


def _unpack(form: struct.Struct, message: bytes) -> tuple[int, ...]:
    if len(message) < form.size:
        raise _bad("a cut message")
    return form.unpack_from(message)


def _numbers(data: bytes, start: int) -> Sequence[int]:
    count, rest = divmod(len(data) - start, 8)
    if rest:
        raise _bad("half a number")
    return struct.unpack_from(f">{count}Q", data, start)


def _entries(form: struct.Struct, data: bytes, start: int) -> Iterable[tuple[int, ...]]:
    if (len(data) - start) % form.size or len(data) - start > MAX_TOLD * 64 * form.size:
        raise _bad("entries of another size")
    return form.iter_unpack(data[start:])


def _bad(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(ErrorCode.BAD_FRAME, f"a link message that cannot be: {what}")
