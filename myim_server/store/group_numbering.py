"""One batch of posts on its way into the tables: what is refused, what was there already, and which number each gets.

Pure: what the transaction read goes in, the rows to be inserted come out. What must not live here: running SQL, and locks (`group_posts`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from myim_server.store import group_sql
from myim_server.store.group_values import ROLES, Post, Posted, PostRefused
from myim_server.store.schema import signed

Name = tuple[int, int, int]  # (group, user, time), as the tables have them
_MEMBER = ROLES.index("member")


class State(NamedTuple):
    """A group under its lock; `room`: how many more rows it takes."""

    number: int
    version: int
    members: int
    is_muted: bool
    room: int


class Known(NamedTuple):
    """A name that is taken; `body`: None where the row is gone."""

    number: int
    body: bytes | None


class Numbering:
    """A batch in its transaction: `outcomes` in the order of the posts, rows for the tables, and `numbers` = {group: its new number}."""

    def __init__(
        self,
        posts: Sequence[Post],
        groups: Mapping[int, State],
        members: Mapping[tuple[int, int], tuple[int, int]],
        known: Mapping[Name, Known],
    ) -> None:
        """members = {(group, user): (role, muted until)}; known: of all names, or none if none is thought to be taken."""
        self.outcomes: list[Posted | PostRefused] = []
        self.names: list[str] = []
        self.messages: list[str] = []
        self.numbers: dict[int, int] = {}
        self.has_refusals = False
        self._groups = groups
        self._members = members
        self._firsts: dict[Name, int] = {}
        self._shut: dict[Name, PostRefused] = {}
        for post in posts:
            self.outcomes.append(self._outcome(posts, post, known))

    def _outcome(self, posts: Sequence[Post], post: Post, known: Mapping[Name, Known]) -> Posted | PostRefused:
        group, user, time = name = (signed(post.group), signed(post.user), signed(post.time))
        state = self._groups.get(group)
        if state is None:
            self.has_refusals = True
            return PostRefused.NOT_MEMBER
        before = known.get(name)
        if before is not None:
            is_other = before.body is not None and before.body != post.body
            return PostRefused.CONFLICT if is_other else Posted(before.number, state.version, True)
        first = self._firsts.setdefault(name, len(self.outcomes))
        if first != len(self.outcomes):
            return _repeat(self.outcomes[first], posts[first].body == post.body)
        lane = (group, user, time & 63)
        refusal = self._shut.get(lane) or self._refusal(group, user, post.accepted, state)
        if refusal is not None:
            # What follows in the lane must not get a number before this one's retry (G-11).
            self._shut[lane] = refusal
            self.has_refusals = True
            return refusal
        self.numbers[group] = number = self.numbers.get(group, state.number) + 1
        self.names.append(f"({group:d},{user:d},{time:d},{number:d},{post.accepted:d})")
        origin = (post.accepted, signed(post.entered), signed(post.message_id))
        self.messages.append(group_sql.message_row(group, number, user, time, origin, state.members, post.body))
        return Posted(number, state.version)

    def _refusal(self, group: int, user: int, accepted: int, state: State) -> PostRefused | None:
        member = self._members.get((group, user))
        if member is None:
            return PostRefused.NOT_MEMBER
        role, muted_until = member
        if muted_until > accepted or (state.is_muted and role == _MEMBER):
            return PostRefused.MUTED
        return PostRefused.FULL if self.numbers.get(group, state.number) - state.number >= state.room else None


def _repeat(first: Posted | PostRefused, is_same: bool) -> Posted | PostRefused:
    if isinstance(first, PostRefused):
        return first
    return first._replace(is_repeat=True) if is_same else PostRefused.CONFLICT
