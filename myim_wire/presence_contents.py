"""Presence: what a terminal says of itself and asks, who is online, and who came, went or changed [P-7.10].

What lives here: the contents of PRESENCE and FRIENDS_ONLINE, and the words for states. What must not: who may see whom, and when
that is told (`myim_server.chat`). Each value has `encode()` and `decode(content)`; texts that are empty are left out of the maps;
decoding raises RemoteProtocolError(BAD_COMMAND) whose `field` is the path of what was wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, cast

from myim_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from myim_wire.fields import Fields
from myim_wire.packing import but_empty, pack_map, pack_plain
from myim_wire.pages import PAGE_BYTES, PAGE_ITEMS, fitting

MAX_STATUS_CHARACTERS = 100
MAX_ONLINE_LISTED = 300
MAX_PLACES = 64
MAX_PRESENCE_CHANGES = 500
_ALWAYS_FIT = 140  # changes, with the longest texts
_CHANGES_START = b"\x81\xa7changes"  # {changes: [...]}, the one field of a PresenceChanged

SettableState = Literal["online", "away", "busy", "invisible"]
SETTABLE_STATES: Final = ("online", "away", "busy", "invisible")
OnlineState = Literal["online", "away", "busy"]
ONLINE_STATES: Final = ("online", "away", "busy")
SeenState = Literal["offline", "online", "away", "busy"]
SEEN_STATES: Final = ("offline", "online", "away", "busy")


@dataclass(frozen=True, slots=True)
class SetPresence:
    """How the asker's session is seen, with a text of its own; the reply says the same [P-7.10]."""

    state: SettableState
    text: str = ""

    def encode(self) -> bytes:
        """The content."""
        return pack_map({"state": self.state, **but_empty({"text": self.text})})

    @classmethod
    def decode(cls, content: bytes) -> SetPresence:
        """From the content."""
        fields = Fields.unpack(content)
        state = cast(SettableState, fields.choice("state", SETTABLE_STATES))
        return cls(state, fields.text_or_empty("text", MAX_STATUS_CHARACTERS))


@dataclass(frozen=True, slots=True)
class AskOnline:
    """Which friends above the user id `after` are online: an OnlinePage [P-7.10]. From the first on, it is the empty map."""

    after: int = 0

    def encode(self) -> bytes:
        """The content."""
        return pack_map({"after": self.after} if self.after else {})

    @classmethod
    def decode(cls, content: bytes) -> AskOnline:
        """From the content."""
        fields = Fields.unpack(content)
        return cls(fields.number("after", 64) if fields.has("after") else 0)


class Online(NamedTuple):
    """A friend that is online; places: (endpoint, center) of each of its sessions that the asker may see, endpoint 0 for none."""

    user: int
    state: OnlineState
    text: str
    places: tuple[tuple[int, int], ...]

    def to_map(self) -> dict[str, object]:
        """As it stands in a page."""
        head = {"user": self.user, "state": self.state, "text": self.text} if self.text else {"user": self.user, "state": self.state}
        return {**head, "places": [list(place) for place in self.places]}

    @classmethod
    def from_fields(cls, fields: Fields) -> Online:
        """Read from a page."""
        return cls(
            user=fields.number("user", 64),
            state=cast(OnlineState, fields.choice("state", ONLINE_STATES)),
            text=fields.text_or_empty("text", MAX_STATUS_CHARACTERS),
            places=tuple((endpoint, center) for endpoint, center in fields.rows("places", 64, 2, MAX_PLACES)),
        )


def _surely_fit(online: Sequence[Online]) -> bool:
    """Whether so many fit one message by the most that they can take: no row is packed for that, as each is for `fitting`.

    Everybody asks who is online at each login, so this is half the cost of a storm of logins.
    """
    places = sum([len(one.places) for one in online])
    texts = sum([len(one.text) for one in online])
    count = len(online)
    fits = count <= MAX_ONLINE_LISTED and 10 * count + 3 * places <= PAGE_ITEMS
    return fits and 50 * count + 19 * places + 4 * texts <= PAGE_BYTES


