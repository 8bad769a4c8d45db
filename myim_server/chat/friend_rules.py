"""Who may do what about friends: pure decisions over what the store shows of two users, made again inside the transaction that carries
them out.

What lives here: one function per change, from a view of both users to the changes that follow, or a refusal. What must not: SQL, sockets,
clocks, who is online. **Whoever one may not know of is told apart from nobody by nothing**: who does not exist, who blocks the asker and
who wants no requests get the same NOT_ALLOWED; and what a block, a refusal or an ignoring changes, only who did it can see: the other's
request stays open in its own eyes, and to ask again is answered as if it were.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from myim_server.chat.texts import check_line, check_text, check_title
from myim_server.refusals import RequestRefused
from myim_server.store.friend_changes import (
    Answered,
    Befriended,
    Blocked,
    Change,
    GroupAdded,
    GroupAltered,
    GroupRemoved,
    Moved,
    Remarked,
    Requested,
    Unblocked,
    Unfriended,
    Withdrawn,
)
from myim_server.store.friend_values import View
from myim_wire.errors import ErrorCode
from myim_wire.friend_requests import MAX_FRIEND_GROUP_CHARACTERS

OPEN, IGNORED, REFUSED = "open", "ignored", "refused"


class FriendLimits(NamedTuple):
    """How many friends and friend groups (group 0 not counted) a user may have, how many requests to and by it may be open, how many it may
    block."""

    friends: int = 5_000
    groups: int = 100
    requests: int = 1_000
    blocked: int = 5_000


# ---------------------------------------------------------------------- becoming and being friends


def ask(view: View, words: str, limits: FriendLimits) -> Sequence[Change]:
    """Ask the other to be a friend; who asked before, whatever became of that, is one by it."""
    check_text(words, "words")
    if view.kept is not None:
        return ()
    if not view.exists:
        raise not_allowed()
    if view.blocks:
        raise _blocks()
    if view.incoming is not None:
        return (_befriended(view, 0, limits),)
    is_welcome = view.is_askable and not view.is_blocked
    if view.outgoing is not None:  # in the asker's eyes it is open, and asking changes nothing
        return (Requested(words),) if is_welcome and view.outgoing == REFUSED and _has_room(view, limits) else ()
    if not is_welcome:
        raise not_allowed()
    if view.own_requests >= limits.requests or not _has_room(view, limits):
        raise _limit("too many open requests")
    return (Requested(words),)


def accept(view: View, group: int, limits: FriendLimits) -> Sequence[Change]:
    """Be a friend of who asked, who is then in this group."""
    if view.kept is not None:
        return ()
    if view.incoming in (None, REFUSED) or not view.exists:
        raise not_allowed()
    if view.blocks:
        raise _blocks()
    return (_befriended(view, _group(view, group), limits),)


def refuse(view: View) -> Sequence[Change]:
    """Turn a request down; who asked is not told, and may ask again."""
    return (Answered(REFUSED),) if view.incoming in (OPEN, IGNORED) else ()


def ignore(view: View) -> Sequence[Change]:
    """Keep a request out of sight; who asked is not told, and asks in vain from now on."""
    return (Answered(IGNORED),) if view.incoming == OPEN else ()


def withdraw(view: View) -> Sequence[Change]:
    """Take one's own request back."""
    return () if view.outgoing is None else (Withdrawn(),)


def remove(view: View) -> Sequence[Change]:
    """Be friends no more."""
    return () if view.kept is None else (Unfriended(),)


def remark(view: View, words: str) -> Sequence[Change]:
    """Call a friend something."""
    check_line(words, "remark")
    if view.kept is None:
        raise not_allowed()
    return () if view.kept.remark == words else (Remarked(words),)


def move(view: View, group: int) -> Sequence[Change]:
    """Put a friend into a group."""
    if view.kept is None:
        raise not_allowed()
    return () if view.kept.group == _group(view, group) else (Moved(group),)


# ---------------------------------------------------------------------- blocks


def block(view: View, limits: FriendLimits) -> Sequence[Change]:
    """Hear nothing of the other any more. What the other can see stays as it is: the lists, and its request in its own eyes."""
    if not view.exists:
        raise not_allowed()
    if view.blocks:
        return ()
    if view.blocked >= limits.blocked:
        raise _limit(f"at most {limits.blocked} users are blocked")
    return (Blocked(), *refuse(view))


def unblock(view: View) -> Sequence[Change]:
    """Hear of the other again."""
    return (Unblocked(),) if view.blocks else ()


# ---------------------------------------------------------------------- groups


def add_group(view: View, name: str, position: int, limits: FriendLimits) -> Sequence[Change]:
    """Have one more group; one of this name and position is there already after a repeat."""
    shown = _check_group_name(name)
    own = [group for group in view.groups.values() if group.id]
    if any((group.name, group.position) == (shown, position) for group in own):
        return ()
    if len(own) >= limits.groups:
        raise _limit(f"at most {limits.groups} groups of friends")
    return (GroupAdded(shown, position),)


def change_group(view: View, group: int, name: str | None, position: int | None) -> Sequence[Change]:
    """Rename or move a group."""
    before = view.groups.get(group) if group else None
    shown = None if name is None else _check_group_name(name)
    if before is None:
        raise not_allowed("group")
    after = (before.name if shown is None else shown, before.position if position is None else position)
    return () if after == (before.name, before.position) else (GroupAltered(group, *after),)


def remove_group(view: View, group: int) -> Sequence[Change]:
    """End a group; its friends are in group 0 then."""
    if not group:
        raise not_allowed("group")
    return (GroupRemoved(group),) if group in view.groups else ()


# ---------------------------------------------------------------------- what they have in common


def not_allowed(field: str = "user") -> RequestRefused:
    """What is told of whoever and whatever one may not know of: not told apart."""
    return RequestRefused(ErrorCode.NOT_ALLOWED, "nobody and nothing of this id, or not for you", field=field)


def _blocks() -> RequestRefused:
    return RequestRefused(ErrorCode.NOT_ALLOWED, "you block this user", field="user")


def _limit(text: str) -> RequestRefused:
    return RequestRefused(ErrorCode.LIMIT_REACHED, text)


def _befriended(view: View, group: int, limits: FriendLimits) -> Change:
    if max(view.friends, view.others_friends) >= limits.friends:
        raise _limit(f"at most {limits.friends} friends")
    return Befriended(group)


def _has_room(view: View, limits: FriendLimits) -> bool:
    return view.others_requests < limits.requests


def _group(view: View, group: int) -> int:
    if group and group not in view.groups:
        raise not_allowed("group")
    return group


def _check_group_name(name: str) -> str:
    return check_title(name, MAX_FRIEND_GROUP_CHARACTERS, "the name of a group of friends")
