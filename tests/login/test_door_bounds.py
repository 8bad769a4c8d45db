"""The login center's door: how long and for how many at once it stays open, and that it always closes."""

import time

import gevent
import pytest

from myim_server.login import LoginCenter, LoginLimits
from myim_wire.errors import ErrorCode
from myim_wire.frames import encode_frame
from myim_wire.login_flights import Granted
from tests.login.door import Decisions, OpenCenter, connections, error_flight, hello
from tests.login.terminal import Terminal, Wire
from tests.store.mariadb import wait_until


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0\x43", encode_frame(hello())[:30]])
def test_whoever_does_not_finish_in_time_is_told_timeout(open_center: OpenCenter, data: bytes) -> None:
    center = open_center(LoginLimits(handshake_seconds=0.2))
    wire = Terminal(center.server_port).connect()
    wire.send(data)
    assert wire.rest() == error_flight(ErrorCode.TIMEOUT)
    wait_until(lambda: center.handshakes == 0)


def test_a_drip_of_bytes_does_not_stretch_the_deadline(open_center: OpenCenter) -> None:
    center = open_center(LoginLimits(handshake_seconds=0.5))
    wire = Terminal(center.server_port).connect()
    began = time.monotonic()

    def drip() -> None:
        for byte in encode_frame(hello()):
            wire.send(bytes((byte,)))
            gevent.spawn_later(0.1, int).join()

    dripping = gevent.spawn(drip)
    assert wire.rest() == error_flight(ErrorCode.TIMEOUT)
    assert time.monotonic() - began < 3
    dripping.kill()


@pytest.mark.parametrize("data", [b"", b"\0\0", encode_frame(hello())[:50], encode_frame(hello())])
def test_a_terminal_that_leaves_is_forgotten_at_once(center: LoginCenter, data: bytes) -> None:
    wire = Terminal(center.server_port).connect()
    wire.send(data)
    wire.close()
    wait_until(lambda: center.handshakes == 0 and connections(center) == 0, deadline=4)


def test_terminals_that_leave_after_their_credentials_leave_nothing_behind(center: LoginCenter, decisions: Decisions) -> None:
    terminal = Terminal(center.server_port)
    for _ in range(60):
        wire, client = terminal.certified()
        wire.send(client.credentials("login", "alice", "correct horse"))
        wire.close()
    wait_until(lambda: connections(center) == 0, deadline=5)
    assert center.handshakes == 0


def test_beyond_the_places_of_one_address_or_of_all_the_door_says_busy_and_the_others_go_on(open_center: OpenCenter) -> None:
    center = open_center(LoginLimits(handshakes=5, handshakes_per_address=3))
    here, there = Terminal(center.server_port), Terminal(center.server_port, source="127.0.0.2")
    held = [here.connect() for _ in range(3)]
    wait_until(lambda: center.handshakes == 3)
    assert here.connect().rest() == error_flight(ErrorCode.BUSY)
    held += [there.connect() for _ in range(2)]
    wait_until(lambda: center.handshakes == 5)
    assert there.connect().rest() == error_flight(ErrorCode.BUSY)
    for wire in held:
        wire.close()
    wait_until(lambda: center.handshakes == 0)
    assert isinstance(here.log_in("alice", "correct horse"), Granted)


def test_who_is_told_busy_is_not_waited_for_and_keeps_nobody_out(open_center: OpenCenter) -> None:
    center = open_center(LoginLimits(handshakes=4, handshakes_per_address=2, linger_seconds=20))
    greedy = Terminal(center.server_port, source="127.0.0.2")
    held = [greedy.connect() for _ in range(2)]
    wait_until(lambda: center.handshakes == 2)
    refused = [greedy.connect() for _ in range(100)]
    for wire in refused:
        assert wire.flight() == error_flight(ErrorCode.BUSY)[4:]
    wait_until(lambda: connections(center) == 2)
    assert isinstance(Terminal(center.server_port).log_in("alice", "correct horse"), Granted)
    for wire in held + refused:
        wire.close()


def test_who_is_waited_for_after_the_last_word_still_has_its_place(open_center: OpenCenter) -> None:
    center = open_center(LoginLimits(handshakes_per_address=3, linger_seconds=20))
    terminal = Terminal(center.server_port)
    ended = [terminal.connect() for _ in range(3)]
    for wire in ended:
        wire.send(encode_frame(hello(version=9)))
        assert wire.flight() == error_flight(ErrorCode.UNSUPPORTED_VERSION)[4:]
    assert center.handshakes == 3
    assert terminal.connect().rest() == error_flight(ErrorCode.BUSY)
    for wire in ended:
        wire.close()
    wait_until(lambda: center.handshakes == 0)


def test_two_hundred_silent_connections_cost_their_places_and_nothing_more(open_center: OpenCenter) -> None:
    center = open_center(LoginLimits(handshakes_per_address=200, handshake_seconds=3))
    terminal = Terminal(center.server_port)
    held = [terminal.connect() for _ in range(200)]
    wait_until(lambda: center.handshakes == 200)
    assert Terminal(center.server_port, source="127.0.0.2").connect().rest() == error_flight(ErrorCode.BUSY)
    for wire in held:
        assert wire.rest() == error_flight(ErrorCode.TIMEOUT)
    wait_until(lambda: connections(center) == 0)


def test_stopping_tells_those_inside_and_takes_nobody_new(open_center: OpenCenter, decisions: Decisions) -> None:
    center = open_center(LoginLimits())
    port = center.server_port
    decisions.may_answer.clear()
    wire, client = Terminal(port).certified()
    wire.send(client.credentials("login", "alice", "correct horse"))
    wait_until(lambda: decisions.asked)
    center.stop(0.1)
    assert wire.rest() == error_flight(ErrorCode.SHUTDOWN)
    with pytest.raises(OSError):
        Terminal(port).connect()
    center.stop(0)


def test_a_terminal_that_never_reads_or_sends_urgent_data_disturbs_nobody(center: LoginCenter) -> None:
    deaf = [Terminal(center.server_port).connect() for _ in range(5)]
    for wire in deaf:
        wire.send(encode_frame(hello()))
        wire.connection.send(b"!", 1)  # MSG_OOB
    assert isinstance(Terminal(center.server_port).log_in("alice", "correct horse"), Granted)
    assert all(isinstance(wire, Wire) for wire in deaf)
    for wire in deaf:
        wire.close()
