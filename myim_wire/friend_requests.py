"""What a terminal asks about friends and profiles: FRIENDS, FRIEND_CHANGE [P-7.15], SIGNATURE [P-7.16], told apart by `op`.

What lives here: one value per request, its bytes, and how long its texts may be. What must not: who may ask it (the server judges
that), the answers (`friend_contents`), presence (`presence_contents`). All have target 0. What has a default may be left out of the
map; decoding raises RemoteProtocolError(BAD_COMMAND) whose `field` is the path of what was wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, TypeVar, cast

from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.fields import Fields
from myim_wire.request_forms import After, OfUser, pack_op

ROOT_BYTES = 32
MAX_ASKING_CHARACTERS = 200
MAX_REMARK_CHARACTERS = 64
MAX_FRIEND_GROUP_CHARACTERS = 64
MAX_SEARCH_CHARACTERS = 64
MAX_DISPLAY_NAME_CHARACTERS = 64
MAX_AVATAR_CHARACTERS = 255
MAX_SIGNATURE_CHARACTERS = 200
MAX_PROFILES_ASKED = 100

Searchable = Literal["everybody", "name", "nobody"]
SEARCHABLE: Final = ("everybody", "name", "nobody")
Asking = Literal["everybody", "nobody"]
ASKING: Final = ("everybody", "nobody")


_Change = TypeVar("_Change")


def _not_nothing(change: _Change, nothing: _Change) -> _Change:
    if change == nothing:
        raise RemoteProtocolError(ErrorCode.BAD_COMMAND, "a change of nothing", field="op")
    return change


@dataclass(frozen=True, slots=True)
class Sync:
    """What changed since a copy of the list: its version and its root (32 bytes); 0 and zeros for none. Answered with Synced."""

    op: ClassVar[str] = "sync"
    version: int
    root: bytes

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, version=self.version, root=self.root)

    @classmethod
    def from_fields(cls, fields: Fields) -> Sync:
        """Read from the map."""
        return cls(fields.number("version", 64), fields.binary("root", ROOT_BYTES))


@dataclass(frozen=True, slots=True)
class ListFriends:
    """The friends in one friend group, by user id above `after`: a FriendPage."""

    op: ClassVar[str] = "list"
    group: int
    after: int = 0

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, group=self.group, after=self.after)

    @classmethod
    def from_fields(cls, fields: Fields) -> ListFriends:
        """Read from the map."""
        return cls(fields.number("group", 32), fields.number("after", 64) if fields.has("after") else 0)


@dataclass(frozen=True, slots=True)
class ListRequests(After):
    """Requests to the asker and by it, together by the other's user id: a RequestPage."""

    op: ClassVar[str] = "requests"


@dataclass(frozen=True, slots=True)
class ListBlocked(After):
    """Whom the asker blocked, by user id: a BlockedPage."""

    op: ClassVar[str] = "blocked"


@dataclass(frozen=True, slots=True)
class Search:
    """Users by name, whole or a beginning of at least three letters, or by id, in digits: a FoundPage."""

    op: ClassVar[str] = "search"
    text: str

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, text=self.text)

    @classmethod
    def from_fields(cls, fields: Fields) -> Search:
        """Read from the map."""
        return cls(fields.text("text", MAX_SEARCH_CHARACTERS))


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask a user to be a friend; `words` are for the user. Whoever was asked already by that user accepts so."""

    op: ClassVar[str] = "ask"
    user: int
    words: str = ""

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, user=self.user, words=self.words)

    @classmethod
    def from_fields(cls, fields: Fields) -> Ask:
        """Read from the map."""
        return cls(fields.number("user", 64), fields.text_or_empty("words", MAX_ASKING_CHARACTERS))


@dataclass(frozen=True, slots=True)
class Accept:
    """Make a friend of who asked, in one of the own friend groups."""

    op: ClassVar[str] = "accept"
    user: int
    group: int = 0

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, user=self.user, group=self.group)

    @classmethod
    def from_fields(cls, fields: Fields) -> Accept:
        """Read from the map."""
        return cls(fields.number("user", 64), fields.number("group", 32) if fields.has("group") else 0)


@dataclass(frozen=True, slots=True)
class Refuse(OfUser):
    """Turn a request down, and tell nobody."""

    op: ClassVar[str] = "refuse"


@dataclass(frozen=True, slots=True)
class Ignore(OfUser):
    """Keep a request open and out of sight; who asked learns nothing, and cannot ask again."""

    op: ClassVar[str] = "ignore"


@dataclass(frozen=True, slots=True)
class Withdraw(OfUser):
    """Take one's own request back."""

    op: ClassVar[str] = "withdraw"


