"""The code under test as pure functions of hashable values: the rooms of a center, the lanes of its sessions, a terminal's arrivals.

What lives here: thawing, one event, freezing, and a memo of both; the only place that knows the classes. What must not: who calls them and
when (turn.py), rules.

What a center sends to terminals is four bytes: what it is, and three small numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from myim_client.group_arrivals import GroupArrivals, Move, _Group
from myim_server.chat.post_lane import PostLane, Taken
from myim_server.chat.rooms import Push, Room, Rooms
from myim_server.chat.succession import Succession, _Line
from myim_wire.group_contents import Standing
from tests.model.groups.world import GROUP, Frozen

POSTED, BEHIND, CHANGED = 0, 1, 2
EVENTS = ("joined", "left", "removed")
LATER = 1e9  # seconds; any delay is over by then

Answer = tuple[Frozen, Any]


class _Seen(NamedTuple):
    """A standing as rooms look at it."""

    group: int
    version: int
    number: int
    joined: int


def message(kind: int, one: int, two: int = 0, three: int = 0) -> bytes:
    """What a center sends: POSTED number, post; BEHIND number; CHANGED version, event, user."""
    return bytes((kind, one, two, three))


class Machine:
    """Runs one event of a thawed value, and remembers what came of it."""

    def __init__(self) -> None:
        self._memo: dict[tuple[Any, ...], Answer] = {}

    def run(self, frozen: Frozen, event: str, *arguments: Any) -> Answer:
        """(the value after it, what it wants)."""
        key = (frozen, event, arguments)
        known = self._memo.get(key)
        if known is None:
            known = self._memo[key] = getattr(self, "_" + event)(frozen, *arguments)
        return known


class RoomMachine(Machine):
    """The room of the group at one center and the succession of its pushes; None if there is none. `live`: (user, terminal) of sessions.

    Wants: ("send", terminal, bytes), ("read", is for all, users, what is done then: the name of a method, and what it is called with).
    """

    def __init__(self, rooms_class: type[Rooms] | None) -> None:
        super().__init__()
        self._rooms_class = rooms_class or Rooms

    def _do(self, frozen: Frozen, live: Sequence[tuple[int, int]], act: Callable[[Rooms, Succession], Any]) -> Answer:
        wanted: list[tuple[Any, ...]] = []

        def send(terminal: int, data: bytes) -> None:
            wanted.extend(("send", terminal, data[start : start + 4]) for start in range(0, len(data), 4))

        def read(group: int, users: set[int] | None, done: Any) -> None:
            wanted.append(("read", users is None, tuple(sorted(users or ())), (done.func.__name__, *map(_frozen_value, done.args))))

        ways = {terminal: partial(send, terminal) for _, terminal in live}
        rooms = self._rooms_class(lambda user: [ways[terminal] for other, terminal in live if other == user], read)
        succession = Succession(rooms, lambda seconds, act: None)
        if frozen is not None:
            of_room, line = frozen
            room = rooms._rooms[GROUP] = Room(GROUP)
            for name, value in zip(_OF_ROOM, of_room, strict=True):
                setattr(room, name, _THAWED.get(name, _same)(value))
            room.sends = None if room.sends is None else [ways.get(one) or partial(send, one) for one in of_room[_SENDS]]
            rooms._waiting_bytes = room.waiting_bytes
            for user in room.here:
                rooms._groups_of[user] = {GROUP}
            if line is not None:
                succession._lines[GROUP] = thawed = _Line(line[0])
                thawed.held = [(first, Push(GROUP, version, list(parts))) for first, version, parts in line[1]]
        found = act(rooms, succession)
        after = rooms._rooms.get(GROUP)
        assert {user for user, groups in rooms._groups_of.items() if groups} == (set() if after is None else set(after.here))
        if after is None:
            assert GROUP not in succession._lines
            return None, (tuple(wanted), found)
        of_room = tuple(_FROZEN.get(name, _same)(getattr(after, name)) for name in _OF_ROOM)
        return (of_room, _frozen_line(succession._lines.get(GROUP))), (tuple(wanted), found)

    def _register(self, frozen: Frozen, live: Any, user: int, version: int, number: int, joined: int) -> Answer:
        return self._do(frozen, live, lambda rooms, _: rooms.register(user, [_Seen(GROUP, version, number, joined)]))

    def _sessions_changed(self, frozen: Frozen, live: Any, user: int) -> Answer:
        return self._do(frozen, live, lambda rooms, _: rooms.sessions_changed(user))

    def _left(self, frozen: Frozen, live: Any, user: int) -> Answer:
        return self._do(frozen, live, lambda rooms, _: rooms.left(user))

    def _changed(self, frozen: Frozen, live: Any, version: int, event: str, user: int) -> Answer:
        return self._do(frozen, live, lambda rooms, _: rooms.changed(GROUP, version, event, user))

    def _push(self, frozen: Frozen, live: Any, version: int, posts: tuple[tuple[int, int], ...]) -> Answer:
        parts = [(number, message(POSTED, number, post)) for number, post in posts]
        return self._do(frozen, live, lambda _, succession: succession.push(Push(GROUP, version, parts)))

    def _waits_no_longer(self, frozen: Frozen, live: Any) -> Answer:
        """The time is over that pushes wait for what is below them."""

        def act(_: Rooms, succession: Succession) -> None:
            line = succession._lines[GROUP]
            succession._release(GROUP, line, line.round)

        return self._do(frozen, live, act)

    def _tell(self, frozen: Frozen, live: Any, data: bytes) -> Answer:
        return self._do(frozen, live, lambda rooms, _: rooms.tell(GROUP, data))

    def _read_done(self, frozen: Frozen, live: Any, done: Frozen, read: tuple[int, tuple[tuple[int, int], ...]] | None) -> Answer:
        """read: (version, ((user, joined), …)), None: it failed."""
        members = RuntimeError() if read is None else (read[0], dict(read[1]))

        def act(rooms: Rooms, _: Succession) -> None:
            method, *given = done
            getattr(rooms, method)(*(_thawed_value(one, rooms._rooms[GROUP]) for one in given), members)

        return self._do(frozen, live, act)

    def _swept(self, frozen: Frozen, live: Any, number: int, version: int) -> Answer:
        return self._do(frozen, live, lambda rooms, _: rooms.swept({GROUP: (number, version)}))

    def _is_here(self, frozen: Frozen, live: Any, user: int) -> Answer:
        return self._do(frozen, live, lambda rooms, _: rooms.is_here(GROUP, user))


def _frozen_line(line: _Line | None) -> Frozen:
    if line is None:
        return None
    return line.given, tuple((first, push.version, tuple(push.parts)) for first, push in line.held)


def is_waiting(frozen: Frozen) -> bool:
    """Whether pushes wait at a center for what is below them."""
    return frozen is not None and frozen[1] is not None and bool(frozen[1][1])


def _same(value: Any) -> Any:
    return value


def _frozen_value(value: Any) -> Frozen:
    """Sets and tuples as what they are and what is in them; the room itself, of which there is one, as nothing."""
    if isinstance(value, Room):
        return ()
    if isinstance(value, set | tuple):
        return type(value).__name__, *(sorted(value) if isinstance(value, set) else map(_frozen_value, value))
    return value


def _thawed_value(frozen: Frozen, room: Room) -> Any:
    if not isinstance(frozen, tuple):
        return frozen
    if not frozen:
        return room
    return set(frozen[1:]) if frozen[0] == "set" else tuple(_thawed_value(one, room) for one in frozen[1:])


_OF_ROOM = tuple(name for name in Room.__slots__ if name != "group")
_SENDS = _OF_ROOM.index("sends")
_FROZEN: dict[str, Callable[[Any], Any]] = {
    "here": lambda here: tuple(sorted(here.items())),
    "named": lambda named: tuple(sorted(named)),
    "sends": lambda sends: None if sends is None else tuple(send.args[0] for send in sends),
    "waiting": lambda waiting: tuple((push.version, tuple(push.parts)) for push in waiting),
}
_THAWED: dict[str, Callable[[Any], Any]] = {
    "here": dict,
    "named": set,
    "waiting": lambda waiting: [Push(GROUP, version, list(parts)) for version, parts in waiting],
}


class LaneMachine(Machine):
    """A session's lane: (is taking, ((post, attempt), …) that are owned)."""

    def __init__(self, lane_class: type[PostLane] | None) -> None:
        super().__init__()
        self._lane_class = lane_class or PostLane

    def fresh(self) -> Frozen:
        return _frozen_lane(self._lane_class(1, GROUP))

    def _thaw(self, frozen: Frozen) -> PostLane:
        lane = self._lane_class(1, GROUP)
        lane.is_taking, owned = frozen
        lane.owned = {post: Taken(post, b"", attempt, 0, 0.0) for post, attempt in owned}
        return lane

    def _taken(self, lane: PostLane, post: int, attempt: int) -> Taken:
        known = lane.owned.get(post)
        return known if known is not None and known.message_id == attempt else Taken(post, b"", attempt, 0, 0.0)

    def _take(self, frozen: Frozen, post: int, attempt: int, is_first: bool) -> Answer:
        """Wants: None: it is on its way already; True: taken; False: refused."""
        lane = self._thaw(frozen)
        if lane.repeats(post, b"") is not None:
            lane.is_taking = lane.is_taking or is_first
            return _frozen_lane(lane), None
        is_taken = lane.take(Taken(post, b"", attempt, 0, 0.0), is_first)
        return _frozen_lane(lane), is_taken

    def _is_due(self, frozen: Frozen, post: int, attempt: int) -> Answer:
        lane = self._thaw(frozen)
        return frozen, lane.is_due(self._taken(lane, post, attempt))

    def _answered(self, frozen: Frozen, post: int, attempt: int) -> Answer:
        lane = self._thaw(frozen)
        is_waited_for = lane.answered(self._taken(lane, post, attempt))
        return _frozen_lane(lane), is_waited_for

    def _refused(self, frozen: Frozen, post: int, attempt: int) -> Answer:
        lane = self._thaw(frozen)
        posts = tuple(lane.refused(self._taken(lane, post, attempt)))
        return _frozen_lane(lane), posts


