"""What centers say about friends: the answers to FRIENDS and FRIEND_CHANGE, and the pushes [P-7.15].

What lives here: their values and bytes. What must not: what terminals ask (`friend_requests`), profiles (`profile_contents`), the
hashes (`friend_hashes`), who hears which push. Each value has `encode()` and `decode(content)`; texts that are empty, and what
Synced has that is, are left out of the maps; decoding raises RemoteProtocolError(BAD_COMMAND) whose `field` is the path of what was
wrong. All times are microseconds since 1970; `version` is that of the asker's list. `of` makes the longest page that one message
holds of rows that are given in their order, and marks it `is_more` where that is not all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, cast

from myim_wire.fields import Fields
from myim_wire.friend_hashes import HASH_BYTES, CanonicalFriend
from myim_wire.friend_requests import (
    MAX_ASKING_CHARACTERS,
    MAX_AVATAR_CHARACTERS,
    MAX_DISPLAY_NAME_CHARACTERS,
    MAX_FRIEND_GROUP_CHARACTERS,
    MAX_REMARK_CHARACTERS,
    MAX_SIGNATURE_CHARACTERS,
    ROOT_BYTES,
)  # fmt: skip
from myim_wire.packing import but_empty, pack_map
from myim_wire.pages import PAGE_BYTES, fitting

MAX_FRIENDS_LISTED = 100
MAX_FRIEND_GROUPS = 128
MAX_CHANGED = 100
MAX_REMOVED = 1000
MAX_REQUESTS_LISTED = 100
MAX_BLOCKED_LISTED = 100
MAX_FOUND = 20

FriendEvent = Literal["list", "asked", "accepted", "withdrawn"]
FRIEND_EVENTS: Final = ("list", "asked", "accepted", "withdrawn")


@dataclass(frozen=True, slots=True)
class Friend:
    """A friend as the list shows it: who it is, in which friend group, what the owner calls it, and its own profile."""

    user: int
    group: int
    name: str
    remark: str
    display_name: str
    avatar: str
    signature: str

    @property
    def canonical(self) -> CanonicalFriend:
        """What is hashed of it [P-7.14]."""
        return self.user, self.name, self.remark, self.display_name, self.avatar, self.signature

    def to_map(self) -> dict[str, object]:
        """As it stands in a list."""
        texts = {"remark": self.remark, "display_name": self.display_name, "avatar": self.avatar, "signature": self.signature}
        return {"user": self.user, "group": self.group, "name": self.name, **but_empty(texts)}

    @classmethod
    def from_fields(cls, fields: Fields) -> Friend:
        """Read from a list."""
        return cls(
            user=fields.number("user", 64),
            group=fields.number("group", 32),
            name=fields.text("name"),
            remark=fields.text_or_empty("remark", MAX_REMARK_CHARACTERS),
            display_name=fields.text_or_empty("display_name", MAX_DISPLAY_NAME_CHARACTERS),
            avatar=fields.text_or_empty("avatar", MAX_AVATAR_CHARACTERS),
            signature=fields.text_or_empty("signature", MAX_SIGNATURE_CHARACTERS),
        )


@dataclass(frozen=True, slots=True)
class HashedGroup:
    """A friend group and the hash of its friends, 16 bytes [P-7.14]."""

    id: int
    name: str
    position: int
    hash: bytes

    def to_map(self) -> dict[str, object]:
        """As it stands in a list."""
        return {"id": self.id, "name": self.name, "position": self.position, "hash": self.hash}

    @classmethod
    def from_fields(cls, fields: Fields) -> HashedGroup:
        """Read from a list."""
        return cls(
            id=fields.number("id", 32),
            name=fields.text("name", MAX_FRIEND_GROUP_CHARACTERS),
            position=fields.number("position", 32),
            hash=fields.binary("hash", HASH_BYTES),
        )


@dataclass(frozen=True, slots=True)
class Synced:
    """The list's version and root, and what a copy needs to become it; `Synced(version, root)`: nothing, the copy is the list.

    groups: all friend groups; none where the copy's are right, which has_changes says too. has_changes: `changed` and `removed`
    (user ids) are all that changed in the copy; else each group whose hash is another than the copy's is to be fetched.
    """

    version: int
    root: bytes
    groups: tuple[HashedGroup, ...] = ()
    changed: tuple[Friend, ...] = ()
    removed: tuple[int, ...] = ()
    has_changes: bool = False

    @classmethod
    def of(
        cls, version: int, root: bytes, known_root: bytes, groups: Iterable[HashedGroup],
        changes: tuple[Iterable[Friend], Iterable[int]] | None,
    ) -> Synced:  # fmt: skip
        """The shortest answer to whose copy has `known_root`; changes: (changed, removed) since, None if not known any more."""
        if root == known_root:
            return cls(version, root)
        listed = tuple(groups)
        if changes is not None:
            needed = () if root[:HASH_BYTES] == known_root[:HASH_BYTES] else listed
            room = PAGE_BYTES - sum(len(pack_map(group.to_map())) for group in needed)
            changed, removed = tuple(changes[0]), tuple(changes[1])
            size = 9 * len(removed) + sum(len(pack_map(friend.to_map())) for friend in changed)
            if size <= room and len(changed) <= MAX_CHANGED and len(removed) <= MAX_REMOVED:
                return cls(version, root, needed, changed, removed, True)
        return cls(version, root, listed)

    def encode(self) -> bytes:
        """The content."""
        lists: dict[str, object] = {
            "groups": [group.to_map() for group in self.groups], "changed": [friend.to_map() for friend in self.changed],
            "removed": list(self.removed), "has_changes": self.has_changes,
        }  # fmt: skip
        return pack_map({"version": self.version, "root": self.root, **but_empty(lists)})

    @classmethod
    def decode(cls, content: bytes) -> Synced:
        """From the content."""
        fields = Fields.unpack(content)
        groups = fields.maps("groups", MAX_FRIEND_GROUPS) if fields.has("groups") else []
        changed = fields.maps("changed", MAX_CHANGED) if fields.has("changed") else []
        return cls(
            version=fields.number("version", 64),
            root=fields.binary("root", ROOT_BYTES),
            groups=tuple(map(HashedGroup.from_fields, groups)),
            changed=tuple(map(Friend.from_fields, changed)),
            removed=tuple(fields.numbers("removed", 64, MAX_REMOVED)) if fields.has("removed") else (),
            has_changes=fields.truth("has_changes") if fields.has("has_changes") else False,
        )


@dataclass(frozen=True, slots=True)
class FriendPage:
    """At most 100 friends of one group, by user id; pages with different versions are of different lists."""

    friends: tuple[Friend, ...]
    version: int
    is_more: bool

    @classmethod
    def of(cls, friends: Iterable[Friend], version: int, is_more: bool) -> FriendPage:
        """The first of `friends` that one message holds: long texts in UTF-8 may leave room for 24 only."""
        fitted, is_cut = fitting(friends, MAX_FRIENDS_LISTED, Friend.to_map)
        return cls(fitted, version, is_more or is_cut)

    def encode(self) -> bytes:
        """The content."""
        friends = [friend.to_map() for friend in self.friends]
        return pack_map({"friends": friends, "version": self.version, "is_more": self.is_more})

    @classmethod
    def decode(cls, content: bytes) -> FriendPage:
        """From the content."""
        fields = Fields.unpack(content)
        friends = tuple(map(Friend.from_fields, fields.maps("friends", MAX_FRIENDS_LISTED)))
        return cls(friends, fields.number("version", 64), fields.truth("is_more"))


class OutgoingRequest(NamedTuple):
    """Whom the asker of the page asked to be a friend, with which words, and when."""

    user: int
    name: str
    words: str
    made: int

    def to_map(self) -> dict[str, object]:
        """As it stands in a page."""
        return {"user": self.user, "name": self.name, **but_empty({"words": self.words}), "made": self.made}

    @classmethod
    def from_fields(cls, fields: Fields) -> OutgoingRequest:
        """Read from a page."""
        words = fields.text_or_empty("words", MAX_ASKING_CHARACTERS)
        return cls(fields.number("user", 64), fields.text("name"), words, fields.number("made", 64))


class IncomingRequest(NamedTuple):
    """Who asked to be a friend, with which words, and when; is_ignored: the asker of the page does not want to see it."""

    user: int
    name: str
    words: str
    made: int
    is_ignored: bool

    def to_map(self) -> dict[str, object]:
        """As it stands in a page."""
        return {**OutgoingRequest(*self[:4]).to_map(), "is_ignored": self.is_ignored}

    @classmethod
    def from_fields(cls, fields: Fields) -> IncomingRequest:
        """Read from a page."""
        return cls(*OutgoingRequest.from_fields(fields), fields.truth("is_ignored"))


@dataclass(frozen=True, slots=True)
class RequestPage:
    """Open requests to the asker and by it, together at most 100, by the other's user id; `is_more`: ask again after the last of both."""

    incoming: tuple[IncomingRequest, ...]
    outgoing: tuple[OutgoingRequest, ...]
    is_more: bool = False

    @classmethod
    def of(cls, incoming: Iterable[IncomingRequest], outgoing: Iterable[OutgoingRequest], is_more: bool) -> RequestPage:
        """The first of both, taken together by user id, that one message holds: words in UTF-8 may leave room for 60 only."""
        both: list[IncomingRequest | OutgoingRequest] = [*incoming, *outgoing]
        fitted, is_cut = fitting(sorted(both, key=lambda one: one.user), MAX_REQUESTS_LISTED, lambda one: one.to_map())
        came = tuple(one for one in fitted if isinstance(one, IncomingRequest))
        return cls(came, tuple(one for one in fitted if isinstance(one, OutgoingRequest)), is_more or is_cut)

    def encode(self) -> bytes:
        """The content."""
        incoming = [IncomingRequest.to_map(one) for one in self.incoming]
        outgoing = [OutgoingRequest.to_map(one) for one in self.outgoing]
        return pack_map({"incoming": incoming, "outgoing": outgoing, "is_more": self.is_more})

    @classmethod
    def decode(cls, content: bytes) -> RequestPage:
        """From the content."""
        fields = Fields.unpack(content)
        incoming = tuple(map(IncomingRequest.from_fields, fields.maps("incoming", MAX_REQUESTS_LISTED)))
        outgoing = tuple(map(OutgoingRequest.from_fields, fields.maps("outgoing", MAX_REQUESTS_LISTED)))
        return cls(incoming, outgoing, fields.truth("is_more"))


