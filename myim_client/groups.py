"""`client.groups`: what an application asks about groups, one typed method each; every one waits for the center's answer.

The answers are taken up by `group_courier`, whoever waits for them; messages to groups are sent by `Client.post` and come as events.
Who may do what is the center's to say (NOT_ALLOWED, NOT_MEMBER, LIMIT_REACHED, … [P-9]).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from myim_client.errors import MyimError, RequestRefused, WithinTransaction
from myim_client.questions import Question
from myim_wire import group_requests as asked
from myim_wire.errors import LocalProtocolError
from myim_wire.group_contents import GroupPage, GroupState, ListedMember, ListedPending, MemberPage, PendingPage
from myim_wire.group_requests import GroupRequest, JoinRule, SettableRole

ANSWER_SECONDS = 10.0
LEARN_SECONDS = 1.0
MAX_LEARNT = 20  # at once
Answered = TypeVar("Answered")


class Groups:
    """The groups of one client. Users and groups are ids.

    Every method but `known` and `learn` raises RequestRefused, NotConnected (no session, or no answer within 10 s: it may have happened
    all the same), WithinTransaction, and ValueError for what no center could be asked.
    """

    def __init__(
        self, ask: Callable[[int, GroupRequest], Question], flush: Callable[[], None], is_within: Callable[[], bool],
        known: Callable[[], list[GroupState]],
    ) -> None:  # fmt: skip
        """ask: puts a request to a group (0: to none); flush: writes it; is_within: whether this thread holds a transaction."""
        self._ask = ask
        self._flush = flush
        self._is_within = is_within
        self._known = known

    def known(self) -> list[GroupState]:
        """The user's groups, invitations and requests as last described, from the file; `cursor` is this terminal's position."""
        return self._known()

    def mine(self) -> list[GroupState]:
        """All groups of the user, his invitations and requests, by id, as the center has them now."""
        found: list[GroupState] = []
        while True:
            page = self._answer(0, asked.ListGroups(found[-1].group if found else 0), GroupPage.decode)
            found += page.groups
            if not page.is_more or not page.groups:
                return found

    def describe(self, group: int) -> GroupState:
        """The group as the user may see it now."""
        return self._state(group, asked.Describe())

    def learn(self, groups: Iterable[int], seconds: float = LEARN_SECONDS) -> None:
        """Ask what these are that are not known here, all at once (20 at most), and wait at most `seconds` for all of them together."""
        end = time.monotonic() + seconds
        known = {state.group for state in self.known()}
        with contextlib.suppress(MyimError):
            self._check()
            unknown = [group for group in dict.fromkeys(groups) if group not in known]
            questions = [self._ask(group, asked.Describe()) for group in unknown[:MAX_LEARNT]]
            self._flush()
            for question in questions:
                with contextlib.suppress(RequestRefused):
                    question.wait(max(0.0, end - time.monotonic()))

    def members(self, group: int) -> Iterator[ListedMember]:
        """The members, by user id; asked for by the page as one goes on."""
        after = 0
        while True:
            page = self._answer(group, asked.ListMembers(after), MemberPage.decode)
            yield from page.members
            if not page.is_more or not page.members:
                return
            after = page.members[-1].user

    def pending(self, group: int) -> Iterator[ListedPending]:
        """The open requests and invitations, by user id; asked for by the page as one goes on."""
        after = 0
        while True:
            page = self._answer(group, asked.ListPending(after), PendingPage.decode)
            yield from page.pending
            if not page.is_more or not page.pending:
                return
            after = page.pending[-1].user

    def create(self, name: str, description: str = "", join: JoinRule = "invitation", invite: Iterable[int] = ()) -> GroupState:
        """Make a group (name ≤ 64 characters, description ≤ 1,000), and invite up to 1,000 users to it; the user is its owner."""
        return self._state(0, asked.Create(name, description, join, tuple(invite)))

    def join(self, group: int, words: str = "") -> GroupState:
        """Be a member, or ask to be one with `words` (≤ 200 characters) for who approves; `role` of the answer says which of the two."""
        return self._state(group, asked.Join(words))

    def leave(self, group: int) -> GroupState:
        """Be a member no more; or withdraw one's own request, or turn an invitation down."""
        return self._state(group, asked.Leave())

    def invite(self, group: int, users: Iterable[int]) -> GroupState:
        """Invite 1 to 1,000 users; who had asked to join is a member at once."""
        return self._state(group, asked.Invite(tuple(users)))

    def approve(self, group: int, user: int) -> GroupState:
        """Make a member of who asked to be one."""
        return self._state(group, asked.Approve(user))

    def decline(self, group: int, user: int) -> GroupState:
        """Turn a request down, or take an invitation back."""
        return self._state(group, asked.Decline(user))

    def remove(self, group: int, user: int) -> GroupState:
        """Take a member off the list."""
        return self._state(group, asked.Remove(user))

    def set_role(self, group: int, user: int, role: SettableRole) -> GroupState:
        """Make a member an admin, or an admin a member."""
        return self._state(group, asked.SetRole(user, role))

    def hand_over(self, group: int, user: int) -> GroupState:
        """Make another member the owner."""
        return self._state(group, asked.HandOver(user))

    def mute(self, group: int, user: int, seconds: int) -> GroupState:
        """Let a member say nothing for so many seconds; 0: it may speak again."""
        return self._state(group, asked.Mute(user, seconds))

    def change(
        self, group: int, *, name: str | None = None, description: str | None = None, join: JoinRule | None = None,
        is_muted: bool | None = None,
    ) -> GroupState:  # fmt: skip
        """Rename, describe, say how one joins, let only owner and admins speak; None: as it is."""
        return self._state(group, asked.Change(name, description, join, is_muted))

    def dissolve(self, group: int) -> GroupState:
        """End the group."""
        return self._state(group, asked.Dissolve())

    def _state(self, group: int, request: GroupRequest) -> GroupState:
        return self._answer(group, request, GroupState.decode)

    def _answer(self, group: int, request: GroupRequest, decode: Callable[[bytes], Answered]) -> Answered:
        self._check()
        try:
            question = self._ask(group, request)
        except LocalProtocolError as error:
            raise ValueError(str(error)) from None
        self._flush()
        return question.wait_for(decode, ANSWER_SECONDS)

    def _check(self) -> None:
        if self._is_within():
            raise WithinTransaction("nothing is received within a transaction: ask before or after it")
