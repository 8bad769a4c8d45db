"""How much the group bench measures, and which cores it may use.

What lives here: the values every part of the bench is given. What must not: parts.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """How much to measure; `cores` are (centers, driver and database).

    sizes: members of the groups that are all online; large: (members, of them online); groups: how many are posted to in turn; rows:
    expired ones that the janitor removes, in groups of `rows_each`.
    """

    sizes: tuple[int, ...] = (100, 1_000)
    large: tuple[int, int] = (10_000, 100)
    groups: int = 1_000
    rows: int = 1_000_000
    rows_each: int = 1_000
    repeats: int = 3
    seconds: float = 3.0
    cores: tuple[int, int] = (0, 1)


QUICK = Options(sizes=(10, 30), large=(200, 10), groups=20, rows=6_000, rows_each=1_000, repeats=1, seconds=0.4)
