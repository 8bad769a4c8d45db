"""The worlds that are searched: CHECKED by the tests, FULL by hand (python -m tests.model --full).

What lives here: which combinations of messages, faults and freedoms are worth their states. What must not: what any of these mean
(world.py).

A world has one dimension less than everything at once, or it would not close: two messages meet single faults, one message meets pairs of
faults. `most_states` is for worlds that are too large to close in an hour: breadth first, so every trace of that many steps is in it.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import NamedTuple

from myim_server.chat.inbox import Window
from tests.model.world import ALL_FAULTS, Settings

_LIGHT = ("confirm fails", "cut", "insert fails", "owner gives up", "owner waits too long", "read fails", "target waits too long")
_HEAVY = ("crash", "sender breaks", "target breaks")


M1_RECEIVED = (  # by way of a lane from A to the target at B, which stays open
    *("S connects to A", "T0 connects to B", "the store is read", "B gets rows", "S sends m1", "A takes", "A looks T up: right"),
    *("B hears of A: open", "the store is read", "B gets rows", "T0 shows", "receipts of T0", "A hears of B: received", "S reads"),
)
M2_SETTLED = (  # both were stored and shown, and not answered in time; of both that were sent again, m2's first receipt comes
    *("S connects to A", "S sends m1", "S sends m2", "A takes", "A takes", "A looks T up: right, nobody", "T0 connects to A"),
    *("the store commits", "the store is read", "A gets rows", "T0 shows m1", "receipts of T0", "T0 shows m2", "A has owned something"),
    *("S reads", "S sends again", "A takes", "A takes", "A looks T up", "the store is read", "A gets rows", "receipts of T0", "S reads"),
)


class World(NamedTuple):
    """A world, how many of its states are searched (None for all), and the way that was gone before the search begins."""

    settings: Settings
    most_states: int | None = None
    played: tuple[str, ...] = ()


def _single(kind: str, **others: object) -> Settings:
    return Settings(messages=2, faults=1, kinds=frozenset({kind}))._replace(**others)  # type: ignore[arg-type]


def _pair(one: str, other: str, **others: object) -> Settings:
    return Settings(messages=1, faults=2, kinds=frozenset({one, other}), directory="right")._replace(**others)  # type: ignore[arg-type]


CHECKED: dict[str, World] = {
    "nothing fails": World(Settings(messages=2, faults=0, sweeps=True, batched=True)),
    "three messages, nothing fails": World(Settings(messages=3, faults=0)),
    "small pages": World(Settings(messages=2, faults=0, window=Window(rows=1, row_bytes=1000, page_rows=1))),
    "a stranger's row": World(Settings(messages=1, faults=0, foreign=True, sweeps=True)),
    "two terminals": World(Settings(messages=2, faults=0, terminals=2, directory="right")),
    "one message, any fault": World(Settings(messages=1, faults=1)),
    **{f"two messages, {kind}": World(_single(kind)) for kind in _LIGHT},
    "two messages, m2 settled, owner gives up": World(_single("owner gives up", faults=2), None, M2_SETTLED),
    "two messages, late on links": World(_single("cut", late_on_links=True, directory="right")),
    "two messages, target breaks, right directory": World(_single("target breaks", directory="right")),
    **{f"one message, {one} + {other}": World(_pair(one, other)) for one, other in combinations_with_replacement(_LIGHT, 2)},
}

FULL: dict[str, World] = CHECKED | {
    "one message, any pair of faults": World(Settings(messages=1, faults=2, kinds=ALL_FAULTS, directory="right"), 1_500_000),
    **{f"two messages, {kind}, any directory": World(_single(kind), 1_500_000) for kind in _HEAVY},
    **{
        f"two messages, {one} + {other}": World(_pair(one, other, messages=2), 400_000)
        for one, other in combinations_with_replacement(_LIGHT, 2)
    },
    **{
        f"two terminals, {kind}": World(_single(kind, terminals=2, directory="right"), 500_000)
        for kind in ("target breaks", "insert fails", "sender breaks")
    },
    "two messages, any fault": World(Settings(messages=2, faults=1, directory="right"), 1_500_000),
    **{f"three messages, {kind}": World(_single(kind, messages=3, directory="right"), 400_000) for kind in _LIGHT},
    "three messages, m1 received, any two faults": World(Settings(messages=3, faults=2, directory="fault"), 1_000_000, M1_RECEIVED),
    "three messages, m1 received, sender breaks": World(
        Settings(messages=3, faults=3, kinds=frozenset({"sender breaks"}), directory="fault"), 1_500_000, M1_RECEIVED
    ),
}
