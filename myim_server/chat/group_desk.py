"""The group requests of terminals, answered: what is to change is decided by `group_rules`, inside the store's transaction.

What lives here: one method per request, from the asked to the answer, and the telling of changes. What must not: who may do what
(`group_rules`), SQL, bytes, sockets. All of it may block, and runs in a greenlet of the asking request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, cast

import gevent

from myim_server.chat import group_rules as rules
from myim_server.chat.group_rules import GroupLimits
from myim_server.refusals import RequestRefused
from myim_server.store.group_changes import Added, Altered, Asked, Change, Dissolved, MuteSet, Removed, RoleSet, Unasked
from myim_server.store.group_values import Group, Member, Pending, View
from myim_wire import group_requests as asked
from myim_wire.errors import ErrorCode
from myim_wire.group_contents import (
    MAX_GROUPS_LISTED,
    MAX_MEMBERS_LISTED,
    MAX_PENDING_LISTED,
    Event,
    GroupChanged,
    GroupPage,
    GroupState,
    ListedMember,
    ListedPending,
    MemberPage,
    PendingPage,
)

_TOLD_AT_ONCE = 32  # of a thousand that may be invited by one request; then others have their turn
Decide = Callable[[View], Sequence[Change]]


class GroupTable(Protocol):
    """What is asked of the store (may block)."""

    def create(
        self,
        user: int,
        time: int,
        name: str,
        description: str,
        join: str,
        invited: Sequence[int],
        now: int,
        check: Callable[[int], None] = ...,
    ) -> tuple[Group, bool]: ...
    def change(
        self, group_id: int, users: Sequence[int], decide: Decide, now: int
    ) -> tuple[View, Sequence[Change]] | None: ...
    def state(self, group_id: int, user: int) -> tuple[Group, Member | None, Pending | None] | None: ...
    def of_user(self, user: int, after: int, limit: int) -> Sequence[tuple[Group, Member | None, Pending | None]]: ...
    def members(self, group_id: int, after: int, limit: int) -> tuple[int, Sequence[Member]]: ...
    def pending(self, group_id: int, after: int, limit: int) -> Sequence[Pending]: ...


class News(NamedTuple):
    """A change that was committed. is_for_members: all of them are told; users: who is told besides, member or not; joined: at which
    number, if somebody joined."""

    change: GroupChanged
    is_for_members: bool
    users: tuple[int, ...]
    joined: int = 0
    number: int = 0


class GroupDesk:
    """Answers GROUP."""

    def __init__(
        self,
        table: GroupTable,
        people: tuple[Callable[[int], Sequence[int]], Callable[[Sequence[int]], set[int]]],
        limits: GroupLimits,
        wall: Callable[[], int],
        tell: Callable[[News], None],
    ) -> None:
        """people = (the owner and admins of a group, which of these are users), both may block; wall: µs since 1970; tell: lets members
        here and elsewhere know, must not yield."""
        self._table = table
        self._officers, self._existing = people
        self._limits = limits
        self._wall = wall
        self._tell = tell
        self._answers: dict[type, Callable[[int, int, int, Any], bytes]] = {
            asked.Create: self._create,
            asked.Join: self._join,
            asked.Invite: self._invite,
            asked.ListGroups: self._list_groups,
            asked.ListMembers: self._list_members,
            asked.ListPending: self._list_pending,
            asked.Describe: self._describe,
        }

    def answer(self, user: int, time: int, group: int, request: asked.GroupRequest) -> bytes:
        """The content of the reply to a user's request under this name; RequestRefused, STORE_UNAVAILABLE among them (blocks)."""
        answer = self._answers.get(type(request))
        if answer is not None:
            return answer(user, time, group, request)
        subject, decide = self._decision(user, request)
        return self._change(user, group, (user, subject) if subject else (user,), decide)

    def _decision(self, user: int, request: asked.GroupRequest) -> tuple[int, Decide]:
        """(whom it is about, what decides it)."""
        if isinstance(request, asked.Leave):
            return 0, lambda view: rules.leave(view, user)
        if isinstance(request, asked.Approve):
            return request.user, lambda view: rules.approve(view, user, request.user, self._limits)
        if isinstance(request, asked.Decline):
            return request.user, lambda view: rules.decline(view, user, request.user)
        if isinstance(request, asked.Remove):
            return request.user, lambda view: rules.remove(view, user, request.user)
        if isinstance(request, asked.SetRole):
            return request.user, lambda view: rules.set_role(view, user, request.user, request.role)
        if isinstance(request, asked.HandOver):
            return request.user, lambda view: rules.hand_over(view, user, request.user)
        if isinstance(request, asked.Mute):
            now = self._wall()
            return request.user, lambda view: rules.mute(view, user, request.user, request.seconds, now)
        if isinstance(request, asked.Change):
            altered = Altered(
                None if request.name is None else rules.check_name(request.name),
                None if request.description is None else rules.check_text(request.description, "description"),
                request.join,
                request.is_muted,
            )
            return 0, lambda view: rules.change(view, user, altered)
        return 0, lambda view: rules.dissolve(view, user)

    def _change(self, user: int, group: int, users: Sequence[int], decide: Decide) -> bytes:
        """Let the decision happen, tell of it, and answer with the group as the user sees it then."""
        changed = self._table.change(group, users, decide, self._wall())
        if changed is None:
            raise rules.no_group()
        view, changes = changed
        self._tell_all(news_of(view, user, changes, self._officers))
        return _state(view.group, view.members.get(user), view.pending.get(user)).encode()

    # ------------------------------------------------------------------ what needs more

    def _create(self, user: int, time: int, group: int, request: asked.Create) -> bytes:
        if group:
            raise RequestRefused(ErrorCode.BAD_COMMAND, "a group that is made has no id yet", field="target")
        name, description = rules.check_name(request.name), rules.check_text(request.description, "description")
        invited = [one for one in dict.fromkeys(request.invited) if one != user]
        if len(invited) > self._limits.pending:
            raise RequestRefused(ErrorCode.LIMIT_REACHED, f"at most {self._limits.pending} invitations are open at a time")
        if len(self._existing(invited)) < len(invited):
            raise RequestRefused(ErrorCode.NOT_ALLOWED, "nobody of this id", field="invited")
        made, is_new = self._table.create(
            user, time, name, description, request.join, invited, self._wall(), lambda count: rules.check_memberships(count, self._limits)
        )
        if is_new:
            told = [News(GroupChanged("created", made.id, made.version, user, user), False, (user,))]
            told += [News(GroupChanged("invited", made.id, made.version, user, one), False, (one,)) for one in invited]
            self._tell_all(told)
        return self._describe(user, time, made.id, asked.Describe())

    def _join(self, user: int, time: int, group: int, request: asked.Join) -> bytes:
        words = rules.check_text(request.words, "words")
        return self._change(user, group, (user,), lambda view: rules.join(view, user, words, self._limits))

    def _invite(self, user: int, time: int, group: int, request: asked.Invite) -> bytes:
        users = tuple(dict.fromkeys((user, *request.users)))
        return self._change(user, group, users, lambda view: rules.invite(view, user, request.users, self._limits))

    # ------------------------------------------------------------------ what changes nothing

    def _describe(self, user: int, time: int, group: int, request: asked.Describe) -> bytes:
        found = self._table.state(group, user)
        if found is None or (found[1] is None and found[2] is None and found[0].join == "invitation"):
            raise rules.no_group()
        return _state(*found).encode()

    def _list_groups(self, user: int, time: int, group: int, request: asked.ListGroups) -> bytes:
        if group:
            raise RequestRefused(ErrorCode.BAD_COMMAND, "the list of groups has no target", field="target")
        found = self._table.of_user(user, request.after, MAX_GROUPS_LISTED + 1)
        return GroupPage.of((_state(*one) for one in found[:MAX_GROUPS_LISTED]), len(found) > MAX_GROUPS_LISTED).encode()

    def _list_members(self, user: int, time: int, group: int, request: asked.ListMembers) -> bytes:
        self._member(user, group)
        version, found = self._table.members(group, request.after, MAX_MEMBERS_LISTED + 1)
        listed = [ListedMember(one.user, cast(Any, one.role), one.muted_until, one.since) for one in found[:MAX_MEMBERS_LISTED]]
        return MemberPage(tuple(listed), version, len(found) > MAX_MEMBERS_LISTED).encode()

    def _list_pending(self, user: int, time: int, group: int, request: asked.ListPending) -> bytes:
        rules.may_list_pending(self._member(user, group))
        found = self._table.pending(group, request.after, MAX_PENDING_LISTED + 1)
        listed = (ListedPending(one.user, cast(Any, one.kind), one.by, one.words, one.made) for one in found[:MAX_PENDING_LISTED])
        return PendingPage.of(listed, len(found) > MAX_PENDING_LISTED).encode()

    def _member(self, user: int, group: int) -> Member:
        found = self._table.state(group, user)
        if found is None or found[1] is None:
            raise rules.no_group()
        return found[1]

    # ------------------------------------------------------------------ telling

    def _tell_all(self, told: Sequence[News]) -> None:
        for place, news in enumerate(told, 1):
            self._tell(news)
            if place % _TOLD_AT_ONCE == 0:
                gevent.sleep(0)


