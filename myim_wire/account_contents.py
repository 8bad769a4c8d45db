"""What a terminal asks about its user's account, what centers answer, and the warning of a new terminal: the contents of ACCOUNT [P-7.17].

What lives here: one value per request, told apart by `op`, per answer, and of the push; their bytes, and how long their texts may be. What
must not: who may ask it. Decoding raises RemoteProtocolError(BAD_COMMAND) whose `field` is the path of what was wrong. All times are
microseconds since 1970. A terminal is named by its slot [P-3.6].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.fields import Fields
from myim_wire.packing import pack_map
from myim_wire.request_forms import Bare, pack_op

MAX_TERMINAL_NAME_CHARACTERS = 64
MAX_ADDRESS_CHARACTERS = 128
MAX_TERMINALS = 64
MAX_LOGINS_LISTED = 50
MAX_PART_BYTES = 49_152
TAG_CHARACTERS = 8
_SLOT_BITS = 6
_NEW_TERMINAL = "new_terminal"


@dataclass(frozen=True, slots=True)
class ListTerminals(Bare):
    """The user's terminals: a TerminalPage."""

    op: ClassVar[str] = "terminals"


@dataclass(frozen=True, slots=True)
class RenameTerminal:
    """Call a terminal otherwise from now on; answered with the TerminalPage after that."""

    op: ClassVar[str] = "rename"
    slot: int
    name: str

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, slot=self.slot, name=self.name)

    @classmethod
    def from_fields(cls, fields: Fields) -> RenameTerminal:
        """Read from the map."""
        return cls(fields.number("slot", _SLOT_BITS), fields.text("name", MAX_TERMINAL_NAME_CHARACTERS))


@dataclass(frozen=True, slots=True)
class RevokeTerminal:
    """End the sessions and tokens of a terminal, or (None) of all but the asker's; answered with the TerminalPage after that."""

    op: ClassVar[str] = "revoke"
    slot: int | None = None

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, slot=self.slot)

    @classmethod
    def from_fields(cls, fields: Fields) -> RevokeTerminal:
        """Read from the map."""
        return cls(fields.number("slot", _SLOT_BITS) if fields.has("slot") else None)


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The owner knows of this new terminal: no warning any more; answered with the TerminalPage after that."""

    op: ClassVar[str] = "acknowledge"
    slot: int

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, slot=self.slot)

    @classmethod
    def from_fields(cls, fields: Fields) -> Acknowledge:
        """Read from the map."""
        return cls(fields.number("slot", _SLOT_BITS))


@dataclass(frozen=True, slots=True)
class ListLogins:
    """The user's logins by password, the latest first, from before `before` (0: from the latest): a LoginPage."""

    op: ClassVar[str] = "logins"
    before: int = 0

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, before=self.before)

    @classmethod
    def from_fields(cls, fields: Fields) -> ListLogins:
        """Read from the map."""
        return cls(fields.number("before", 64) if fields.has("before") else 0)


@dataclass(frozen=True, slots=True)
class Export:
    """A part of all that is kept of the user, as one JSON document in UTF-8: an ExportPart.

    Part 0 begins an export; the part after the last answered, or that one again, goes on with it.
    """

    op: ClassVar[str] = "export"
    part: int = 0

    def encode(self) -> bytes:
        """The content."""
        return pack_op(self.op, part=self.part)

    @classmethod
    def from_fields(cls, fields: Fields) -> Export:
        """Read from the map."""
        return cls(fields.number("part", 32))


AccountRequest = ListTerminals | RenameTerminal | RevokeTerminal | Acknowledge | ListLogins | Export
_KINDS: tuple[type[AccountRequest], ...] = (ListTerminals, RenameTerminal, RevokeTerminal, Acknowledge, ListLogins, Export)
_READERS: dict[str, Callable[[Fields], AccountRequest]] = {kind.op: kind.from_fields for kind in _KINDS}
OPS: Final = tuple(_READERS)


def decode_account_request(content: bytes) -> AccountRequest:
    """The request in the content of an ACCOUNT from a terminal; RemoteProtocolError(BAD_COMMAND) with `field`, "op" for an unknown one."""
    fields = Fields.unpack(content)
    return _READERS[fields.choice("op", OPS)](fields)


