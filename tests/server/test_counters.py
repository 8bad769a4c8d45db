"""What a node counts, it counts: people do each thing to a real node, and its counter moves."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog import DropEvent

from myim_client import LoginRefused, Terminal, login, register
from myim_server.config_sections import DirectorySection
from myim_server.logs import BURST_LINES, RateLimit
from myim_server.metrics import COUNTERS, LABELLED, Metrics
from myim_server.node import Node
from myim_server.node_links import open_directory
from myim_server.refusals import StoreUnavailable
from myim_server.store.engine import Store, StoreSettings, open_store
from myim_wire.account_contents import RevokeTerminal
from myim_wire.bodies import encode_pairs
from myim_wire.errors import ErrorCode
from myim_wire.messages import ERROR, REPLY, Command, encode_message
from tests.server.account_terminals import Device, here
from tests.server.running import Person, RawTerminal, config, make_person, online, start_node, stuff, wait_until

PASSWORD = "seven brown horses run"


class Wavering:
    """A table whose calls fail while `is_failing`."""

    def __init__(self, real: object) -> None:
        self._real = real
        self.is_failing = False

    def __getattr__(self, name: str) -> object:
        if self.is_failing:
            raise StoreUnavailable("the test says so")
        return getattr(self._real, name)


class Play:
    """A node on a store that can be made to fail, and whoever comes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.node = start_node(directory / "node", self._open, delivery={"sweep_seconds": 0.2})
        self._people = 0

    def _open(self, settings: StoreSettings) -> Store:
        store = open_store(settings)
        self.offline = Wavering(store.offline)
        store.offline = self.offline  # type: ignore[assignment]
        return store

    def person(self) -> Person:
        """Somebody new."""
        self._people += 1
        return make_person(self.node, f"person{self._people}")

    def online(self, person: Person | None = None) -> RawTerminal:
        """A terminal that has fetched."""
        return online(self.node, person or self.person())

    def strike(self, data: bytes) -> None:
        """Bytes at the center's door, from somebody who then reads to the end."""
        assert self.node.center is not None
        with socket.create_connection(("127.0.0.1", self.node.center.server_port), 10) as sock:
            sock.sendall(data)
            while sock.recv(4096):
                pass

    @property
    def login_server(self) -> str:
        assert self.node.login is not None
        return f"127.0.0.1:{self.node.login.server_port}"

    def register(self, name: str) -> None:
        """An account of the login center."""
        register(Terminal.open(self.directory / "terminal"), self.login_server, name, PASSWORD)


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    made = Play(tmp_path_factory.mktemp("play"))
    yield made
    made.node.stop()


def talk(play: Play) -> tuple[RawTerminal, RawTerminal, int]:
    """One writes to another, who has it and says so."""
    alice, bob = play.online(), play.online()
    named = alice.write(bob.person.user, b"hello")
    bob.next_message()
    bob.confirm((alice.person.user, named))
    alice.settling_of(named)
    return alice, bob, named


def store(play: Play) -> tuple[RawTerminal, Person]:
    """One writes to another, who is away."""
    alice, bob = play.online(), play.person()
    alice.settling_of(alice.write(bob.user, b"later"))
    return alice, bob


def fetch(play: Play) -> None:
    _, bob = store(play)
    play.online(bob).next_message()


def whisper(play: Play) -> None:
    alice, bob = play.online(), play.online()
    alice.say(encode_message(Command.USER_MESSAGE, 0, alice.person.user, bob.person.user, alice.name(), b"psst"))
    bob.next_message()


def whisper_to_nobody(play: Play) -> None:
    alice = play.online()
    alice.say(encode_message(Command.USER_MESSAGE, 0, alice.person.user, 1 << 40, alice.name(), b"psst"))


def confirm_strangely(play: Play) -> None:
    play.online().confirm((1, 64))


def reply_unasked(play: Play) -> None:
    alice = play.online()
    alice.say(encode_message(Command.LOOKUP, REPLY, alice.person.user, 0, alice.name(), b""))


def come_again(play: Play) -> None:
    alice = play.online()
    online(play.node, alice.person, 2)
    assert alice.goodbye().flags & ERROR


def rekey(play: Play) -> None:
    alice = play.online()
    alice.socket.sendall(alice.connection.start_rekey(bytes(range(32))))
    alice.poll()


def renew(play: Play) -> None:
    assert not play.online().ask(Command.TOKEN).flags & ERROR


def fail_the_store(play: Play) -> None:
    alice = play.online()
    before = play.node.metrics.store_failures
    play.offline.is_failing = True
    wait_until(lambda: play.node.metrics.store_failures > before)
    play.offline.is_failing = False
    alice.close()


def log_too_much(play: Play) -> None:
    limit = RateLimit(lambda: 0.0, play.node.count_dropped_line)
    for _ in range(BURST_LINES):
        limit(None, "info", {"event": "again"})
    with pytest.raises(DropEvent):
        limit(None, "info", {"event": "again"})


def ask_wrongly(play: Play) -> None:
    assert play.online().ask(Command.LOOKUP, b"\xff").flags & ERROR


def strike_with_a_wrong_length(play: Play) -> None:
    play.strike(b"\xff" * 8)


def speak_brokenly(play: Play) -> None:
    alice = play.online()
    alice.say(b"\x01")
    alice.goodbye()


def log_in_wrongly(play: Play) -> None:
    with pytest.raises(LoginRefused):
        login(Terminal.open(play.directory / "terminal"), play.login_server, "nobody", PASSWORD)


