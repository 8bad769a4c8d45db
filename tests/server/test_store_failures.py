"""A store that fails while people talk: an answer for every message in time, nothing lost, nothing out of order, no restart.

The embedded database fails through a wrapper that is handed to the node; a MariaDB of this file's own is really stopped and frozen.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from myim_server.node import Node, wall_clock
from myim_server.refusals import StoreUnavailable
from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.store.offline import Inserted, Offline, Purged, StoredMessage
from myim_wire.errors import ErrorCode
from myim_wire.messages import ERROR, QOS1, REPLY, Command, Message, decode_error, decode_pairs, encode_message, split_trailer
from tests.server.running import Person, RawTerminal, make_person, online, start_node, wait_until
from tests.store.mariadb import MariaDb

RECEIVED, STORED = b"\x01", b"\x02"
PROMISED_SECONDS = 10.0 + 1.0  # and what a loaded machine needs to notice
QUICK = {"sweep_seconds": 0.4}
PATIENT = QUICK | {"receipt_seconds": 60, "attempt_seconds": 60}  # so that nothing here is settled by running out of time


class Moody:
    """Offline messages whose calls fail as long as they are named in `failing`, and wait as long as `is_open` is clear."""

    def __init__(self, real: Offline) -> None:
        self.real = real
        self.failing: set[str] = set()
        self.calls: list[str] = []
        self.is_open = Event()
        self.is_open.set()

    def _begin(self, call: str) -> None:
        self.calls.append(call)
        self.is_open.wait()
        if call in self.failing:
            raise StoreUnavailable("the test says so")

    def insert(self, messages: Sequence[StoredMessage]) -> list[Inserted]:
        self._begin("insert")
        return self.real.insert(messages)

    def page(self, target: int, handed: Collection[int], limit: int, max_bytes: int) -> tuple[list[StoredMessage], bool]:
        self._begin("page")
        return self.real.page(target, handed, limit, max_bytes)

    def targets_with_rows(self, user_ids: Iterable[int]) -> set[int]:
        self._begin("targets_with_rows")
        return self.real.targets_with_rows(user_ids)

    def confirm(self, names: Sequence[tuple[int, int, int]], is_held: bool = False) -> int:
        self._begin("confirm")
        return self.real.confirm(names)

    def delete(self, row_ids: Iterable[int]) -> None:
        self._begin("delete")
        self.real.delete(row_ids)

    def purge_expired(self, now: int, limit: int) -> Purged:
        return self.real.purge_expired(now, limit)


@pytest.fixture
def moods() -> list[Moody]:
    """What `node` was given."""
    return []


def opening(moods: list[Moody]) -> Callable[[StoreSettings], Store]:
    """Opens a store with moods."""

    def open_moody(settings: StoreSettings) -> Store:
        store = open_store(settings)
        moods.append(Moody(store.offline))
        store.offline = moods[0]  # type: ignore[assignment]
        return store

    return open_moody


@pytest.fixture
def node(tmp_path: Path, moods: list[Moody]) -> Iterator[Node]:
    running = start_node(tmp_path, opening(moods), delivery=PATIENT)
    yield running
    moods[0].is_open.set()
    running.stop()


@pytest.fixture
def moody(node: Node, moods: list[Moody]) -> Moody:
    return moods[0]


def code_of(reply: Message) -> ErrorCode:
    assert reply.flags & ERROR
    return ErrorCode(decode_error(reply.content).code)


def receipts_of(node: Node, person: Person) -> list[tuple[int, int]]:
    assert node.store is not None
    return list(node.store.receipts.page(person.user, person.slot, 100))


def rows_of(node: Node, person: Person) -> set[int]:
    assert node.store is not None
    return node.store.offline.targets_with_rows([person.user])


def test_without_a_store_a_message_to_an_absent_user_is_refused_to_be_tried_again_and_so_is_all_behind_it(
    node: Node, alice: Person, bob: Person, moody: Moody
) -> None:
    a = online(node, alice)
    moody.failing = {"insert"}
    names = [a.write(bob.user, f"number {i}".encode(), is_first=i == 0) for i in range(3)]
    for named in names:
        refusal = decode_error(a.settling_of(named).content)
        assert refusal.code == ErrorCode.STORE_UNAVAILABLE and refusal.retry_ms
    late = a.write(bob.user, b"number 3", is_first=False)
    assert code_of(a.settling_of(late)) in (ErrorCode.STORE_UNAVAILABLE, ErrorCode.OUT_OF_ORDER)
    moody.failing = set()
    for i, named in enumerate([*names, late]):
        a.write(bob.user, f"number {i}".encode(), is_first=i == 0, time=named)
    assert [a.settling_of(named).content for named in [*names, late]] == [STORED] * 4
    b = RawTerminal(node, bob)
    assert b.fetch() == 4
    assert [b.next_message().time for _ in range(4)] == [*names, late]
    for terminal in (a, b):
        terminal.close()


def test_a_store_that_does_not_answer_is_answered_for_however_many_wait(tmp_path: Path, moods: list[Moody]) -> None:
    node = start_node(tmp_path, opening(moods), delivery={"store_seconds": 0.5})
    alice, bob, carol = (make_person(node, name) for name in ("alice", "bob", "carol"))
    a, c = online(node, alice), online(node, carol)
    moods[0].is_open.clear()
    stuck = a.write(bob.user, b"in the transaction that hangs")
    wait_until(lambda: "insert" in moods[0].calls)
    waiting = c.write(bob.user, b"behind it")
    assert code_of(c.settling_of(waiting)) == ErrorCode.STORE_UNAVAILABLE
    assert code_of(a.settling_of(stuck)) == ErrorCode.STORE_UNAVAILABLE
    moods[0].is_open.set()
    again = c.write(bob.user, b"behind it", time=waiting)
    assert c.settling_of(again).content == STORED
    again = a.write(bob.user, b"in the transaction that hangs", time=stuck)
    assert a.settling_of(again).content == STORED
    b = RawTerminal(node, bob)
    assert b.fetch() == 2
    for terminal in (a, b, c):
        terminal.close()
    node.stop()


def test_what_cannot_be_read_is_not_overtaken(node: Node, alice: Person, bob: Person, moody: Moody) -> None:
    a = online(node, alice)
    stored = a.write(bob.user, b"stored before")
    assert a.settling_of(stored).content == STORED
    b = RawTerminal(node, bob)
    moody.failing = {"page", "targets_with_rows"}
    b.say(encode_message(Command.OFFLINE_FETCH, QOS1, bob.user, 0, b.name()))
    live = a.write(bob.user, b"sent while nothing can be read", is_first=False)
    assert a.settling_of(live).content == STORED
    b.poll()
    assert b.inbox == []
    moody.failing = set()
    assert [b.next_message().time for _ in range(2)] == [stored, live]
    for terminal in (a, b):
        terminal.close()


def test_a_lane_that_waits_for_a_read_that_fails_is_returned_and_goes_another_way(
    node: Node, alice: Person, bob: Person, moody: Moody
) -> None:
    a, b = online(node, alice), online(node, bob)
    moody.failing = {"page", "targets_with_rows"}
    named = a.write(bob.user, b"to a present user")
    assert a.settling_of(named).content == STORED
    moody.failing = set()
    assert b.next_message().time == named
    for terminal in (a, b):
        terminal.close()


def test_without_any_store_a_message_to_a_present_user_is_refused_in_time(node: Node, alice: Person, bob: Person, moody: Moody) -> None:
    a, b = online(node, alice), online(node, bob)
    moody.failing = {"page", "targets_with_rows", "insert"}
    began = time.monotonic()
    assert code_of(a.settling_of(a.write(bob.user, b"anybody?"))) == ErrorCode.STORE_UNAVAILABLE
    assert time.monotonic() - began < PROMISED_SECONDS
    for terminal in (a, b):
        terminal.close()


def test_an_open_lane_needs_no_store(node: Node, alice: Person, bob: Person, moody: Moody) -> None:
    a, b = online(node, alice), online(node, bob)
    opening = a.write(bob.user, b"opens the lane")
    assert b.next_message().time == opening
    moody.failing = {"page", "targets_with_rows", "insert", "confirm"}
    named = a.write(bob.user, b"follows", is_first=False)
    assert b.next_message().time == named
    b.confirm((alice.user, opening), (alice.user, named))
    assert a.settling_of(named).content == RECEIVED
    for terminal in (a, b):
        terminal.close()


def test_a_receipt_whose_deletion_failed_is_tried_again_until_the_row_is_gone_and_makes_one_receipt(
    node: Node, alice: Person, bob: Person, moody: Moody
) -> None:
    a = online(node, alice)
    named = a.write(bob.user, b"confirm me")
    a.settling_of(named)
    a.close()
    b = RawTerminal(node, bob)
    b.fetch()
    b.next_message()
    moody.failing = {"confirm"}
    b.confirm((alice.user, named))
    wait_until(lambda: moody.calls.count("confirm") >= 3)
    assert rows_of(node, bob) == {bob.user} and receipts_of(node, alice) == []
    moody.failing = set()
    wait_until(lambda: not rows_of(node, bob))
    assert receipts_of(node, alice) == [(bob.user, named)]
    calls = moody.calls.count("confirm")
    b.confirm((alice.user, named))
    b.fetch()
    assert moody.calls.count("confirm") == calls and receipts_of(node, alice) == [(bob.user, named)]
    again = online(node, alice, 2)
    receipt = again.wait_for(lambda message: message.command == Command.RECEIPT)
    assert decode_pairs(receipt.content)[1] == [(bob.user, named)]
    for terminal in (b, again):
        terminal.close()


def test_rows_whose_poke_was_lost_are_found_by_the_sweep(node: Node, alice: Person, bob: Person) -> None:
    b = online(node, bob)
    assert node.store is not None
    now = wall_clock()
    rows = [StoredMessage(bob.user, alice.user, now * 64 + i, 1, b"put there by another center", 7, i, now + i) for i in range(3)]
    assert node.store.offline.insert(rows) == [Inserted.STORED] * 3
    assert [b.next_message().time for _ in rows] == [row.time for row in rows]
    b.close()


def test_receipts_whose_hint_was_lost_are_found_by_the_sweep(node: Node, alice: Person, bob: Person) -> None:
    a = online(node, alice)
    named = a.write(bob.user, b"confirmed at another center")
    a.settling_of(named)
    assert node.store is not None
    assert node.store.offline.confirm([(bob.user, alice.user, named)]) == 1
    receipt = a.wait_for(lambda message: message.command == Command.RECEIPT)
    assert decode_pairs(receipt.content)[1] == [(bob.user, named)]
    a.say(encode_message(Command.RECEIPT, REPLY, 0, alice.user, receipt.time))
    wait_until(lambda: receipts_of(node, alice) == [])
    a.close()


def test_a_qos_0_message_that_cannot_be_stored_is_counted_and_not_answered(node: Node, alice: Person, bob: Person, moody: Moody) -> None:
    a = online(node, alice)
    moody.failing = {"insert"}
    a.say(encode_message(Command.USER_MESSAGE, 0, alice.user, bob.user, a.name(), b"by the way"))
    wait_until(lambda: node.metrics.qos0_dropped == 1)
    a.fetch()
    assert a.inbox == []
    a.close()


def test_a_qos_0_row_that_cannot_be_deleted_is_not_handed_over(node: Node, alice: Person, bob: Person, moody: Moody) -> None:
    a = online(node, alice)
    a.say(encode_message(Command.USER_MESSAGE, 0, alice.user, bob.user, a.name(), b"at most once"))
    wait_until(lambda: rows_of(node, bob))
    moody.failing = {"delete"}
    b = RawTerminal(node, bob)
    b.say(encode_message(Command.OFFLINE_FETCH, QOS1, bob.user, 0, b.name()))
    wait_until(lambda: moody.calls.count("delete") >= 2)
    b.poll()
    assert b.inbox == []
    moody.failing = set()
    assert split_trailer(b.next_message().content)[0] == b"at most once"
    assert not rows_of(node, bob)
    for terminal in (a, b):
        terminal.close()


# ---------------------------------------------------------------------- a real server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    """A server of this file's own: others must not see it stop."""
    server = MariaDb(tmp_path_factory.mktemp("mariadb-of-the-center"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def on_mariadb(server: MariaDb, tmp_path: Path) -> Iterator[Node]:
    store = {"url": server.url(server.new_database()), "password_file": str(server.password_file)}
    running = start_node(tmp_path, store=store, delivery=QUICK)
    yield running
    running.stop()


def online_all(node: Node, *names: str) -> list[RawTerminal]:
    return [online(node, make_person(node, name)) for name in names]


def test_while_mariadb_is_stopped_messages_are_refused_in_time_and_taken_when_it_is_back(server: MariaDb, on_mariadb: Node) -> None:
    a, absent = *online_all(on_mariadb, "alice"), make_person(on_mariadb, "bob")
    server.stop()
    try:
        began = time.monotonic()
        named = a.write(absent.user, b"to nobody there")
        refusal = decode_error(a.settling_of(named).content)
        assert (refusal.code, bool(refusal.retry_ms)) == (ErrorCode.STORE_UNAVAILABLE, True)
        assert time.monotonic() - began < PROMISED_SECONDS
    finally:
        server.start()
    a.write(absent.user, b"to nobody there", time=named)
    assert a.settling_of(named).content == STORED
    b = RawTerminal(on_mariadb, absent)
    assert b.fetch() == 1
    for terminal in (a, b):
        terminal.close()


def test_while_mariadb_is_frozen_every_message_is_refused_in_time_whatever_it_waits_for(server: MariaDb, on_mariadb: Node) -> None:
    senders, absent = online_all(on_mariadb, "alice", "carol", "dave"), make_person(on_mariadb, "bob")
    silent, unread = online_all(on_mariadb, "erin", "frank")
    open_lane = senders[2].write(silent.person.user, b"opens the lane")
    silent.next_message()
    silent.confirm((senders[2].person.user, open_lane))
    senders[2].settling_of(open_lane)
    server.freeze()
    try:
        began = time.monotonic()
        names = [
            senders[0].write(absent.user, b"waits for the store"),
            senders[1].write(unread.person.user, b"waits for a read, then for the store"),
            senders[2].write(silent.person.user, b"waits for a receipt, then for the store", is_first=False),
        ]
        waits = [gevent.spawn(sender.settling_of, named) for sender, named in zip(senders, names, strict=True)]
        gevent.joinall(waits, timeout=15, raise_error=True)
        assert time.monotonic() - began < PROMISED_SECONDS
        assert {code_of(wait.get()) for wait in waits} == {ErrorCode.STORE_UNAVAILABLE}
    finally:
        server.thaw()
    senders[0].write(absent.user, b"waits for the store", time=names[0])
    assert senders[0].settling_of(names[0]).content == STORED
    for terminal in (*senders, silent, unread):
        terminal.close()
