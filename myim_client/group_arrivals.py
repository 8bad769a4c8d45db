"""A terminal's half of the rules for groups (docs/groups.md, G-16 to G-19): what to hand out, to fetch and to confirm. Pure.

Per group: the *position* (all up to it the application has, or it is gone), what is handed out beyond it and not done yet, and what
is heard of the group's number. Numbers are handed out in their order only. A push is a hint: what comes too early is dropped, unless
a fetch is under way, for then nobody can tell it from what was fetched, and it waits for the fetch's end. What lives not here: bytes,
files, clocks; `now` is monotonic seconds. Everything runs under the profile's lock (`group_courier`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from myim_wire.group_contents import Standing

GATHER_SECONDS = 0.1
LOOK_SECONDS = 0.1  # with the gathering, a confirmation leaves at most 200 ms after its commit
STALLED_SECONDS = 20.0
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0

Item = TypeVar("Item")


class Bounds(NamedTuple):
    """How many fetches at once; how much of one group is kept that came during a fetch; how much may wait for the application."""

    fetches: int = 4
    early: int = 256
    early_bytes: int = 256 << 10
    waiting: int = 2_000
    waiting_bytes: int = 16 << 20


BOUNDS = Bounds()


class Fetch(NamedTuple):
    """To ask for: all above `after`; `serial` tells its end from that of an older one."""

    group: int
    after: int
    serial: int


class Move(NamedTuple):
    """What a transaction that is done with the numbers `done` has to keep: the position, and those of `done` above it."""

    group: int
    position: int
    done: tuple[int, ...]


class _Group(Generic[Item]):
    """position <= reached: all up to `reached` was handed out, done or gone. waiting: handed out, not done: number -> bytes, ascending.

    beyond: done already, though above the position. known: the number, as heard since the last fetch was asked for; sought: as heard before
    it, which holds again should it be refused.
    """

    __slots__ = (
        "position", "reached", "known", "is_member", "waiting", "beyond", "early", "early_bytes", "fetch", "after", "lost_from", "heard_at",
        "not_before", "refusals", "sought",
    )  # fmt: skip

    def __init__(self, position: int, is_member: bool) -> None:
        self.position = self.reached = self.known = position
        self.is_member = is_member
        self.waiting: dict[int, int] = {}
        self.beyond: set[int] = set()
        self.early: dict[int, tuple[Item, int]] = {}
        self.early_bytes = 0
        self.fetch = self.after = self.sought = 0
        self.lost_from: int | None = None  # the least number that came during the fetch and found no room
        self.heard_at = self.not_before = 0.0
        self.refusals = 0

    def keep_early(self, number: int, item: Item, size: int, bounds: Bounds) -> None:
        """Keep what came during a fetch; where there is no room the highest give way, and the fetch's end does not pass over them."""
        self.early[number] = item, size
        self.early_bytes += size
        while len(self.early) > bounds.early or (self.early_bytes > bounds.early_bytes and len(self.early) > 1):
            highest = max(self.early)
            self.early_bytes -= self.early.pop(highest)[1]
            self.lost_from = highest if self.lost_from is None else min(highest, self.lost_from)

    def take_early(self, number: int) -> tuple[Item, int] | None:
        found = self.early.pop(number, None)
        if found is not None:
            self.early_bytes -= found[1]
        return found

    def end_fetch(self) -> None:
        self.fetch = 0
        self.lost_from = None
        self.early.clear()
        self.early_bytes = 0


