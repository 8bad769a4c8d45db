"""How much the friend bench measures, and which cores it may use.

What lives here: the values every part of the bench is given. What must not: parts.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """How much to measure; `cores` are (centers, driver and database).

    friends: of each user whose list is asked for, or whose presence is told; lists: users with the same friends, who each log in;
    syncs: how often each of them asks for a list that is unchanged; changes: of presence, one after the other; logins: of a storm, each
    with `circle` friends among them.
    """

    friends: int = 500
    lists: int = 40
    syncs: int = 25
    changes: int = 20
    logins: int = 5_000
    circle: int = 200
    repeats: int = 3
    cores: tuple[int, int] = (0, 1)


QUICK = Options(friends=30, lists=3, syncs=2, changes=2, logins=40, circle=10, repeats=1)
