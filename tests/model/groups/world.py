"""A small world of one group: its store, two centers, their links, members with their terminals.

What lives here: the parts of a state, a world's settings. What must not: rules; the store's are in transactions.py, those of centers and
terminals are the code under test (machines.py), the promises are in promises.py.

A state is one tuple, all of it hashable and exact:

    0  store      the group's rows and members, and what only the search knows (history, past, expired)
    1  terminals  one Terminal each; a terminal's place is its center, or -1
    2  authors    for each user: the outcomes of its posts, in their order
    3  shown      for each user: bits of the numbers that its application had
    4  centers    for each center: (its room, its lanes, posts that wait for the store)
    5  links      what is on its way from center 0 to 1, and from 1 to 0
    6  ops        operations of the store that have begun, sorted
    7  left       what may still happen

Posts are called by small numbers: of user u the k-th is 4u + k, k from 1. In texts users are U1, U2, U3, centers A and B.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

STORE, TERMINALS, AUTHORS, SHOWN, CENTERS, LINKS, OPS, LEFT = range(8)
NOWHERE = -1
GROUP = 7
PLACES = (0, 1)

State = tuple[Any, ...]
Frozen = Any

UNSENT, SENT, AGAIN, REFUSED, NUMBERED = 0, 1, 2, 3, 10  # outcomes of a post; NUMBERED + n: settled as number n
UNHEARD = 100  # added to an outcome that is on its way to the sender


class Membership(NamedTuple):
    """A row of the list of members; since: the number at which the membership truly began, which only the search knows."""

    cursor: int
    joined: int
    since: int


class Row(NamedTuple):
    """A stored post, with the counts that go with it."""

    number: int
    post: int
    members: int
    sent: int


class Past(NamedTuple):
    """A membership that is over, which only the search knows: it ended at number `until`, having confirmed up to `cursor`."""

    user: int
    since: int
    until: int
    cursor: int


class Store(NamedTuple):
    """The group's tables. history: (number, post) in the order of the commits, which is also the table of names (G-3)."""

    number: int
    version: int
    members: tuple[Membership | None, ...]
    rows: tuple[Row, ...]
    history: tuple[tuple[int, int], ...]
    past: tuple[Past, ...]
    expired: int


class Op(NamedTuple):
    """An operation of the store: `phase` of its parts are done, `local` is what it remembers. center -1: nobody waits for it."""

    kind: str
    center: int
    who: int
    args: tuple[Any, ...]
    phase: int
    local: tuple[Any, ...]


class Left(NamedTuple):
    """What may still happen: faults, expiries, sweeps and rounds unasked; how many changes have been made."""

    faults: int
    expiries: int
    sweeps: int
    changed: int


class Terminal(NamedTuple):
    """A terminal. arrivals: group_arrivals, frozen; kept: the position in its file, -1 for none; last: the last number it showed.

    downlink: what its center sent and it did not read; inbox: (number, post) handed to the application and not done; described: the highest
    version it was told in this session; is_asking: it wants to know what the group is.
    """

    user: int
    arrivals: Frozen
    kept: int
    last: int
    place: int
    downlink: tuple[Any, ...]
    inbox: tuple[tuple[int, int], ...]
    described: int
    is_asking: bool


Part = Callable[[Store, Op], tuple[Store, tuple[Any, ...]]]


class Rules(NamedTuple):
    """What a world goes by; tests leave out one at a time (mutations.py). None: the rule itself."""

    transactions: Mapping[str, tuple[Part, ...]] = {}
    arrivals: type[Any] | None = None
    rooms: type[Any] | None = None
    lane: type[Any] | None = None
    is_settled_after_commit: bool = True
    is_one_batch_at_a_time: bool = True
    is_swept: bool = True
    is_looked_round: bool = True
    is_live_before_read: bool = True
    is_position_kept_with_showing: bool = True


ALL_SLOW = frozenset({"post", "join", "leave", "fetch", "standing", "describe", "members", "sweep", "round", "purge", "link"})


class Settings(NamedTuple):
    """How large a world is, and what may happen in it.

    members: who is one at the beginning. homes: for each terminal its user, the centers it connects to, whether it is connected at the
    beginning. posts: how many each user posts. changes: (event, user, center of whoever asks for it), in this order, at any time.
    slow: what takes time between its parts and until it is known; all else happens in the step that asks for it. "downlink",
    "application", "confirm", "claim", "answer" (of posts) and "link" are slow in this sense too. lazy: what also takes time to begin.
    kinds: the faults there are. anytime: "sweep", "round", "purge": also when other things are on their way; of the first two as many as
    `sweeps`. janitors: how many purge at once. page: rows of a fetch. is_audited: look into the books in every state, not only at what
    users see.
    """

    members: tuple[bool, ...] = (True, True)
    homes: tuple[tuple[int, tuple[int, ...], bool], ...] = ((0, (0,), True), (1, (1,), True))
    posts: tuple[int, ...] = (1, 0)
    changes: tuple[tuple[str, int, int], ...] = ()
    slow: frozenset[str] = ALL_SLOW
    lazy: frozenset[str] = frozenset()
    faults: int = 0
    kinds: frozenset[str] = frozenset()
    expiries: int = 0
    anytime: frozenset[str] = frozenset()
    sweeps: int = 1
    janitors: int = 1
    page: int = 9
    is_audited: bool = True
    rules: Rules = Rules()


def post_of(user: int, index: int) -> int:
    """The name of a user's post; index from 1."""
    return 4 * user + index


def author_of(post: int) -> int:
    return (post - 1) // 4


def named(post: int) -> str:
    return f"U{author_of(post) + 1}'s p{(post - 1) % 4 + 1}"


def called(center: int) -> str:
    return "nobody" if center < 0 else "AB"[center]


def bit(number: int) -> int:
    return 1 << number


def empty_store(settings: Settings) -> Store:
    return Store(0, 1, tuple(Membership(0, 0, 0) if is_member else None for is_member in settings.members), (), (), (), 0)


def terminal_named(settings: Settings, rank: int) -> str:
    """T2 is U2's only terminal; T2a and T2b are two of its terminals."""
    user = settings.homes[rank][0]
    same = [other for other, home in enumerate(settings.homes) if home[0] == user]
    return f"T{user + 1}" + ("" if len(same) == 1 else "abc"[same.index(rank)])
