"""What terminals say about friends and profiles: whether it is allowed now, and how it is answered.

What lives here: the checks on the form and the amount of it. What must not: who may do what (`chat.friend_rules`), sockets, SQL. Besides
the pace of all requests there are budgets of each user's, whatever the number of its terminals: searching is a way to list who exists,
asking a way to pester, and a new profile is work for the list of every friend.
"""

from __future__ import annotations

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

    def list(self, talk: Talk, message: Message, now: float) -> None:
        """FRIENDS [P-7.15]."""
        self._requests.check(talk, message, now, is_empty=False)
        asked = decode_friend_request(message.content)
        user = talk.party.session.user
        if isinstance(asked, Search):
            self._spend(self._budgets.searches, user, now)
            self._requests.later(talk, message, lambda: self._profiles.search(user, asked))
        else:
            self._requests.later(talk, message, lambda: self._friends.answer(user, asked))

    def change(self, talk: Talk, message: Message, now: float) -> None:
        """FRIEND_CHANGE [P-7.15]."""
        self._requests.check(talk, message, now, is_empty=False)
        asked = decode_friend_change_request(message.content)
        session = talk.party.session
        if isinstance(asked, Ask):
            self._spend(self._budgets.asks, session.user, now)
        self._metrics.friend_changes += 1
        self._requests.later(talk, message, lambda: self._friends.change(session.user, session.slot, asked))

    def profile(self, talk: Talk, message: Message, now: float) -> None:
        """SIGNATURE [P-7.16]."""
        self._requests.check(talk, message, now, is_empty=False)
        asked = decode_profile_request(message.content)
        session = talk.party.session
        if not isinstance(asked, GetProfiles):
            self._spend(self._budgets.profiles, session.user, now)
        self._requests.later(talk, message, lambda: self._profiles.answer(session.user, session.slot, asked))

    def _spend(self, budgets: Budgets, user: int, now: float) -> None:
        wait = budgets.spend(user, now)
        if wait:
            raise RequestRefused(ErrorCode.SLOW_DOWN, "too many of these", retry_ms=int(wait * 1000) + 1)
