"""One user of an application process of a chaos run: a profile, an SDK client that comes and goes, and what keeps users restless.

What lives here: what all kinds of applications share. What must not: what an application says, shows and writes down (`application`,
`group_application`), judging, killing. Import it after gevent's patch.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import gevent
from gevent.lock import RLock

from myim_client import Account, Client, Terminal
from myim_client.errors import LoginNeeded
from myim_client.profile import Profile
from tests.chaos.applications import home_of

DAY_US = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Settings:
    """What `application-N.json` says."""

    directory: Path
    accounts: Path
    servers: list[list[Any]]  # (host, port) of every door
    share: int
    shares: int
    messages: int
    rate: float
    seed: int
    incarnation: int
    sabotage: str
    blink_seconds: float
    offline_share: float
    offline_seconds: float
    more: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Of a file."""
        values = json.loads(path.read_text())
        return cls(**{**values, "directory": Path(values["directory"]), "accounts": Path(values["accounts"])})

    def rows(self) -> list[dict[str, Any]]:
        """The accounts of all users of the run."""
        return [json.loads(line) for line in self.accounts.read_text().splitlines()]

    def places(self, users: int) -> range:
        """Which of so many users are this process's."""
        return range(self.share, users, self.shares)

    def tell(self, progress: Mapping[str, Any]) -> None:
        """Replace `progress-N.json`."""
        path = self.directory / f"progress-{self.share}.json"
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps({"incarnation": self.incarnation, **progress}))
        os.replace(draft, path)


@dataclass(slots=True)
class Presence:
    """A user; `client` is None while it is offline."""

    settings: Settings
    place: int  # among all users of the run
    row: dict[str, Any]
    everybody: list[int]
    counts: Counter[str] = field(default_factory=Counter)
    client: Client | None = None
    resent: int = 0
    moving: RLock = field(default_factory=RLock)  # going and coming take time

    @property
    def user(self) -> int:
        """The user id."""
        return self.everybody[self.place]

    @property
    def path(self) -> Path:
        """Its profile."""
        return self.settings.directory / f"user-{self.place}.db"

    @property
    def quota(self) -> int:
        """How many messages it is to send in the whole run."""
        users = len(self.everybody)
        return self.settings.messages // users + (self.place < self.settings.messages % users)

    @property
    def servers(self) -> list[tuple[str, int]]:
        """Every door, the user's own first: users are spread over them, the same way at every start."""
        doors = [(host, port) for host, port in self.settings.servers]
        home = home_of(self.settings.seed, self.place, len(doors))
        return doors[home:] + doors[:home]

    def open_profile(self) -> Profile:
        """The profile, made at the first start."""
        row = self.row
        profile = Profile.open(self.path, create=True)
        try:
            profile.account()
        except LoginNeeded:
            public = self._terminal().public_key
            now_us = time.time_ns() // 1000
            token, session_key = bytes.fromhex(row["token"]), bytes.fromhex(row["session_key"])
            profile.log_in(
                Account("", row["user"], row["name"], row["slot"], public, token, session_key, now_us + DAY_US // 2, now_us + DAY_US, ())
            )
        return profile

    def _terminal(self) -> Terminal:
        return Terminal(self.settings.directory, bytes.fromhex(self.row["terminal_secret"]), bytes.fromhex(self.row["fingerprint"]))

    def come(self) -> None:
        """Go online, and stay so whatever happens to the node."""
        with self.moving:
            client = Client(self._terminal(), self.path, servers=self.servers, settled_events=True)
            self.watch(client)
            client.connect(timeout=0)
            self.client = client

    def watch(self, client: Client) -> None:
        """Here an application may look over the shoulder of a client that is about to connect."""

    def go(self) -> None:
        """Go offline in order."""
        with self.moving:
            client, self.client = self.client, None
            if client is not None:
                self.resent += client.resent
                client.close()

    def blink(self) -> None:
        """Go and come at once, if it is online."""
        with self.moving:
            if self.client is not None:
                self.go()
                self.come()


def come_in(users: Sequence[Presence], random: Random) -> None:
    """At the start of a process: all come online but the share that is to be away."""
    share = users[0].settings.offline_share
    for user in random.sample(users, len(users) - round(len(users) * share)):
        user.come()


def wander(users: Sequence[Presence], still: Path, calm: Path, random: Random) -> None:
    """Keep a share of the users offline, never the same for long; nobody moves when all is to be still, everybody comes for calm."""
    away = [user for user in users if user.client is None]
    pause = users[0].settings.offline_seconds / max(len(away), 1)
    while not calm.exists():
        gevent.sleep(pause)
        if still.exists():
            continue
        present = [user for user in users if user.client is not None]
        leaver = random.choice(present)
        leaver.go()
        away.append(leaver)
        away.pop(0).come()
    for user in away:
        user.come()


def blink(users: Sequence[Presence], still: Path, calm: Path, random: Random) -> None:
    """Again and again a user goes and is back at once, as over a bad network."""
    while not (still.exists() or calm.exists()):
        gevent.sleep(users[0].settings.blink_seconds)
        random.choice(users).blink()