def look_after_an_account(play: Play) -> None:
    """Register, log in elsewhere, be warned, export, log that one out, change the password, delete."""
    play._people += 1
    name = f"owner{play._people}"
    laptop, phone = Device(play.node, "laptop"), Device(play.node, "phone")
    first = here(play.node, laptop.person("register", name))
    phone.grant("login", name)
    first.warning()
    first.export()
    first.terminals(RevokeTerminal())
    laptop.grant("password", name, new_password=PASSWORD)
    laptop.grant("delete", name, PASSWORD)
    first.close()


ACCOUNTS = ("passwords_changed", "accounts_deleted", "terminals_revoked", "terminals_warned_of", "exports")
MOVED: dict[str, Callable[[Play], object]] = {
    "messages_accepted": talk,
    "settled_received": talk,
    "settled_stored": store,
    "qos0_accepted": whisper,
    "qos0_dropped": whisper_to_nobody,
    "offline_delivered": fetch,
    "receipts_confirmed": talk,
    "receipts_ignored": confirm_strangely,
    "replies_ignored": reply_unasked,
    "sweeps": lambda play: play.online(),
    "connections": lambda play: play.online(),
    "sessions_opened": lambda play: play.online(),
    "sessions_replaced": come_again,
    "rekeys": rekey,
    "logins": lambda play: play.register("login"),
    "registrations": lambda play: play.register("registered"),
    **dict.fromkeys(ACCOUNTS, look_after_an_account),
    "tokens_renewed": renew,
    "store_failures": fail_the_store,
    "log_lines_dropped": log_too_much,
    "refused": ask_wrongly,
    "sessions_closed": come_again,
    "handshakes_failed": strike_with_a_wrong_length,
    "bad_input": speak_brokenly,
}


def total(node: Node, name: str) -> int:
    """What the counter stands at, all its labels together."""
    value = getattr(node.metrics, name)
    return value.total() if isinstance(value, Counter) else int(value)


OF_GROUPS = {  # test_group_counters
    "group_posts", "group_confirmations", "group_fetched", "group_offers", "group_rows_purged", "group_bytes_purged", "messages_expired",
}  # fmt: skip
OF_FRIENDS = {"friend_changes", "friend_pushes"}  # test_friend_counters
OF_LINKS = {"mesh_bounced", "claims_refused", "peer_faults", "directory"}  # need more nodes: test_across_centers, test_hostile_peer, below


@pytest.mark.parametrize("name", [name for name in (*COUNTERS, *LABELLED) if name not in OF_LINKS | OF_GROUPS | OF_FRIENDS])
def test_a_counter_moves_when_what_it_counts_happens(play: Play, name: str) -> None:
    before = total(play.node, name)
    stage = MOVED[name](play)  # who is on it stays until the counter was read
    wait_until(lambda: total(play.node, name) > before)
    del stage


def test_each_message_confirmed_and_each_row_delivered_counts_once(play: Play) -> None:
    metrics = play.node.metrics
    before = metrics.receipts_confirmed, metrics.receipts_ignored, metrics.offline_delivered
    alice, bob = play.online(), play.person()
    names = [alice.write(bob.user, b"x", is_first=number == 0) for number in range(3)]
    for named in names:
        alice.settling_of(named)
    terminal = play.online(bob)
    for _ in names:
        terminal.next_message()
    content = encode_pairs(1, [*((alice.person.user, named) for named in names), (alice.person.user, 64)])
    terminal.say(encode_message(Command.RECEIPT, 0, bob.user, 0, 0, content))
    wait_until(lambda: metrics.receipts_ignored > before[1])
    after = metrics.receipts_confirmed, metrics.receipts_ignored, metrics.offline_delivered
    assert [now - then for now, then in zip(after, before, strict=True)] == [3, 1, 3]


def test_a_closed_session_is_counted_once_and_by_its_code(play: Play) -> None:
    closed = play.node.metrics.sessions_closed
    before = Counter(closed)
    come_again(play)
    wait_until(lambda: closed.total() > before.total())
    assert closed - before == Counter({ErrorCode.REPLACED.name: 1})


def test_a_session_that_the_terminal_ends_is_not_counted_as_closed_by_the_server(play: Play) -> None:
    closed = play.node.metrics.sessions_closed.total()
    alice = play.online()
    key = alice.person.user << 6 | alice.person.slot
    alice.say(encode_message(Command.GOODBYE, 0, alice.person.user, 0, 0))
    assert play.node.router is not None
    parties = play.node.router.parties
    wait_until(lambda: key not in parties)
    assert play.node.metrics.sessions_closed.total() == closed


def test_the_rows_of_each_commit_are_shown(play: Play) -> None:
    store(play)
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(play.node.metrics.text().decode())
        for sample in family.samples
        if not sample.labels
    }
    assert 1 <= samples["myim_batch_rows_count"] <= samples["myim_batch_rows_sum"]


def test_a_terminal_that_reads_nothing_is_counted_as_too_slow(tmp_path: Path) -> None:
    node = start_node(tmp_path, center={"slow_reader_seconds": 0.3})
    try:
        alice, bob = online(node, make_person(node, "alice")), online(node, make_person(node, "bob"))
        stuff(node, alice, bob.person)
        wait_until(lambda: node.metrics.sessions_closed == Counter({ErrorCode.TOO_SLOW.name: 1}))
    finally:
        node.stop()


def test_what_a_shared_directory_leaves_unanswered_is_counted(tmp_path: Path) -> None:
    metrics = Metrics()
    shared = config(tmp_path).model_copy(update={"directory": DirectorySection(kind="hazelcast", cluster_name="nobody there")})
    directory = open_directory(shared, bytes(32), 1, metrics)
    assert directory.find([1]) is None
    assert metrics.directory["unanswered"] == 1
    assert b'myim_directory_total{event="unanswered"} 1.0' in metrics.text()