@dataclass(frozen=True, slots=True)
class RemoveFriend(OfUser):
    """Be friends no more, on both sides."""

    op: ClassVar[str] = "remove"


@dataclass(frozen=True, slots=True)
class Block(OfUser):
    """Hear nothing of a user any more, and let the user see nothing and learn nothing; friends stay friends on their lists."""

    op: ClassVar[str] = "block"


@dataclass(frozen=True, slots=True)
class Unblock(OfUser):
    """Undo a block."""

    op: ClassVar[str] = "unblock"


@dataclass(frozen=True, slots=True)
class Remark:
    """What the asker calls a friend; "" for nothing."""

    op: ClassVar[str] = "remark"
    user: int
    remark: str

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, user=self.user, remark=self.remark)

    @classmethod
    def from_fields(cls, fields: Fields) -> Remark:
        """Read from the map."""
        return cls(fields.number("user", 64), fields.text("remark", MAX_REMARK_CHARACTERS))


@dataclass(frozen=True, slots=True)
class MoveFriend:
    """Put a friend into another of the own friend groups."""

    op: ClassVar[str] = "move"
    user: int
    group: int

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, user=self.user, group=self.group)

    @classmethod
    def from_fields(cls, fields: Fields) -> MoveFriend:
        """Read from the map."""
        return cls(fields.number("user", 64), fields.number("group", 32))


@dataclass(frozen=True, slots=True)
class AddGroup:
    """Make a friend group; groups are shown by `position`, those of one position by id."""

    op: ClassVar[str] = "add_group"
    name: str
    position: int

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, name=self.name, position=self.position)

    @classmethod
    def from_fields(cls, fields: Fields) -> AddGroup:
        """Read from the map."""
        return cls(fields.text("name", MAX_FRIEND_GROUP_CHARACTERS), fields.number("position", 32))


@dataclass(frozen=True, slots=True)
class ChangeGroup:
    """Rename or move a friend group; None: as it is, and one of the two is not None."""

    op: ClassVar[str] = "change_group"
    group: int
    name: str | None = None
    position: int | None = None

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, group=self.group, name=self.name, position=self.position)

    @classmethod
    def from_fields(cls, fields: Fields) -> ChangeGroup:
        """Read from the map."""
        change = cls(
            group=fields.number("group", 32),
            name=fields.text_or_none("name", MAX_FRIEND_GROUP_CHARACTERS),
            position=fields.number("position", 32) if fields.has("position") else None,
        )
        return _not_nothing(change, cls(change.group))


@dataclass(frozen=True, slots=True)
class RemoveGroup:
    """End a friend group; its friends go to group 0."""

    op: ClassVar[str] = "remove_group"
    group: int

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, group=self.group)

    @classmethod
    def from_fields(cls, fields: Fields) -> RemoveGroup:
        """Read from the map."""
        return cls(fields.number("group", 32))


