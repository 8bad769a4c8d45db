"""Who may do what in a group: pure decisions over what the store shows of it, made again inside the transaction that carries them out.

What lives here: one function per request, from a view of the group to the changes that follow (docs/groups.md, G-10), or a refusal. What
must not: SQL, sockets, clocks, who is online. Somebody who may not know of a group gets the same NOT_ALLOWED as for one that is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from myim_server.chat.texts import check_text as check_text
from myim_server.chat.texts import check_title
from myim_server.refusals import RequestRefused
from myim_server.store.group_changes import (
    Added,
    Altered,
    Asked,
    Change,
    Dissolved,
    MuteSet,
    Removed,
    RoleSet,
    Unasked,
)
from myim_server.store.group_values import Member, View
from myim_wire.errors import ErrorCode
from myim_wire.group_requests import MAX_NAME_CHARACTERS

OWNER, ADMIN, MEMBER = "owner", "admin", "member"
INVITED, REQUESTED = "invited", "requested"
OPEN, APPROVAL = "open", "approval"
_RANK = {OWNER: 2, ADMIN: 1, MEMBER: 0}
_SECOND = 1_000_000


class GroupLimits(NamedTuple):
    """How large a group may be, in how many a user may be, how many invitations and requests may be open."""

    members: int = 2_000
    per_user: int = 500
    pending: int = 1_000


def check_name(name: str) -> str:
    """The name of a group as it is kept; RequestRefused NAME_INVALID."""
    return check_title(name, MAX_NAME_CHARACTERS, "a group's name")


def join(view: View, user: int, words: str, limits: GroupLimits) -> Sequence[Change]:
    """Become a member where the group is open or an invitation waits; else ask to, where asking is allowed."""
    if user in view.members:
        return ()
    pending = view.pending.get(user)
    if view.group.join == OPEN or (pending is not None and pending.kind == INVITED):
        return (_added(view, user, limits),)
    if view.group.join != APPROVAL:
        raise _not_allowed()
    if pending is not None:
        return ()
    _check_pending(view, 1, limits)
    return (Asked(user, REQUESTED, user, words),)


def leave(view: View, user: int) -> Sequence[Change]:
    """Be a member no more, or take back a request, or turn an invitation down. The owner hands over first, or dissolves."""
    member = view.members.get(user)
    if member is None:
        if user in view.pending:
            return (Unasked(user),)
        raise _not_allowed()
    if member.role == OWNER:
        raise RequestRefused(ErrorCode.NOT_ALLOWED, "the owner hands the group over first, or dissolves it", field="op")
    return (Removed(user),)


class NoHeir(Exception):
    """The view shows nobody who could have the group, and it has members: look again."""


def part(view: View, user: int) -> Sequence[Change]:
    """The user's account has ended: it is nothing to the group any more. What it owned falls to the oldest admin, else the oldest member,
    of those the view shows; without other members the group ends. Raises NoHeir."""
    member = view.members.get(user)
    gone = (Unasked(user),) if user in view.pending else ()
    if member is None:
        return gone
    if member.role != OWNER:
        return (Removed(user), *gone)
    heirs = [one for one in view.members.values() if one.user != user]
    if not heirs:
        if view.group.members > 1:
            raise NoHeir
        return (Dissolved(),)
    heir = min(heirs, key=lambda one: (one.user not in view.existing, -_RANK[one.role], one.since, one.user))
    return (RoleSet(heir.user, OWNER), Removed(user), *gone)


def invite(view: View, actor: int, users: Sequence[int], limits: GroupLimits) -> Sequence[Change]:
    """Invite; who had asked to join is a member by it. Any member may where the group is open, else owner and admins."""
    role = _role(view, actor)
    if role == MEMBER and view.group.join != OPEN:
        raise _not_allowed()
    changes: list[Change] = []
    fresh = [user for user in dict.fromkeys(users) if user not in view.members]
    for user in fresh:
        if user not in view.existing:
            raise RequestRefused(ErrorCode.NOT_ALLOWED, "nobody of this id", field="users")
    room = limits.members - view.group.members
    for user in fresh:
        pending = view.pending.get(user)
        if pending is None:
            changes.append(Asked(user, INVITED, actor, ""))
        elif pending.kind == REQUESTED:
            changes.append(_added(view, user, limits, room))
            room -= 1
    _check_pending(view, sum(isinstance(change, Asked) for change in changes), limits)
    return changes


def approve(view: View, actor: int, user: int, limits: GroupLimits) -> Sequence[Change]:
    """Take in who asked."""
    _officer(view, actor)
    if user in view.members:
        return ()
    pending = view.pending.get(user)
    if pending is None or pending.kind != REQUESTED:
        raise _not_allowed("user")
    return (_added(view, user, limits),)


def decline(view: View, actor: int, user: int) -> Sequence[Change]:
    """Turn a request down, or take an invitation back; who gave an invitation may take it back, too."""
    pending = view.pending.get(user)
    if _RANK[_role(view, actor)] < _RANK[ADMIN] and (pending is None or pending.by != actor):
        raise _not_allowed()
    return () if pending is None else (Unasked(user),)


def remove(view: View, actor: int, user: int) -> Sequence[Change]:
    """Take somebody off the list whose role is below one's own."""
    _officer(view, actor)
    return (Removed(_below(view, actor, user).user),)


