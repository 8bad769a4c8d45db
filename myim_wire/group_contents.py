"""What centers say about groups: the answers to GROUP, the answer to a fetch of a group's messages, the pushes [P-7.7] to [P-7.9].

What lives here: their values and bytes. What must not: what terminals ask (`group_requests`), who hears which push. Each value has
`encode()` and `decode(content)`; decoding raises RemoteProtocolError(BAD_COMMAND) whose `field` is the path of what was wrong.
All times are microseconds since 1970, 0 where there is none; `version` rises with each change of a group or of its members,
`number` is that of its last post.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, cast

from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.fields import Fields
from myim_wire.group_requests import MAX_DESCRIPTION_CHARACTERS, MAX_NAME_CHARACTERS, MAX_WORDS_CHARACTERS, JoinRule, read_join
from myim_wire.packing import pack_map
from myim_wire.pages import fitting

MAX_GROUPS_LISTED = 100
MAX_MEMBERS_LISTED = 200
MAX_PENDING_LISTED = 100
MAX_STANDINGS = 500

Role = Literal["owner", "admin", "member", "invited", "requested", "none"]
ROLES: Final = ("owner", "admin", "member", "invited", "requested", "none")
MemberRole = Literal["owner", "admin", "member"]
_MEMBER_ROLES = ROLES[:3]
PendingKind = Literal["requested", "invited"]
_PENDING_KINDS = ("requested", "invited")
Event = Literal["created", "joined", "left", "removed", "invited", "requested", "declined", "role", "muted", "changed", "dissolved"]
EVENTS: Final = ("created", "joined", "left", "removed", "invited", "requested", "declined", "role", "muted", "changed", "dissolved")
_BEHIND, _TOLD = "behind", "groups"


@dataclass(frozen=True, slots=True)
class GroupState:
    """A group as one user may see it; `members` is their count.

    `role`, `muted_until`, `cursor` and `joined` are the user's own; the last two and `number` are 0 for who is no member.
    """

    group: int
    name: str
    description: str
    join: JoinRule
    is_muted: bool
    number: int
    version: int
    members: int
    role: Role
    muted_until: int
    cursor: int
    joined: int

    def to_map(self) -> dict[str, object]:
        """As it stands in a page."""
        return {
            "group": self.group, "name": self.name, "description": self.description, "join": self.join, "is_muted": self.is_muted,
            "number": self.number, "version": self.version, "members": self.members, "role": self.role,
            "muted_until": self.muted_until, "cursor": self.cursor, "joined": self.joined,
        }  # fmt: skip

    @classmethod
    def from_fields(cls, fields: Fields) -> GroupState:
        """Read from a page."""
        return cls(
            group=fields.number("group", 64),
            name=fields.text("name", MAX_NAME_CHARACTERS),
            description=fields.text("description", MAX_DESCRIPTION_CHARACTERS),
            join=read_join(fields),
            is_muted=fields.truth("is_muted"),
            number=fields.number("number", 64),
            version=fields.number("version", 64),
            members=fields.number("members", 32),
            role=cast(Role, fields.choice("role", ROLES)),
            muted_until=fields.number("muted_until", 64),
            cursor=fields.number("cursor", 64),
            joined=fields.number("joined", 64),
        )

    def encode(self) -> bytes:
        """The content."""
        return pack_map(self.to_map())

    @classmethod
    def decode(cls, content: bytes) -> GroupState:
        """From the content."""
        return cls.from_fields(Fields.unpack(content))


@dataclass(frozen=True, slots=True)
class ListedMember:
    """A member, and since when it is one."""

    user: int
    role: MemberRole
    muted_until: int
    since: int

    def to_map(self) -> dict[str, object]:
        """As it stands in a page."""
        return {"user": self.user, "role": self.role, "muted_until": self.muted_until, "since": self.since}

    @classmethod
    def from_fields(cls, fields: Fields) -> ListedMember:
        """Read from a page."""
        return cls(
            user=fields.number("user", 64),
            role=cast(MemberRole, fields.choice("role", _MEMBER_ROLES)),
            muted_until=fields.number("muted_until", 64),
            since=fields.number("since", 64),
        )


@dataclass(frozen=True, slots=True)
class ListedPending:
    """A request by the user itself, with its words, or an invitation by another; and when it was made."""

    user: int
    kind: PendingKind
    by: int
    words: str
    made: int

    def to_map(self) -> dict[str, object]:
        """As it stands in a page."""
        return {"user": self.user, "kind": self.kind, "by": self.by, "words": self.words, "made": self.made}

    @classmethod
    def from_fields(cls, fields: Fields) -> ListedPending:
        """Read from a page."""
        return cls(
            user=fields.number("user", 64),
            kind=cast(PendingKind, fields.choice("kind", _PENDING_KINDS)),
            by=fields.number("by", 64),
            words=fields.text("words", MAX_WORDS_CHARACTERS),
            made=fields.number("made", 64),
        )


@dataclass(frozen=True, slots=True)
class GroupPage:
    """At most 100 groups of the asker, by id; `is_more`: ask again after the last."""

    groups: tuple[GroupState, ...]
    is_more: bool

    @classmethod
    def of(cls, groups: Iterable[GroupState], is_more: bool) -> GroupPage:
        """The first of `groups` that one message holds: long texts in UTF-8 may leave room for 14 only."""
        fitted, is_cut = fitting(groups, MAX_GROUPS_LISTED, GroupState.to_map)
        return cls(fitted, is_more or is_cut)

    def encode(self) -> bytes:
        """The content."""
        return pack_map({"groups": [group.to_map() for group in self.groups], "is_more": self.is_more})

    @classmethod
    def decode(cls, content: bytes) -> GroupPage:
        """From the content."""
        fields = Fields.unpack(content)
        groups = tuple(GroupState.from_fields(group) for group in fields.maps("groups", MAX_GROUPS_LISTED))
        return cls(groups, fields.truth("is_more"))


@dataclass(frozen=True, slots=True)
class MemberPage:
    """At most 200 members, by user id; pages with different versions are of different lists."""

    members: tuple[ListedMember, ...]
    version: int
    is_more: bool

    def encode(self) -> bytes:
        """The content."""
        members = [member.to_map() for member in self.members]
        return pack_map({"members": members, "version": self.version, "is_more": self.is_more})

    @classmethod
    def decode(cls, content: bytes) -> MemberPage:
        """From the content."""
        fields = Fields.unpack(content)
        members = tuple(ListedMember.from_fields(member) for member in fields.maps("members", MAX_MEMBERS_LISTED))
        return cls(members, fields.number("version", 64), fields.truth("is_more"))


@dataclass(frozen=True, slots=True)
class PendingPage:
    """At most 100 requests and invitations, by user id; `is_more`: ask again after the last."""

    pending: tuple[ListedPending, ...]
    is_more: bool

    @classmethod
    def of(cls, pending: Iterable[ListedPending], is_more: bool) -> PendingPage:
        """The first of `pending` that one message holds: words in UTF-8 may leave room for 70 only."""
        fitted, is_cut = fitting(pending, MAX_PENDING_LISTED, ListedPending.to_map)
        return cls(fitted, is_more or is_cut)

    def encode(self) -> bytes:
        """The content."""
        return pack_map({"pending": [pending.to_map() for pending in self.pending], "is_more": self.is_more})

    @classmethod
    def decode(cls, content: bytes) -> PendingPage:
        """From the content."""
        fields = Fields.unpack(content)
        pending = tuple(ListedPending.from_fields(one) for one in fields.maps("pending", MAX_PENDING_LISTED))
        return cls(pending, fields.truth("is_more"))


@dataclass(frozen=True, slots=True)
class GroupChanged:
    """`actor` did something to `user` (0: to the group), and `version` is the group's after it. A hint: what is now, is asked for."""

    event: Event
    group: int
    version: int
    actor: int
    user: int

    def encode(self) -> bytes:
        """The content."""
        return pack_map({"event": self.event, "group": self.group, "version": self.version, "actor": self.actor, "user": self.user})

    @classmethod
    def from_fields(cls, fields: Fields) -> GroupChanged:
        """Read from the map."""
        return cls(
            event=cast(Event, fields.choice("event", EVENTS)),
            group=fields.number("group", 64),
            version=fields.number("version", 64),
            actor=fields.number("actor", 64),
            user=fields.number("user", 64),
        )


