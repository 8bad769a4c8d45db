"""A peer that speaks the bytes of links by hand, and so can say what no node of ours would."""

from __future__ import annotations

import os
import socket
import ssl
from typing import Any

from cluster.identity import Identity, make_identity, tls_context
from cluster.link_socket import read_frame, secure
from myim_wire.link_batches import LAST_OWN_KIND, BatchDecoder, BatchEncoder
from myim_wire.link_handshake import LinkHandshake, Other, Role, Self
from tests.cluster.nodes import SECRET, Node


class RawPeer:
    """One connection to a node's listener; `prove`, perhaps `secure`, then `say` and `hear`."""

    def __init__(self, node: Node, identity: Identity | None = None, role: Role = Role.CENTER, secret: bytes = SECRET) -> None:
        self.identity = identity or make_identity(os.urandom(32))
        self._mine = Self(role, False, self.identity.seed, self.identity.certificate, secret)
        self._node = node
        self.socket: Any = socket.create_connection(("127.0.0.1", node.mesh.address[1]), timeout=10)
        self.other: Other | None = None
        self.tls: Any = None

    @property
    def id(self) -> int:
        return self.identity.node_id

    def prove(self) -> RawPeer:
        """The four flights."""
        handshake = LinkHandshake(True, self._mine, os.urandom(32), os.urandom(32))
        self.socket.sendall(handshake.start())
        while handshake.other is None:
            self.socket.sendall(handshake.receive(read_frame(self.socket)))
        self.take_up(handshake.other)
        return self

    def answer(self, server: socket.socket) -> RawPeer:
        """The four flights with a node that dials this server."""
        self.socket.close()
        self.socket, _ = server.accept()
        handshake = LinkHandshake(False, self._mine, os.urandom(32), os.urandom(32))
        while handshake.other is None:
            self.socket.sendall(handshake.receive(read_frame(self.socket)))
        self.take_up(handshake.other)
        return self

    def take_up(self, other: Other) -> None:
        """Batches from here on."""
        self.other = other
        self.encoder = BatchEncoder(b"" if other.is_tls else other.send_key)
        self.decoder = BatchDecoder(b"" if other.is_tls else other.receive_key)
        self.heard: list[bytes] = []

    def secure(self, context: ssl.SSLContext | None = None) -> RawPeer:
        """TLS, with the context a node would use or another."""
        assert self.other is not None
        good = tls_context(self.identity, is_server=False, peer_certificate=self.other.certificate)
        self.tls = secure(self.socket, context or good, False, self.other.certificate)
        return self

    def say_bytes(self, data: bytes) -> None:
        """Any bytes, sealed if there is TLS."""
        self.socket.sendall(self.tls.seal(data) if self.tls is not None else data)

    def say(self, *messages: bytes) -> None:
        """One batch."""
        self.say_bytes(self.encoder.encode(messages))

    def hear(self) -> bool:
        """Read once; False at the end."""
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            return False
        if not data:
            return False
        self.heard += self.decoder.feed(self.tls.open(data) if self.tls is not None else data)
        return True

    def hear_until(self, kind: int) -> bytes:
        """The first message of this kind, dropping what comes before; EOFError at the end."""
        while True:
            while self.heard:
                message = self.heard.pop(0)
                if message[0] == kind:
                    return message
            if not self.hear():
                raise EOFError

    def hear_out(self) -> list[bytes]:
        """What the node still says until it ends the link, its heartbeats and counts left out."""
        while self.hear():
            pass
        return [message for message in self.heard if message[0] > LAST_OWN_KIND or message[0] == 4]
