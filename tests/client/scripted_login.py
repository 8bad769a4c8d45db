"""A login center that grants or refuses as a test says: a real socket and the wire's own login end; no accounts, no passwords."""

from __future__ import annotations

import os
import socket
import threading
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from myim_wire.contents import Grant, LastLogin, Server
from myim_wire.errors import ErrorCode, ProtocolError
from myim_wire.flights import encode_error_flight
from myim_wire.login_flights import CredentialsReceived, ServersAsked
from myim_wire.login_handshake import LoginServer
from myim_wire.transport import Transport
from tests.client.scripted_center import ME, SLOT

DAY_US = 24 * 3600 * 1_000_000
DELETED = Grant(0, "", 0, 0, bytes(32), b"", 0, 0, (), None, new_terminal=False, new_network=False)


class ScriptedLogin:
    """Listens on 127.0.0.1 and grants everything as user ME, unless `refusal`, `error_flight` or `garbage` is set."""

    def __init__(self, identity: bytes = bytes(32)) -> None:
        self.identity_private = identity
        self.refusal: tuple[ErrorCode, int] | None = None
        self.error_flight: ErrorCode | None = None
        self.garbage: bytes | None = None
        self.servers: tuple[Server, ...] = ()
        self.last_login: LastLogin | None = None
        self.slot = SLOT
        self.is_deleting = True
        self.credentials: list[CredentialsReceived] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def identity(self) -> bytes:
        """The public half."""
        return Ed25519PrivateKey.from_private_bytes(self.identity_private).public_key().public_bytes_raw()

    def close(self) -> None:
        """Stop listening."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()

    def grant(self, name: str) -> Grant:
        """What it gives."""
        now = time.time_ns() // 1000
        return Grant(
            user=ME, name=name, slot=self.slot, terminal_generation=1, session_key=bytes([ME]) * 32, token=b"token of %d" % ME, issued=now,
            expires=now + DAY_US, servers=self.servers, last_login=self.last_login, new_terminal=self.last_login is not None,
            new_network=False,
        )  # fmt: skip

    def _accept(self) -> None:
        while True:
            try:
                sock = self._listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(Transport(sock),), daemon=True).start()

    def _serve(self, transport: Transport) -> None:
        server = LoginServer(self.identity_private, bytes(32), os.urandom(32), os.urandom(32))
        deadline = time.monotonic() + 10
        try:
            while True:
                received = server.receive(transport.read_frame(deadline))
                if self.error_flight is not None or self.garbage is not None:
                    transport.write(self.garbage or encode_error_flight(self.error_flight or ErrorCode.INTERNAL))
                    break
                transport.write(b"".join(received.frames))
                answers = [self._answer(server, event) for event in received.events]
                if any(answers):
                    transport.write(b"".join(answers))
                    break
        except (OSError, EOFError, ProtocolError):
            pass  # the terminal went away, as some tests want it
        transport.close()

    def _answer(self, server: LoginServer, event: object) -> bytes:
        if isinstance(event, ServersAsked):
            return server.servers(self.servers)
        if isinstance(event, CredentialsReceived):
            self.credentials.append(event)
            if self.refusal:
                return server.refuse(*self.refusal)
            return server.grant(DELETED if event.op == "delete" and self.is_deleting else self.grant(event.name))
        return b""