@dataclass(frozen=True, slots=True)
class OnlinePage:
    """At most 300 friends that are online, by user id; up_to: the id up to which all friends were looked at, 0: that was all.

    is_complete: who was looked at and is not here is offline; else that is not known. `is_more`: ask again after `up_to`, which may
    be above the last that is online, and with nobody online too.
    """

    online: tuple[Online, ...]
    is_complete: bool
    is_more: bool = False
    up_to: int = 0

    @classmethod
    def of(cls, online: Iterable[Online], is_complete: bool, up_to: int = 0) -> OnlinePage:
        """The first of `online`, by user id, that one message holds; up_to: as far as was looked, 0: to the end."""
        rows = tuple(online)
        fitted, is_cut = (rows, False) if _surely_fit(rows) else fitting(rows, MAX_ONLINE_LISTED, Online.to_map)
        return cls(fitted, is_complete, is_cut or up_to > 0, fitted[-1].user if is_cut else up_to)

    def encode(self) -> bytes:
        """The content; LocalProtocolError(BAD_COMMAND) if there is more behind nothing."""
        if self.is_more != (self.up_to > 0):
            raise LocalProtocolError(ErrorCode.BAD_COMMAND, "a page that says not where the next one begins", field="up_to")
        online = [Online.to_map(one) for one in self.online]
        more = but_empty({"up_to": self.up_to})
        pack = pack_plain if _surely_fit(self.online) else pack_map
        return pack({"online": online, "is_complete": self.is_complete, "is_more": self.is_more, **more})

    @classmethod
    def decode(cls, content: bytes) -> OnlinePage:
        """From the content."""
        fields = Fields.unpack(content)
        online = tuple(Online.from_fields(one) for one in fields.maps("online", MAX_ONLINE_LISTED))
        is_more = fields.truth("is_more")
        page = cls(online, fields.truth("is_complete"), is_more, fields.number("up_to", 64) if is_more else 0)
        if is_more and not page.up_to:
            raise RemoteProtocolError(ErrorCode.BAD_COMMAND, "the next page would be this one", field="up_to")
        return page


class Presence(NamedTuple):
    """How a friend is seen now, with the text of its own; offline: no text."""

    user: int
    state: SeenState
    text: str

    def to_map(self) -> dict[str, object]:
        """As it stands in a push."""
        return {"user": self.user, "state": self.state, **but_empty({"text": self.text})}

    def pack(self) -> bytes:
        """The same, for `PresenceChanged.contents`; LocalProtocolError(BAD_COMMAND) for a text that is none."""
        return pack_map(self.to_map())

    @classmethod
    def from_fields(cls, fields: Fields) -> Presence:
        """Read from a push."""
        state = cast(SeenState, fields.choice("state", SEEN_STATES))
        return cls(fields.number("user", 64), state, fields.text_or_empty("text", MAX_STATUS_CHARACTERS))


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """The push: friends that are seen otherwise than before, at most 500, each once."""

    changes: tuple[Presence, ...]

    @classmethod
    def parted(cls, changes: Iterable[Presence]) -> Iterator[PresenceChanged]:
        """All of `changes`, in as many pushes as it takes: long texts in UTF-8 may leave room for 140 only."""
        rest = tuple(changes)
        while rest:
            fitted = rest if len(rest) <= _ALWAYS_FIT else fitting(rest, MAX_PRESENCE_CHANGES, Presence.to_map)[0]
            yield cls(fitted)
            rest = rest[len(fitted) :]

    @staticmethod
    def contents(packed: Sequence[bytes]) -> Iterator[bytes]:
        """The contents of as many pushes as it takes for changes that were packed before, each once for all who are to hear of it.

        One change that goes to many is so packed once, and then only put behind others: the cost of a push is that of joining.
        """
        start = 0
        while start < len(packed):
            part = packed[start : start + MAX_PRESENCE_CHANGES]
            while len(part) > _ALWAYS_FIT and sum(map(len, part)) > PAGE_BYTES:
                part = part[: max(_ALWAYS_FIT, len(part) - 20)]
            yield _join(part)
            start += len(part)

    def encode(self) -> bytes:
        """The content."""
        return _join([Presence.pack(change) for change in self.changes])

    @classmethod
    def decode(cls, content: bytes) -> PresenceChanged:
        """From the content."""
        fields = Fields.unpack(content)
        return cls(tuple(Presence.from_fields(change) for change in fields.maps("changes", MAX_PRESENCE_CHANGES)))


def _join(packed: Sequence[bytes]) -> bytes:
    count = len(packed)
    if count > MAX_PRESENCE_CHANGES:
        raise LocalProtocolError(ErrorCode.BAD_COMMAND, f"{count} changes in one push", field="changes")
    array = bytes([0x90 | count]) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return b"".join([_CHANGES_START, array, *packed])