@dataclass(frozen=True, slots=True)
class ListedTerminal:
    """A terminal of the user. `tag`: the first 8 hex digits of its fingerprint; `address`: of its last login; `is_online`: as far as is
    known; `is_this`: the asker; `is_new`: its login is not acknowledged yet; `is_revoked`: it has not logged in since it was."""

    slot: int
    name: str
    tag: str
    first_seen: int
    last_seen: int
    address: str
    is_online: bool
    is_this: bool
    is_new: bool
    is_revoked: bool

    def to_map(self) -> dict[str, object]:
        """As it stands in a page."""
        return {
            "slot": self.slot, "name": self.name, "tag": self.tag, "first_seen": self.first_seen, "last_seen": self.last_seen,
            "address": self.address, "is_online": self.is_online, "is_this": self.is_this, "is_new": self.is_new,
            "is_revoked": self.is_revoked,
        }  # fmt: skip

    @classmethod
    def from_fields(cls, fields: Fields) -> ListedTerminal:
        """Read from a page."""
        return cls(
            slot=fields.number("slot", _SLOT_BITS),
            name=fields.text("name", MAX_TERMINAL_NAME_CHARACTERS),
            tag=fields.text("tag", TAG_CHARACTERS),
            first_seen=fields.number("first_seen", 64),
            last_seen=fields.number("last_seen", 64),
            address=fields.text("address", MAX_ADDRESS_CHARACTERS),
            is_online=fields.truth("is_online"),
            is_this=fields.truth("is_this"),
            is_new=fields.truth("is_new"),
            is_revoked=fields.truth("is_revoked"),
        )


@dataclass(frozen=True, slots=True)
class TerminalPage:
    """All terminals of the user, at most 64, by slot."""

    terminals: tuple[ListedTerminal, ...]

    def encode(self) -> bytes:
        """The content."""
        return pack_map({"terminals": [terminal.to_map() for terminal in self.terminals]})

    @classmethod
    def decode(cls, content: bytes) -> TerminalPage:
        """From the content."""
        return cls(tuple(ListedTerminal.from_fields(one) for one in Fields.unpack(content).maps("terminals", MAX_TERMINALS)))


@dataclass(frozen=True, slots=True)
class ListedLogin:
    """A login by password: when, from which address, on which terminal (its name then, and its slot); whether terminal or network
    (IPv4 /24, IPv6 /48) were new to the user."""

    time: int
    address: str
    terminal: str
    slot: int
    is_new_terminal: bool
    is_new_network: bool

    def to_map(self) -> dict[str, object]:
        """As it stands in a page."""
        return {
            "time": self.time, "address": self.address, "terminal": self.terminal, "slot": self.slot,
            "is_new_terminal": self.is_new_terminal, "is_new_network": self.is_new_network,
        }  # fmt: skip

    @classmethod
    def from_fields(cls, fields: Fields) -> ListedLogin:
        """Read from a page."""
        return cls(
            time=fields.number("time", 64),
            address=fields.text("address", MAX_ADDRESS_CHARACTERS),
            terminal=fields.text("terminal", MAX_TERMINAL_NAME_CHARACTERS),
            slot=fields.number("slot", _SLOT_BITS),
            is_new_terminal=fields.truth("is_new_terminal"),
            is_new_network=fields.truth("is_new_network"),
        )


@dataclass(frozen=True, slots=True)
class LoginPage:
    """At most 50 logins, the latest first; `is_more`: ask again with the time of the last."""

    logins: tuple[ListedLogin, ...]
    is_more: bool

    def encode(self) -> bytes:
        """The content."""
        return pack_map({"logins": [login.to_map() for login in self.logins], "is_more": self.is_more})

    @classmethod
    def decode(cls, content: bytes) -> LoginPage:
        """From the content."""
        fields = Fields.unpack(content)
        logins = tuple(ListedLogin.from_fields(one) for one in fields.maps("logins", MAX_LOGINS_LISTED))
        return cls(logins, fields.truth("is_more"))


@dataclass(frozen=True, slots=True)
class ExportPart:
    """At most 48 KiB of the document; the parts in their order are the whole of it."""

    part: int
    data: bytes
    is_last: bool

    def encode(self) -> bytes:
        """The content."""
        return pack_map({"part": self.part, "data": self.data, "is_last": self.is_last})

    @classmethod
    def decode(cls, content: bytes) -> ExportPart:
        """From the content."""
        fields = Fields.unpack(content)
        part = cls(fields.number("part", 32), fields.binary("data"), fields.truth("is_last"))
        if len(part.data) > MAX_PART_BYTES:
            raise RemoteProtocolError(ErrorCode.BAD_COMMAND, "a part of more than 48 KiB", field="data")
        return part


@dataclass(frozen=True, slots=True)
class NewTerminal:
    """A terminal logged in to the account for the first time: told to the others at once, and at each session until acknowledged."""

    slot: int
    name: str
    address: str
    time: int

    def encode(self) -> bytes:
        """The content."""
        return pack_map({"event": _NEW_TERMINAL, "slot": self.slot, "name": self.name, "address": self.address, "time": self.time})

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read from the map."""
        return cls(
            slot=fields.number("slot", _SLOT_BITS),
            name=fields.text("name", MAX_TERMINAL_NAME_CHARACTERS),
            address=fields.text("address", MAX_ADDRESS_CHARACTERS),
            time=fields.number("time", 64),
        )


def decode_account_push(content: bytes) -> NewTerminal:
    """What an ACCOUNT from a center that is no reply says; BAD_COMMAND with `field`, "event" for an event that is not known here."""
    fields = Fields.unpack(content)
    fields.choice("event", (_NEW_TERMINAL,))
    return NewTerminal.from_fields(fields)
