"""People talk through a real node: present, absent, from two terminals, over restarts; nothing lost, nothing twice, all in order."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from myim_client import (
    Client,
    Connected,
    Disconnected,
    IdentityChanged,
    LoginRefused,
    MessageArrived,
    MessageSettled,
    NameUnknown,
    OfflineDone,
    OutcomeKind,
    PasswordNeeded,
    ReceiptArrived,
    login,
    register,
)
from myim_wire.errors import ErrorCode
from tests.scenarios.town import PASSWORD, Town, own_environment, take, wait_until


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path)
    made.start()
    yield made
    made.close()


def test_two_people_talk_and_each_message_is_settled_as_received(town: Town) -> None:
    alice, bob = town.register("alice"), town.register("bob")
    hello = alice.send("bob", "hello bob")
    (arrived,) = take(bob, MessageArrived)
    assert (arrived.user, arrived.text, arrived.is_copy) == (alice.user, "hello bob", False)
    assert hello.wait(20).kind is OutcomeKind.RECEIVED
    answer = bob.send("alice", "hello alice")
    assert take(alice, MessageArrived)[0].text == "hello alice"
    assert answer.wait(20).kind is OutcomeKind.RECEIVED


def test_an_absent_persons_messages_are_stored_and_come_in_order_and_the_receipts_follow(town: Town) -> None:
    alice, bob = town.register("alice"), town.register("bob")
    bob.close()
    handles = alice.send_many(("bob", str(i)) for i in range(300))
    assert {handle.wait(30).kind for handle in handles} == {OutcomeKind.STORED}
    bob = town.again(bob)
    assert [event.text for event in take(bob, MessageArrived, 300)] == [str(i) for i in range(300)]
    assert take(bob, OfflineDone)[0].count == 300
    assert {event.time for event in take(alice, ReceiptArrived, 300)} == {handle.time for handle in handles}


def test_a_receipt_waits_for_a_sender_who_is_away(town: Town) -> None:
    alice, bob = town.register("alice"), town.register("bob")
    bob.close()
    handle = alice.send("bob", "later")
    take(alice, MessageSettled)
    alice.close()
    bob = town.again(bob)
    take(bob, MessageArrived)
    wait_until(lambda: bob.unsettled == 0)
    alice = town.again(alice)
    assert take(alice, ReceiptArrived)[0].time == handle.time
    alice = town.again(alice)
    take(alice, Connected)
    assert [event for event in alice.take(1) if isinstance(event, ReceiptArrived)] == []


def test_a_name_nobody_has_is_unknown(town: Town) -> None:
    with pytest.raises(NameUnknown):
        town.register("alice").send("nobody", "x")


def test_a_wrong_password_and_an_unknown_name_are_told_alike(town: Town) -> None:
    terminal = town.terminal("alice")
    register(terminal, town.login_server, "alice", PASSWORD)
    told = []
    for name in ("alice", "nobody"):
        with pytest.raises(LoginRefused) as raised:
            login(terminal, town.login_server, name, "not the password")
        told.append((raised.value.code, str(raised.value)))
    assert told[0] == told[1]
    assert told[0][0] == ErrorCode.LOGIN_FAILED


def test_another_terminal_of_the_sender_gets_a_copy(town: Town) -> None:
    alice, bob = town.register("alice"), town.register("bob")
    phone = town.log_in("alice", "phone")
    take(phone, OfflineDone)
    alice.send("bob", "from the desk")
    take(bob, MessageArrived)
    copy = take(phone, MessageArrived)[0]
    assert (copy.is_copy, copy.user, copy.target, copy.text) == (True, alice.user, bob.user, "from the desk")


def test_a_newer_session_of_the_same_terminal_replaces_the_older_which_stops(town: Town) -> None:
    old = town.register("alice")
    shutil.copy(old.profile.path, old.profile.path.with_name("copy.db"))
    for extra in ("-wal", "-shm"):
        path = Path(f"{old.profile.path}{extra}")
        if path.exists():
            shutil.copy(path, old.profile.path.with_name("copy.db" + extra))
    new = town.connect(old.terminal, old.profile.path.with_name("copy.db"))
    last = take(old, Disconnected)[0]
    assert (last.code, last.is_final) == (ErrorCode.REPLACED, True)
    bob = town.register("bob")
    bob.send("alice", "to the newer")
    assert take(new, MessageArrived)[0].text == "to the newer"


def test_a_node_killed_in_the_middle_loses_doubles_and_disorders_nothing(town: Town) -> None:
    alice, bob = town.register("alice"), town.register("bob")
    bodies = [str(i) for i in range(400)]
    shown: list[str] = []

    def listen() -> None:
        while len(shown) < len(bodies) and (events := bob.take(60)):
            with bob.transaction() as transaction:
                transaction.done(*events)
            shown.extend(event.text for event in events if isinstance(event, MessageArrived))

    listening = threading.Thread(target=listen)
    listening.start()
    handles = []
    for start in range(0, 400, 40):
        handles += alice.send_many(("bob", body) for body in bodies[start : start + 40])
        if start % 160 == 80:
            town.kill()
            town.start()
    outcomes = [handle.wait(60).kind for handle in handles]
    listening.join(60)
    assert shown == bodies
    assert set(outcomes) <= {OutcomeKind.RECEIVED, OutcomeKind.STORED}
    assert alice.resent > 0


def test_a_node_that_is_stopped_in_order_is_reconnected_to(town: Town) -> None:
    alice = town.register("alice")
    town.kill(signal.SIGTERM)
    assert not take(alice, Disconnected)[0].is_final
    town.start()
    take(alice, Connected)


APPLICATION = """
import sys
from myim_client import Client, MessageArrived, Terminal
client = Client(Terminal.open(sys.argv[1]), sys.argv[2])
client.connect(20)
while True:
    events = client.take(30, limit=7)
    with client.transaction() as transaction:
        transaction.execute("CREATE TABLE IF NOT EXISTS log (id INTEGER PRIMARY KEY, text TEXT)")
        for event in events:
            if isinstance(event, MessageArrived):
                transaction.execute("INSERT INTO log (text) VALUES (?)", (event.text,))
                print("writing", flush=True)
        transaction.done(*events)
