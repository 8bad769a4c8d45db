"""Channels at the center: each behaves as a socket, and a peer that breaks the rules loses its link and nothing else."""

import errno
import socket
from typing import Any

import gevent
import pytest
import structlog

from myim_server.channel_sockets import ChannelSocket
from myim_server.channels import Channels
from myim_wire import channels as wire
from myim_wire.channels import GRANT_BYTES, WINDOW_BYTES, About, Service
from myim_wire.errors import ErrorCode
from tests.server.channel_links import Silent, linked
from tests.server.running import wait_until

ABOUT = About("im.example", 7411, "im.example", 7410, 5, 40, False)


class Door:
    """A center, or a login center, that keeps what it is given."""

    def __init__(self, *, has_center: bool = True, has_login: bool = True, login_centers: tuple[int, ...] = ()) -> None:
        self.terminals: list[tuple[ChannelSocket, tuple[str, int], int]] = []
        self.logins: list[tuple[ChannelSocket, tuple[str, int]]] = []
        self.channels = Channels(
            gevent.get_hub().loop.run_callback,
            (lambda *what: self.terminals.append(what)) if has_center else None,
            (lambda *what: self.logins.append(what)) if has_login else None,
            structlog.get_logger(),
            lambda node: node in login_centers,
        )


class Wired:
    """A door, and an endpoint that a test speaks for."""

    def __init__(self, role: str = "endpoint", door: Door | None = None, node: int = 2) -> None:
        self.door = door or Door()
        self.far = Silent()
        self.link, self.near = linked(self.far, self.door.channels, roles=(role, "center"), nodes=(node, 1))

    def say(self, *messages: bytes) -> None:
        for message in messages:
            self.link.send(message)

    def open(self, channel: int = 1, service: Service = Service.CENTER) -> ChannelSocket:
        """A channel at the door."""
        self.say(wire.encode_open(channel, service, "192.0.2.1"))
        kept: list[Any] = self.door.terminals if service == Service.CENTER else self.door.logins
        before = len(kept)
        wait_until(lambda: len(kept) > before)
        made: ChannelSocket = kept[-1][0]
        return made

    def came(self, kind: int) -> list[bytes]:
        return [message for message in self.far.came if message[0] == kind]

    def is_cut_for(self) -> ErrorCode:
        wait_until(lambda: not self.near.is_open)
        assert self.near.closed_with is not None
        return self.near.closed_with


def data(channel: int, content: bytes) -> bytes:
    return wire.DATA_HEAD.pack(wire.DATA, channel) + content


def test_a_terminal_is_served_with_the_address_its_endpoint_told() -> None:
    wired = Wired()
    wired.open(5)
    wired.open(6, Service.LOGIN)
    assert wired.door.terminals[0][1:] == (("192.0.2.1", 0), 2)
    assert wired.door.logins[0][1:] == (("192.0.2.1", 0),)
    assert len(wired.door.channels) == 2


def test_reading_waits_for_bytes_and_ends_with_the_peers_end() -> None:
    wired = Wired()
    channel = wired.open()
    reading = gevent.spawn(lambda: (channel.recv(3), channel.recv(9), channel.recv(9)))
    gevent.sleep(0)
    wired.say(data(1, b"hel"), data(1, b"lo"), wire.encode_end(1))
    assert reading.get(timeout=5) == (b"hel", b"lo", b"")


def test_a_read_and_a_write_give_up_after_their_time() -> None:
    channel = Wired().open()
    channel.settimeout(0.01)
    with pytest.raises(TimeoutError):
        channel.recv(1)
    with pytest.raises(TimeoutError):
        channel.sendall(bytes(WINDOW_BYTES + 1))
    channel.settimeout(0)
    with pytest.raises(BlockingIOError):
        channel.recv(1)