def news_of(view: View, actor: int, changes: Sequence[Change], officers: Callable[[int], Sequence[int]]) -> list[News]:
    """What is told of these changes, which are committed; officers: of a group (may block)."""
    group, version, number = view.group.id, view.group.version, view.group.number

    def news(event: Event, user: int, is_for_members: bool, users: tuple[int, ...] = (), joined: int = 0) -> News:
        return News(GroupChanged(event, group, version, actor, user), is_for_members, users, joined, number)

    told: list[News] = []
    for change in changes:
        if isinstance(change, Added):
            told.append(news("joined", change.user, True, (change.user,), view.members[change.user].joined))
        elif isinstance(change, Removed):
            told.append(news("left" if change.user == actor else "removed", change.user, True, (change.user,)))
        elif isinstance(change, RoleSet):
            told.append(news("role", change.user, True))
        elif isinstance(change, MuteSet):
            told.append(news("muted", change.user, True))
        elif isinstance(change, Altered):
            told.append(news("changed", 0, True))
        elif isinstance(change, Asked):  # who asked and who is invited is for those who decide
            is_request = change.kind == rules.REQUESTED
            users = tuple(officers(group)) if is_request else (change.user,)
            told.append(news("requested" if is_request else "invited", change.user, False, users))
        elif isinstance(change, Unasked):
            told.append(news("declined", change.user, False, (change.user,)))
        elif isinstance(change, Dissolved):
            told.append(news("dissolved", 0, True))
    return told


def _state(group: Group, member: Member | None, pending: Pending | None) -> GroupState:
    if member is not None:
        role, until, cursor, joined = member.role, member.muted_until, member.cursor, member.joined
    else:
        role, until, cursor, joined = ("none" if pending is None else pending.kind), 0, 0, 0
    return GroupState(
        group.id,
        group.name,
        group.description,
        cast(Any, group.join),
        group.is_muted,
        group.number if member is not None else 0,
        group.version,
        group.members,
        cast(Any, role),
        until,
        cursor,
        joined,
    )
