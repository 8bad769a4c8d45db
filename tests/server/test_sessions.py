"""The way out of one session, and the table of all: what is sent when, what waits, what ends it, who replaces whom."""

import errno
import time
from collections.abc import Callable

import pytest
from gevent.event import Event

from myim_server.refusals import SessionRefused
from myim_server.sessions import Outbound, Session, Sessions
from myim_wire.errors import ErrorCode, LocalProtocolError
from myim_wire.messages import PING_ANSWER, Command, Message, decode_error, decode_messages
from tests.server.running import wait_until

BOUND = 1000


class Sealer:
    """Seals by brackets."""

    def __init__(self) -> None:
        self.is_used_up = False
        self.sealed: list[bytes] = []

    def seal(self, plaintext: bytes) -> bytes:
        if self.is_used_up:
            raise LocalProtocolError(ErrorCode.REKEY_REQUIRED, "the key is used up")
        self.sealed.append(plaintext)
        return b"[" + plaintext + b"]"

    def close(self) -> bytes:
        return b"[]"


class RawSocket:
    """Takes `room` bytes, then none until there is more; `is_broken` makes it fail."""

    def __init__(self) -> None:
        self.room = 1 << 30
        self.taken = b""
        self.calls = 0
        self.is_broken = False

    def send(self, data: bytes) -> int:
        self.calls += 1
        if self.is_broken:
            raise OSError(errno.EPIPE, "gone")
        if not self.room:
            raise BlockingIOError(errno.EAGAIN, "full")
        taken = min(self.room, len(data))
        self.room -= taken
        self.taken += data[:taken]
        return taken


class Socket:
    """Waits where the raw one cannot take anything, as gevent's does."""

    def __init__(self) -> None:
        self._sock = RawSocket()
        self._has_room = Event()

    def give(self, room: int) -> None:
        self._sock.room += room
        self._has_room.set()

    def send(self, data: bytes) -> int:
        while not self._sock.room:
            self._has_room.clear()
            self._has_room.wait()
        return self._sock.send(data)


class Bench:
    """A session with everything around it in hand."""

    def __init__(self, slow_seconds: float = 30.0) -> None:
        self.turn: list[Callable[[], None]] = []
        self.outbound = Outbound(self.turn.append)
        self.whole_socket = Socket()
        self.socket = self.whole_socket._sock
        self.sealer = Sealer()
        self.cuts = 0
        self.session = Session(
            (7, 3, 1), (1, 1), "c1", self.sealer, self.whole_socket, self.outbound, (BOUND, slow_seconds), self._count_cut
        )

    def _count_cut(self) -> None:
        self.cuts += 1

    def end_turn(self) -> None:
        turn, self.turn[:] = list(self.turn), []
        for callback in turn:
            callback()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def last_words(bench: Bench) -> Message:
    """The last message before the empty record."""
    assert bench.socket.taken.endswith(b"][]")
    return decode_messages(bench.sealer.sealed[-1])[-1]


