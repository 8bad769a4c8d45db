"""What centers tell each other about groups: posts for the members elsewhere, changes, who wants to hear (docs/links.md, [L-5]).

What lives here: their bytes, as functions in pairs. What must not: what else centers say (`peer_messages`), what these cause
(`myim_server.chat`). A message is its kind, u8, and a payload; all integers are big-endian.

    POSTED         0x20  user u64 slot u8 generation u32 number u64 | group u64 version u64 entered u64 count u16 posts
    GROUP_CHANGED  0x21  group u64 version u64 count u16 users u64... | a GroupChanged, encoded
    UNINTERESTED   0x22  group u64
    INTERESTED     0x23  group u64...

    a post: number u64 accepted u64 time u64 message_id u64 size u16 body
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from myim_wire.bodies import MAX_BODY_BYTES
from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.peer_messages import MAX_TOLD

POSTED, GROUP_CHANGED, UNINTERESTED, INTERESTED = range(0x20, 0x24)
MAX_CHANGE_BYTES = 1_024

_POSTED = struct.Struct(">BQBIQQQQH")
_POST = struct.Struct(">QQQQH")
_ONE = struct.Struct(">BQBIQQQQHQQQQH")  # a POSTED with one post: by far the most of all
_CHANGED = struct.Struct(">BQQH")
_NUMBER = struct.Struct(">BQ")
_SLOT_MASK = 63


class Post(NamedTuple):
    """One message to a group.

    number: in the group, 0 for QoS 0; accepted: when it was taken, µs; time: its name; message_id: at the center where it entered.
    """

    number: int
    accepted: int
    time: int
    message_id: int
    body: bytes


class Posted(NamedTuple):
    """Posts of one session, in their order; (generation, number) is the session at the center that speaks.

    version: the group's when they were committed; entered: the server where they entered.
    """

    user: int
    slot: int
    generation: int
    number: int
    group: int
    version: int
    entered: int
    posts: Sequence[Post]


def encode_posted(sender: tuple[int, int, int, int], group: int, version: int, entered: int, posts: Sequence[Post]) -> bytes:
    """POSTED; sender = (user, slot, generation, number). The caller minds how much a link takes in one message."""
    if len(posts) == 1:
        number, accepted, time, message_id, body = posts[0]
        head = _ONE.pack(POSTED, *sender, group, version, entered, 1, number, accepted, time, message_id, len(body))
        return head + body
    parts = [_POSTED.pack(POSTED, *sender, group, version, entered, len(posts))]
    for number, accepted, time, message_id, body in posts:
        parts += _POST.pack(number, accepted, time, message_id, len(body)), body
    return b"".join(parts)


def decode_posted(message: bytes) -> Posted:
    """A POSTED, kind included; RemoteProtocolError(BAD_FRAME) if it is none."""
    if len(message) < _POSTED.size:
        raise _bad("a cut message")
    kind, user, slot, generation, session, group, version, entered, count = _POSTED.unpack_from(message)
    if kind != POSTED or not count:
        raise _bad("posts of nothing")
    posts: list[Post] = []
    start, size, unpack = _POSTED.size, _POST.size, _POST.unpack_from
    for _ in range(count):
        if start + size > len(message):
            raise _bad("a cut post")
        number, accepted, time, message_id, length = unpack(message, start)
        start += size + length
        if time & _SLOT_MASK != slot or length > MAX_BODY_BYTES:
            raise _bad("a post of another slot, or too long")
        posts.append(Post(number, accepted, time, message_id, message[start - length : start]))
    if start != len(message):
        raise _bad("posts of another size than told")
    return Posted(user, slot, generation, session, group, version, entered, posts)


def encode_group_changed(group: int, version: int, users: Sequence[int], content: bytes) -> bytes:
    """GROUP_CHANGED: `content`, a GroupChanged, is for the group's members there (version 0: not) and for `users`, at most MAX_TOLD."""
    return _CHANGED.pack(GROUP_CHANGED, group, version, len(users)) + struct.pack(f">{len(users)}Q", *users) + content


def decode_group_changed(message: bytes) -> tuple[int, int, Sequence[int], bytes]:
    """(group, version, users, content) of a GROUP_CHANGED, kind included; BAD_FRAME. The content is unread, of 1 to 1,024 bytes."""
    if len(message) < _CHANGED.size:
        raise _bad("a cut message")
    kind, group, version, count = _CHANGED.unpack_from(message)
    content = message[_CHANGED.size + 8 * count :]
    if kind != GROUP_CHANGED or count > MAX_TOLD or not 0 < len(content) <= MAX_CHANGE_BYTES:
        raise _bad("a change of another size than told")
    return group, version, struct.unpack_from(f">{count}Q", message, _CHANGED.size), content


def encode_uninterested(group: int) -> bytes:
    """UNINTERESTED: no member of the group is here, its posts need not be sent."""
    return _NUMBER.pack(UNINTERESTED, group)


def decode_uninterested(message: bytes) -> int:
    """The group of an UNINTERESTED, kind included; BAD_FRAME."""
    if len(message) != _NUMBER.size or message[0] != UNINTERESTED:
        raise _bad("an UNINTERESTED")
    return int.from_bytes(message[1:], "big")


def encode_interested(groups: Sequence[int]) -> bytes:
    """INTERESTED: members of these groups, at most MAX_TOLD, are here."""
    return struct.pack(f">B{len(groups)}Q", INTERESTED, *groups)


def decode_interested(message: bytes) -> Sequence[int]:
    """The groups of an INTERESTED, kind included; BAD_FRAME unless they are 1 to MAX_TOLD."""
    count, rest = divmod(len(message) - 1, 8)
    if rest or not 0 < count <= MAX_TOLD or message[0] != INTERESTED:
        raise _bad("an INTERESTED")
    return struct.unpack_from(f">{count}Q", message, 1)


def _bad(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(ErrorCode.BAD_FRAME, f"a link message about groups that cannot be: {what}")
