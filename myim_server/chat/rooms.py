"""Rooms: of each group the members that are online at this center, and the giving of pushes to them.

What lives here: who is here (docs/groups.md, G-13, G-15), by the membership version at which that is known to be so. What must not: SQL,
sockets, clocks, the truth: a push is a hint, and what a room misses the terminal fetches. The search in tests/model/groups drives this very
code.

A room knows one version. A push carries the version its post was committed under: if the room's is that or a later one, everybody in the
room gets it; if not, the members among those who are online are read anew first, and what comes meanwhile waits behind it. Nobody is given
a number at or below the one that was current when he joined (G-4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol

UNKNOWN = -1
_PIECE_BYTES = 32_768  # of joined messages, unless one alone is more: a session seals what it is sent, and a record holds twice as much
_WAITING = 1_000  # pushes of one room that wait for a read; beyond it they are dropped, and the terminals fetch
_WAITING_BYTES = 64 << 20  # of all rooms together


class Standing(Protocol):
    """A membership as the store shows it; only what rooms look at."""

    @property
    def group(self) -> int: ...
    @property
    def version(self) -> int: ...
    @property
    def number(self) -> int: ...
    @property
    def joined(self) -> int: ...


class Push(NamedTuple):
    """Posts of one group, encoded: (number, message) each, ascending; number 0: QoS 0. version: the membership's at their commit."""

    group: int
    version: int
    parts: Sequence[tuple[int, bytes]]


class Room:
    """One group at this center. here: user -> the number at which he joined; number: the highest that was pushed or told here.

    version: the one of which it is known who of those online is a member; latest: the highest that was heard of; is_whole: no change up to
    that was missed, so that nobody who joined while he was online can be missing.
    """

    __slots__ = (
        "group", "version", "latest", "is_whole", "here", "named", "number", "seen", "latest_joined", "sends", "waiting", "waiting_bytes",
        "is_reading",
    )  # fmt: skip

    def __init__(self, group: int) -> None:
        self.group = group
        self.version = UNKNOWN
        self.latest = 0
        self.is_whole = True
        self.here: dict[int, int] = {}
        self.named: set[int] = set()  # who is online and is said to have joined
        self.number = 0
        self.seen = 0  # the number the last sweep saw in the store
        self.latest_joined = 0
        self.sends: list[Callable[[bytes], None]] | None = None
        self.waiting: list[Push] = []
        self.waiting_bytes = 0
        self.is_reading = False


Members = tuple[int, Mapping[int, int]] | None | Exception  # (version, user -> joined); None: no such group any more
Read = Callable[[int, "set[int] | None", Callable[[Members], None]], None]


