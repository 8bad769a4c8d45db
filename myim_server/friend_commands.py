"""What terminals say about friends and profiles: whether it is allowed now, and how it is answered.

What lives here: the checks on the form and the amount of it. What must not: who may do what (`chat.friend_rules`), sockets, SQL. Besides
the pace of all requests there are budgets of each user's, whatever the number of its terminals: searching is a way to list who exists,
asking a way to pester, and a new profile is work for the list of every friend. A change of a long list is work too, since the answer has
its hash: one session's are made one behind the other, and a long list is held against the requests that follow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from myim_server.chat.friend_desk import FriendDesk
from myim_server.chat.profile_desk import ProfileDesk
from myim_server.metrics import Metrics
from myim_server.pace import Budgets
from myim_server.refusals import RequestRefused
from myim_server.requests import Requests, Talk
from myim_wire.errors import ErrorCode
from myim_wire.friend_requests import (
    Ask,
    GetProfiles,
    Search,
    decode_friend_change_request,
    decode_friend_request,
    decode_profile_request,
)
from myim_wire.messages import Message

_MOST_WAITING = 64
_FRIENDS_OF_A_REQUEST = 500  # to hash so many costs about as much as the change itself

_Answer = Callable[[], bytes]


class FriendBudgets(NamedTuple):
    """What a user may do so often."""

    searches: Budgets
    asks: Budgets
    profiles: Budgets


class FriendCommands:
    """Takes what terminals say about friends."""

    def __init__(
        self, desks: tuple[FriendDesk, ProfileDesk], budgets: FriendBudgets, requests: Requests, metrics: Metrics
    ) -> None:
        self._friends, self._profiles = desks
        self._budgets = budgets
        self._requests = requests
        self._metrics = metrics
        self._waiting: dict[Talk, deque[tuple[Message, _Answer]]] = {}  # of each session that changes something: what is behind it

    def list(self, talk: Talk, message: Message, now: float) -> None:
        """FRIENDS [P-7.15]."""
        self._requests.check(talk, message, now, is_empty=False)
        asked = decode_friend_request(message.content)
        user = talk.party.session.user
        if isinstance(asked, Search):
            self._budgets.searches.require(user, now)
            self._requests.later(talk, message, lambda: self._profiles.search(user, asked))
        else:
            self._requests.later(talk, message, lambda: self._friends.answer(user, asked))

    def change(self, talk: Talk, message: Message, now: float) -> None:
        """FRIEND_CHANGE [P-7.15]."""
        self._requests.check(talk, message, now, is_empty=False)
        asked = decode_friend_change_request(message.content)
        session = talk.party.session
        if len(self._waiting.get(talk, ())) >= _MOST_WAITING:
            raise RequestRefused(ErrorCode.SLOW_DOWN, "too many changes before this one", retry_ms=1000)
        if isinstance(asked, Ask):
            self._budgets.asks.require(session.user, now)
        self._metrics.friend_changes += 1

        def change() -> bytes:
            content, friends = self._friends.change(session.user, session.slot, asked)
            talk.pace.charge(friends // _FRIENDS_OF_A_REQUEST)
            return content

        self._in_turn(talk, message, change)

    def _in_turn(self, talk: Talk, message: Message, ask: _Answer) -> None:
        """Behind those of the session that came before."""
        if talk in self._waiting:
            self._waiting[talk].append((message, ask))
        else:
            self._waiting[talk] = deque()
            self._go(talk, message, ask)

    def _go(self, talk: Talk, message: Message, ask: _Answer) -> None:
        def run() -> bytes:
            try:
                return ask()
            finally:
                waiting = self._waiting[talk]
                if waiting:
                    self._go(talk, *waiting.popleft())
                else:
                    del self._waiting[talk]

        self._requests.later(talk, message, run)

    def profile(self, talk: Talk, message: Message, now: float) -> None:
        """SIGNATURE [P-7.16]."""
        self._requests.check(talk, message, now, is_empty=False)
        asked = decode_profile_request(message.content)
        session = talk.party.session
        if not isinstance(asked, GetProfiles):
            self._budgets.profiles.require(session.user, now)
        self._requests.later(talk, message, lambda: self._profiles.answer(session.user, session.slot, asked))
