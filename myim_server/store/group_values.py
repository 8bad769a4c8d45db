"""What the store says about groups: a group, its members and pendings, a post, and what became of it.

What must not live here: SQL, and rules. Times are µs since 1970 of the center that says them; numbers are those of a group's posts, from 1.
"""

import enum
from typing import NamedTuple

# A role's place is its number in the tables. Old ones never move.
ROLES = ("member", "admin", "owner")
KINDS = ("requested", "invited")
JOINS = ("open", "approval", "invitation")


class Group(NamedTuple):
    """A group as it is now. `join`: one of JOINS; `number`: the latest post's; `version`: rises by one with each change of the group or of
    the list of its members; `members`: how many."""

    id: int
    name: str
    description: str
    join: str
    is_muted: bool
    owner: int
    number: int
    version: int
    members: int
    created: int


class Member(NamedTuple):
    """A member. `role`: one of ROLES; `cursor`: up to which number all is confirmed; `joined`: the group's number when it came;
    `muted_until`: 0 if it was never muted; `since`: when it came."""

    user: int
    role: str
    cursor: int
    joined: int
    muted_until: int
    since: int


class Pending(NamedTuple):
    """An invitation or a request. `kind`: one of KINDS; `by`: who invited, or the user itself."""

    user: int
    kind: str
    by: int
    words: str
    made: int


class View(NamedTuple):
    """What a decision is made upon. `members`, `pending`: those of the users asked for that are there; `requests`: how many pendings the
    group has; `memberships`: in how many groups each user asked for is; `existing`: which of them are users at all."""

    group: Group
    members: dict[int, Member]
    pending: dict[int, Pending]
    requests: int
    memberships: dict[int, int]
    existing: set[int]


class Standing(NamedTuple):
    """One membership of a user, for its terminals."""

    group: int
    version: int
    number: int
    cursor: int
    joined: int


class Post(NamedTuple):
    """A post to be stored; (user, time) is its name [P-3.6], `entered` and `message_id` where it entered and its id there [P-3.10]."""

    group: int
    user: int
    time: int
    body: bytes
    entered: int
    message_id: int
    accepted: int


class Posted(NamedTuple):
    """A post that is stored, or was before (`is_repeat`); `version` is the group's at this commit."""

    number: int
    version: int
    is_repeat: bool = False


class PostRefused(enum.Enum):
    """Why a post is not stored: no such group, or its user is no member; may not speak; the name was used for other content; the group
    holds as much as it may."""

    NOT_MEMBER = enum.auto()
    MUTED = enum.auto()
    CONFLICT = enum.auto()
    FULL = enum.auto()


class Row(NamedTuple):
    """A stored post."""

    number: int
    user: int
    time: int
    accepted: int
    entered: int
    message_id: int
    body: bytes