def set_role(view: View, actor: int, user: int, role: str) -> Sequence[Change]:
    """Make a member an admin, or an admin a member; the owner alone."""
    _owner(view, actor)
    member = _below(view, actor, user)
    return () if member.role == role else (RoleSet(user, role),)


def hand_over(view: View, actor: int, user: int) -> Sequence[Change]:
    """Make a member the owner; the old one stays as admin."""
    _owner(view, actor)
    if user == actor:
        return ()
    changes = (RoleSet(actor, ADMIN), RoleSet(user, OWNER))
    if _below(view, actor, user).muted_until:  # nobody else may let an owner speak
        return (*changes, MuteSet(user, 0))
    return changes


def mute(view: View, actor: int, user: int, seconds: int, now: int) -> Sequence[Change]:
    """Let somebody below one's own role post nothing for a time; 0 seconds: again. now: µs since 1970."""
    _officer(view, actor)
    member = _below(view, actor, user)
    until = now + seconds * _SECOND if seconds else 0
    return () if member.muted_until == until else (MuteSet(user, until),)


def change(view: View, actor: int, altered: Altered) -> Sequence[Change]:
    """Rename, describe, choose how one joins, mute all."""
    _officer(view, actor)
    group = view.group
    has = Altered(group.name, group.description, group.join, group.is_muted)
    is_same = all(new is None or new == old for new, old in zip(altered, has, strict=True))
    return () if is_same else (altered,)


def dissolve(view: View, actor: int) -> Sequence[Change]:
    """End the group, with all that is in it."""
    _owner(view, actor)
    return (Dissolved(),)


def may_list_pending(member: Member | None) -> None:
    """RequestRefused NOT_ALLOWED for who is neither owner nor admin."""
    if member is None or _RANK[member.role] < _RANK[ADMIN]:
        raise _not_allowed()


# ---------------------------------------------------------------------- what they have in common


def no_group() -> RequestRefused:
    """What is told of a group that is not there, or that one may not know of, or may not do this in: not told apart."""
    return RequestRefused(ErrorCode.NOT_ALLOWED, "no such group, or not for you to do")


def _not_allowed(field: str | None = None) -> RequestRefused:
    refusal = no_group()
    refusal.field = field
    return refusal


def _role(view: View, actor: int) -> str:
    member = view.members.get(actor)
    if member is None:
        raise _not_allowed()
    return member.role


def _officer(view: View, actor: int) -> None:
    if _RANK[_role(view, actor)] < _RANK[ADMIN]:
        raise _not_allowed()


def _owner(view: View, actor: int) -> None:
    if _role(view, actor) != OWNER:
        raise _not_allowed()


def _below(view: View, actor: int, user: int) -> Member:
    """The member `user`, whose role is below the actor's."""
    member = view.members.get(user)
    if member is None or _RANK[member.role] >= _RANK[_role(view, actor)]:
        raise _not_allowed("user")
    return member


def check_memberships(count: int, limits: GroupLimits) -> None:
    """RequestRefused LIMIT_REACHED for who is in so many groups that he may be in no other."""
    if count >= limits.per_user:
        raise RequestRefused(ErrorCode.LIMIT_REACHED, f"a user is in at most {limits.per_user} groups")


def _added(view: View, user: int, limits: GroupLimits, room: int | None = None) -> Added:
    if (limits.members - view.group.members if room is None else room) < 1:
        raise RequestRefused(ErrorCode.LIMIT_REACHED, f"a group has at most {limits.members} members")
    check_memberships(view.memberships.get(user, 0), limits)
    return Added(user, MEMBER)


def _check_pending(view: View, more: int, limits: GroupLimits) -> None:
    if more and view.requests + more > limits.pending:
        raise RequestRefused(ErrorCode.LIMIT_REACHED, f"at most {limits.pending} invitations and requests are open at a time")