def test_what_is_sent_stops_at_the_credit_and_goes_on_with_more() -> None:
    wired = Wired()
    channel = wired.open()
    assert channel._sock.send(bytes(WINDOW_BYTES + 1)) == WINDOW_BYTES
    with pytest.raises(BlockingIOError) as full:
        channel._sock.send(b"x")
    assert full.value.errno == errno.EAGAIN
    writing = gevent.spawn(channel.sendall, b"y" * 10)
    gevent.sleep(0)
    wired.say(wire.encode_credit(1, 4), wire.encode_credit(1, 6))
    writing.get(timeout=5)
    wait_until(lambda: len(b"".join(message[5:] for message in wired.came(wire.DATA))) == WINDOW_BYTES + 10)


def test_a_full_link_is_a_full_socket_until_it_takes_more() -> None:
    wired = Wired()
    channel = wired.open()
    wired.near.is_full = True
    with pytest.raises(BlockingIOError):
        channel._sock.send(b"x")
    assert channel._sock.credit.may_send == WINDOW_BYTES
    writing = gevent.spawn(channel.sendall, b"x")
    gevent.sleep(0)
    wired.near.is_full = False
    writing.get(timeout=5)


def test_credit_comes_back_for_what_was_read_and_not_before() -> None:
    wired = Wired()
    channel = wired.open()
    wired.say(data(1, bytes(WINDOW_BYTES)))
    assert channel.recv(GRANT_BYTES - 1)
    gevent.sleep(0)
    assert not wired.came(wire.CREDIT)
    channel.recv(1)
    wait_until(lambda: wired.came(wire.CREDIT) == [wire.encode_credit(1, GRANT_BYTES)])


def test_a_watcher_calls_while_something_is_there_to_read() -> None:
    wired = Wired()
    channel = wired.open()
    called: list[int] = []
    watcher = channel.watcher()
    watcher.start(lambda: called.append(channel._sock.recv_into(memoryview(bytearray(3)))))
    wired.say(data(1, b"hello"))
    wait_until(lambda: called == [3, 2])
    watcher.stop()
    wired.say(data(1, b"more"))
    wait_until(lambda: channel._sock._inbox == b"more")
    assert called == [3, 2]
    watcher.start(lambda: called.append(channel._sock.recv_into(memoryview(bytearray(9)))))
    wait_until(lambda: called == [3, 2, 4])
    wired.say(wire.encode_end(1))
    wait_until(lambda: called[3:] == [0])
    watcher.close()


def test_many_small_pieces_are_kept_in_one() -> None:
    wired = Wired()
    channel = wired.open()
    wired.say(*(data(1, bytes([number % 256])) for number in range(1000)))
    wait_until(lambda: len(channel._sock._inbox) == 1000)
    assert channel.recv(2000) == bytes(number % 256 for number in range(1000))


def test_each_direction_ends_by_itself() -> None:
    wired = Wired()
    channel = wired.open()
    wired.say(wire.encode_end(1))
    assert channel.recv(9) == b""
    channel.sendall(b"still")
    channel.shutdown(socket.SHUT_WR)
    channel.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionResetError):
        channel.send(b"more")
    wait_until(lambda: wired.far.came == [data(1, b"still"), wire.encode_end(1)])


def test_shutting_the_reading_side_wakes_its_reader() -> None:
    channel = Wired().open()
    reading = gevent.spawn(channel.recv, 9)
    gevent.sleep(0)
    channel._sock.shutdown(socket.SHUT_RD)
    assert reading.get(timeout=5) == b""


def test_a_close_tells_the_peer_once_and_ends_whoever_waits() -> None:
    wired = Wired()
    channel = wired.open()
    reading = gevent.spawn(channel.recv, 9)
    gevent.sleep(0)
    channel.close()
    channel.close()
    assert reading.get(timeout=5) == b""
    wait_until(lambda: wired.far.came == [wire.encode_close(1)])
    assert len(wired.door.channels) == 0


def test_a_terminal_that_is_gone_is_a_reset_after_what_it_said() -> None:
    wired = Wired()
    channel = wired.open()
    wired.say(data(1, b"last"), wire.encode_close(1))
    wait_until(lambda: len(wired.door.channels) == 0)
    assert channel.recv(9) == b"last"
    for act in (lambda: channel.recv(9), lambda: channel.send(b"x"), lambda: channel.shutdown(socket.SHUT_WR)):
        with pytest.raises(OSError, match="closed"):
            act()
    channel.close()
    assert not wired.far.came


