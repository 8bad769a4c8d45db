"""Frames of channels: one terminal's bytes, carried unread over a link (docs/cluster.md, Channels).

What lives here: the layouts, the credit of one channel's two directions, and every rule a peer can break. What must not: sockets, links,
who may open what. Why credit is counted here: both ends and the relay between them must count alike, or a link is cut for nothing.

    OPEN     80 channel:u32 service:u8 address:utf-8     by the opener; ids rise, so a used one is known without remembering it
    DATA     81 channel:u32 bytes                        at least one, at most what credit is left
    END      82 channel:u32                              no more DATA from here
    CLOSE    83 channel:u32                              it is over in both directions
    CREDIT   84 channel:u32 bytes:u32                    so many more may come
    ABOUT    85 msgpack                                  what an endpoint wants terminals to be told of it
    DRAINING 86                                          open new channels elsewhere
"""

from __future__ import annotations

import enum
import ipaddress
import struct
from typing import NamedTuple

from myim_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from myim_wire.fields import Fields
from myim_wire.packing import pack_map

OPEN, DATA, END, CLOSE, CREDIT, ABOUT, DRAINING = range(0x80, 0x87)
KINDS = range(0x80, 0x90)
WINDOW_BYTES = 65_536
GRANT_BYTES = WINDOW_BYTES // 2  # given back at once, so that a stream costs a CREDIT for every half window
LAST_CHANNEL = 0xFFFF_FFFF
HEAD_BYTES = 5
DATA_HEAD = struct.Struct(">BI")

_OPEN = struct.Struct(">BIB")
_CREDIT = struct.Struct(">BII")
_LENGTHS = {END: HEAD_BYTES, CLOSE: HEAD_BYTES, CREDIT: _CREDIT.size}
_ADDRESS_BYTES = 64
_HOST_CHARACTERS = 255


class Service(enum.IntEnum):
    """Whom a channel leads to."""

    CENTER = 1
    LOGIN = 2


class Opening(NamedTuple):
    """What OPEN says; host: the terminal's IP address."""

    channel: int
    service: Service
    host: str


class About(NamedTuple):
    """Where terminals reach an endpoint and how it does: lower priority is better, load is 0 to 100."""

    host: str
    port: int
    login_host: str
    login_port: int
    priority: int
    load: int
    is_draining: bool


class Credit:
    """How many bytes each direction of one channel may still carry, and how many taken ones are not given back yet."""

    __slots__ = ("_owed", "may_receive", "may_send")

    def __init__(self) -> None:
        self.may_send = self.may_receive = WINDOW_BYTES
        self._owed = 0

    def take(self, size: int) -> None:
        """The peer sent so many bytes; BAD_FRAME if it had no credit for them."""
        self.may_receive -= size
        if self.may_receive < 0:
            raise _bad("DATA beyond the credit")

    def use(self, size: int) -> int:
        """So many taken bytes went on their way; the credit to give now, 0 for none yet."""
        self._owed += size
        if self._owed < GRANT_BYTES:
            return 0
        owed, self._owed = self._owed, 0
        self.may_receive += owed
        return owed

    def gain(self, size: int) -> None:
        """The peer gave credit; BAD_FRAME for more than a window in all."""
        self.may_send += size
        if self.may_send > WINDOW_BYTES:
            raise _bad("CREDIT for what was never sent")


def _bad(text: str) -> RemoteProtocolError:
    return RemoteProtocolError(ErrorCode.BAD_FRAME, text)


def encode_open(channel: int, service: Service, host: str) -> bytes:
    """OPEN; LocalProtocolError for an id that no channel can have."""
    if not 0 < channel <= LAST_CHANNEL:
        raise LocalProtocolError(ErrorCode.BAD_FRAME, f"channel {channel}")
    return _OPEN.pack(OPEN, channel, service) + host.encode()


def decode_open(message: bytes) -> Opening:
    """What OPEN says; BAD_FRAME unless its service is known and its address is one."""
    if not _OPEN.size < len(message) <= _OPEN.size + _ADDRESS_BYTES:
        raise _bad("OPEN of a wrong length")
    _, channel, service = _OPEN.unpack_from(message)
    try:
        host = message[_OPEN.size :].decode("ascii")
        ipaddress.ip_address(host)
        return Opening(channel, Service(service), host)
    except ValueError:
        raise _bad("OPEN without a known service and an address") from None


def encode_end(channel: int) -> bytes:
    """END."""
    return DATA_HEAD.pack(END, channel)


def encode_close(channel: int) -> bytes:
    """CLOSE."""
    return DATA_HEAD.pack(CLOSE, channel)


def encode_credit(channel: int, size: int) -> bytes:
    """CREDIT."""
    return _CREDIT.pack(CREDIT, channel, size)


def channel_of(message: bytes) -> int:
    """The channel that DATA, END, CLOSE or CREDIT is for; BAD_FRAME for another kind or a wrong length."""
    kind, size = message[0], len(message)
    if size <= HEAD_BYTES if kind == DATA else _LENGTHS.get(kind) != size:
        raise _bad(f"a message of kind {kind:#x} and {size} bytes")
    return int.from_bytes(message[1:HEAD_BYTES], "big")


def credit_of(message: bytes) -> int:
    """The bytes that a CREDIT gives, its length being checked; BAD_FRAME for none."""
    size = int.from_bytes(message[HEAD_BYTES:], "big")
    if not size:
        raise _bad("CREDIT of nothing")
    return size


def encode_about(about: About) -> bytes:
    """ABOUT."""
    return bytes([ABOUT]) + pack_map(about._asdict())


def decode_about(message: bytes) -> About:
    """What ABOUT says; BAD_COMMAND for a missing, wrongly typed or impossible field."""
    fields = Fields.unpack(message[1:])
    return About(
        fields.text("host", _HOST_CHARACTERS),
        fields.number("port", 16),
        fields.text("login_host", _HOST_CHARACTERS),
        fields.number("login_port", 16),
        fields.number("priority", 16),
        min(100, fields.number("load", 8)),
        fields.truth("is_draining"),
    )


def encode_draining() -> bytes:
    """DRAINING."""
    return bytes([DRAINING])


def check_draining(message: bytes) -> None:
    """BAD_FRAME if DRAINING says anything more."""
    if len(message) != 1:
        raise _bad("DRAINING of a wrong length")
