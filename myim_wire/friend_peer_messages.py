"""What centers tell each other about friends: who came, went or changed, who is here, pushes for users elsewhere (docs/links.md, [L-5]).

What lives here: their bytes, as functions in pairs. What must not: what else centers say (`peer_messages`), what these cause
(`myim_server.chat`). A message is its kind, u8, and a payload; all integers are big-endian.

    PRESENCE_TOLD    0x30  (user u64 slot u8 generation u32 number u64 | state u8 size u16 text count u16 friends u64...)...
    PRESENCE_ASK     0x31  question u32 asker u64 users u64...
    PRESENCE_PLACES  0x32  question u32 (user u64 state u8 size u16 text count u8 endpoints u64...)...
    FRIEND_TOLD      0x33  count u16 users u64... | a push of FRIEND_CHANGE

    a state: 0 offline, 1 online, 2 away, 3 busy; a text: UTF-8, at most 100 characters
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, cast

from myim_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from myim_wire.peer_messages import MAX_TOLD
from myim_wire.presence_contents import MAX_PLACES, MAX_STATUS_CHARACTERS, SEEN_STATES, OnlineState, SeenState

PRESENCE_TOLD, PRESENCE_ASK, PRESENCE_PLACES, FRIEND_TOLD = range(0x30, 0x34)
MAX_PRESENCES = 300  # users of one PRESENCE_TOLD, PRESENCE_ASK or PRESENCE_PLACES
MAX_FRIENDS_TOLD = 8_000  # friends of one PRESENCE_TOLD, of all its users together
MAX_PUSH_BYTES = 1_024

_TOLD = struct.Struct(">QBIQBH")
_ASK = struct.Struct(">BIQ")
_PLACES = struct.Struct(">BI")
_PLACE = struct.Struct(">QBH")
_COUNT = struct.Struct(">H")
_PUSH = struct.Struct(">BH")
_SLOTS = 64


class Told(NamedTuple):
    """How a user is seen now, for those of its friends that may be at the center that is told.

    (slot, generation, number): the session at the center that speaks which changed that, zeros where there is none any more.
    """

    user: int
    slot: int
    generation: int
    number: int
    state: SeenState
    text: str
    friends: Sequence[int]


class Placed(NamedTuple):
    """A user with sessions at the center that answers, and the endpoints (0 for none) of those that may be seen."""

    user: int
    state: OnlineState
    text: str
    endpoints: Sequence[int] = ()


def parted(told: Iterable[Told]) -> Iterator[list[Told]]:
    """All of `told` but for those without friends, in their order, in as many PRESENCE_TOLD as it takes."""
    part: list[Told] = []
    friends = 0
    for one in told:
        for start in range(0, len(one.friends), MAX_FRIENDS_TOLD):
            piece = one._replace(friends=one.friends[start : start + MAX_FRIENDS_TOLD])
            if len(part) == MAX_PRESENCES or friends + len(piece.friends) > MAX_FRIENDS_TOLD:
                yield part
                part, friends = [], 0
            part.append(piece)
            friends += len(piece.friends)
    if part:
        yield part


def encode_presence_told(told: Iterable[Told]) -> bytes:
    """PRESENCE_TOLD, at most MAX_PRESENCES users with MAX_FRIENDS_TOLD friends in all: one part of `parted`.

    LocalProtocolError(BAD_COMMAND) for a text that is too long, or none.
    """
    parts = [bytes([PRESENCE_TOLD])]
    for user, slot, generation, number, state, text, friends in told:
        encoded = _encode_text(text)
        parts += _TOLD.pack(user, slot, generation, number, SEEN_STATES.index(state), len(encoded)), encoded
        parts += _COUNT.pack(len(friends)), struct.pack(f">{len(friends)}Q", *friends)
    return b"".join(parts)


def decode_presence_told(message: bytes) -> list[Told]:
    """A PRESENCE_TOLD, kind included; RemoteProtocolError(BAD_FRAME) if it is none."""
    if message[:1] != bytes([PRESENCE_TOLD]):
        raise _bad("a PRESENCE_TOLD")
    told: list[Told] = []
    friends = 0
    start, end = 1, len(message)
    while start < end:
        user, slot, generation, number, state, size = _unpack(_TOLD, message, start)
        text, start = _decode_text(message, start + _TOLD.size, size)
        (count,) = _unpack(_COUNT, message, start)
        start += _COUNT.size
        friends += count
        if slot >= _SLOTS or state >= len(SEEN_STATES) or not count or start + 8 * count > end:
            raise _bad("a presence of another form than told")
        whom = struct.unpack_from(f">{count}Q", message, start)
        told.append(Told(user, slot, generation, number, SEEN_STATES[state], text, whom))
        start += 8 * count
    if not 0 < len(told) <= MAX_PRESENCES or friends > MAX_FRIENDS_TOLD:
        raise _bad("presences of none, or of too many")
    return told


def encode_presence_ask(question: int, asker: int, users: Sequence[int]) -> bytes:
    """PRESENCE_ASK: how do `asker`, a user, these friends of it appear, at most MAX_PRESENCES of them?"""
    return _ASK.pack(PRESENCE_ASK, question, asker) + struct.pack(f">{len(users)}Q", *users)


def decode_presence_ask(message: bytes) -> tuple[int, int, Sequence[int]]:
    """(question, asker, users) of a PRESENCE_ASK, kind included; BAD_FRAME unless they are 1 to MAX_PRESENCES."""
    count, rest = divmod(len(message) - _ASK.size, 8)
    if rest or not 0 < count <= MAX_PRESENCES or message[0] != PRESENCE_ASK:
        raise _bad("a PRESENCE_ASK")
    _, question, asker = _ASK.unpack_from(message)
    return question, asker, struct.unpack_from(f">{count}Q", message, _ASK.size)


def encode_presence_places(question: int, placed: Iterable[Placed]) -> bytes:
    """PRESENCE_PLACES, the answer to PRESENCE_ASK: those of them that the asker may see online at the center that answers.

    LocalProtocolError(BAD_COMMAND) for a text that is too long, or none.
    """
    parts = [_PLACES.pack(PRESENCE_PLACES, question)]
    for user, state, text, endpoints in placed:
        encoded = _encode_text(text)
        parts += _PLACE.pack(user, SEEN_STATES.index(state), len(encoded)), encoded
        parts += bytes([len(endpoints)]), struct.pack(f">{len(endpoints)}Q", *endpoints)
    return b"".join(parts)


def decode_presence_places(message: bytes) -> tuple[int, list[Placed]]:
    """(question, those that are online) of a PRESENCE_PLACES, kind included; BAD_FRAME."""
    kind, question = _unpack(_PLACES, message, 0)
    if kind != PRESENCE_PLACES:
        raise _bad("a PRESENCE_PLACES")
    placed: list[Placed] = []
    start, end = _PLACES.size, len(message)
    while start < end:
        user, state, size = _unpack(_PLACE, message, start)
        text, start = _decode_text(message, start + _PLACE.size, size)
        count = message[start] if start < end else MAX_PLACES + 1
        start += 1
        if not 0 < state < len(SEEN_STATES) or count > MAX_PLACES or start + 8 * count > end:
            raise _bad("a place of another form than told")
        endpoints = struct.unpack_from(f">{count}Q", message, start)
        placed.append(Placed(user, cast(OnlineState, SEEN_STATES[state]), text, endpoints))
        start += 8 * count
    if len(placed) > MAX_PRESENCES:
        raise _bad("places of too many")
    return question, placed


def encode_friend_told(users: Sequence[int], content: bytes) -> bytes:
    """FRIEND_TOLD: `content`, a FriendChanged, encoded, is for the sessions of `users`, at most MAX_TOLD, at the center that is told."""
    return _PUSH.pack(FRIEND_TOLD, len(users)) + struct.pack(f">{len(users)}Q", *users) + content


def decode_friend_told(message: bytes) -> tuple[Sequence[int], bytes]:
    """(users, content) of a FRIEND_TOLD, kind included; BAD_FRAME. The content is unread, of 1 to 1,024 bytes."""
    kind, count = _unpack(_PUSH, message, 0)
    content = message[_PUSH.size + 8 * count :]
    if kind != FRIEND_TOLD or not 0 < count <= MAX_TOLD or not 0 < len(content) <= MAX_PUSH_BYTES:
        raise _bad("a FRIEND_TOLD of another size than told")
    return struct.unpack_from(f">{count}Q", message, _PUSH.size), content


def _encode_text(text: str) -> bytes:
    if len(text) > MAX_STATUS_CHARACTERS:
        raise LocalProtocolError(ErrorCode.BAD_COMMAND, "a text that is too long")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise LocalProtocolError(ErrorCode.BAD_COMMAND, "a text with a lone surrogate") from None


def _decode_text(message: bytes, start: int, size: int) -> tuple[str, int]:
    end = start + size
    try:
        text = message[start:end].decode()
    except UnicodeDecodeError:
        raise _bad("a text that is none") from None
    if end > len(message) or len(text) > MAX_STATUS_CHARACTERS:
        raise _bad("a text that is cut, or too long")
    return text, end


def _unpack(form: struct.Struct, message: bytes, start: int) -> tuple[int, ...]:
    if start + form.size > len(message):
        raise _bad("a cut message")
    return form.unpack_from(message, start)


def _bad(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(ErrorCode.BAD_FRAME, f"a link message about friends that cannot be: {what}")
