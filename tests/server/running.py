"""A real node in this process, and raw terminals that speak the wire to it without the SDK's good manners."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent

from myim_server.config_sections import (
    CenterSection,
    Config,
    DeliverySection,
    FriendsSection,
    GroupsSection,
    LoginSection,
    NodeSection,
    StoreSection,
    TokensSection,
)
from myim_server.node import Node, wall_clock
from myim_wire.center_handshake import CenterClient
from myim_wire.connection import Connection
from myim_wire.messages import FIRST, PING_ASK, QOS1, REPLY, Command, Message, encode_message, encode_pairs, name_time

DEADLINE_SECONDS = 10.0


def wait_until(is_so: Callable[[], object], seconds: float = DEADLINE_SECONDS) -> None:
    """Yield until the condition holds; AssertionError at the deadline."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "the condition did not come to hold in time"
        gevent.sleep(0.002)


SECTIONS = {"node", "login", "center", "delivery", "store", "tokens", "friends", "groups"}


def config(directory: Path, **sections: Mapping[str, Any]) -> Config:
    """Embedded defaults on free ports, with these values of sections changed."""
    assert sections.keys() <= SECTIONS, sections.keys()
    free = {"listen": "127.0.0.1:0"}
    return Config(
        node=NodeSection(data_dir=str(directory), allow_any_port=True, **sections.get("node", {})),
        login=LoginSection.model_validate(free | dict(sections.get("login", {}))),
        center=CenterSection.model_validate(free | {"max_connections": 500} | dict(sections.get("center", {}))),
        delivery=DeliverySection.model_validate(sections.get("delivery", {})),
        store=StoreSection.model_validate(sections.get("store", {})),
        tokens=TokensSection.model_validate(sections.get("tokens", {})),
        friends=FriendsSection.model_validate(sections.get("friends", {})),
        groups=GroupsSection.model_validate(sections.get("groups", {})),
    )


def start_node(directory: Path, *parts: Any, **sections: Mapping[str, Any]) -> Node:
    """A started node; stop it with node.stop(). parts: what Node takes besides its config."""
    node = Node(config(directory, **sections), *parts)
    node.build()
    node.start()
    return node


@dataclass
class Person:
    """A user with one terminal and a token for it."""

    user: int
    slot: int
    token: bytes
    session_key: bytes
    terminal_private: bytes


def make_person(node: Node, name: str) -> Person:
    """An account made straight in the store, admitted with a terminal key, with a ticket from the node's own keys."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    store = node.store
    assert store is not None
    user = store.accounts.create(name, name, "no password", wall_clock())
    return add_terminal(node, user, X25519PrivateKey.generate().private_bytes_raw())


def add_terminal(node: Node, user: int, terminal_private: bytes) -> Person:
    """Another terminal of a user."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    store = node.store
    assert store is not None
    public = X25519PrivateKey.from_private_bytes(terminal_private).public_key().public_bytes_raw()
    admission = store.terminals.admit(user, public, bytes(32), "a test", "127.0.0.1", "127.0.0.0/24", wall_clock())
    generation = store.accounts.get(user)
    assert generation is not None
    renewed = node.tickets.issue(user, admission.slot, public, (generation.generation, admission.generation), wall_clock())
    return Person(user, admission.slot, renewed.token, renewed.session_key, terminal_private)