class GroupArrivals(Generic[Item]):
    """All groups of one client. `repeats`: how many arrivals were handed out, or waited, before."""

    def __init__(
        self, positions: Iterable[tuple[int, int, bool]] = (), beyond: Iterable[tuple[int, int]] = (), bounds: Bounds = BOUNDS
    ) -> None:
        """positions: (group, position, is_member) as kept; beyond: (group, number) done above it."""
        self._groups: dict[int, _Group[Item]] = {group: _Group(position, is_member) for group, position, is_member in positions}
        for group, number in beyond:
            if group in self._groups and number > self._groups[group].position:
                self._groups[group].beyond.add(number)
        self._bounds = bounds
        self._fetching: set[int] = set()
        self._wanting: dict[int, None] = {}
        self._serial = 0
        self._told: set[int] = set()
        self._owed: set[int] = set()
        self._moved: dict[int, int] = {}
        self._confirm: dict[int, int] = {}
        self._confirm_at: float | None = None
        self._waiting = 0
        self._waiting_bytes = 0
        self.is_all_told = False
        self.repeats = 0

    # what the center says

    def restart(self) -> None:
        """A new session: fetches under way are void; what is to be fetched and confirmed, its standings say."""
        for group in self._groups.values():
            group.end_fetch()
            group.known = group.reached
            group.not_before = 0.0
            group.refusals = 0
        self._fetching.clear()
        self._wanting.clear()
        self._told.clear()
        self._owed.clear()
        self._confirm.clear()
        self._confirm_at = None
        self.is_all_told = False

    def is_member(self, group: int) -> bool:
        """Whether the user is a member of that group, as far as is known here."""
        return group in self._groups and self._groups[group].is_member

    def position(self, group: int) -> int:
        """The position in that group, 0 where there is none."""
        return self._groups[group].position if group in self._groups else 0

    def told(self, standing: Standing) -> None:
        """The user is a member, and this is the standing: start, rise to a new membership, fetch, or confirm again, as it says."""
        name, group = standing.group, self._groups.get(standing.group)
        if group is None:
            # of a membership that began during this session all is wanted, though another terminal may have confirmed some of it
            start = standing.joined if self.is_all_told else max(standing.joined, standing.cursor)
            group = self._groups[name] = _Group(start, True)
            self._moved[name] = start
        elif standing.joined > group.position:
            self._rise(name, group, standing.joined)
        group.is_member = True
        self._told.add(name)
        if standing.cursor < group.position:
            self._confirm[name] = group.position
        self._heard(name, group, standing.number)

    def all_told(self) -> list[int]:
        """All standings of the session were told; the groups in which the user is a member no more."""
        self.is_all_told = True
        over = [name for name, group in self._groups.items() if group.is_member and name not in self._told]
        for name in over:
            self.left(name)
        self._owed = {name for name in self._told if self._groups[name].fetch or name in self._wanting}
        return over

    @property
    def is_caught_up(self) -> bool:
        """Whether all that the groups had when their standings were told was handed out."""
        return self.is_all_told and not self._owed

    def left(self, name: int) -> bool:
        """The user is no member any more; False if that is known. The position is kept, should it not be so."""
        group = self._groups.get(name)
        if group is None or not group.is_member:
            return False
        group.is_member = False
        group.end_fetch()
        group.known = group.reached
        self._fetching.discard(name)
        self._wanting.pop(name, None)
        self._owed.discard(name)
        self._confirm.pop(name, None)
        return True

    def behind(self, name: int, number: int) -> None:
        """The group's number is this, and the user's cursor is below it."""
        group = self._groups[name]
        if group.position >= number:
            self._confirm[name] = group.position  # a confirmation was lost
        self._heard(name, group, number)

    def arrived(self, name: int, number: int, item: Item, size: int, now: float) -> list[Item]:
        """A message with a number came, pushed or fetched, for a group one is a member of: what is to be handed out now, in order."""
        group = self._groups[name]
        group.heard_at = now
        if number <= group.reached or number in group.early:
            self.repeats += 1
            return []
        if number == group.reached + 1 and (group.fetch or not self.is_full):
            handed: list[Item] = []
            self._hand(group, number, (item, size), handed)
            self._hand_early(group, handed)
            group.known = max(group.known, group.reached)
            self._settle(name, group)
            return handed
        if group.fetch:
            group.keep_early(number, item, size, self._bounds)
        self._heard(name, group, number)
        return []

    def fetched(self, name: int, serial: int, up_to: int, number: int, now: float) -> list[Item]:
        """A fetch's end: all that is left up to `up_to` came, and the group's number was this. What is to be handed out now, in order."""
        group = self._groups[name]
        if group.fetch != serial:
            return []
        if group.lost_from is not None:
            up_to = min(up_to, group.lost_from - 1)
        handed: list[Item] = []
        for early in sorted(group.early):
            if early <= up_to and (found := group.take_early(early)) is not None:
                self._hand(group, early, found, handed)
        group.reached = max(group.reached, up_to)
        self._hand_early(group, handed)
        group.end_fetch()
        self._fetching.discard(name)
        group.refusals = 0
        # one that brings nothing on is not asked again and again at once
        group.not_before = 0.0 if group.reached > group.after else now + FIRST_DELAY_SECONDS
        self._heard(name, group, number)
        self._settle(name, group)
        return handed

    def refused(self, name: int, serial: int, retry_ms: int, now: float) -> None:
        """A fetch was refused for now: it is asked for again, later each time."""
        group = self._groups[name]
        if group.fetch != serial:
            return
        group.end_fetch()
        self._fetching.discard(name)
        grown = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(group.refusals, 10))
        group.refusals += 1
        group.not_before = now + max(retry_ms / 1000.0, grown)
        self._heard(name, group, max(group.sought, group.reached + 1))

    # what is to be asked and confirmed

    @property
    def is_full(self) -> bool:
        """Whether so much waits for the application that no more is handed out or fetched."""
        return self._waiting >= self._bounds.waiting or self._waiting_bytes >= self._bounds.waiting_bytes

    def fetches(self, now: float) -> list[Fetch]:
        """What is to be asked for now; at most 4 are under way at a time, and the others wait."""
        if not self._wanting or self.is_full:
            return []
        asked: list[Fetch] = []
        for name in list(self._wanting):
            if len(self._fetching) >= self._bounds.fetches:
                break
            group = self._groups[name]
            if group.not_before > now:
                continue
            del self._wanting[name]
            self._serial += 1
            group.fetch, group.after, group.heard_at = self._serial, group.reached, now
            group.sought = group.known
            group.known = group.reached  # the fetch tells the number; only what is heard after it is asked for may be above
            self._fetching.add(name)
            asked.append(Fetch(name, group.reached, self._serial))
        return asked

    def is_stalled(self, now: float) -> bool:
        """Whether nothing at all has come of a fetch for 20 s."""
        return any(self._groups[name].heard_at + STALLED_SECONDS <= now for name in self._fetching)

    def confirmations(self, now: float, is_at_once: bool = False) -> list[tuple[int, int]]:
        """The pairs (group, position) to confirm now, each group's latest; gathered for 100 ms from the first time this is asked."""
        if not self._confirm:
            return []
        if self._confirm_at is None:
            self._confirm_at = now + GATHER_SECONDS
        if now < self._confirm_at and not is_at_once:
            return []
        pairs, self._confirm, self._confirm_at = list(self._confirm.items()), {}, None
        return pairs

    def deadline(self, now: float) -> float | None:
        """When (monotonic seconds) there may be something to do though nothing came; None: not by itself."""
        times = [self._groups[name].heard_at + STALLED_SECONDS for name in self._fetching]
        if len(self._fetching) < self._bounds.fetches and not self.is_full:
            times += [at for name in self._wanting if (at := self._groups[name].not_before) > now]
        if self._confirm and self._confirm_at is not None:
            times.append(self._confirm_at)
        elif self._waiting or self._confirm:  # the application's thread may commit at any moment, and nobody wakes the reader
            times.append(now + LOOK_SECONDS)
        return min(times, default=None)

    # what the application has

    def plan(self, done: Iterable[tuple[int, int]]) -> list[Move]:
        """The application is done with these (group, number): what its transaction has to keep. Changes nothing."""
        numbers: dict[int, set[int]] = {}
        for name, number in done:
            if name in self._groups and number in self._groups[name].waiting:
                numbers.setdefault(name, set()).add(number)
        moves = []
        for name, finished in numbers.items():
            group = self._groups[name]
            left = next((number for number in group.waiting if number not in finished), None)
            moves.append(Move(name, group.reached if left is None else left - 1, tuple(sorted(finished))))
        return moves

    def moved(self, moves: Iterable[Move]) -> None:
        """The transaction that keeps what was planned is flushed: confirm it."""
        for move in moves:
            group = self._groups[move.group]
            for number in move.done:
                self._forget(group, number)
            group.beyond.update(number for number in move.done if number > move.position)
            self._move(move.group, group, move.position)

    def take_moved(self) -> dict[int, int]:
        """The positions that moved though the application did nothing, to be kept some time: over what is gone, or to a beginning."""
        moved, self._moved = self._moved, {}
        return moved

    def _hand(self, group: _Group[Item], number: int, found: tuple[Item, int], handed: list[Item]) -> None:
        group.reached = number
        if number in group.beyond:
            self.repeats += 1
            return
        group.waiting[number] = found[1]
        self._waiting += 1
        self._waiting_bytes += found[1]
        handed.append(found[0])

    def _hand_early(self, group: _Group[Item], handed: list[Item]) -> None:
        while (found := group.take_early(group.reached + 1)) is not None:
            self._hand(group, group.reached + 1, found, handed)

    def _heard(self, name: int, group: _Group[Item], number: int) -> None:
        group.known = max(group.known, number)
        if group.known > group.reached and not group.fetch and group.is_member:
            self._wanting.setdefault(name)

    def _settle(self, name: int, group: _Group[Item]) -> None:
        """The position follows where nothing is left to be done; what was owed since the session's beginning may be there."""
        if not group.waiting and group.reached > group.position:
            self._moved[name] = group.reached
            self._move(name, group, group.reached)
        if group.known <= group.reached and not group.fetch:
            self._wanting.pop(name, None)
            self._owed.discard(name)

    def _move(self, name: int, group: _Group[Item], position: int) -> None:
        if position > group.position:
            group.position = position
            group.beyond = {number for number in group.beyond if number > position}
            if group.is_member:
                self._confirm[name] = position

    def _rise(self, name: int, group: _Group[Item], joined: int) -> None:
        """A new membership: what came before it is done with, though the application may still have it in hand."""
        for number in [number for number in group.waiting if number <= joined]:
            self._forget(group, number)
        for number in [number for number in group.early if number <= joined]:
            group.take_early(number)
        group.reached = max(group.reached, joined)
        self._moved[name] = joined
        self._move(name, group, joined)
        self._settle(name, group)

    def _forget(self, group: _Group[Item], number: int) -> None:
        size = group.waiting.pop(number, None)
        if size is not None:
            self._waiting -= 1
            self._waiting_bytes -= size