def test_others_have_their_turn_while_all_channels_of_a_link_end() -> None:
    wired = Wired()
    wired.say(*(wire.encode_open(channel, Service.CENTER, "192.0.2.1") for channel in range(1, 2001)))
    wait_until(lambda: len(wired.door.terminals) == 2000)
    turns, told = 0, []

    def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            gevent.sleep(0)

    for channel, _, _ in wired.door.terminals:
        channel.watcher().start(lambda: told.append(turns))
    greenlet = gevent.spawn(others)
    wired.near.close()
    wait_until(lambda: len(told) == 2000)
    greenlet.kill()
    assert len(set(told)) >= 10


def test_a_link_that_ends_ends_its_channels_as_a_reset_does() -> None:
    wired = Wired()
    channels = [wired.open(number) for number in (1, 2, 3)]
    channels[2]._sock.send(bytes(WINDOW_BYTES))
    ended: list[gevent.Greenlet[..., object]] = [gevent.spawn(channel.recv, 9) for channel in channels[:2]]
    ended.append(gevent.spawn(channels[2].sendall, b"x"))
    gevent.sleep(0)
    wired.link.close()
    gevent.joinall(ended, timeout=5)
    assert [type(one.exception) for one in ended] == [ConnectionResetError] * 3
    assert len(wired.door.channels) == 0


@pytest.mark.parametrize(
    "messages",
    [
        [data(1, bytes(WINDOW_BYTES)), data(1, b"x")],
        [wire.encode_credit(1, 1)],
        [wire.encode_open(1, Service.CENTER, "192.0.2.1")],
        [wire.encode_close(1), wire.encode_open(1, Service.CENTER, "192.0.2.1")],
        [data(2, b"x")],
        [wire.encode_end(2)],
        [wire.encode_draining()],
        [b"\x8f"],
        [data(1, b"")],
    ],
    ids=["credit overrun", "credit for nothing", "open of an open id", "open of a used id", "data before open", "end before open",
         "draining from below", "unknown kind", "empty data"],
)  # fmt: skip
def test_a_peer_that_breaks_a_rule_loses_its_link(messages: list[bytes]) -> None:
    wired, bystander = Wired(), Wired()
    bystander.open()
    wired.open()
    wired.say(*messages)
    assert wired.is_cut_for() == ErrorCode.BAD_FRAME
    assert bystander.near.is_open


def test_frames_for_a_channel_that_ended_here_are_late_and_no_fault() -> None:
    wired = Wired()
    wired.open().close()
    wired.say(data(1, b"x"), wire.encode_credit(1, 5), wire.encode_end(1), wire.encode_close(1))
    wired.open(2)
    assert wired.near.is_open


@pytest.mark.parametrize(
    ("role", "message"),
    [
        ("center", wire.encode_open(1, Service.CENTER, "192.0.2.1")),
        ("login", wire.encode_open(1, Service.LOGIN, "192.0.2.1")),
        ("center", wire.encode_about(ABOUT)),
    ],
)
def test_only_endpoints_bring_terminals_and_tell_of_themselves(role: str, message: bytes) -> None:
    wired = Wired(role)
    wired.say(message)
    assert wired.is_cut_for() == ErrorCode.NOT_ALLOWED


def test_a_center_may_bring_logins_to_who_serves_them_and_to_nobody_else() -> None:
    assert Wired("center").open(1, Service.LOGIN)
    wired = Wired("center", Door(has_login=False))
    wired.say(wire.encode_open(1, Service.LOGIN, "192.0.2.1"))
    assert wired.is_cut_for() == ErrorCode.NOT_ALLOWED


def test_a_service_that_is_not_here_is_closed_at_once() -> None:
    wired = Wired(door=Door(has_center=False, has_login=False))
    wired.say(wire.encode_open(1, Service.CENTER, "192.0.2.1"), wire.encode_open(2, Service.LOGIN, "192.0.2.1"))
    wait_until(lambda: wired.far.came == [wire.encode_close(1), wire.encode_close(2)])


