"""A transaction of the application on the profile's file, as it sees it; who begins and ends it is `client`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from myim_client.events import Durable, DurableEvent, Event, Handle
from myim_client.outbox import Outbox
from myim_client.profile import Profile


class Transaction:
    """A transaction of the application; made by `Client.transaction`. `events`: those it is done with."""

    def __init__(self, profile: Profile, outbox: Outbox) -> None:
        self._profile = profile
        self._outbox = outbox
        self.events: list[DurableEvent] = []
        self.undone: list[DurableEvent] = []  # of blocks that joined this one and raised

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """One statement on the application's own tables (no BEGIN, COMMIT or ROLLBACK)."""
        return self._profile.execute(sql, parameters)

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> sqlite3.Cursor:
        """One statement for many rows."""
        return self._profile.execute_many(sql, rows)

    def done(self, *events: Event) -> None:
        """The application has these events: the file knows it with this transaction, and they are confirmed after it."""
        self.events.extend(event for event in events if isinstance(event, Durable))

    def send(self, to: int, body: bytes | str) -> Handle:
        """Put a QoS 1 message to user id `to` into the outbox with this transaction. Raises as `Client.send`."""
        content = as_bytes(body)
        self._outbox.check(to, content)
        return self._outbox.keep(to, content)

    def post(self, group: int, body: bytes | str) -> Handle:
        """Put a QoS 1 message to group id `group` into the outbox with this transaction. Raises as `Client.post`."""
        content = as_bytes(body)
        self._outbox.check(group, content, is_post=True)
        return self._outbox.keep(group, content, is_post=True)


def as_bytes(body: bytes | str) -> bytes:
    """A body as bytes; text as UTF-8."""
    return body.encode() if isinstance(body, str) else bytes(body)
