"""The worlds of groups that are searched: CHECKED by the tests, FULL by hand (python -m tests.model.groups --full).

What lives here: which combinations of members, posts, changes and faults are worth their states. What must not: what any of these mean
(world.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

from myim_client.group_arrivals import Bounds, GroupArrivals
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


class LittleRoom(GroupArrivals[Any]):
    """A terminal that keeps one of what comes early, and hands out one at a time."""

    def __init__(self, positions: Iterable[tuple[int, int, bool]] = (), beyond: Iterable[tuple[int, int]] = ()) -> None:
        super().__init__(positions, beyond, Bounds(early=1, waiting=1))


class World(NamedTuple):
    """A world, and how many of its states are searched (None for all)."""

    settings: Settings
    most_states: int | None = None


PAIR, TRIO = ("1A", "2B"), ("1A", "2B", "3B")

_ALL = {"downlink", "application", "confirm", "claim", "answer"}
_LATE, _MOVING = ("1A", "2b"), ("1A", "2ab")
_TWO_TERMINALS = ("1A", "2A", "2b")
_PURGED = {"purge"}
_JOINS, _LEAVES, _IS_REMOVED = (("joined", 1, 0),), (("left", 2, 1),), (("removed", 1, 0),)
_COMES_BACK = (("removed", 1, 0), ("joined", 1, 1))
_ANY_FAULT = {"break", "restart", "crash", "lost push", "lost news", "store", "late"}


def _without_round(settings: Settings) -> Settings:
    return settings._replace(rules=settings.rules._replace(is_looked_round=False))


# The round of G-14 would heal what a room gets wrong: these have to do without it.
_WITHOUT_ROUND: dict[str, World] = {
    "two posters": World(a_world(PAIR, 2, 2)),
    "everything takes time": World(a_world(PAIR, 2, plus=_ALL, anytime=_PURGED)),
    "three members": World(a_world(TRIO, 1, 1, anytime=_PURGED)),
    "one leaves": World(a_world(TRIO, 1, 1, changes=_LEAVES)),
    "one leaves, confirmations are slow": World(a_world(TRIO, 2, changes=_LEAVES, plus={"claim"}, anytime=_PURGED, janitors=2)),
    "one leaves, janitors are killed": World(
        a_world(TRIO, 1, changes=_LEAVES, plus={"claim"}, anytime=_PURGED, janitors=2, kinds={"killed janitor", "claim again"})
    ),
    "one is removed": World(a_world(PAIR, 1, 1, changes=_IS_REMOVED)),
    "one is removed while it posts": World(a_world(PAIR, 0, 2, changes=_IS_REMOVED, kinds={"store", "late"}, plus={"answer"})),
    "one is removed while it comes": World(a_world(_LATE, 2, changes=_IS_REMOVED)),
    "one is removed and comes back": World(a_world(PAIR, 2, changes=_COMES_BACK)),
    "one of three is removed and comes back": World(a_world(TRIO, 1, changes=(("removed", 2, 0), ("joined", 2, 1)))),
    "a push is lost": World(a_world(PAIR, 2, 1, kinds={"lost push"})),
    "a center crashes": World(a_world(PAIR, 1, 1, kinds={"crash"})),
    "a center crashes, everything takes time": World(a_world(PAIR, 1, kinds={"crash"}, plus=_ALL)),
    "two crashes": World(a_world(PAIR, 1, kinds={"crash"}, faults=2)),
    "a connection breaks": World(a_world(PAIR, 1, 1, kinds={"break"})),
    "a terminal moves": World(a_world(_MOVING, 1, kinds={"break"})),
    "a terminal crashes": World(a_world(PAIR, 2, kinds={"restart"}, plus={"application"})),
    "a terminal loses its file": World(a_world(PAIR, 2, kinds={"new file"}, plus={"application"})),
    "the store fails": World(a_world(PAIR, 2, kinds={"store", "late", "break"}, plus={"answer"})),
    "little room for what comes early": World(a_world(PAIR, 1, 2, kinds={"lost push"}, rules=RULES._replace(arrivals=LittleRoom))),
    "little room for what waits": World(a_world(_LATE, 2, plus={"application"}, rules=RULES._replace(arrivals=LittleRoom))),
    "posts expire": World(a_world(_LATE, 3, expiries=2, page=1)),
    "confirmations come twice, late and early": World(
        a_world(TRIO, 2, kinds={"claim again", "claim early"}, plus={"claim", "confirm"}, anytime=_PURGED, janitors=2)
    ),
    "two terminals": World(a_world(_TWO_TERMINALS, 2, kinds={"lost push"})),
}

CHECKED: dict[str, World] = {
    **{name: World(_without_round(world.settings)) for name, world in _WITHOUT_ROUND.items()},
    "any two faults": World(a_world(PAIR, 1, kinds=_ANY_FAULT, faults=2)),
    "two posters, the store fails": World(a_world(PAIR, 1, 1, kinds={"store"})),
    "one joins": World(a_world(TRIO, 2, guests={2}, changes=(("joined", 2, 0),))),
    "one joins, applications are slow": World(a_world(PAIR, 2, guests={1}, changes=_JOINS, plus={"application"})),
    "one joins, any fault": World(a_world(PAIR, 1, guests={1}, changes=_JOINS, kinds=_ANY_FAULT)),
    "one joins and is removed, news are lost": World(
        a_world(PAIR, 1, guests={1}, changes=(("joined", 1, 0), ("removed", 1, 0)), kinds={"lost news"})
    ),
    "sweeps at any time": World(a_world(PAIR, 1, guests={1}, changes=_JOINS, anytime={"sweep", "round"})),
}

_BIG = 300_000
FULL: dict[str, World] = CHECKED | {
    "a terminal moves, two posts": World(a_world(_MOVING, 2, kinds={"break"})),
    "a terminal moves, a center crashes": World(a_world(_MOVING, 2, kinds={"crash"})),
    "a terminal crashes, everything takes time": World(a_world(PAIR, 2, kinds={"restart"}, plus={"application", "downlink"})),
    "one leaves, confirmations come again": World(
        a_world(TRIO, 2, changes=_LEAVES, plus={"claim"}, anytime=_PURGED, janitors=2, kinds={"killed janitor", "claim again"})
    ),
    "one joins, any two faults": World(a_world(PAIR, 1, guests={1}, changes=_JOINS, kinds=_ANY_FAULT, faults=2), _BIG),
    "one is removed, any two faults": World(a_world(PAIR, 1, changes=_IS_REMOVED, kinds=_ANY_FAULT, faults=2), _BIG),
    "one is removed and comes back, any fault": World(a_world(PAIR, 1, changes=_COMES_BACK, kinds=_ANY_FAULT), _BIG),
    "one is removed and comes back, everything takes time": World(a_world(PAIR, 1, changes=_COMES_BACK, plus=_ALL), _BIG),
    "two posters, everything takes time": World(a_world(PAIR, 2, 1, plus=_ALL), _BIG),
    "two posters, any fault": World(a_world(PAIR, 2, 1, kinds=_ANY_FAULT, plus={"answer"}), _BIG),
    "two terminals, one comes late": World(a_world(("1A", "2a", "2b"), 2, plus={"application"}), _BIG),
    "two terminals, any fault": World(a_world(_TWO_TERMINALS, 2, kinds={*_ANY_FAULT, "new file"}), _BIG),
    "posts expire, any fault": World(a_world(_LATE, 2, expiries=1, page=1, kinds=_ANY_FAULT), _BIG),
}
