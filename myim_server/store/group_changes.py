"""What a decision about a group may ask the store to do; `groups.change` does it, all or nothing, in the order of the list.

What must not live here: who may decide so (`chat/group_rules`), and how it is done (`groups`).
"""

from typing import NamedTuple


class Added(NamedTuple):
    """The user becomes a member, whose cursor and `joined` are the group's number (G-4); a pending of the user is dropped."""

    user: int
    role: str


class Removed(NamedTuple):
    """The user is no member any more; rows above its cursor wait for one less (G-7)."""

    user: int


class RoleSet(NamedTuple):
    """The member has this role; "owner" makes it the group's owner (give the old one another role)."""

    user: int
    role: str


class MuteSet(NamedTuple):
    """The member may not speak until then; 0: it may."""

    user: int
    until: int


class Altered(NamedTuple):
    """The group has these from now on; None: as before."""

    name: str | None = None
    description: str | None = None
    join: str | None = None
    is_muted: bool | None = None


class Asked(NamedTuple):
    """An invitation or a request is kept; it takes the place of an older one of the user."""

    user: int
    kind: str
    by: int
    words: str


class Unasked(NamedTuple):
    """The user's invitation or request is dropped."""

    user: int


class Dissolved(NamedTuple):
    """The group, its members and pendings are gone at once; `group_purge` removes its rows."""


Change = Added | Removed | RoleSet | MuteSet | Altered | Asked | Unasked | Dissolved
