"""Who takes part in a load: minted terminals and registered ones, each with a profile the SDK opens as its own.

What lives here: how a user of the load gets its profile, and whom it may write to. What must not: what users do (locustfile), starting
servers, measuring. Minted users skip the password, whose hash would cost more than all their messages; a share logs in for real.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from myim_client import Account, Terminal, login, register
from myim_client.profile import Profile
from myim_wire.contents import Server

PASSWORD = "Quiet-harbour-41-lanterns"
DAY_US = 24 * 3600 * 1_000_000


@dataclass(slots=True)
class Member:
    """One user of the load: its terminal, its profile, and the name it logs in by ("" for a minted one)."""

    terminal: Terminal
    profile: Path
    user: int
    name: str = ""


@dataclass(slots=True)
class Crowd:
    """All users of one load; `rows` are what `admin mint` wrote, `everybody` the ids messages may go to."""

    home: Path
    login_server: str
    rows: list[dict[str, Any]]
    servers: tuple[Server, ...] = ()
    everybody: list[int] = field(default_factory=list)
    registered: int = 0

    @classmethod
    def read(cls, accounts: Path, home: Path, login_server: str) -> Crowd:
        """The crowd of a file of minted accounts; OSError or ValueError when it is none."""
        return cls(home, login_server, [json.loads(line) for line in accounts.read_text().splitlines()][::-1])

    def minted(self) -> Member:
        """The next minted user, its token in a new profile; IndexError when all are taken."""
        row = self.rows.pop()
        terminal = Terminal(self.home, bytes.fromhex(row["terminal_secret"]), bytes.fromhex(row["fingerprint"]))
        path = self.home / f"{row['name']}.db"
        keep_minted(path, row, terminal, self.login_server, self.servers)
        self.everybody.append(row["user"])
        return Member(terminal, path, row["user"])

    def register(self) -> Member:
        """A new user, registered by password at the login center; raises what the SDK's `register` raises."""
        self.registered += 1
        name = f"load{self.registered}x{random.randrange(1 << 32)}"
        home = self.home / name
        terminal = Terminal.open(home)
        logged_in = register(terminal, self.login_server, name, PASSWORD)
        self.everybody.append(logged_in.account.user)
        return Member(terminal, logged_in.path, logged_in.account.user, name)

    def log_in(self, member: Member) -> None:
        """Log a registered member in again, by password; raises what the SDK's `login` raises."""
        login(member.terminal, self.login_server, member.name, PASSWORD, path=member.profile)

    def doors(self, place: int) -> list[tuple[str, int]]:
        """Where member number `place` connects: every server there is, a different one first, so that the crowd spreads over all."""
        known = [(server.host, server.port) for server in self.servers if server.port]
        start = place % len(known)
        return known[start:] + known[:start]

    def other_than(self, member: Member) -> int:
        """A user id to write to; ValueError while the member is alone."""
        if len(self.everybody) < 2:
            raise ValueError("nobody else is there yet")
        while (user := random.choice(self.everybody)) == member.user:
            pass
        return user


def keep_minted(path: Path, row: dict[str, Any], terminal: Terminal, login_server: str, servers: Sequence[Server]) -> None:
    """Make the profile of a minted account, as a login would have."""
    now_us = time.time_ns() // 1000
    token, session_key = bytes.fromhex(row["token"]), bytes.fromhex(row["session_key"])
    account = Account(
        login_server, row["user"], row["name"], row["slot"], terminal.public_key, token, session_key,
        now_us + DAY_US // 2, now_us + DAY_US, tuple(servers),
    )  # fmt: skip
    profile = Profile.open(path, create=True)
    try:
        profile.log_in(account)
    finally:
        profile.close()
