"""What a decision about friends may ask the store to do; `friends.change` does it, all or nothing, in the order of the list.

All are said from the side of the user who decides, about the other of the view. What must not live here: who may decide so
(`chat/friend_rules`), and how it is done (`friend_edits`).
"""

from typing import NamedTuple


class Befriended(NamedTuple):
    """Both become friends, the other in this group of the user's, the user in group 0 of the other's; requests between them are over."""

    group: int


class Unfriended(NamedTuple):
    """Both are friends no more."""


class Requested(NamedTuple):
    """The other is asked, or asked again."""

    words: str


class Withdrawn(NamedTuple):
    """The other is asked no more."""


class Answered(NamedTuple):
    """What the other asked is in this state, one of REQUEST_STATES; nobody is told."""

    state: str


class Blocked(NamedTuple):
    """The user hears nothing of the other."""


class Unblocked(NamedTuple):
    """The user hears of the other again."""


class Remarked(NamedTuple):
    """The user calls the friend so."""

    remark: str


class Moved(NamedTuple):
    """The friend is in this group of the user's."""

    group: int


class GroupAdded(NamedTuple):
    """The user has one more friend group, without friends."""

    name: str
    position: int


class GroupAltered(NamedTuple):
    """The user's friend group has these from now on."""

    group: int
    name: str
    position: int


class GroupRemoved(NamedTuple):
    """The user's friend group is gone; its friends are in group 0."""

    group: int


Change = (
    Befriended | Unfriended | Requested | Withdrawn | Answered | Blocked | Unblocked | Remarked | Moved | GroupAdded | GroupAltered
    | GroupRemoved
)  # fmt: skip
