"""A terminal for these tests: logs in over a real socket with the wire's own client end, and lets a test say what goes wrong."""

import os

from gevent import socket

from myim_wire.contents import Operation
from myim_wire.frames import FrameDecoder
from myim_wire.login_flights import Granted, Refused
from myim_wire.login_handshake import LoginClient


class Terminal:
    """One terminal: a secret and a fingerprint that stay, a new connection for every login."""

    def __init__(self, port: int | None, source: str = "127.0.0.1", secret: bytes | None = None) -> None:
        assert port is not None, "the center does not listen"
        self.address = ("127.0.0.1", port)
        self.source = source
        self.secret = secret or os.urandom(32)
        self.fingerprint = os.urandom(32)

    def connect(self) -> "Wire":
        return Wire(socket.create_connection(self.address, timeout=15, source_address=(self.source, 0)))

    def client(self) -> LoginClient:
        return LoginClient(os.urandom(32), os.urandom(32), self.fingerprint, self.secret, None)

    def greeted(self) -> tuple["Wire", LoginClient]:
        """A connection on which the hellos are done."""
        wire, client = self.connect(), self.client()
        wire.send(client.hello())
        client.receive(wire.flight())
        return wire, client

    def certified(self) -> tuple["Wire", LoginClient]:
        """A connection on which credentials come next."""
        wire, client = self.greeted()
        wire.send(client.present_terminal())
        client.receive(wire.flight())
        return wire, client

    def attempt(self, op: Operation, name: str, password: str, device: str = "desk") -> Granted | Refused:
        """The decision on one login or registration: Granted or Refused; raises ReportedError for an error flight."""
        wire, client = self.certified()
        try:
            wire.send(client.credentials(op, name, password, device))
            (decision,) = client.receive(wire.flight())
            assert wire.rest() == b""
            assert isinstance(decision, Granted | Refused)
            return decision
        finally:
            wire.close()

    def log_in(self, name: str, password: str) -> Granted | Refused:
        return self.attempt("login", name, password)

    def register(self, name: str, password: str) -> Granted | Refused:
        return self.attempt("register", name, password)


class Wire:
    """A socket with frames."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._frames = FrameDecoder()
        self._whole: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def flight(self) -> bytes:
        """The next flight; raises EOFError if the center closes instead."""
        while not self._whole:
            data = self.connection.recv(65536)
            if not data:
                raise EOFError
            self._whole += self._frames.feed(data)
        return self._whole.pop(0)

    def rest(self) -> bytes:
        """All bytes until the center closes; a reset counts as an end."""
        received = b""
        try:
            while data := self.connection.recv(65536):
                received += data
        except ConnectionError:
            pass
        return received

    def close(self) -> None:
        self.connection.close()
