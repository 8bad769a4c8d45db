"""The requests of terminals about friends, answered: what is to change is decided by `friend_rules`, inside the store's transaction.

What lives here: from the asked to the answer. What must not: who may do what (`friend_rules`), who is told (`friend_news`), SQL, bytes,
sockets, presence. All of it may block, and runs in a greenlet of the asking request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from myim_server.chat import friend_rules as rules
from myim_server.chat.friend_news import News, Outcome, news_of
from myim_server.chat.friend_roots import HASHING, FriendRoots, ListTable
from myim_server.chat.friend_rules import FriendLimits
from myim_server.refusals import RequestRefused
from myim_server.store.friend_changes import Change
from myim_server.store.friend_values import Ask, Difference, Friend, Hashing, View
from myim_wire import friend_contents as told
from myim_wire import friend_requests as asked
from myim_wire.errors import ErrorCode

Decide = Callable[[View], Sequence[Change]]


class FriendTable(ListTable, Protocol):
    """What is asked of the store about friends (may block)."""

    def difference(self, user: int, since: int, limits: tuple[int, int], hashing: Hashing) -> Difference: ...
    def page(self, user: int, group: int, after: int, limit: int) -> tuple[int, Sequence[Friend]]: ...
    def change(self, user: int, other: int, decide: Decide, now: int) -> Outcome | None: ...
    def requests(self, user: int, after: int, limit: int) -> tuple[Sequence[Ask], Sequence[Ask]]: ...
    def blocked(self, user: int, after: int, limit: int) -> Sequence[tuple[int, str]]: ...


class FriendDesk:
    """Answers FRIENDS, but for searches, and FRIEND_CHANGE."""

    def __init__(self, friends: FriendTable, limits: FriendLimits, wall: Callable[[], int], tell: Callable[[News], None]) -> None:
        """wall: µs since 1970; tell: lets terminals here and elsewhere know, must not yield."""
        self._friends = friends
        self._roots = FriendRoots(friends)
        self._limits = limits
        self._wall = wall
        self._tell = tell
        self._answers: dict[type, Callable[[int, Any], bytes]] = {
            asked.Sync: self._sync,
            asked.ListFriends: self._list_friends,
            asked.ListRequests: self._list_requests,
            asked.ListBlocked: self._list_blocked,
        }

    # ------------------------------------------------------------------ what changes nothing

    def answer(self, user: int, request: asked.FriendRequest) -> bytes:
        """The content of the reply to a FRIENDS; RequestRefused, STORE_UNAVAILABLE among them (blocks)."""
        return self._answers[type(request)](user, request)

    def _sync(self, user: int, request: asked.Sync) -> bytes:
        state = self._friends.state(user)
        if state.root == request.root and not state.is_stale:
            return told.Synced(state.version, state.root).encode()
        limits = (told.MAX_CHANGED, told.MAX_REMOVED)
        found = self._friends.difference(user, request.version, limits, HASHING)
        changes = None
        # Who has the version and another root has a broken copy: nothing changed in it, and yet it is wrong.
        if found.changes is not None and request.version != found.version:
            changes = (map(_shown, found.changes[0]), found.changes[1])
        groups = [told.HashedGroup(*group) for group in found.groups]
        return told.Synced.of(found.version, found.root, request.root, groups, changes).encode()

    def _list_friends(self, user: int, request: asked.ListFriends) -> bytes:
        version, found = self._friends.page(user, request.group, request.after, told.MAX_FRIENDS_LISTED + 1)
        return told.FriendPage.of(map(_shown, found), version, False).encode()

    def _list_requests(self, user: int, request: asked.ListRequests) -> bytes:
        incoming, outgoing = self._friends.requests(user, request.after, told.MAX_REQUESTS_LISTED + 1)
        came = [told.IncomingRequest(*one) for one in incoming]
        return told.RequestPage.of(came, [told.OutgoingRequest(*one[:4]) for one in outgoing], False).encode()

    def _list_blocked(self, user: int, request: asked.ListBlocked) -> bytes:
        found = self._friends.blocked(user, request.after, told.MAX_BLOCKED_LISTED + 1)
        users = tuple(told.BlockedUser(*one) for one in found[: told.MAX_BLOCKED_LISTED])
        return told.BlockedPage(users, len(found) > told.MAX_BLOCKED_LISTED).encode()

    # ------------------------------------------------------------------ changes

    def change(self, user: int, slot: int, request: asked.FriendChangeRequest) -> tuple[bytes, int]:
        """The content of the reply to a FRIEND_CHANGE from a terminal, and how many friends had to be hashed for it; RequestRefused,
        STORE_UNAVAILABLE among them (blocks)."""
        other = getattr(request, "user", None)
        if other == user:
            raise RequestRefused(ErrorCode.BAD_COMMAND, "one is no friend of oneself", field="user")
        if other == 0:
            raise rules.not_allowed()
        outcome = self._friends.change(user, other or 0, self._decision(request), self._wall())
        if outcome is None:
            raise rules.not_allowed()
        if outcome.changes:
            self._tell(news_of(user << 6 | slot, outcome))
        return told.Changed(*self._roots.of(user)).encode(), outcome.view.friends if outcome.versions else 0

    def _decision(self, request: asked.FriendChangeRequest) -> Decide:
        limits = self._limits
        match request:
            case asked.Ask(_, words):
                return lambda view: rules.ask(view, words, limits)
            case asked.Accept(_, group):
                return lambda view: rules.accept(view, group, limits)
            case asked.Remark(_, remark):
                return lambda view: rules.remark(view, remark)
            case asked.MoveFriend(_, group):
                return lambda view: rules.move(view, group)
            case asked.Block():
                return lambda view: rules.block(view, limits)
            case asked.AddGroup(name, position):
                return lambda view: rules.add_group(view, name, position, limits)
            case asked.ChangeGroup(group, new_name, new_position):
                return lambda view: rules.change_group(view, group, new_name, new_position)
            case asked.RemoveGroup(group):
                return lambda view: rules.remove_group(view, group)
        return _PLAIN[type(request)]


_PLAIN: dict[type, Decide] = {
    asked.Refuse: rules.refuse,
    asked.Ignore: rules.ignore,
    asked.Withdraw: rules.withdraw,
    asked.RemoveFriend: rules.remove,
    asked.Unblock: rules.unblock,
}


def _shown(friend: Friend) -> told.Friend:
    return told.Friend(*friend)
