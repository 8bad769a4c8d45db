"""The posts of a chaos run as their senders saw them, and what the times of it say of a group's number, whoever counted it.

What lives here: values for the judge, pure. What must not: rules (group_checker), files.
"""

from __future__ import annotations

import functools
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from myim_wire.errors import ErrorCode
from tests.chaos.group_history import OUTCOMES, Event, Kind, Name


class Post(NamedTuple):
    """An attempt, and what its sender was told: number 0 where it was not settled."""

    attempt: Event
    outcome: Event | None

    @property
    def number(self) -> int:
        """As it was settled."""
        return 0 if self.outcome is None else self.outcome.number

    @property
    def is_refused(self) -> bool:
        """Whether its sender was told that it was no member any more."""
        return self.outcome is not None and self.outcome.kind is Kind.REFUSED and self.outcome.how == ErrorCode.NOT_MEMBER


class Posts:
    """All posts of a run by name, and what their times say of numbers."""

    def __init__(self, histories: Mapping[int, Iterable[Event]]) -> None:
        self.contradictions: list[Event] = []  # second outcomes of a post
        attempts: dict[Name, Event] = {}
        outcomes: dict[Name, Event] = {}
        for history in histories.values():
            for event in history:
                if event.kind is Kind.ATTEMPT:
                    attempts[event.name] = event
                elif event.kind in OUTCOMES and outcomes.setdefault(event.name, event) is not event:
                    self.contradictions.append(event)
        # Of what nobody attempted.
        self.strangers = [outcomes[name] for name in outcomes.keys() - attempts.keys()]
        self.by_name = {name: Post(attempt, outcomes.get(name)) for name, attempt in attempts.items()}

    @functools.cached_property
    def timelines(self) -> dict[int, Timeline]:
        """Of each group in which something was settled."""
        of_group: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        for (group, _, _), (attempt, outcome) in self.by_name.items():
            if outcome is not None and outcome.kind is Kind.SETTLED:
                of_group[group].append((attempt.at, outcome.at, outcome.number))
        return {group: Timeline(posts) for group, posts in of_group.items()}


class Timeline:
    """When the posts of a group were attempted and settled: its number was at least that of what was settled, and is below that of what
    is attempted later. No server is asked for it."""

    def __init__(self, posts: Sequence[tuple[int, int, int]]) -> None:
        by_attempt, by_end = sorted(posts), sorted((end, number) for _, end, number in posts)
        self._attempted, self._posts = [attempted for attempted, _, _ in by_attempt], by_attempt
        self._ended = [end for end, _ in by_end]
        self._highest = [0, *accumulate((number for _, number in by_end), max)]
        self._lowest = [*reversed(list(accumulate((number for _, _, number in reversed(by_attempt)), min)))]

    def at_least(self, at: int) -> int:
        """The group's number was that at least."""
        return self._highest[bisect_left(self._ended, at)]

    def below(self, at: int) -> int | None:
        """The group's number was below that; None: nothing is known."""
        place = bisect_right(self._attempted, at)
        return self._lowest[place] if place < len(self._lowest) else None

    def between(self, start: int, end: int | None) -> Iterable[int]:
        """The numbers of what was posted within that time (None: to the end)."""
        last = len(self._posts) if end is None else bisect_left(self._attempted, end)
        for place in range(bisect_right(self._attempted, start), last):
            _, settled, number = self._posts[place]
            if end is None or settled < end:
                yield number