class BlockedUser(NamedTuple):
    """Whom the asker blocked."""

    user: int
    name: str


@dataclass(frozen=True, slots=True)
class BlockedPage:
    """At most 100 users that the asker blocked, by user id; `is_more`: ask again after the last."""

    users: tuple[BlockedUser, ...]
    is_more: bool

    def encode(self) -> bytes:
        """The content."""
        return pack_map({"users": [{"user": user, "name": name} for user, name in self.users], "is_more": self.is_more})

    @classmethod
    def decode(cls, content: bytes) -> BlockedPage:
        """From the content."""
        fields = Fields.unpack(content)
        users = fields.maps("users", MAX_BLOCKED_LISTED)
        return cls(tuple(BlockedUser(one.number("user", 64), one.text("name")) for one in users), fields.truth("is_more"))


class FoundProfile(NamedTuple):
    """A user that may be found."""

    user: int
    name: str
    display_name: str

    @classmethod
    def from_fields(cls, fields: Fields) -> FoundProfile:
        """Read from a page."""
        display_name = fields.text_or_empty("display_name", MAX_DISPLAY_NAME_CHARACTERS)
        return cls(fields.number("user", 64), fields.text("name"), display_name)


@dataclass(frozen=True, slots=True)
class FoundPage:
    """At most 20 users that a search found and that may be found."""

    users: tuple[FoundProfile, ...]

    def encode(self) -> bytes:
        """The content."""
        found = [{"user": user, "name": name, **but_empty({"display_name": shown})} for user, name, shown in self.users]
        return pack_map({"users": found})

    @classmethod
    def decode(cls, content: bytes) -> FoundPage:
        """From the content."""
        return cls(tuple(map(FoundProfile.from_fields, Fields.unpack(content).maps("users", MAX_FOUND))))


