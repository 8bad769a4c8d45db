"""Who is told of which changes between users.

What lives here: from what was decided and done to pushes. What must not: who may do what (`friend_rules`), who is online where. Nothing is
told of a refusal, an ignoring or a block: they make nobody's list other, and only who did it may know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from myim_server.chat.friend_rules import REFUSED
from myim_server.store.friend_changes import Befriended, Blocked, Change, Requested, Unblocked, Unfriended, Withdrawn
from myim_server.store.friend_values import View
from myim_wire.friend_contents import FriendChanged


class Outcome(Protocol):
    """What a decision came to. `versions`: {user: version} of the lists that are other by it."""

    @property
    def view(self) -> View: ...
    @property
    def changes(self) -> Sequence[Change]: ...
    @property
    def versions(self) -> Mapping[int, int]: ...


class News(NamedTuple):
    """What was committed, and who is told. `by`: the terminal that did it (user << 6 | slot) and has its answer; `pushes`: each for all
    other sessions of a user; `pair`: between whom. `may_hear`: whether they may hear of each other from now on, None: as before;
    `is_blocked`: whether the first blocks the second from now on, None: as before."""

    by: int
    pushes: Sequence[tuple[int, FriendChanged]]
    pair: tuple[int, int] = (0, 0)
    may_hear: bool | None = None
    is_blocked: bool | None = None


def news_of(by: int, outcome: Outcome) -> News:
    """What to tell of it; by: the terminal that decided."""
    view, versions = outcome.view, outcome.versions
    user, other = view.user, view.other
    pushes = listed(versions)
    news = News(by, pushes, (user, other))
    for change in outcome.changes:
        match change:
            case Befriended():
                pushes.append((other, FriendChanged("accepted", versions[other], user)))
                news = news._replace(may_hear=not view.blocks and not view.is_blocked)
            case Unfriended():
                news = news._replace(may_hear=False)
            case Blocked():
                news = news._replace(may_hear=None if view.kept is None else False, is_blocked=True)
            case Unblocked():
                news = news._replace(may_hear=None if view.kept is None else not view.is_blocked, is_blocked=False)
            case Requested(words):
                pushes.append((other, FriendChanged("asked", view.others_version, user, words)))
            case Withdrawn() if view.outgoing != REFUSED:
                pushes.append((other, FriendChanged("withdrawn", view.others_version, user)))
    return news


def listed(versions: Mapping[int, int]) -> list[tuple[int, FriendChanged]]:
    """That these users' lists are other, at these versions."""
    return [(user, FriendChanged("list", version, 0)) for user, version in versions.items()]