def _frozen_lane(lane: PostLane) -> Frozen:
    return lane.is_taking, tuple((post, taken.message_id) for post, taken in lane.owned.items())


class ArrivalsMachine(Machine):
    """A terminal's arrivals: (is all told, was told, wants to fetch, what to confirm, the group or None).

    Wants: the posts to be handed out, each (number, post); of `fetches` (serial, after) each, of `confirmations` the number or 0.
    """

    def __init__(self, arrivals_class: type[GroupArrivals[Any]] | None) -> None:
        super().__init__()
        self._class = arrivals_class or GroupArrivals

    def fresh(self, kept: int, is_member: bool) -> Frozen:
        """What a terminal begins with that has `kept` in its file, -1: nothing."""
        return _frozen_arrivals(self._class([] if kept < 0 else [(GROUP, kept, is_member)]))

    def _thaw(self, frozen: Frozen) -> GroupArrivals[Any]:
        is_all_told, is_told, is_wanting, confirm, one = frozen
        arrivals = self._class()
        arrivals.is_all_told = is_all_told
        arrivals._told = {GROUP} if is_told else set()
        arrivals._wanting = {GROUP: None} if is_wanting else {}
        arrivals._confirm = {GROUP: confirm} if confirm else {}
        if one is not None:
            arrivals._serial, *values = one
            group: _Group[Any] = _Group(0, False)
            for name, value in zip(_OF_GROUP, values, strict=True):
                setattr(group, name, _THAWED_GROUP.get(name, _same)(value))
            arrivals._groups[GROUP] = group
            arrivals._fetching = {GROUP} if group.fetch else set()
            arrivals._waiting = arrivals._waiting_bytes = len(group.waiting)
        return arrivals

    def _restart(self, frozen: Frozen) -> Answer:
        arrivals = self._thaw(frozen)
        arrivals.restart()
        return _frozen_arrivals(arrivals), ()

    def _told(self, frozen: Frozen, standing: tuple[int, ...], is_all: bool) -> Answer:
        """standing: () for who is no member; is_all: it is the answer to the session's beginning, not to a question."""
        arrivals = self._thaw(frozen)
        if standing:
            version, number, cursor, joined = standing
            arrivals.told(Standing(GROUP, version, number, cursor, joined))
        elif not is_all:
            arrivals.left(GROUP)
        if is_all:
            arrivals.all_told()
        return _frozen_arrivals(arrivals), ()

    def _behind(self, frozen: Frozen, number: int) -> Answer:
        arrivals = self._thaw(frozen)
        arrivals.behind(GROUP, number)
        return _frozen_arrivals(arrivals), ()

    def _arrived(self, frozen: Frozen, number: int, post: int) -> Answer:
        arrivals = self._thaw(frozen)
        handed = tuple(arrivals.arrived(GROUP, number, (number, post), 1, 0.0))
        return _frozen_arrivals(arrivals), handed

    def _fetched(self, frozen: Frozen, serial: int, up_to: int, number: int) -> Answer:
        arrivals = self._thaw(frozen)
        handed = tuple(arrivals.fetched(GROUP, serial, up_to, number, 0.0))
        return _frozen_arrivals(arrivals), handed

    def _refused(self, frozen: Frozen, serial: int) -> Answer:
        arrivals = self._thaw(frozen)
        arrivals.refused(GROUP, serial, 0, 0.0)
        return _frozen_arrivals(arrivals), ()

    def _fetches(self, frozen: Frozen, is_later: bool) -> Answer:
        arrivals = self._thaw(frozen)
        asked = tuple((fetch.serial, fetch.after) for fetch in arrivals.fetches(LATER if is_later else 0.0))
        return _frozen_arrivals(arrivals), asked

    def _confirmations(self, frozen: Frozen) -> Answer:
        arrivals = self._thaw(frozen)
        pairs = arrivals.confirmations(0.0, is_at_once=True)
        return _frozen_arrivals(arrivals), pairs[0][1] if pairs else 0

    def _plan(self, frozen: Frozen, number: int) -> Answer:
        """Wants: (position, …) to be kept in the file, () if nothing is."""
        moves = self._thaw(frozen).plan([(GROUP, number)])
        return frozen, tuple(moves)

    def _moved(self, frozen: Frozen, moves: tuple[Move, ...]) -> Answer:
        arrivals = self._thaw(frozen)
        arrivals.moved(moves)
        return _frozen_arrivals(arrivals), ()