def test_what_an_endpoint_tells_of_itself_is_kept_while_its_link_stands() -> None:
    wired = Wired()
    wired.say(wire.encode_about(ABOUT))
    wait_until(lambda: wired.door.channels.endpoints() == {2: ABOUT})
    wired.link.close()
    wait_until(lambda: wired.door.channels.endpoints() == {})


def test_a_draining_center_tells_the_endpoints_it_has_and_those_that_come() -> None:
    wired = Wired()
    wired.door.channels.drain()
    late, center = Wired(door=wired.door, node=3), Wired("center", wired.door, node=4)
    wait_until(lambda: wired.far.came == late.far.came == [wire.encode_draining()])
    assert not center.far.came


def test_a_center_that_takes_sessions_again_has_its_endpoints_come_anew() -> None:
    wired = Wired()
    center = Wired("center", wired.door, node=4)
    wired.door.channels.drain()
    wired.door.channels.drain(False)
    assert wired.is_cut_for() == ErrorCode.DRAINING
    assert center.near.is_open
    late = Wired(door=wired.door)
    late.open()
    assert not late.came(wire.DRAINING)


class Relay:
    """An endpoint and a node with a login center, both spoken for, and a center without one between them."""

    def __init__(self, role: str = "login") -> None:
        center = Door(has_login=False, login_centers=(9,))
        Wired("center", center, node=8)
        self.login = Wired(role, center, node=9)
        self.endpoint = Wired("endpoint", center, node=2)
        self.endpoint.say(wire.encode_open(40, Service.LOGIN, "192.0.2.1"))
        wait_until(lambda: self.login.far.came)
        self.channels = center.channels

    def see(self, wired: Wired, message: bytes) -> None:
        wait_until(lambda: wired.far.came[-1:] == [message])


@pytest.mark.parametrize("role", ["login", "center"])
def test_a_center_without_a_login_center_passes_logins_on_with_the_terminals_address(role: str) -> None:
    relay = Relay(role)
    relay.see(relay.login, wire.encode_open(1, Service.LOGIN, "192.0.2.1"))
    relay.endpoint.say(data(40, b"hello"))
    relay.see(relay.login, data(1, b"hello"))
    relay.login.say(data(1, b"there"))
    relay.see(relay.endpoint, data(40, b"there"))
    relay.login.say(wire.encode_credit(1, 5))
    relay.see(relay.endpoint, wire.encode_credit(40, 5))
    relay.endpoint.say(wire.encode_end(40))
    relay.see(relay.login, wire.encode_end(1))
    relay.login.say(wire.encode_close(1))
    relay.see(relay.endpoint, wire.encode_close(40))
    assert len(relay.channels) == 0


@pytest.mark.parametrize("messages", [[data(40, bytes(WINDOW_BYTES)), data(40, b"x")], [wire.encode_credit(40, 1)]])
def test_an_endpoint_that_breaks_the_credit_of_a_login_loses_its_own_link_only(messages: list[bytes]) -> None:
    relay = Relay()
    relay.endpoint.say(*messages)
    assert relay.endpoint.is_cut_for() == ErrorCode.BAD_FRAME
    relay.see(relay.login, wire.encode_close(1))
    assert relay.login.near.is_open


def test_a_login_ends_with_either_link() -> None:
    for one, other, channel in (("login", "endpoint", 40), ("endpoint", "login", 1)):
        relay = Relay()
        getattr(relay, one).link.close()
        relay.see(getattr(relay, other), wire.encode_close(channel))
        assert len(relay.channels) == 0


def test_a_login_link_without_room_closes_the_login_and_stays() -> None:
    relay = Relay()
    relay.login.near.is_full = True
    relay.endpoint.say(data(40, b"hello"))
    relay.see(relay.endpoint, wire.encode_close(40))
    relay.see(relay.login, wire.encode_close(1))
    assert len(relay.channels) == 0


def test_a_link_that_takes_not_even_an_answer_is_cut() -> None:
    wired = Wired()
    channel = wired.open()
    wired.near.is_stuck = True
    channel.close()
    wait_until(lambda: not wired.near.is_open)