def pings(size: int) -> bytes:
    return PING_ANSWER * (size // len(PING_ANSWER))


def test_everything_sent_in_one_turn_is_one_record_in_one_call(bench: Bench) -> None:
    for part in (b"one", b"two"):
        bench.session.send(part)
    bench.session.send_many([b"three", b"four"], 9)
    assert bench.socket.calls == 0 and len(bench.turn) == 1
    bench.end_turn()
    assert (bench.socket.taken, bench.socket.calls) == (b"[onetwothreefour]", 1)
    bench.session.send(b"five")
    bench.end_turn()
    assert bench.socket.taken.endswith(b"[five]")


def test_sessions_that_become_ready_while_others_are_flushed_wait_for_the_next_turn(bench: Bench) -> None:
    other = Bench()
    bench.outbound.add(bench.session)
    bench.turn.append(lambda: bench.session.send(b"late"))
    other.session.send(b"x")
    bench.end_turn()
    assert bench.socket.taken == b""
    bench.end_turn()
    assert bench.socket.taken == b"[late]"


def test_many_sessions_are_flushed_a_few_at_a_time_in_their_order_and_what_comes_meanwhile_rides_along() -> None:
    turn: list[Callable[[], None]] = []
    outbound = Outbound(turn.append)
    sockets = [Socket() for _ in range(1_000)]
    sessions = [
        Session((user, 0, 1), (1, 1), f"c{user}", Sealer(), socket, outbound, (BOUND, 30.0), turn.clear)
        for user, socket in enumerate(sockets)
    ]
    for session in sessions:
        session.send(b"post")
    most = flushed = 0
    while turn:
        assert len(turn) == 1
        turn.pop()()
        sessions[0].send(b"first again")
        sessions[-1].send(b"+")
        done = sum(socket._sock.calls > 0 for socket in sockets)
        assert all(socket._sock.calls for socket in sockets[:done])
        most, flushed = max(most, done - flushed), done
        if flushed == 1_000:
            break
    assert most <= 100
    assert sockets[1]._sock.taken == b"[post]" and sockets[-1]._sock.taken.startswith(b"[post++")


def test_records_stay_below_the_cap_and_messages_whole(bench: Bench) -> None:
    parts = [bytes((65 + i,)) * 30_000 for i in range(5)]
    bench.session.send_many(parts, 150_000)
    bench.end_turn()
    assert bench.socket.taken == b"[" + parts[0] + parts[1] + b"][" + parts[2] + parts[3] + b"][" + parts[4] + b"]"


def test_what_the_socket_does_not_take_goes_out_in_order_before_what_comes_later(bench: Bench) -> None:
    bench.socket.room = 3
    bench.session.send(b"first")
    bench.end_turn()
    bench.session.send(b"second")
    bench.end_turn()
    assert bench.session.waiting_bytes == len(b"rst]") + len(b"second")
    bench.whole_socket.give(4)
    wait_until(lambda: bench.socket.taken == b"[first]")
    bench.whole_socket.give(100)
    wait_until(lambda: bench.session.waiting_bytes == 0)
    assert bench.socket.taken == b"[first][second]" and bench.cuts == 0


def test_a_frame_that_ends_its_record_follows_all_that_waits(bench: Bench) -> None:
    bench.session.send(b"before")
    bench.session.send_frame(lambda: b"<rekey>")
    bench.session.send(b"after")
    bench.end_turn()
    assert bench.socket.taken == b"[before]<rekey>[after]"


def test_such_a_frame_keeps_its_place_when_the_socket_is_full(bench: Bench) -> None:
    bench.socket.room = 2
    bench.session.send(b"before")
    bench.end_turn()
    bench.session.send(b"then")
    bench.session.send_frame(lambda: b"<rekey>")
    bench.session.send(b"after")
    bench.end_turn()
    bench.whole_socket.give(1000)
    wait_until(lambda: bench.session.waiting_bytes == 0)
    assert bench.socket.taken == b"[before][then]<rekey>[after]"


def test_goodbye_says_why_ends_with_an_empty_record_and_cuts_once(bench: Bench) -> None:
    bench.session.goodbye(ErrorCode.IDLE, "nothing was heard")
    bench.session.goodbye(ErrorCode.INTERNAL, "not this one")
    bench.end_turn()
    goodbye = last_words(bench)
    assert goodbye.command == Command.GOODBYE and decode_error(goodbye.content).code == ErrorCode.IDLE
    assert bench.session.is_over and bench.cuts == 1
    bench.session.cut()
    assert bench.cuts == 1


@pytest.mark.parametrize("end", [Session.cut, Session.farewell, Session.finish, lambda session: session.goodbye(ErrorCode.IDLE, "")])
def test_after_the_end_sending_does_nothing(bench: Bench, end: Callable[[Session], None]) -> None:
    end(bench.session)
    bench.session.send(b"late")
    bench.session.send_many([b"late"], 4)
    bench.session.send_frame(lambda: b"late")
    bench.end_turn()
    assert b"late" not in bench.socket.taken
    assert bench.session.is_over and bench.cuts == 1


def test_when_the_peer_finished_it_still_gets_what_waits_and_the_empty_record(bench: Bench) -> None:
    bench.socket.room = 1
    bench.session.send(b"this")
    bench.end_turn()
    bench.session.finish()
    bench.whole_socket.give(100)
    bench.session.wait_until_out(5)
    assert (bench.socket.taken, bench.cuts) == (b"[this][]", 1)


def fill(bench: Bench) -> None:
    bench.socket.room = 0
    bench.session.send(pings(BOUND - 100))
    bench.end_turn()


@pytest.mark.parametrize("sends", [1, 2, 5])
def test_beyond_the_bound_the_session_ends_too_slow_however_it_was_exceeded(bench: Bench, sends: int) -> None:
    fill(bench)
    for _ in range(sends):
        bench.session.send(pings(200))
    bench.end_turn()
    assert bench.session.is_closing
    assert bench.session.waiting_bytes < BOUND + sends * 200 + 200
    bench.whole_socket.give(1 << 20)
    wait_until(lambda: bench.session.is_over)
    assert decode_error(last_words(bench).content).code == ErrorCode.TOO_SLOW


def test_batches_beyond_the_bound_end_the_session_too(bench: Bench) -> None:
    fill(bench)
    for _ in range(2):
        bench.session.send_many([pings(99)] * 2, 198)
    bench.end_turn()
    bench.whole_socket.give(1 << 20)
    wait_until(lambda: bench.session.is_over)
    assert decode_error(last_words(bench).content).code == ErrorCode.TOO_SLOW


def test_a_peer_that_reads_nothing_at_all_is_cut_without_its_last_words(bench: Bench) -> None:
    fill(bench)
    bench.session.goodbye(ErrorCode.IDLE, "")
    bench.end_turn()
    wait_until(lambda: bench.session.is_over)
    assert (bench.socket.taken, bench.cuts, bench.session.waiting_bytes) == (b"", 1, 0)


def test_a_socket_that_stays_full_for_too_long_cuts_below_the_bound() -> None:
    bench = Bench(slow_seconds=0.05)
    fill(bench)
    wait_until(lambda: bench.cuts == 1)
    assert bench.session.waiting_bytes == 0 and bench.session.closed_with == ErrorCode.TOO_SLOW


def test_a_reader_that_takes_something_in_time_is_not_cut_however_long_the_whole_takes() -> None:
    bench = Bench(slow_seconds=0.05)
    fill(bench)
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        bench.whole_socket.give(1)
        wait_until(lambda: not bench.socket.room)
    assert not bench.cuts and bench.session.waiting_bytes
    bench.whole_socket.give(1 << 20)
    wait_until(lambda: not bench.session.waiting_bytes)


def test_a_broken_socket_cuts(bench: Bench) -> None:
    bench.socket.is_broken = True
    bench.session.send(b"x")
    bench.end_turn()
    assert bench.session.is_over and bench.cuts == 1


def test_a_used_up_key_cuts_because_nothing_more_can_be_said(bench: Bench) -> None:
    bench.sealer.is_used_up = True
    bench.session.send(b"x")
    bench.end_turn()
    assert bench.session.is_over and bench.cuts == 1
    again = Bench()
    again.sealer.is_used_up = True
    again.session.send(b"x")
    again.session.send_frame(lambda: b"<rekey>")
    assert again.session.is_over


def session(user: int, slot: int, number: int, generation: int = 1) -> Session:
    bench = Bench()
    limits = (BOUND, 30.0)
    return Session((user, slot, 1), (generation, number), "c", bench.sealer, bench.whole_socket, bench.outbound, limits, lambda: None)


def test_a_newer_session_of_a_terminal_takes_the_place_of_the_older() -> None:
    table = Sessions(16)
    old, new, other = session(1, 0, 1), session(1, 0, 2), session(1, 1, 1)
    assert table.add(old) == table.add(other) == []
    assert table.add(new) == [old]
    assert list(table.of(1)) == [other, new] and len(table) == 2
    assert not table.remove(old) and table.by_terminal[new.key] is new
    assert table.remove(new) and not table.remove(new)
    assert table.remove(other) and list(table.of(1)) == [] and len(table) == 0


@pytest.mark.parametrize("late", [(1, 5), (1, 4), (0, 9)])
def test_a_known_or_lower_incarnation_is_refused_even_after_its_session_ended(late: tuple[int, int]) -> None:
    table = Sessions(16)
    present = session(1, 0, 5)
    table.add(present)
    for _ in range(2):
        with pytest.raises(SessionRefused) as refused:
            table.check(1, 0, late)
        assert refused.value.code == ErrorCode.STALE_CONNECTION
        with pytest.raises(SessionRefused):
            table.add(session(1, 0, late[1], late[0]))
        table.remove(present)
    table.check(1, 0, (2, 1))
    table.check(1, 1, late)


def test_of_too_many_sessions_of_a_user_the_oldest_is_replaced() -> None:
    table = Sessions(2)
    first, second, third = (session(1, slot, 1) for slot in range(3))
    assert table.add(first) == table.add(second) == []
    assert table.add(third) == [first]
    assert list(table.of(1)) == [second, third]
    assert table.add(session(2, 0, 1)) == []


def test_what_is_remembered_of_ended_sessions_is_bounded_and_live_ones_are_not_forgotten() -> None:
    table = Sessions(16, remember=100)
    live = session(1, 0, 9)
    table.add(live)
    for user in range(2, 1000):
        passing = session(user, 0, 1)
        table.add(passing)
        table.remove(passing)
    assert len(table._last) <= 102
    with pytest.raises(SessionRefused):
        table.check(1, 0, (1, 9))


def test_what_is_remembered_is_bounded_even_behind_many_that_stay() -> None:
    table = Sessions(16, remember=20)
    for user in range(1, 101):
        table.add(session(user, 0, 1))
    for user in range(101, 401):
        passing = session(user, 0, 1)
        table.add(passing)
        table.remove(passing)
    assert len(table) == 100 and len(table._last) <= 121
