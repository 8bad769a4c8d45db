"""Accounts over a store of their own, and what the tests of registering and logging in ask of them."""

from collections.abc import Callable
from typing import TypeVar, cast

import pytest

from myim_server.chat.accounts import Accounts
from myim_server.passwords import HashingCost, Passwords
from myim_server.refusals import RequestRefused
from myim_server.store.accounts import Account
from myim_server.store.engine import Store
from myim_server.throttles import SECOND, TrustedNetworks
from myim_server.tickets import Tickets
from myim_wire.contents import Grant, Operation, Server
from myim_wire.errors import ErrorCode
from myim_wire.login_flights import CredentialsReceived

START = 1_800_000_000 * SECOND
DAY = 24 * 3600 * SECOND
HERE = "192.0.2.7"
PASSWORD = "correct horse battery"
SERVERS = [Server(node=7, role="center", host="127.0.0.1", port=7401, priority=10, load=0, draining=False)]
CHEAP = HashingCost(memory_kib=64, passes=1)

Part = TypeVar("Part")


class Recorded:
    """A part that notes the name of every method called on it, in a list it shares."""

    def __init__(self, part: object, calls: list[str]) -> None:
        self._part = part
        self._calls = calls

    def __getattr__(self, name: str) -> Callable[..., object]:
        method: Callable[..., object] = getattr(self._part, name)

        def called(*args: object, **kwargs: object) -> object:
            self._calls.append(name)
            return method(*args, **kwargs)

        return called


class House:
    """Accounts over a store of their own, a clock that the test moves, and terminals by name."""

    def __init__(self, store: Store, passwords: Passwords, trusted: TrustedNetworks | None = None) -> None:
        self.store = store
        self.passwords = passwords
        self.now = START
        self.calls: list[str] = []
        self.tickets = Tickets(store.tickets, bytes(32), lambda: self.now)
        self.tickets.rotate()
        self.trusted = trusted or TrustedNetworks([])
        self.accounts = self.open()

    def open(self, is_registration_open: bool = True) -> Accounts:
        return Accounts(
            self._recorded(self.store.accounts), self._recorded(self.store.terminals), self._recorded(self.store.throttles),
            self._recorded(self.passwords), self.tickets,
            servers=lambda: SERVERS, trusted=self.trusted, is_registration_open=is_registration_open,
        )  # fmt: skip

    def _recorded(self, part: Part) -> Part:
        return cast(Part, Recorded(part, self.calls))

    def register(self, name: str = "alice", password: str = PASSWORD, terminal: str = "desk", address: str = HERE) -> Grant:
        return self.accounts.register(asked("register", name, password, terminal), address, self.now)

    def log_in(self, name: str = "alice", password: str = PASSWORD, terminal: str = "desk", address: str = HERE) -> Grant:
        return self.accounts.log_in(asked("login", name, password, terminal), address, self.now)

    def refusal(self, name: str = "alice", password: str = PASSWORD, terminal: str = "desk", address: str = HERE) -> RequestRefused:
        with pytest.raises(RequestRefused) as refused:
            self.log_in(name, password, terminal, address)
        return refused.value

    def account(self, name: str) -> Account:
        found = self.store.accounts.find(name)
        assert found is not None
        return found

    def fail(self, times: int, terminal: str = "desk") -> None:
        """So many wrong passwords, each after the delay of the one before and from an address of its own."""
        for i in range(times):
            self.now += 901 * SECOND
            refused = self.refusal(password="wrong password", terminal=terminal, address=f"10.{i // 250}.{i % 250}.1")
            assert refused.code is ErrorCode.LOGIN_FAILED


def asked(op: Operation, name: str, password: str, terminal: str) -> CredentialsReceived:
    key = terminal.encode().ljust(32, b".")
    return CredentialsReceived(op, name, password, terminal, key, key[::-1])