class RawTerminal:
    """One connection to the center that says exactly what a test tells it to; what is pushed about groups is for `Member` alone."""

    hears_of_groups = False

    def __init__(self, node: Node, person: Person, number: int = 1) -> None:
        assert node.center is not None
        self.person = person
        self.socket = socket.create_connection(("127.0.0.1", node.center.server_port), timeout=DEADLINE_SECONDS)
        client = CenterClient(person.token, person.session_key, person.terminal_private, os.urandom(32), os.urandom(32), number)
        self.connection = Connection.for_terminal(client)
        self.inbox: list[Message] = []
        self.last_time = 0
        self.socket.sendall(client.connect())
        while not self.connection.is_open:
            self._read_once()

    def _read_once(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError("the center closed the connection")
        for message in self.connection.receive_data(data):
            if self.hears_of_groups or message.command != Command.GROUP or message.flags & REPLY:
                self.inbox.append(message)

    def name(self) -> int:
        """The next time that names something of this terminal."""
        self.last_time = name_time(wall_clock(), self.last_time, self.person.slot)
        return self.last_time

    def say(self, *messages: bytes) -> None:
        """Send one record."""
        self.socket.settimeout(DEADLINE_SECONDS)
        self.socket.sendall(self.connection.seal(b"".join(messages)))

    def ask(self, command: Command, content: bytes = b"") -> Message:
        """Send a request and wait for its reply."""
        named = self.name()
        self.say(encode_message(command, QOS1, self.person.user, 0, named, content))
        return self.wait_for(lambda message: message.command == command and message.time == named and bool(message.flags & REPLY))

    def fetch(self) -> int:
        """OFFLINE_FETCH; how many messages were stored."""
        return int.from_bytes(self.ask(Command.OFFLINE_FETCH).content, "big")

    def write(self, target: int, body: bytes, *, is_first: bool = True, time: int | None = None) -> int:
        """Send a QoS 1 message; its time."""
        named = time or self.name()
        self.say(encode_message(Command.USER_MESSAGE, QOS1 | (FIRST if is_first else 0), self.person.user, target, named, body))
        return named

    def confirm(self, *pairs: tuple[int, int]) -> None:
        """Send a RECEIPT for these (user, time)."""
        self.say(encode_message(Command.RECEIPT, 0, self.person.user, 0, 0, encode_pairs(1, list(pairs))))

    def wait_for(self, is_it: Callable[[Message], bool], seconds: float = DEADLINE_SECONDS) -> Message:
        """The next message that fits, taken out of the inbox."""
        end = time.monotonic() + seconds
        while True:
            for position, message in enumerate(self.inbox):
                if is_it(message):
                    return self.inbox.pop(position)
            self.socket.settimeout(max(0.001, end - time.monotonic()))
            self._read_once()

    def settling_of(self, named: int) -> Message:
        """The reply to the message of this time."""
        return self.wait_for(
            lambda message: message.command == Command.USER_MESSAGE and message.time == named and bool(message.flags & REPLY)
        )

    def poll(self) -> None:
        """Take what has arrived, if anything has; the end of the stream is nothing."""
        self.socket.settimeout(0.001)
        try:
            self._read_once()
        except (TimeoutError, EOFError):
            pass

    def next_message(self) -> Message:
        """The next USER_MESSAGE handed over."""
        return self.wait_for(lambda message: message.command == Command.USER_MESSAGE and not message.flags & REPLY)

    def goodbye(self) -> Message:
        """The GOODBYE that ends the connection."""
        return self.wait_for(lambda message: message.command == Command.GOODBYE)

    def close(self) -> None:
        """Just go."""
        self.socket.close()


def online(node: Node, person: Person, number: int = 1) -> RawTerminal:
    """A terminal that has fetched."""
    terminal = RawTerminal(node, person, number)
    terminal.fetch()
    return terminal


def stuff(node: Node, sender: RawTerminal, target: Person, number_of: Callable[[int], bytes] = lambda sent: b"") -> int:
    """Send QoS 0 messages until some wait at the center for a target that does not read; how many were sent. number_of: how each begins."""
    assert node.router is not None
    session = node.router.parties[target.user << 6 | target.slot].session
    sent = 0
    while session.waiting_bytes < 65_536:
        body = number_of(sent) + bytes(32_000)
        message = encode_message(Command.USER_MESSAGE, 0, sender.person.user, target.user, sender.name(), body)
        sender.say(message, PING_ASK)
        sender.wait_for(lambda one: one.command == Command.PING)  # the center has it
        sent += 1
        assert sent < 1000, "the center holds on to nothing"
    return sent