@dataclass(frozen=True, slots=True)
class SetProfile:
    """Change the own profile; None: as it is, and one at least is not None. Answered with the own Profile."""

    op: ClassVar[str] = "set"
    display_name: str | None = None
    avatar: str | None = None
    signature: str | None = None
    searchable: Searchable | None = None
    asking: Asking | None = None

    def encode(self) -> bytes:
        """The content."""
        return pack_op(
            self.op, display_name=self.display_name, avatar=self.avatar, signature=self.signature, searchable=self.searchable,
            asking=self.asking,
        )  # fmt: skip

    @classmethod
    def from_fields(cls, fields: Fields) -> SetProfile:
        """Read from the map."""
        change = cls(
            display_name=fields.text_or_none("display_name", MAX_DISPLAY_NAME_CHARACTERS),
            avatar=fields.text_or_none("avatar", MAX_AVATAR_CHARACTERS),
            signature=fields.text_or_none("signature", MAX_SIGNATURE_CHARACTERS),
            searchable=cast(Searchable, fields.choice("searchable", SEARCHABLE)) if fields.has("searchable") else None,
            asking=cast(Asking, fields.choice("asking", ASKING)) if fields.has("asking") else None,
        )
        return _not_nothing(change, cls())


@dataclass(frozen=True, slots=True)
class GetProfiles:
    """The profiles of 1 to 100 users (ids), of the asker and of friends only: a ProfilePage."""

    op: ClassVar[str] = "get"
    users: tuple[int, ...]

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, users=list(self.users))

    @classmethod
    def from_fields(cls, fields: Fields) -> GetProfiles:
        """Read from the map."""
        users = tuple(fields.numbers("users", 64, MAX_PROFILES_ASKED))
        if not users:
            raise RemoteProtocolError(ErrorCode.BAD_COMMAND, "nobody is asked for", field="users")
        return cls(users)


FriendRequest = Sync | ListFriends | ListRequests | ListBlocked | Search
FriendChangeRequest = (
    Ask | Accept | Refuse | Ignore | Withdraw | RemoveFriend | Block | Unblock | Remark | MoveFriend | AddGroup | ChangeGroup | RemoveGroup
)  # fmt: skip
ProfileRequest = SetProfile | GetProfiles

_FRIEND_KINDS: tuple[type[FriendRequest], ...] = (Sync, ListFriends, ListRequests, ListBlocked, Search)
_CHANGE_KINDS: tuple[type[FriendChangeRequest], ...] = (
    Ask, Accept, Refuse, Ignore, Withdraw, RemoveFriend, Block, Unblock, Remark, MoveFriend, AddGroup, ChangeGroup, RemoveGroup,
)  # fmt: skip
_PROFILE_KINDS: tuple[type[ProfileRequest], ...] = (SetProfile, GetProfiles)
_FRIEND_READERS: dict[str, Callable[[Fields], FriendRequest]] = {kind.op: kind.from_fields for kind in _FRIEND_KINDS}
_CHANGE_READERS: dict[str, Callable[[Fields], FriendChangeRequest]] = {kind.op: kind.from_fields for kind in _CHANGE_KINDS}
_PROFILE_READERS: dict[str, Callable[[Fields], ProfileRequest]] = {kind.op: kind.from_fields for kind in _PROFILE_KINDS}
FRIEND_OPS: Final = tuple(_FRIEND_READERS)
FRIEND_CHANGE_OPS: Final = tuple(_CHANGE_READERS)
PROFILE_OPS: Final = tuple(_PROFILE_READERS)


def decode_friend_request(content: bytes) -> FriendRequest:
    """The request in the content of a FRIENDS; RemoteProtocolError(BAD_COMMAND) with `field`, "op" for an unknown one."""
    fields = Fields.unpack(content)
    return _FRIEND_READERS[fields.choice("op", FRIEND_OPS)](fields)


def decode_friend_change_request(content: bytes) -> FriendChangeRequest:
    """The request in the content of a FRIEND_CHANGE from a terminal; BAD_COMMAND with `field`, "op" for an unknown one."""
    fields = Fields.unpack(content)
    return _CHANGE_READERS[fields.choice("op", FRIEND_CHANGE_OPS)](fields)


def decode_profile_request(content: bytes) -> ProfileRequest:
    """The request in the content of a SIGNATURE; BAD_COMMAND with `field`, "op" for an unknown one."""
    fields = Fields.unpack(content)
    return _PROFILE_READERS[fields.choice("op", PROFILE_OPS)](fields)
