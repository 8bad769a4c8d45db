"""A profile, a scripted center, and clients of that profile; and how tests take events and read confirmations."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from myim_client import Client, Event
from myim_wire.bodies import CONFIRMED_GROUPS, CONFIRMED_MESSAGES, decode_pairs
from myim_wire.group_contents import GroupState, Role
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


def confirmed(session: Session, kind: int = CONFIRMED_MESSAGES) -> list[tuple[int, int]]:
    """All names the terminal confirmed in this session."""
    receipts = [decode_pairs(message.content) for message in session.of(Command.RECEIPT)]
    return [pair for receipt in receipts if receipt[0] == kind for pair in receipt[1]]


def confirmed_positions(session: Session) -> list[tuple[int, int]]:
    """All (group, position) the terminal confirmed in this session."""
    return confirmed(session, CONFIRMED_GROUPS)


def group_state(group: int, name: str = "team", role: Role = "member", **changes: Any) -> GroupState:
    """A group as a center describes it."""
    plain = GroupState(group, name, "", "invitation", False, 0, 1, 3, role, 0, 0, 0)
    return replace(plain, **changes)
