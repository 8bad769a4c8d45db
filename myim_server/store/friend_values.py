"""What the store says about friends: lists and their groups, friends, requests, and the view that a decision is made upon.

What must not live here: SQL, and rules. Times are µs since 1970 of the center that says them; `version` is that of a user's list.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

# A state's place is its number in the table. Old ones never move. Who asked is never told which it is.
REQUEST_STATES = ("open", "ignored", "refused")
NO_ROOT = bytes(32)


class Friend(NamedTuple):
    """A friend as a list shows it. `group`: of the list's owner; `name` is the user's own, `remark` the owner's for it."""

    user: int
    group: int
    name: str
    remark: str
    display_name: str
    avatar: str
    signature: str


class FriendGroup(NamedTuple):
    """A friend group. `hash`: of its friends, 16 bytes."""

    id: int
    name: str
    position: int
    hash: bytes


class ListState(NamedTuple):
    """How a list is. `root`, 32 bytes, is right unless `is_stale`."""

    version: int
    root: bytes
    is_stale: bool


class Difference(NamedTuple):
    """A list as it is, and what became other in it. `changed` and `removed` (user ids) are all since the version asked for; None: that is
    not known any more, or too much."""

    version: int
    root: bytes
    groups: Sequence[FriendGroup]
    changes: tuple[Sequence[Friend], Sequence[int]] | None


class Ask(NamedTuple):
    """A request to be friends, seen from one side. `user`: who is at the other; `is_ignored` is for who was asked."""

    user: int
    name: str
    words: str
    made: int
    is_ignored: bool


class Kept(NamedTuple):
    """How a list keeps a friend."""

    group: int
    remark: str


class View(NamedTuple):
    """What a decision is made upon: `user` decides something about `other` (0: about the own list alone), both rows are locked.

    exists: whether `other` is a user. others_version: of its list. kept: as a friend of the user's, None: it is none. friends,
    others_friends: how many each has. incoming, outgoing: the state of the request from the other, to the other; None: there is none.
    others_requests: how many the other was asked that it has not refused; own_requests: how many the user asked. blocks: the user the
    other; is_blocked: the user by the other; blocked: how many the user blocks. is_askable: whether the other wants to be asked. groups:
    the user's.
    """

    user: int
    other: int
    exists: bool
    others_version: int
    kept: Kept | None
    friends: int
    others_friends: int
    incoming: str | None
    outgoing: str | None
    others_requests: int
    own_requests: int
    blocks: bool
    is_blocked: bool
    blocked: int
    is_askable: bool
    groups: Mapping[int, FriendGroup]


class GroupHash(Protocol):
    """The hash of one group's friends, which come in pages, by user id ascending."""

    def add(self, friends: Iterable[Friend]) -> None:
        """The next page."""

    def digest(self) -> bytes:
        """16 bytes."""


class Hashing(NamedTuple):
    """How lists are hashed, which the store does not know: begin a group's hash; the root (32 bytes) of a list's groups. Both may run in
    another thread, and must not yield."""

    begin: Callable[[], GroupHash]
    root: Callable[[Sequence[FriendGroup]], bytes]
