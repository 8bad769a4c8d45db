"""The worlds of groups that are searched: CHECKED by the tests, FULL by hand (python -m tests.model.groups --full).

What lives here: which combinations of members, posts, changes and faults are worth their states. What must not: what any of these mean
(world.py).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from tests.model.groups.world import ALL_SLOW, Rules, Settings

RULES = Rules()


def a_world(
    homes: Sequence[str],
    *posts: int,
    guests: Collection[int] = (),
    plus: Collection[str] = (),
    minus: Collection[str] = (),
    kinds: Collection[str] = (),
    **others: Any,
) -> Settings:
    """homes: for each terminal its user and centers, as "1A": U1 is connected to A from the beginning; "2ab": U2 connects to either.

    guests: users that are no members at first; plus, minus: what is slow besides, or is not. One fault if there are kinds of them.
    """
    places = [(int(home[0]) - 1, tuple("ab".index(letter) for letter in home[1:].lower()), home[1:].isupper()) for home in homes]
    users = 1 + max(user for user, _, _ in places)
    settings = Settings(
        members=tuple(user not in guests for user in range(users)),
        homes=tuple(places),
        posts=(*posts, *(0,) * (users - len(posts))),
        slow=(ALL_SLOW | frozenset(plus)) - frozenset(minus),
        faults=1 if kinds else 0,
        kinds=frozenset(kinds),
        rules=RULES,
    )
    given: dict[str, Any] = {name: frozenset(value) if isinstance(value, set) else value for name, value in others.items()}
    return settings._replace(**given)


class World(NamedTuple):
    """A world, and how many of its states are searched (None for all)."""

    settings: Settings
    most_states: int | None = None


PAIR, TRIO = ("1A", "2B"), ("1A", "2B", "3B")

_ALL = {"downlink", "application", "confirm", "claim", "answer"}
CHECKED: dict[str, World] = {
    "two posters": World(a_world(PAIR, 2, 2)),
}
FULL: dict[str, World] = CHECKED | {}
