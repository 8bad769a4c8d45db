"""The login center whole: door, rules and store together, over real sockets."""

import os
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from myim_server.chat.accounts import Accounts
from myim_server.chat.friend_roots import FriendRoots
from myim_server.keys import open_login_keys
from myim_server.login import LoginCenter, LoginLimits
from myim_server.metrics import Metrics
from myim_server.passwords import HashingCost, Passwords
from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.store.friend_changes import Befriended
from myim_server.throttles import SECOND, TrustedNetworks
from myim_server.tickets import Tickets
from myim_wire.errors import ErrorCode
from myim_wire.friend_hashes import NO_ROOT, hash_list
from myim_wire.login_flights import Granted, Refused
from tests.login.door import connections
from tests.login.terminal import Terminal
from tests.store.mariadb import wait_until

NOW = 1_800_000_000 * SECOND
PASSWORD = "correct horse battery"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(StoreSettings(f"sqlite:///{tmp_path}/login.db"))
    yield opened
    opened.close()


@pytest.fixture
def tickets(store: Store) -> Tickets:
    made = Tickets(store.tickets, os.urandom(32), lambda: NOW)
    made.rotate()
    return made


@pytest.fixture
def center(tmp_path: Path, store: Store, tickets: Tickets) -> Iterator[LoginCenter]:
    passwords = Passwords(threads=2, queue=200, cost=HashingCost(memory_kib=64, passes=1))
    accounts = Accounts(
        store.accounts, store.terminals, store.throttles, passwords, tickets,
        servers=list, trusted=TrustedNetworks([]), is_registration_open=True, friends=FriendRoots(store.friends).of,
    )  # fmt: skip
    limits = LoginLimits(handshakes_per_address=200)
    opened = LoginCenter(("127.0.0.1", 0), open_login_keys(tmp_path), accounts, list, lambda: NOW, Metrics(), limits)
    opened.build()
    opened.start()
    yield opened
    opened.stop(0)
    passwords.close()


def test_a_terminal_registers_and_logs_in_and_its_token_opens(center: LoginCenter, tickets: Tickets) -> None:
    terminal = Terminal(center.server_port)
    registered = terminal.register("Alice", PASSWORD)
    assert isinstance(registered, Granted)
    granted = terminal.log_in("alice", PASSWORD)
    assert isinstance(granted, Granted)
    assert granted.grant.terminal_generation == 2
    ticket = tickets.open(granted.grant.token)
    assert (ticket.user, ticket.session_key) == (registered.grant.user, granted.grant.session_key)
    assert ticket.terminal_public == terminal.client().terminal_public


def test_a_login_tells_the_version_and_the_root_of_the_friend_list(center: LoginCenter, store: Store) -> None:
    terminal, other = Terminal(center.server_port), Terminal(center.server_port)
    alice, bob = (one.register(name, PASSWORD) for one, name in ((terminal, "Alice"), (other, "Bob")))
    assert isinstance(alice, Granted) and isinstance(bob, Granted)
    assert (alice.grant.friends_version, alice.grant.friends_hash) == (0, NO_ROOT)
    again = terminal.log_in("alice", PASSWORD)
    assert isinstance(again, Granted) and (again.grant.friends_version, again.grant.friends_hash) == (0, NO_ROOT)
    store.friends.change(alice.grant.user, bob.grant.user, lambda view: (Befriended(0),), NOW)
    granted = terminal.log_in("alice", PASSWORD)
    assert isinstance(granted, Granted)
    expected, _ = hash_list([(0, 0, "")], [(0, (bob.grant.user, "Bob", "", "", "", ""))])
    assert (granted.grant.friends_version, granted.grant.friends_hash) == (1, expected)


def test_unknown_wrong_and_locked_are_the_same_bytes(center: LoginCenter, store: Store) -> None:
    terminal = Terminal(center.server_port)
    terminal.register("alice", PASSWORD)
    locked = terminal.register("mallory", PASSWORD)
    assert isinstance(locked, Granted)
    store.accounts.lock(locked.grant.user)
    stranger = Terminal(center.server_port)
    decisions = [stranger.log_in(name, password) for name, password in (("nobody", PASSWORD), ("alice", "wrong"), ("mallory", PASSWORD))]
    assert decisions == [Refused(ErrorCode.LOGIN_FAILED, 0)] * 3


def test_150_parallel_logins_of_one_account_end_all_and_leave_nothing(center: LoginCenter) -> None:
    terminal = Terminal(center.server_port)
    terminal.register("alice", PASSWORD)
    logins = [gevent.spawn(terminal.log_in, "alice", PASSWORD) for _ in range(150)]
    gevent.joinall(logins, timeout=60, raise_error=True)
    decisions = [login.get() for login in logins]
    generations = [decision.grant.terminal_generation for decision in decisions if isinstance(decision, Granted)]
    assert sorted(generations) == list(range(2, 152))
    wait_until(lambda: center.handshakes == 0 and connections(center) == 0)


def test_a_terminal_that_leaves_after_its_credentials_blocks_nobody(center: LoginCenter) -> None:
    terminal = Terminal(center.server_port)
    terminal.register("alice", PASSWORD)
    for _ in range(30):
        wire, client = terminal.certified()
        wire.send(client.credentials("login", "alice", PASSWORD))
        wire.close()
    assert isinstance(terminal.log_in("alice", PASSWORD), Granted)
    wait_until(lambda: center.handshakes == 0)