class Rooms:
    """All rooms of a center. Nothing here yields."""

    def __init__(self, sends_of: Callable[[int], Sequence[Callable[[bytes], None]]], read: Read) -> None:
        """sends_of(user): the ways out to his sessions here that have fetched; read(group, users, done): which of them (None: of all
        online) are members, told to done later."""
        self._sends_of = sends_of
        self._read = read
        self._rooms: dict[int, Room] = {}
        self._groups_of: dict[int, set[int]] = {}
        self._waiting_bytes = 0
        self.given = 0

    on_first: Callable[[int], None] = staticmethod(lambda group: None)
    on_last: Callable[[int], None] = staticmethod(lambda group: None)

    def __len__(self) -> int:
        return len(self._rooms)

    def __contains__(self, group: object) -> bool:
        return group in self._rooms

    def groups(self) -> list[int]:
        """The groups that have members here."""
        return list(self._rooms)

    def size(self, group: int) -> int:
        """How many members are online here."""
        room = self._rooms.get(group)
        return 0 if room is None else len(room.here)

    def is_here(self, group: int, user: int) -> bool:
        """Whether the user is known to be a member, and online here."""
        return group in self._groups_of.get(user, ())

    # ------------------------------------------------------------------ who is here

    def register(self, user: int, standings: Iterable[Standing]) -> None:
        """A user is online here, and the store shows these memberships of his."""
        for standing in standings:
            room = self._room(standing.group)
            if not room.here and not room.is_reading and not room.named:
                room.version = room.latest = standing.version
                room.number = max(room.number, standing.number)
            elif room.version != standing.version:  # and whoever is here already need not have been given all that this one is told of
                room.version = UNKNOWN
                if standing.version > room.latest:
                    room.latest, room.is_whole = standing.version, False
            self._add(room, user, standing.joined)

    def sessions_changed(self, user: int) -> None:
        """A session of the user came or went, and others stay."""
        for group in self._groups_of.get(user, ()):
            self._rooms[group].sends = None

    def left(self, user: int) -> None:
        """The user has no session here any more."""
        for group in list(self._groups_of.get(user, ())):
            self._remove(self._rooms[group], user)

    def _room(self, group: int) -> Room:
        room = self._rooms.get(group)
        if room is None:
            room = self._rooms[group] = Room(group)
            self.on_first(group)
        return room

    def _add(self, room: Room, user: int, joined: int) -> None:
        joined = max(joined, room.here.get(user, 0))  # it only rises, so a lower one is of an older read
        room.here[user] = joined
        room.named.discard(user)
        room.latest_joined = max(room.latest_joined, joined)
        room.sends = None
        self._groups_of.setdefault(user, set()).add(room.group)

    def _remove(self, room: Room, user: int) -> None:
        room.named.discard(user)
        if room.here.pop(user, None) is not None:
            room.sends = None
            of_user = self._groups_of[user]
            of_user.discard(room.group)
            if not of_user:
                del self._groups_of[user]
        self._close_if_empty(room)

    def _close_if_empty(self, room: Room) -> None:
        if not room.here and not room.named and not room.is_reading and self._rooms.pop(room.group, None) is not None:
            self._take_waiting(room)
            self.on_last(room.group)

    # ------------------------------------------------------------------ what changes

    def changed(self, group: int, version: int, event: str, user: int) -> None:
        """A change of the group was committed as this version; user: whom it is about. Said by whoever made it; a hint."""
        is_joining = event == "joined" and bool(self._sends_of(user))
        room = self._room(group) if is_joining else self._rooms.get(group)
        if room is None:
            return
        if event == "dissolved":  # if it is not, the room stays
            room.version = UNKNOWN
            self._start_reading(room)
            return
        is_news = version > room.latest
        if is_news:
            room.is_whole = room.is_whole and room.latest in (0, version - 1)
            room.latest = version
        if version > room.version:
            room.version = version if room.version == version - 1 and not is_joining else UNKNOWN
        if event in ("left", "removed"):
            if is_news or version == room.version:  # a late word is known by a read, or the next one tells: he may be back
                self._remove(room, user)
        elif is_joining and user not in room.here:
            room.named.add(user)
            self._start_reading(room)

    def gone(self, group: int) -> None:
        """There is no such group any more."""
        room = self._rooms.get(group)
        if room is not None:
            self._dissolve(room)

    def _dissolve(self, room: Room) -> None:
        self._take_waiting(room)
        room.named.clear()
        for user in list(room.here):
            self._remove(room, user)
        self._close_if_empty(room)

    # ------------------------------------------------------------------ giving

    def push(self, push: Push) -> None:
        """Give posts to everybody who is in their group's room, as of their version."""
        room = self._rooms.get(push.group)
        if room is None:
            return
        if push.version <= room.version and not room.is_reading:
            self._give(room, push)
            return
        size = sum(len(part[1]) for part in push.parts)
        if len(room.waiting) >= _WAITING or self._waiting_bytes + size > _WAITING_BYTES:
            self._take_waiting(room)
        if self._waiting_bytes + size <= _WAITING_BYTES:
            room.waiting.append(push)
            room.waiting_bytes += size
            self._waiting_bytes += size
        self._start_reading(room)

    def _take_waiting(self, room: Room) -> list[Push]:
        waiting, room.waiting = room.waiting, []
        self._waiting_bytes -= room.waiting_bytes
        room.waiting_bytes = 0
        return waiting

    def tell(self, group: int, data: bytes) -> None:
        """Give a word about the group to everybody who is in its room, whatever the version."""
        room = self._rooms.get(group)
        if room is not None:
            for send in self._sends(room):
                send(data)

    def _sends(self, room: Room) -> list[Callable[[bytes], None]]:
        sends = room.sends
        if sends is None:
            sends = room.sends = [send for user in room.here for send in self._sends_of(user)]
        return sends

    def _give(self, room: Room, push: Push) -> None:
        parts = push.parts
        first, last = parts[0][0], parts[-1][0]
        room.number = max(room.number, last)
        if first > room.latest_joined or not last:
            sends = self._sends(room)
            for data in in_pieces([part[1] for part in parts]):
                for send in sends:
                    send(data)
            self.given += len(sends) * len(parts)
            return
        for user, joined in room.here.items():  # somebody joined after the first of these was committed
            seen = [data for number, data in parts if number > joined]
            for send in self._sends_of(user) if seen else ():
                for data in in_pieces(seen):
                    send(data)
                self.given += len(seen)

    # ------------------------------------------------------------------ reading who is a member

    def _start_reading(self, room: Room, is_for_all: bool = False) -> None:
        if not room.is_reading:
            room.is_reading = True
            asked, latest = {*room.here, *room.named}, room.latest
            self._read(room.group, None if is_for_all else asked, partial(self._read_done, room, (asked, is_for_all, latest)))

    def _read_done(self, room: Room, question: tuple[set[int], bool, int], members: Members) -> None:
        """question = (who was here then, whether all were asked for, what was the latest version then)."""
        asked, is_for_all, latest = question
        room.is_reading = False
        if isinstance(members, Exception):  # the sweep reads again
            room.version = UNKNOWN
            self._take_waiting(room)
            room.named.clear()
            self._close_if_empty(room)
            return
        if members is None:
            self._dissolve(room)
            return
        version, joined_of = members
        if latest <= version < room.latest:  # there was a change meanwhile, and who came back by it is not to be let go
            self._start_reading(room, is_for_all)
            return
        for user, joined in joined_of.items():
            if (is_for_all or user in room.here or user in room.named) and self._sends_of(user):
                self._add(room, user, joined)
        for user in [user for user in room.here if user in asked and user not in joined_of]:
            self._remove(room, user)
        room.named -= asked
        room.latest_joined = max(room.here.values(), default=0)
        if not room.here and not room.named:
            self._take_waiting(room)
            self._close_if_empty(room)
            return
        room.is_whole = is_for_all or (room.is_whole and version <= room.latest)
        room.latest = version  # what was heard of a later one before the read began was not true
        # who came meanwhile is not known by this read
        is_known = room.named <= room.here.keys() and room.here.keys() <= asked | joined_of.keys()
        room.version = version if is_known else UNKNOWN
        for push in self._take_waiting(room):  # one of a later version reads again, and those behind it wait
            self.push(push)

    # ------------------------------------------------------------------ the sweep

    def swept(self, numbers: Mapping[int, tuple[int, int]]) -> list[tuple[int, int]]:
        """What the store says of rooms: group -> (number, version); (group, number) of those that were not pushed all of it since the
        last sweep (G-14). A room of another version, or one that missed a change, is read anew."""
        behind = []
        for group, (number, version) in numbers.items():
            room = self._rooms.get(group)
            if room is None:
                continue
            if room.number < room.seen:
                behind.append((group, number))
                room.number = number
            room.seen = number
            if room.version != version or not room.is_whole:
                self._start_reading(room, is_for_all=True)
        return behind


def in_pieces(messages: Sequence[bytes]) -> list[bytes]:
    """Messages in as few pieces as are surely sent in a record each."""
    if len(messages) == 1:
        return [messages[0]]
    if sum(map(len, messages)) <= _PIECE_BYTES:
        return [b"".join(messages)]
    pieces: list[bytes] = []
    held: list[bytes] = []
    size = 0
    for message in messages:
        if held and size + len(message) > _PIECE_BYTES:
            pieces.append(b"".join(held))
            held, size = [], 0
        held.append(message)
        size += len(message)
    return [*pieces, b"".join(held)]
