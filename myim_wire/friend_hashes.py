"""The canonical form of a friend list and its hashes, by which two copies are compared without being sent [P-7.14].

What lives here: pure functions from values to bytes, in one order whatever the order given. What must not: who keeps a list or
asks for it. MD5 tells copies apart; it protects nothing, both ends being the user's own.

    text(s)     size u16 | UTF-8
    friend      user u64 | text(name) | text(remark) | text(display name) | text(avatar) | text(signature)
    group list  (id u32 | position u32 | text(name))...
    root        hash of the group list [16] | MD5 of the groups' hashes [16]
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping

from myim_wire.errors import ErrorCode, LocalProtocolError

HASH_BYTES = 16
NO_ROOT = bytes(2 * HASH_BYTES)
"""The root of who never had a friend or a friend group; its version is 0."""

CanonicalFriend = tuple[int, str, str, str, str, str]
"""(user, name, remark, display name, avatar, signature)."""
CanonicalGroup = tuple[int, int, str]
"""(id, position, name) of a friend group."""

_USER = struct.Struct(">Q")
_GROUP = struct.Struct(">II")
_SIZE = struct.Struct(">H")


def encode_text(text: str) -> bytes:
    """The size of its UTF-8 in bytes, u16, and the UTF-8; LocalProtocolError(BAD_COMMAND) if it has none or that is too long."""
    try:
        encoded = text.encode()
        return _SIZE.pack(len(encoded)) + encoded
    except (UnicodeEncodeError, struct.error) as error:
        raise LocalProtocolError(ErrorCode.BAD_COMMAND, f"no canonical text: {error}") from None


def encode_friend(friend: CanonicalFriend) -> bytes:
    """A friend's canonical form."""
    user, *texts = friend
    return _USER.pack(user) + b"".join(map(encode_text, texts))


class GroupHash:
    """The hash of one friend group whose friends come in pages, by user id ascending."""

    __slots__ = ("_md5",)

    def __init__(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)

    def add(self, friends: Iterable[CanonicalFriend]) -> None:
        """The next of them."""
        self._md5.update(b"".join(map(encode_friend, friends)))

    def digest(self) -> bytes:
        """The hash of those so far, 16 bytes."""
        return self._md5.digest()


def hash_friends(friends: Iterable[CanonicalFriend]) -> bytes:
    """The hash of a friend group, 16 bytes: of its friends by user id, whatever the order given."""
    group = GroupHash()
    group.add(sorted(friends))
    return group.digest()


def hash_group_list(groups: Iterable[CanonicalGroup]) -> bytes:
    """The hash of the list of groups, 16 bytes: by id, whatever the order given."""
    return _md5(b"".join(_GROUP.pack(group, position) + encode_text(name) for group, position, name in sorted(groups)))


def root_of(group_list: bytes, hashes: Mapping[int, bytes]) -> bytes:
    """The root, 32 bytes, of hash_group_list and the hash of each group by its id; every group of the list has one."""
    return group_list + _md5(b"".join(hashes[group] for group in sorted(hashes)))


def hash_list(groups: Iterable[CanonicalGroup], friends: Iterable[tuple[int, CanonicalFriend]]) -> tuple[bytes, dict[int, bytes]]:
    """(root, group -> hash) of a whole list; friends: (group, friend) each. NO_ROOT without any group."""
    listed = list(groups)
    members: dict[int, list[CanonicalFriend]] = {group: [] for group, _, _ in listed}
    for group, friend in friends:
        members[group].append(friend)
    hashes = {group: hash_friends(inside) for group, inside in members.items()}
    return root_of(hash_group_list(listed), hashes) if listed else NO_ROOT, hashes


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()