@dataclass(frozen=True, slots=True)
class Changed:
    """The reply to a FRIEND_CHANGE: the asker's list after it."""

    version: int
    root: bytes

    def encode(self) -> bytes:
        """The content."""
        return pack_map({"version": self.version, "root": self.root})

    @classmethod
    def decode(cls, content: bytes) -> Changed:
        """From the content."""
        fields = Fields.unpack(content)
        return cls(fields.number("version", 64), fields.binary("root", ROOT_BYTES))


@dataclass(frozen=True, slots=True)
class FriendChanged:
    """The push: "list": the list is another, at `version`; the others: what `user` did about a request. A hint, which may be lost."""

    event: FriendEvent
    version: int
    user: int
    words: str = ""

    def encode(self) -> bytes:
        """The content."""
        return pack_map({"event": self.event, "version": self.version, "user": self.user, **but_empty({"words": self.words})})


FriendPush = FriendChanged


def decode_friend_push(content: bytes) -> FriendPush:
    """What a FRIEND_CHANGE from a center that is no reply says; BAD_COMMAND with `field`, "event" for an event that is not known here."""
    fields = Fields.unpack(content)
    return FriendChanged(
        event=cast(FriendEvent, fields.choice("event", FRIEND_EVENTS)),
        version=fields.number("version", 64),
        user=fields.number("user", 64),
        words=fields.text_or_empty("words", MAX_ASKING_CHARACTERS),
    )
