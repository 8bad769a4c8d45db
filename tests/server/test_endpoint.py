"""An endpoint carries terminals' bytes to its center and back, unread, and keeps each terminal's trouble to itself."""

import resource
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
import structlog

from myim_server.endpoint import Advertised, Endpoint, EndpointLimits
from myim_wire import channels as wire
from myim_wire.channels import WINDOW_BYTES, Service
from myim_wire.errors import ErrorCode
from tests.server.channel_links import Silent, linked
from tests.server.running import wait_until

FIRST, SECOND = 11, 12
LIMITS = EndpointLimits(connections=40, unanswered=6, unanswered_per_address=4)


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.offset


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def endpoint(clock: Clock) -> Iterator[Endpoint]:
    listen = ("127.0.0.1", 0)
    made = Endpoint(listen, listen, [FIRST, SECOND], LIMITS, clock, structlog.get_logger(), Advertised("im.example", priority=7))
    made.build()
    made.start()
    yield made
    made.stop()


class Center:
    """A center that a test speaks for."""

    def __init__(self, endpoint: Endpoint, node: int = FIRST) -> None:
        self.far = Silent()
        self.near, self.link = linked(endpoint, self.far, nodes=(2, node))

    def came(self, kind: int) -> list[bytes]:
        return [message for message in self.far.came if message[0] == kind]

    def channel(self, count: int = 1) -> int:
        """The id of the count-th channel that was opened."""
        wait_until(lambda: len(self.came(wire.OPEN)) >= count)
        return wire.decode_open(self.came(wire.OPEN)[count - 1]).channel

    def heard(self) -> bytes:
        return b"".join(message[5:] for message in self.came(wire.DATA))

    def say(self, *messages: bytes) -> None:
        for message in messages:
            self.link.send(message)


@pytest.fixture
def center(endpoint: Endpoint) -> Center:
    return Center(endpoint)


def dial(endpoint: Endpoint, *, login: bool = False) -> socket.socket:
    door = endpoint.login_door if login else endpoint.door
    return socket.create_connection(("127.0.0.1", door.server_port), timeout=10)


def talking(endpoint: Endpoint, center: Center) -> tuple[socket.socket, int]:
    """A terminal that said something, and its channel."""
    before = len(center.came(wire.OPEN))
    terminal = dial(endpoint)
    terminal.sendall(b"hello")
    return terminal, center.channel(before + 1)


def data(channel: int, content: bytes) -> bytes:
    return wire.DATA_HEAD.pack(wire.DATA, channel) + content


def refusal(terminal: socket.socket) -> ErrorCode:
    """Why it was turned away; the connection has ended."""
    flight = terminal.recv(100)
    assert flight[4:6] == b"\x01\xff"
    assert terminal.recv(100) == b""
    return ErrorCode(int.from_bytes(flight[6:], "big"))


