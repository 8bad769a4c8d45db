"""The contents that are msgpack maps, as typed values: servers, token renewal, look-up, credentials, grant [P-4.7], [P-7.11] ff.

Each has `encode()` and `decode(content)`; decoding raises RemoteProtocolError(BAD_COMMAND) whose `field` is the path of what was
wrong. All times are microseconds since 1970. What a name or password may look like is for the server to judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from myim_wire.fields import Fields
from myim_wire.packing import pack_map

MAX_SERVERS = 16
MAX_HOST_CHARACTERS = 255
MAX_TERMINAL_CHARACTERS = 64
KEY_BYTES = 32

Role = Literal["center", "endpoint"]
Operation = Literal["login", "register", "password", "delete"]
OPERATIONS = ("login", "register", "password", "delete")


@dataclass(frozen=True, slots=True)
class Server:
    """One server a terminal may connect to; the lower `priority` the better [P-7.11]."""

    node: int
    role: Role
    host: str
    port: int
    priority: int
    load: int
    draining: bool

    def to_map(self) -> dict[str, object]:
        """As it stands in a list."""
        return {
            "node": self.node, "role": self.role, "host": self.host, "port": self.port,
            "priority": self.priority, "load": self.load, "draining": self.draining,
        }  # fmt: skip

    @classmethod
    def from_fields(cls, fields: Fields) -> Server:
        """Read from a list."""
        return cls(
            node=fields.number("node", 64),
            role=cast(Role, fields.choice("role", ("center", "endpoint"))),
            host=fields.text("host", MAX_HOST_CHARACTERS),
            port=fields.number("port", 16),
            priority=fields.number("priority", 16),
            load=fields.number("load", 8),
            draining=fields.truth("draining"),
        )


def encode_servers(servers: Sequence[Server]) -> bytes:
    """The server list, best first, cut after 16 [P-7.11]."""
    return pack_map({"servers": [server.to_map() for server in servers[:MAX_SERVERS]]})


def decode_servers(content: bytes) -> list[Server]:
    """The server list, best first [P-7.11]."""
    return [Server.from_fields(fields) for fields in Fields.unpack(content).maps("servers", MAX_SERVERS)]


@dataclass(frozen=True, slots=True)
class RenewedToken:
    """The reply to TOKEN [P-7.12]."""

    token: bytes = field(repr=False)
    session_key: bytes = field(repr=False)
    issued: int
    expires: int

    def encode(self) -> bytes:
        """The content."""
        return pack_map({"token": self.token, "session_key": self.session_key, "issued": self.issued, "expires": self.expires})

    @classmethod
    def decode(cls, content: bytes) -> RenewedToken:
        """From the content."""
        fields = Fields.unpack(content)
        return cls(
            token=fields.binary("token"),
            session_key=fields.binary("session_key", KEY_BYTES),
            issued=fields.number("issued", 64),
            expires=fields.number("expires", 64),
        )


def encode_lookup(who: str | int) -> bytes:
    """The content of a LOOKUP by exact name or by user id [P-7.13]."""
    return pack_map({"name": who} if isinstance(who, str) else {"user": who})


def decode_lookup(content: bytes) -> str | int:
    """The name, or the user id, a LOOKUP asks for [P-7.13]."""
    fields = Fields.unpack(content)
    return fields.number("user", 64) if fields.has("user") else fields.text("name")


@dataclass(frozen=True, slots=True)
class FoundUser:
    """The reply to LOOKUP: the id and the name as the server keeps it [P-7.13]."""

    user: int
    name: str

    def encode(self) -> bytes:
        """The content."""
        return pack_map({"user": self.user, "name": self.name})

    @classmethod
    def decode(cls, content: bytes) -> FoundUser:
        """From the content."""
        fields = Fields.unpack(content)
        return cls(user=fields.number("user", 64), name=fields.text("name"))


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a terminal logs in or registers with, changes the password by, or deletes the account; `terminal` is what the owner calls the
    device; `new_password` only with "password" [P-4.7]."""

    op: Operation
    name: str
    password: str = field(repr=False)
    terminal: str | None = None
    new_password: str = field(default="", repr=False)

    def encode(self) -> bytes:
        """The structure before padding."""
        fields: dict[str, object] = {"op": self.op, "name": self.name, "password": self.password}
        if self.terminal is not None:
            fields["terminal"] = self.terminal
        if self.op == "password":
            fields["new_password"] = self.new_password
        return pack_map(fields)

    @classmethod
    def decode(cls, content: bytes) -> Credentials:
        """From the structure after unpadding."""
        fields = Fields.unpack(content)
        op = cast(Operation, fields.choice("op", OPERATIONS))
        return cls(
            op=op,
            name=fields.text("name"),
            password=fields.text("password"),
            terminal=fields.text("terminal", MAX_TERMINAL_CHARACTERS) if fields.has("terminal") else None,
            new_password=fields.text("new_password") if op == "password" else "",
        )


@dataclass(frozen=True, slots=True)
class LastLogin:
    """The login before this one: when, from which address, on which terminal [P-4.8]."""

    time: int
    address: str
    terminal: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What a successful login gives; after a deletion user 0 and an empty token [P-4.8]."""

    user: int
    name: str
    slot: int
    terminal_generation: int
    session_key: bytes = field(repr=False)
    token: bytes = field(repr=False)
    issued: int
    expires: int
    servers: tuple[Server, ...]
    last_login: LastLogin | None
    new_terminal: bool
    new_network: bool
    friends_version: int = 0
    friends_hash: bytes = bytes(32)

    def encode(self) -> bytes:
        """The structure before padding."""
        last = self.last_login
        return pack_map(
            {
                "user": self.user, "name": self.name, "slot": self.slot, "terminal_generation": self.terminal_generation,
                "session_key": self.session_key, "token": self.token, "issued": self.issued, "expires": self.expires,
                "servers": [server.to_map() for server in self.servers],
                "last_login": last and {"time": last.time, "address": last.address, "terminal": last.terminal},
                "new_terminal": self.new_terminal, "new_network": self.new_network,
                "friends_version": self.friends_version, "friends_hash": self.friends_hash,
            }
        )  # fmt: skip

    @classmethod
    def decode(cls, content: bytes) -> Grant:
        """From the structure after unpadding."""
        fields = Fields.unpack(content)
        last_login = None
        if not fields.is_nil("last_login"):
            last = fields.map("last_login")
            last_login = LastLogin(last.number("time", 64), last.text("address"), last.text("terminal"))
        return cls(
            user=fields.number("user", 64),
            name=fields.text("name"),
            slot=fields.number("slot", 6),
            terminal_generation=fields.number("terminal_generation", 32),
            session_key=fields.binary("session_key", KEY_BYTES),
            token=fields.binary("token"),
            issued=fields.number("issued", 64),
            expires=fields.number("expires", 64),
            servers=tuple(Server.from_fields(item) for item in fields.maps("servers", MAX_SERVERS)),
            last_login=last_login,
            new_terminal=fields.truth("new_terminal"),
            new_network=fields.truth("new_network"),
            friends_version=fields.number("friends_version", 64),
            friends_hash=fields.binary("friends_hash", KEY_BYTES),
        )
