"""A profile, a scripted center, and clients of that profile; and how tests take events and read confirmations."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TypeVar

from myim_client import Client, Event
from myim_wire.bodies import decode_pairs
from myim_wire.messages import Command
from tests.client.scripted_center import ScriptedCenter, Session, make_profile, wait_until

Kind = TypeVar("Kind", bound=Event)


class Scene:
    """A profile, a center, and clients of that profile, one at a time."""

    def __init__(self, directory: Path) -> None:
        self.terminal, self.path = make_profile(directory)
        self.center = ScriptedCenter(self.terminal)
        self.client: Client | None = None

    def connect(self, settled_events: bool = False) -> Client:
        self.leave()
        self.client = Client(self.terminal, self.path, servers=[self.center.address], settled_events=settled_events)
        self.client.connect(10)
        return self.client

    def leave(self) -> None:
        if self.client is not None:
            self.client.close()

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with sqlite3.connect(self.path) as database:
            return database.execute(sql).fetchall()


def take(client: Client, kind: type[Kind]) -> Kind:
    """The next event of a kind; others are dropped, durable ones without being done."""
    found: list[Kind] = []

    def look() -> bool:
        found.extend(event for event in client.take(0.1, limit=1) if isinstance(event, kind))
        return bool(found)

    wait_until(look)
    return found[0]


def confirmed(session: Session) -> list[tuple[int, int]]:
    """All names the terminal confirmed in this session."""
    return [pair for message in session.of(Command.RECEIPT) for pair in decode_pairs(message.content)[1]]
