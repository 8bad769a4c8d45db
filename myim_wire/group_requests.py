"""What a terminal asks about groups: the contents of GROUP from a terminal, msgpack maps told apart by `op` [P-7.7].

What lives here: one value per request, its bytes, and how long its texts may be. What must not: who may ask it, and which names
are no names (the server judges those), and the answers (`group_contents`). The group is the message's target, 0 for `create` and
`list`. What has a default may be left out of the map; decoding raises RemoteProtocolError(BAD_COMMAND) whose `field` is the path
of what was wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, cast

from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.fields import Fields
from myim_wire.request_forms import After, Bare, OfUser, pack_op

MAX_NAME_CHARACTERS = 64
MAX_DESCRIPTION_CHARACTERS = 1000
MAX_WORDS_CHARACTERS = 200
MAX_INVITED = 1000

JoinRule = Literal["open", "approval", "invitation"]
JOINS: Final = ("open", "approval", "invitation")
SettableRole = Literal["admin", "member"]
_SETTABLE_ROLES = ("admin", "member")


def read_join(fields: Fields) -> JoinRule:
    """The field `join`: how one becomes a member."""
    return cast(JoinRule, fields.choice("join", JOINS))


@dataclass(frozen=True, slots=True)
class Create:
    """Make a group whose owner is the asker; at most 1,000 users (ids) are invited to it. Answered with its GroupState."""

    op: ClassVar[str] = "create"
    name: str
    description: str = ""
    join: JoinRule = "invitation"
    invited: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, name=self.name, description=self.description, join=self.join, invited=list(self.invited))

    @classmethod
    def from_fields(cls, fields: Fields) -> Create:
        """Read from the map."""
        return cls(
            name=fields.text("name", MAX_NAME_CHARACTERS),
            description=fields.text_or_empty("description", MAX_DESCRIPTION_CHARACTERS),
            join=read_join(fields) if fields.has("join") else "invitation",
            invited=tuple(fields.numbers("invited", 64, MAX_INVITED)) if fields.has("invited") else (),
        )


@dataclass(frozen=True, slots=True)
class Join:
    """Ask to be a member, or accept an invitation; `words` are for who approves."""

    op: ClassVar[str] = "join"
    words: str = ""

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, words=self.words)

    @classmethod
    def from_fields(cls, fields: Fields) -> Join:
        """Read from the map."""
        return cls(fields.text_or_empty("words", MAX_WORDS_CHARACTERS))


@dataclass(frozen=True, slots=True)
class Invite:
    """Invite 1 to 1,000 users (ids)."""

    op: ClassVar[str] = "invite"
    users: tuple[int, ...]

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, users=list(self.users))

    @classmethod
    def from_fields(cls, fields: Fields) -> Invite:
        """Read from the map."""
        users = tuple(fields.numbers("users", 64, MAX_INVITED))
        if not users:
            raise RemoteProtocolError(ErrorCode.BAD_COMMAND, "nobody is invited", field="users")
        return cls(users)


@dataclass(frozen=True, slots=True)
class Leave(Bare):
    """Be a member no more; or withdraw one's own request, or turn an invitation down."""

    op: ClassVar[str] = "leave"


@dataclass(frozen=True, slots=True)
class Dissolve(Bare):
    """End the group."""

    op: ClassVar[str] = "dissolve"


@dataclass(frozen=True, slots=True)
class Describe(Bare):
    """The state of the group, as the asker may see it: a GroupState."""

    op: ClassVar[str] = "describe"


@dataclass(frozen=True, slots=True)
class Approve(OfUser):
    """Make a member of who asked to be one."""

    op: ClassVar[str] = "approve"


@dataclass(frozen=True, slots=True)
class Decline(OfUser):
    """Turn a request down, or take an invitation back."""

    op: ClassVar[str] = "decline"


@dataclass(frozen=True, slots=True)
class Remove(OfUser):
    """Take a member off the list."""

    op: ClassVar[str] = "remove"


@dataclass(frozen=True, slots=True)
class HandOver(OfUser):
    """Make another member the owner."""

    op: ClassVar[str] = "hand_over"


@dataclass(frozen=True, slots=True)
class SetRole:
    """Make a member an admin, or an admin a member."""

    op: ClassVar[str] = "role"
    user: int
    role: SettableRole

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, user=self.user, role=self.role)

    @classmethod
    def from_fields(cls, fields: Fields) -> SetRole:
        """Read from the map."""
        return cls(fields.number("user", 64), cast(SettableRole, fields.choice("role", _SETTABLE_ROLES)))


@dataclass(frozen=True, slots=True)
class Mute:
    """Let a member say nothing for so many seconds; 0: it may speak again."""

    op: ClassVar[str] = "mute"
    user: int
    seconds: int

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, user=self.user, seconds=self.seconds)

    @classmethod
    def from_fields(cls, fields: Fields) -> Mute:
        """Read from the map."""
        return cls(fields.number("user", 64), fields.number("seconds", 32))


@dataclass(frozen=True, slots=True)
class Change:
    """Rename, describe, say how one joins, let only owner and admins speak; None: as it is, and one at least is not None."""

    op: ClassVar[str] = "change"
    name: str | None = None
    description: str | None = None
    join: JoinRule | None = None
    is_muted: bool | None = None

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, name=self.name, description=self.description, join=self.join, is_muted=self.is_muted)

    @classmethod
    def from_fields(cls, fields: Fields) -> Change:
        """Read from the map."""
        change = cls(
            name=fields.text_or_none("name", MAX_NAME_CHARACTERS),
            description=fields.text_or_none("description", MAX_DESCRIPTION_CHARACTERS),
            join=read_join(fields) if fields.has("join") else None,
            is_muted=fields.truth("is_muted") if fields.has("is_muted") else None,
        )
        if change == cls():
            raise RemoteProtocolError(ErrorCode.BAD_COMMAND, "a change of nothing", field="op")
        return change


@dataclass(frozen=True, slots=True)
class ListGroups(After):
    """The asker's groups, invitations and requests, by group id: a GroupPage."""

    op: ClassVar[str] = "list"


@dataclass(frozen=True, slots=True)
class ListMembers(After):
    """The group's members, by user id: a MemberPage."""

    op: ClassVar[str] = "members"


@dataclass(frozen=True, slots=True)
class ListPending(After):
    """The group's requests and invitations, by user id: a PendingPage."""

    op: ClassVar[str] = "pending"


GroupRequest = (
    Create | Join | Leave | Invite | Approve | Decline | Remove | SetRole | HandOver | Mute | Change | Dissolve
    | ListGroups | ListMembers | ListPending | Describe
)  # fmt: skip

_KINDS: tuple[type[GroupRequest], ...] = (
    Create, Join, Leave, Invite, Approve, Decline, Remove, SetRole, HandOver, Mute, Change, Dissolve,
    ListGroups, ListMembers, ListPending, Describe,
)  # fmt: skip
_READERS: dict[str, Callable[[Fields], GroupRequest]] = {kind.op: kind.from_fields for kind in _KINDS}
OPS: Final = tuple(_READERS)


def decode_group_request(content: bytes) -> GroupRequest:
    """The request in the content of a GROUP from a terminal; RemoteProtocolError(BAD_COMMAND) with `field`, "op" for an unknown one."""
    fields = Fields.unpack(content)
    return _READERS[fields.choice("op", OPS)](fields)
