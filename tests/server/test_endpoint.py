"""An endpoint carries terminals' bytes to its center and back, unread, and keeps each terminal's trouble to itself."""

import socket
import time
from collections.abc import Iterator

import gevent
import pytest
import structlog

from myim_server.channel_sockets import ChannelSocket
from myim_server.channels import Channels
from myim_server.endpoint import Endpoint, EndpointLimits
from tests.server.channel_links import FakeLink, linked
from tests.server.running import wait_until

CENTER = 1


class Echo:
    """A center that sends back what comes, and keeps the channels."""

    def __init__(self) -> None:
        self.served: list[tuple[ChannelSocket, tuple[str, int], int]] = []
        self.channels = Channels(gevent.get_hub().loop.run_callback, self.serve, None, structlog.get_logger())

    def serve(self, channel: ChannelSocket, address: tuple[str, int], endpoint: int) -> None:
        self.served.append((channel, address, endpoint))
        gevent.spawn(self._echo, channel)

    def _echo(self, channel: ChannelSocket) -> None:
        try:
            while data := channel.recv(65536):
                channel.sendall(data)
        except ConnectionResetError:
            pass
        channel.close()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint(("127.0.0.1", 0), ("127.0.0.1", 0), [CENTER, 3], EndpointLimits(), time.monotonic, structlog.get_logger())
    made.build()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def center() -> Echo:
    return Echo()


@pytest.fixture
def link(endpoint: Endpoint, center: Echo) -> FakeLink:
    """The endpoint's end of its link."""
    return linked(endpoint, center.channels)[0]


def dial(endpoint: Endpoint) -> socket.socket:
    return socket.create_connection(("127.0.0.1", endpoint.door.server_port), timeout=10)


def read(terminal: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := terminal.recv(65536)):
        data += more
    return data


def test_what_a_terminal_says_reaches_the_center_and_what_that_says_comes_back(endpoint: Endpoint, link: FakeLink, center: Echo) -> None:
    terminal = dial(endpoint)
    terminal.sendall(b"hello")
    assert read(terminal, 5) == b"hello"
    assert center.served[0][1:] == (("127.0.0.1", 0), 2)


def test_a_stream_longer_than_the_window_arrives_whole(endpoint: Endpoint, link: FakeLink) -> None:
    terminal = dial(endpoint)
    sent = bytes(range(256)) * 4096
    writer = gevent.spawn(terminal.sendall, sent)
    assert read(terminal, len(sent)) == sent
    writer.get()