@dataclass(frozen=True, slots=True)
class GroupBehind:
    """The group's number: fetch, if you have less."""

    group: int
    number: int

    def encode(self) -> bytes:
        """The content."""
        return pack_map({"event": _BEHIND, "group": self.group, "number": self.number})

    @classmethod
    def from_fields(cls, fields: Fields) -> GroupBehind:
        """Read from the map."""
        return cls(fields.number("group", 64), fields.number("number", 64))


class Standing(NamedTuple):
    """A membership: the group, its version and number, up to where the user confirmed all, and where the membership began."""

    group: int
    version: int
    number: int
    cursor: int
    joined: int


@dataclass(frozen=True, slots=True)
class GroupsTold:
    """At most 500 memberships of the user; `is_last`: with those told before, these are all."""

    groups: tuple[Standing, ...]
    is_last: bool

    def encode(self) -> bytes:
        """The content."""
        return pack_map({"event": _TOLD, "groups": [list(standing) for standing in self.groups], "is_last": self.is_last})

    @classmethod
    def from_fields(cls, fields: Fields) -> GroupsTold:
        """Read from the map."""
        rows = fields.rows("groups", 64, len(Standing._fields), MAX_STANDINGS)
        return cls(tuple(Standing._make(row) for row in rows), fields.truth("is_last"))


GroupPush = GroupChanged | GroupBehind | GroupsTold
_PUSHES: dict[str, Callable[[Fields], GroupPush]] = {
    **dict.fromkeys(EVENTS, GroupChanged.from_fields),
    _BEHIND: GroupBehind.from_fields,
    _TOLD: GroupsTold.from_fields,
}  # fmt: skip


def decode_group_push(content: bytes) -> GroupPush:
    """What a GROUP from a center that is no reply says [P-7.9]; BAD_COMMAND with `field`, "event" for an event that is not known here."""
    fields = Fields.unpack(content)
    return _PUSHES[fields.choice("event", tuple(_PUSHES))](fields)


def encode_group_fetch(after: int) -> bytes:
    """The content of an OFFLINE_FETCH whose target is a group: all above `after` is wanted [P-7.8]."""
    return pack_map({"after": after})


def decode_group_fetch(content: bytes) -> int:
    """The number above which messages of a group are wanted [P-7.8]."""
    return Fields.unpack(content).number("after", 64)


@dataclass(frozen=True, slots=True)
class GroupFetched:
    """The reply to a fetch of a group: all that is left up to `up_to` was sent; `number` is the group's. Below it, fetch again."""

    up_to: int
    number: int

    def encode(self) -> bytes:
        """The content."""
        return pack_map({"up_to": self.up_to, "number": self.number})

    @classmethod
    def decode(cls, content: bytes) -> GroupFetched:
        """From the content."""
        fields = Fields.unpack(content)
        fetched = cls(fields.number("up_to", 64), fields.number("number", 64))
        if fetched.up_to > fetched.number:
            raise RemoteProtocolError(ErrorCode.BAD_COMMAND, "fetched beyond the group's number", field="up_to")
        return fetched
