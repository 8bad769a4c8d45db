"""What applications write down during a chaos run of groups, and nothing else: one event per line of JSON.

What lives here: the event and its text form. What must not: judging (group_checker), anything a server wrote. As `history` it is for
messages between users.

`at` is CLOCK_MONOTONIC in nanoseconds, one clock for all processes of a host. A post is named by (group, user, time).
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple


class Kind(enum.StrEnum):
    """What happened. Those of one's own membership are written in their order: joining, joined, leaving, left, joining, …"""

    ATTEMPT = "attempt"  # the post is in the outbox, committed
    SETTLED = "settled"  # under `number`
    REFUSED = "refused"  # for good; `how` is the code
    UNKNOWN = "unknown"  # given up after 7 days
    SHOWN = "shown"  # written in the transaction that makes the post the application's own; `how`: PUSHED or FETCHED
    JOINING = "joining"  # about to ask, for the first time
    JOINED = "joined"  # told to be a member, since `number`
    LEAVING = "leaving"  # about to ask, for the first time
    LEFT = "left"  # told to be no member, by an own request or because somebody was asked
    REMOVING = "removing"  # about to ask for the removal of `user`


PUSHED, FETCHED = 1, 2
MEMBERSHIP = (Kind.JOINING, Kind.JOINED, Kind.LEAVING, Kind.LEFT)
OUTCOMES = (Kind.SETTLED, Kind.REFUSED, Kind.UNKNOWN)

Name = tuple[int, int, int]


class Event(NamedTuple):
    """One line. `by` is the user whose application writes; (group, user, time) names a post; `digest` is that of its body."""

    kind: Kind
    by: int
    at: int
    group: int
    number: int = 0
    user: int = 0
    time: int = 0
    digest: str = ""
    how: int = 0

    @property
    def name(self) -> Name:
        """What the post is called for its whole life."""
        return self.group, self.user, self.time


_KINDS = {str(kind): kind for kind in Kind}


def encode_events(events: Iterable[Event]) -> Iterator[str]:
    """One line of JSON, with its newline, per event."""
    for event in events:
        yield json.dumps(event._asdict(), separators=(",", ":")) + "\n"


def decode_events(lines: Iterable[str]) -> Iterator[Event]:
    """The events of a history; ValueError, KeyError or TypeError where a line is none."""
    for line in lines:
        fields = json.loads(line)
        yield Event(_KINDS[fields.pop("kind")], **fields)


class HistoryFile:
    """A history that is read from its file each time it is gone through: all of a run's together do not fit comfortably."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[Event]:
        with self._path.open() as lines:
            yield from decode_events(lines)


def histories_in(directory: Path) -> dict[int, HistoryFile]:
    """All that applications exported there, by user."""
    return {int(path.stem.removeprefix("history-")): HistoryFile(path) for path in sorted(directory.glob("history-*.jsonl"))}
