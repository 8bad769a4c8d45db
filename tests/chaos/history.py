"""What applications write down during a chaos run, and nothing else: one event per line of JSON.

What lives here: the event and its text form. What must not: judging (checker), anything a server wrote. Only applications write
histories, so that a lie of the server cannot reach the judge.

`at` is CLOCK_MONOTONIC in nanoseconds, one clock for all processes of a host. A message is named by (user, time) [P-3.6].
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from hashlib import blake2b


class Kind(enum.StrEnum):
    """What happened."""

    ATTEMPT = "attempt"  # the message is in the sender's outbox, committed
    SETTLED = "settled"  # `how` says received or stored
    REFUSED = "refused"  # for good; `how` is the code
    UNKNOWN = "unknown"  # given up after 7 days
    SHOWN = "shown"  # written in the transaction that makes the message the application's own
    RECEIPT = "receipt"  # a message settled as stored has reached its target


RECEIVED, STORED = 1, 2


@dataclass(frozen=True, slots=True)
class Event:
    """One line. `by` is the user whose application writes; `digest` is that of the body, for attempt and shown."""

    kind: Kind
    by: int
    at: int
    user: int
    time: int
    target: int
    digest: str = ""
    how: int = 0

    @property
    def name(self) -> tuple[int, int]:
        """What the message is called for its whole life."""
        return self.user, self.time


def digest_of(body: bytes) -> str:
    """Sixteen hex digits that stand for a body."""
    return blake2b(body, digest_size=8).hexdigest()


def encode_events(events: Iterable[Event]) -> Iterator[str]:
    """One line of JSON, with its newline, per event."""
    for event in events:
        yield json.dumps(asdict(event), separators=(",", ":")) + "\n"


def decode_events(lines: Iterable[str]) -> Iterator[Event]:
    """The events of a history; ValueError or TypeError where a line is none."""
    for line in lines:
        fields = json.loads(line)
        yield Event(**{**fields, "kind": Kind(fields["kind"])})
