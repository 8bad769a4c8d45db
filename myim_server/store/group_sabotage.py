"""Group tables with one mechanism broken on purpose, to prove that tests and the chaos run notice.

What must not live here: anything a node uses unless MYIM_CHAOS=1 and MYIM_SABOTAGE name it. A check that stays green under these proves
nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import gevent

from myim_server.store.database import cursor_of
from myim_server.store.group_cursors import Claim, GroupCursors, Key, Span
from myim_server.store.group_posts import GroupPosts
from myim_server.store.group_purge import GroupPurge
from myim_server.store.group_values import Post, Posted, PostRefused
from myim_server.store.schema import signed

T = TypeVar("T", GroupPosts, GroupCursors, GroupPurge)

LATE_SECONDS = 0.02  # how long a number is held that was read, so that another reads it, too


class NumberReadThenWrite(GroupPosts):
    """Reads a group's number outside of the lock, and then writes (without G-1)."""

    def post(self, posts: Sequence[Post]) -> list[Posted | PostRefused]:
        """Two at a time get the same numbers; the later row is not there."""
        if not posts:
            return []
        states = self._database.read(lambda connection: self._states(cursor_of(connection), posts, ""))
        gevent.sleep(LATE_SECONDS)
        insert = self._database.tongue.insert_ignore + " "
        return self._database.write(lambda connection: self._store(cursor_of(connection), posts, states, insert))


class JanitorByCounter(GroupPurge):
    """Compares a row's sent count with the group's member count of now, not with the row's own (without G-2 and G-8)."""

    def _is_done(self) -> str:
        return "sent>=(SELECT g.members FROM chat_groups g WHERE g.id=chat_group)"


class RepeatsCount(GroupCursors):
    """Counts a claim that moves nothing for all rows up to its number (without G-6)."""

    def _spans(self, claims: Sequence[Claim], before: Mapping[Key, int], after: Mapping[Key, int]) -> Iterator[Span]:
        yield from super()._spans(claims, before, after)
        for group, user, number in claims:
            key = (signed(group), signed(user))
            if key in before and number <= before[key]:
                yield key[0], 0, number


TWINS = {"number_read_then_write": NumberReadThenWrite, "janitor_by_counter": JanitorByCounter, "count_repeats": RepeatsCount}


def twin_of(part: type[T], name: str) -> type[T]:
    """The class that stands in for this part where `name` says so, else the part itself."""
    twin = TWINS.get(name)
    return twin if twin is not None and issubclass(twin, part) else part
