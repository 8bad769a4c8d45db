"""The channels of one link, by their ids, whichever side opened them: which frame reaches which channel, and what no frame may say.

What lives here: what both ends of `myim_wire.channels` have in common. What must not: who opens channels and why (`channels`, `endpoint`),
what a channel does with its frames. Ids rise over a link's life: one at or below the last is an old one, whose late frames are dropped,
one above it was never opened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from myim_server.channel_sockets import Link
from myim_wire import channels
from myim_wire.errors import ErrorCode, RemoteProtocolError


class Log(Protocol):
    """The node's log."""

    def warning(self, event: str, **fields: object) -> object: ...


class Carried(Protocol):
    """One channel, as frames reach it."""

    def take_data(self, message: bytes) -> None: ...
    def take_credit(self, size: int) -> None: ...
    def take_end(self) -> None: ...
    def take_close(self) -> None: ...


One = TypeVar("One", bound=Carried)


class ChannelLane(Generic[One]):
    """The channels of one link; `last` is the highest id that was opened, by whichever side opens on it."""

    __slots__ = ("carried", "last", "link")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.carried: dict[int, One] = {}
        self.last = 0

    def forget(self, channel: int) -> None:
        """The channel has ended here."""
        self.carried.pop(channel, None)

    def take(self, messages: Sequence[bytes], take_other: Callable[[bytes], bool], log: Log) -> None:
        """Messages of the link came; a peer that breaks a rule loses it. take_other: takes what is of no channel; False: it is of one."""
        carried = self.carried
        try:
            for message in messages:
                if message[0] == channels.DATA:
                    one = carried.get(channels.channel_of(message))
                    if one is not None:
                        one.take_data(message)
                        continue
                if not take_other(message):
                    self._take_rarer(message)
        except RemoteProtocolError as error:
            peer = self.link.peer
            log.warning("link_broke_channel_rules", node=peer.node, role=peer.role, why=error.text)
            self.link.close(error.code, error.text)

    def _take_rarer(self, message: bytes) -> None:
        kind, channel = message[0], channels.channel_of(message)
        one = self.carried.get(channel)
        if one is None:
            if channel > self.last:
                raise RemoteProtocolError(ErrorCode.BAD_FRAME, "a frame for a channel that was never opened")
        elif kind == channels.CREDIT:
            one.take_credit(channels.credit_of(message))
        elif kind == channels.END:
            one.take_end()
        else:
            del self.carried[channel]
            one.take_close()