def read(terminal: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size and (more := terminal.recv(65536)):
        content += more
    return content


def reset(terminal: socket.socket) -> None:
    terminal.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    terminal.close()


@pytest.mark.parametrize("service", list(Service))
def test_a_terminal_is_carried_to_the_service_of_its_door_with_its_address(endpoint: Endpoint, center: Center, service: Service) -> None:
    terminal = dial(endpoint, login=service == Service.LOGIN)
    terminal.sendall(b"hello")
    channel = center.channel()
    assert center.came(wire.OPEN) == [wire.encode_open(channel, service, "127.0.0.1")]
    wait_until(lambda: center.came(wire.DATA) == [data(channel, b"hello")])
    center.say(data(channel, b"there"))
    assert terminal.recv(99) == b"there"


def test_who_says_nothing_costs_the_center_nothing_and_is_closed_in_time(endpoint: Endpoint, center: Center, clock: Clock) -> None:
    silent, (talker, _) = dial(endpoint), talking(endpoint, center)
    wait_until(lambda: endpoint.connections == 2)
    clock.offset = LIMITS.silent_seconds - 2
    endpoint.look_after()
    assert endpoint.connections == 2
    clock.offset = LIMITS.silent_seconds
    endpoint.look_after()
    assert silent.recv(1) == b""
    assert endpoint.connections == len(center.came(wire.OPEN)) == 1
    talker.close()


def test_a_terminal_is_not_read_beyond_its_credit_and_goes_on_with_more(endpoint: Endpoint, center: Center) -> None:
    terminal, channel = talking(endpoint, center)
    sent = b"hello" + bytes(range(256)) * 1024
    writing = gevent.spawn(terminal.sendall, sent[5:])
    wait_until(lambda: len(center.heard()) == WINDOW_BYTES)
    bystander, other = talking(endpoint, center)
    assert len(center.heard()) == WINDOW_BYTES + 5
    center.say(wire.encode_close(other))
    wait_until(lambda: bystander.recv(1) == b"")
    given = 0
    while given < len(sent) - WINDOW_BYTES:
        center.say(wire.encode_credit(channel, 32768))
        given += 32768
        wait_until(lambda: len(center.heard()) == min(len(sent), WINDOW_BYTES + given) + 5)  # noqa: B023
    writing.get(timeout=5)
    heard = b"".join(message[5:] for message in center.came(wire.DATA) if wire.channel_of(message) == channel)
    assert heard == sent


def stuff(endpoint: Endpoint, center: Center, channel: int) -> int:
    """Send to a terminal that does not read until no credit comes back; how many bytes that were."""
    (carried,) = [one for one in endpoint._terminals if one.channel == channel]
    sent = 0
    while carried._credit.may_receive:
        sent += carried._credit.may_receive
        endpoint.take(center.near, [data(channel, bytes(carried._credit.may_receive))])
        assert sent < 64 << 20, "nothing fills it"
    return sent


def test_a_slow_terminal_holds_at_most_its_window_and_nobody_else_up(endpoint: Endpoint, center: Center) -> None:
    slow, channel = talking(endpoint, center)
    quick, other = talking(endpoint, center)
    sent = stuff(endpoint, center, channel)
    (held,) = [one for one in endpoint._terminals if one.channel == channel]
    assert 0 < len(held._unsent) <= WINDOW_BYTES
    center.say(data(other, b"x"))
    assert quick.recv(1) == b"x"
    assert read(slow, sent) == bytes(sent)
    wait_until(lambda: not held._unsent and held._writer is None)
    assert held._credit.may_receive > WINDOW_BYTES // 2


@pytest.mark.parametrize("message", [data(1, bytes(WINDOW_BYTES)) + b"x", wire.encode_credit(1, 9), data(7, b"x"), b"\x87", b"\x86\0"])
def test_a_center_that_breaks_a_rule_loses_its_link(endpoint: Endpoint, center: Center, message: bytes) -> None:
    terminal, channel = talking(endpoint, center)
    assert channel == 1
    wait_until(lambda: center.heard() == b"hello")
    center.say(wire.encode_credit(1, 5), message)
    wait_until(lambda: not center.near.is_open)
    assert center.near.closed_with == ErrorCode.BAD_FRAME
    assert terminal.recv(1) == b""


def test_frames_for_a_terminal_that_left_are_late_and_no_fault(endpoint: Endpoint, center: Center) -> None:
    terminal, channel = talking(endpoint, center)
    reset(terminal)
    wait_until(lambda: center.came(wire.CLOSE) == [wire.encode_close(channel)])
    center.say(data(channel, b"x"), wire.encode_credit(channel, 1), wire.encode_end(channel), wire.encode_close(channel))
    talking(endpoint, center)
    assert center.near.is_open and endpoint.connections == 1


def test_each_direction_ends_by_itself(endpoint: Endpoint, center: Center) -> None:
    terminal, channel = talking(endpoint, center)
    terminal.shutdown(socket.SHUT_WR)
    wait_until(lambda: center.came(wire.END) == [wire.encode_end(channel)])
    center.say(data(channel, b"still"), wire.encode_end(channel))
    assert read(terminal, 99) == b"still"
    assert endpoint.connections == 1
    center.say(wire.encode_close(channel))
    wait_until(lambda: endpoint.connections == 0)


def test_the_centers_end_leaves_the_terminal_its_say(endpoint: Endpoint, center: Center) -> None:
    terminal, channel = talking(endpoint, center)
    center.say(wire.encode_end(channel))
    assert terminal.recv(1) == b""
    terminal.sendall(b" and more")
    wait_until(lambda: center.heard() == b"hello and more")


def test_last_words_reach_a_terminal_that_reads_late(endpoint: Endpoint, center: Center) -> None:
    terminal, channel = talking(endpoint, center)
    terminal.sendall(b"unread")
    words = bytes(WINDOW_BYTES)
    center.say(data(channel, words), wire.encode_close(channel))
    assert read(terminal, 2 * WINDOW_BYTES) == words


def test_last_words_are_not_lost_to_bytes_that_nobody_read_any_more(endpoint: Endpoint, center: Center) -> None:
    terminal, channel = talking(endpoint, center)
    wait_until(lambda: center.heard() == b"hello")
    terminal.sendall(b"unread")
    endpoint.take(center.near, [data(channel, b"last words"), wire.encode_close(channel)])
    assert read(terminal, 99) == b"last words"
    assert terminal.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0  # a reset would tell, and overtake words on a longer way


def test_who_does_not_take_its_last_words_is_closed_in_time(endpoint: Endpoint, center: Center, clock: Clock) -> None:
    terminal, channel = talking(endpoint, center)
    (carried,) = endpoint._terminals
    stuff(endpoint, center, channel)
    center.say(wire.encode_close(channel))
    wait_until(lambda: carried._is_closing)
    clock.offset = LIMITS.closing_seconds
    endpoint.look_after()
    assert endpoint.connections == 0
    terminal.close()


def test_a_link_that_takes_nothing_now_loses_nothing(endpoint: Endpoint, center: Center) -> None:
    one, channel = talking(endpoint, center)
    two, other = talking(endpoint, center)
    wait_until(lambda: center.heard() == b"hellohello")
    center.near.is_full = True
    one.sendall(b" one")
    two.sendall(b" two")
    wait_until(lambda: len(endpoint._lanes[center.near].held) == 2)
    one.sendall(b", and more")
    center.near.is_full = False
    wait_until(lambda: len(center.heard()) == 10 + 4 + 4 + 10)
    heard = {wire.channel_of(message): b"" for message in center.came(wire.DATA)}
    for message in center.came(wire.DATA):
        heard[wire.channel_of(message)] += message[5:]
    assert heard == {channel: b"hello one, and more", other: b"hello two"}


def test_without_a_linked_center_a_terminal_is_sent_on_at_once(endpoint: Endpoint) -> None:
    assert refusal(dial(endpoint)) == ErrorCode.ISOLATED
    assert endpoint.connections == 0


def test_a_lost_link_closes_its_terminals_which_come_back_to_the_next_center(endpoint: Endpoint, center: Center) -> None:
    second = Center(endpoint, SECOND)
    terminals = [talking(endpoint, center)[0] for _ in range(3)]
    assert not second.came(wire.OPEN)
    center.link.close()
    assert [terminal.recv(1) for terminal in terminals] == [b""] * 3
    talking(endpoint, second)
    assert endpoint.connections == 1


def test_the_first_center_of_the_list_is_taken_again_once_it_is_back(endpoint: Endpoint) -> None:
    second = Center(endpoint, SECOND)
    old, _ = talking(endpoint, second)
    first = Center(endpoint, FIRST)
    talking(endpoint, first)
    old.sendall(b" again")
    wait_until(lambda: second.heard() == b"hello again")


def test_a_draining_center_keeps_its_terminals_and_gets_no_more(endpoint: Endpoint, center: Center) -> None:
    old, channel = talking(endpoint, center)
    second = Center(endpoint, SECOND)
    center.say(wire.encode_draining())
    wait_until(lambda: endpoint._lanes[center.near].is_draining)
    talking(endpoint, second)
    center.say(data(channel, b"still"))
    assert old.recv(9) == b"still"


def test_several_links_to_one_center_share_its_terminals(endpoint: Endpoint) -> None:
    links = [Center(endpoint), Center(endpoint)]
    for _ in range(4):
        dial(endpoint).sendall(b"x")
    wait_until(lambda: [len(link.came(wire.OPEN)) for link in links] == [2, 2])


def test_unanswered_terminals_are_bounded_for_an_address_and_an_answer_makes_room(endpoint: Endpoint, center: Center) -> None:
    waiting = [talking(endpoint, center) for _ in range(LIMITS.unanswered_per_address)]
    assert refusal(dial(endpoint)) == ErrorCode.BUSY
    center.say(data(waiting[0][1], b"answer"))
    assert waiting[0][0].recv(9) == b"answer"
    talking(endpoint, center)
    assert refusal(dial(endpoint)) == ErrorCode.BUSY
    waiting[1][0].close()
    wait_until(lambda: center.came(wire.END))
    center.say(wire.encode_close(waiting[1][1]))
    wait_until(lambda: endpoint._unanswered.total() < LIMITS.unanswered_per_address)
    talking(endpoint, center)
    assert endpoint.refused == {"BUSY": 2}


def test_unanswered_terminals_are_bounded_in_all(endpoint: Endpoint, center: Center) -> None:
    for host in ("127.0.0.2", "127.0.0.3"):
        for _ in range(3):
            socket.create_connection(("127.0.0.1", endpoint.door.server_port), timeout=10, source_address=(host, 0)).sendall(b"x")
    center.channel(LIMITS.unanswered)
    assert refusal(dial(endpoint)) == ErrorCode.BUSY


def test_terminals_are_bounded_in_all(endpoint: Endpoint, center: Center) -> None:
    for _ in range(LIMITS.connections):
        terminal, channel = talking(endpoint, center)
        center.say(data(channel, b"answer"))
        assert terminal.recv(9) == b"answer"
    assert refusal(dial(endpoint)) == ErrorCode.BUSY


def test_an_endpoint_tells_its_centers_what_terminals_are_to_know(endpoint: Endpoint, center: Center) -> None:
    wait_until(lambda: center.came(wire.ABOUT))
    about = wire.decode_about(center.came(wire.ABOUT)[0])
    assert about == ("im.example", endpoint.door.server_port, "127.0.0.1", endpoint.login_door.server_port, 7, 0, False)
    talking(endpoint, center)
    endpoint.look_after()
    endpoint.drain()
    wait_until(lambda: [wire.decode_about(message)[5:] for message in center.came(wire.ABOUT)] == [(0, False), (2, False), (2, True)])
    assert refusal(dial(endpoint)) == ErrorCode.DRAINING


def test_stopping_closes_every_terminal_and_tells_the_center(endpoint: Endpoint, center: Center) -> None:
    terminal, channel = talking(endpoint, center)
    silent = dial(endpoint)
    wait_until(lambda: endpoint.connections == 2)
    endpoint.stop()
    endpoint.stop()
    assert (terminal.recv(1), silent.recv(1)) == (b"", b"")
    wait_until(lambda: center.came(wire.CLOSE) == [wire.encode_close(channel)])


def test_a_link_that_takes_not_even_a_goodbye_is_cut(endpoint: Endpoint, center: Center) -> None:
    terminal, _ = talking(endpoint, center)
    center.near.is_stuck = True
    reset(terminal)
    wait_until(lambda: center.near.closed_with == ErrorCode.TOO_SLOW)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_an_idle_terminal_costs_less_than_8_kib(clock: Clock) -> None:
    listen, count = ("127.0.0.1", 0), 400
    endpoint = Endpoint(listen, listen, [FIRST], EndpointLimits(unanswered_per_address=count), clock, structlog.get_logger())
    endpoint.build()
    endpoint.start()
    center = Center(endpoint)
    before = resident_bytes()
    terminals = [dial(endpoint) for _ in range(count)]  # their cost is in the figure too
    for terminal in terminals:
        terminal.sendall(bytes(500))
    for number in range(1, count + 1):
        center.channel(number)
    center.say(*(data(number, bytes(300)) for number in range(1, count + 1)))
    for terminal in terminals:
        assert terminal.recv(999) == bytes(300)
    assert (resident_bytes() - before) / count < 8192
    endpoint.stop()