"""


def test_an_application_killed_in_its_transactions_shows_each_message_once_and_in_order(town: Town) -> None:
    alice, bob = town.register("alice"), town.register("bob")
    bob.close()
    alice.send_many(("bob", str(i)) for i in range(100))
    command = [sys.executable, "-c", APPLICATION, str(bob.terminal.directory), str(bob.profile.path)]

    def shown() -> list[str]:
        with sqlite3.connect(bob.profile.path) as database:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'log'").fetchall():
                return []
            return [row[0] for row in database.execute("SELECT text FROM log ORDER BY id")]

    for lines in (1, 10, 23, 30):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, env=own_environment())
        assert child.stdout is not None
        for _ in range(lines):
            assert child.stdout.readline() == b"writing\n"
        child.kill()
        child.communicate()
        assert shown() == [str(i) for i in range(len(shown()))]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=own_environment())
    wait_until(lambda: len(shown()) >= 100, 40)
    child.kill()
    child.wait()
    assert shown() == [str(i) for i in range(100)]


def test_a_token_is_renewed_by_the_center_and_serves_at_the_next_connection(town: Town) -> None:
    alice = town.register("alice")
    before = alice.courier.account.token
    alice.close()
    with sqlite3.connect(alice.profile.path) as database:
        database.execute("UPDATE myim_account SET renew_at = 1")
    alice = town.again(alice)
    wait_until(lambda: alice.courier.account.token != before)
    alice = town.again(alice)
    assert alice.courier.account.token != before


def test_a_second_login_on_the_terminal_ends_the_old_token_and_a_password_helps(town: Town) -> None:
    alice = town.register("alice")
    alice.close()
    stale = alice.profile.path.with_name("stale.db")
    shutil.copy(alice.profile.path, stale)
    login(alice.terminal, town.login_server, "alice", PASSWORD)
    client = Client(alice.terminal, stale)
    town.clients.append(client)
    client.connect(0)
    take(client, PasswordNeeded)
    client.close()
    town.connect(alice.terminal, stale, password=lambda: PASSWORD)


def test_another_login_center_at_the_same_place_is_refused_loudly(town: Town) -> None:
    alice = town.register("alice")
    alice.close()
    town.kill()
    town.start("another")
    with pytest.raises(IdentityChanged, match="HAS CHANGED"):
        login(alice.terminal, town.login_server, "alice", PASSWORD)