def _frozen_arrivals(arrivals: GroupArrivals[Any]) -> Frozen:
    group = arrivals._groups.get(GROUP)
    one = None
    if group is not None:
        if not group.fetch:  # means nothing then
            group.after = 0
        if not arrivals._wanting:
            group.not_before = 0.0
        group.heard_at = 0.0
        one = (arrivals._serial, *(_FROZEN_GROUP.get(name, _same)(getattr(group, name)) for name in _OF_GROUP))
    return arrivals.is_all_told, bool(arrivals._told), bool(arrivals._wanting), arrivals._confirm.get(GROUP, 0), one


_OF_GROUP = _Group.__slots__
_FROZEN_GROUP: dict[str, Callable[[Any], Any]] = {
    "waiting": tuple,
    "beyond": lambda beyond: tuple(sorted(beyond)),
    "early": lambda early: tuple(sorted(item for item, _ in early.values())),
    "not_before": lambda not_before: not_before > 0.0,
    "refusals": lambda refusals: min(1, refusals),
}
_THAWED_GROUP: dict[str, Callable[[Any], Any]] = {
    "waiting": lambda waiting: dict.fromkeys(waiting, 1),
    "beyond": set,
    "early": lambda early: {number: ((number, post), 1) for number, post in early},
    "not_before": lambda is_later: LATER / 2 if is_later else 0.0,
}
_POSITION, _IS_MEMBER, _FETCH = (1 + _OF_GROUP.index(name) for name in ("position", "is_member", "fetch"))


def position_of(frozen: Frozen) -> int:
    """A terminal's position, -1 where it has none."""
    return -1 if frozen[4] is None else int(frozen[4][_POSITION])


def is_member(frozen: Frozen) -> bool:
    """Whether a terminal takes its user for a member."""
    return frozen[4] is not None and bool(frozen[4][_IS_MEMBER])


def fetch_of(frozen: Frozen) -> int | None:
    """The serial of the fetch that is under way, 0: none is; None: there never was one."""
    return None if frozen[4] is None or not frozen[4][0] else int(frozen[4][_FETCH])


def renumbered(frozen: Frozen, serials: dict[int, int]) -> Frozen:
    """The same arrivals with their serials called otherwise."""
    _, *one = frozen[4]
    one[_FETCH - 1] = serials.get(one[_FETCH - 1], 0)
    return (*frozen[:4], (max(serials.values(), default=0), *one))


def is_wanting(frozen: Frozen) -> bool:
    """Whether it wants to fetch and lets time pass before it."""
    return bool(frozen[2])
