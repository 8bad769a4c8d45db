"""The target's side of delivery: what one session is handed, in which order, and what it confirmed (docs/delivery.md, rules D-10 to
D-18).

What lives here: the state machine of one live session as a target, and the lanes that are bound to it. What must not: clocks, sockets, the
store, the directory. Outcomes come in, actions go out; `router` carries them out. The exhaustive search in tests/model drives this very
code.

The two rules that everything here serves:
- An opening message is handed over only after a read of the store that was begun after the message arrived came to its end: what the same
  sender had stored before is then handed over before it.
- A lane belongs to one session. When that session ends, or a message of the lane waits too long, all that is left of the lane is
  returned, and nothing of that attempt is taken any more.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from myim_server.chat.lane import Letter

_new = tuple.__new__  # makes a NamedTuple at half the price, on the hot path


class Row(Protocol):
    """A stored message as the store gives it; only what the rules look at."""

    @property
    def id(self) -> int: ...
    @property
    def user(self) -> int: ...
    @property
    def time(self) -> int: ...
    @property
    def qos(self) -> int: ...
    @property
    def body(self) -> bytes: ...


class Window(NamedTuple):
    """How much may be unconfirmed: stored rows, their bytes; how many rows a page has; how long a direct message waits for its receipt."""

    rows: int = 256
    row_bytes: int = 131_072
    page_rows: int = 128
    receipt_seconds: float = 4.0


class HandLetters(NamedTuple):
    """Send direct messages to the session; they expect a receipt. sender_key = user << 6 | slot."""

    inbox: Inbox
    owner: int
    sender_key: int
    letters: Sequence[Letter]


class HandRows(NamedTuple):
    """Send stored messages to the session, oldest first."""

    inbox: Inbox
    rows: list[Row]


class Read(NamedTuple):
    """Read the oldest rows that are not in inbox.handed; answer with Inbox.read_done or Inbox.read_failed."""

    inbox: Inbox


class Caught(NamedTuple):
    """All that was stored when the terminal asked has been handed over: answer its OFFLINE_FETCH."""

    inbox: Inbox
    count: int  # type: ignore[assignment]  # hides a method of tuple that nobody calls


class Received(NamedTuple):
    """Tell the owner: the target's application has these."""

    owner: int
    sender_key: int
    target: int
    attempt: int
    times: list[int]


class Returned(NamedTuple):
    """Tell the owner: these were not delivered here, as far as is known; is_absent: for this sender nobody is here."""

    owner: int
    sender_key: int
    target: int
    attempt: int
    times: list[int]
    is_absent: bool = False


class Confirm(NamedTuple):
    """Delete rows in the store and keep their receipts; answer with Inbox.confirmed or Inbox.confirm_failed."""

    inbox: Inbox
    names: list[tuple[int, int]]


Action = HandLetters | HandRows | Read | Caught | Received | Returned | Confirm


class BoundLane:
    """A lane as its target's center sees it: held until the read is done, then handed over as it comes."""

    __slots__ = ("owner", "sender_key", "attempt", "since", "held", "unconfirmed")

    def __init__(self, owner: int, sender_key: int, attempt: int, letters: Sequence[Letter], now: float) -> None:
        self.owner = owner
        self.sender_key = sender_key
        self.attempt = attempt
        self.since = now
        self.held: list[Letter] | None = list(letters)
        self.unconfirmed: dict[int, float] = {}

    def unanswered(self) -> list[int]:
        """Times of all that the owner still waits for."""
        times = list(self.unconfirmed)
        if self.held:
            times += [letter.time for letter in self.held]
        return times


class Inbox:
    """One live session as a target.

    `handed` holds the rows handed to this session whose deletion is not yet committed: row id -> (user, time, bytes). Reading follows
    three flags: a read runs (`is_reading`), another is wanted after it (`is_read_wanted`), and the lanes whose opening came before the
    running read (`reading_for`).
    """

    __slots__ = (
        "user", "slot", "window", "outlet", "is_fetching", "is_open", "is_reading", "is_read_wanted",
        "is_fetch_answer_due", "is_fetch_covered",
        "reading_for", "lanes", "handed", "names", "unconfirmed_rows", "unconfirmed_bytes", "confirming", "handed_count", "last_active",
    )  # fmt: skip

    def __init__(self, user: int, slot: int, window: Window) -> None:
        self.user, self.slot = user, slot
        self.window = window
        self.outlet: Any = None  # the router's note: whom this session's messages go to
        self.is_open = True
        self.is_fetching = False
        self.is_reading = False
        self.is_read_wanted = False
        self.is_fetch_answer_due = False
        self.is_fetch_covered = False
        self.reading_for: list[BoundLane] = []
        self.lanes: dict[int, BoundLane] = {}
        self.handed: dict[int, tuple[int, int, int]] = {}
        self.names: dict[tuple[int, int], int] = {}
        self.unconfirmed_rows = 0
        self.unconfirmed_bytes = 0
        self.confirming: set[tuple[int, int]] = set()
        self.handed_count = 0
        self.last_active = 0.0

    # ------------------------------------------------------------------ from the terminal

    def fetch(self) -> list[Action]:
        """The terminal asks for what is stored; from now on it is delivered to."""
        self.is_fetching = True
        self.is_fetch_answer_due = True
        self.is_fetch_covered = False
        return self.want_read()

    def receipt(self, pairs: Iterable[tuple[int, int]]) -> tuple[list[Action], int]:
        """The application has these (user, time); returns the actions and how many of them this session was not handed."""
        received: dict[int, list[int]] = {}
        rows: list[tuple[int, int]] = []
        strange = 0
        names = self.names
        sender_key, lane, times = -1, None, []  # the confirmed names of one RECEIPT are mostly one sender's
        for name in pairs:
            user, time = name
            if sender_key != user << 6 | time & 63:
                sender_key = user << 6 | time & 63
                lane = self.lanes.get(sender_key)
                times = received.setdefault(sender_key, [])
            is_known = lane is not None and lane.unconfirmed.pop(time, None) is not None
            if is_known:
                times.append(time)
            if names and name in names:
                rows.append(name)
            elif not is_known:
                strange += 1
        actions: list[Action] = []
        for sender_key, times in received.items():
            if times:
                lane = self.lanes[sender_key]
                actions.append(_new(Received, (lane.owner, sender_key, self.user, lane.attempt, times)))
        if rows:
            actions += self._confirm(rows)
        return actions, strange

    def close(self) -> list[Action]:
        """The session is over: all lanes bound to it end, and what they hold goes back."""
        self.is_open = False
        actions = [action for lane in self.lanes.values() for action in self._give_back(lane)]
        self.lanes.clear()
        self.reading_for = []
        return actions

    def give_back(self, senders: Container[int] | None = None) -> list[Action]:
        """Lanes of these users (None: all) end, and what they hold goes back: their senders are not to see this session any more."""
        keys = [key for key in self.lanes if senders is None or key >> 6 in senders]
        return [action for key in keys for action in self._give_back(self.lanes.pop(key))]

    # ------------------------------------------------------------------ from owners

    def open(self, owner: int, sender_key: int, attempt: int, letters: Sequence[Letter], now: float) -> list[Action]:
        """Bind a lane to this session; its letters wait for a read that begins after now."""
        actions: list[Action] = []
        older = self.lanes.get(sender_key)
        if older is not None and older.owner != owner:
            actions += self._give_back(older)
        lane = self.lanes[sender_key] = BoundLane(owner, sender_key, attempt, letters, now)
        if self._needs_read(lane):
            return actions + self.want_read()
        return actions + self._release([lane], now)

    def _needs_read(self, lane: BoundLane) -> bool:
        return lane.held is not None

    def follow(self, owner: int, sender_key: int, attempt: int, letters: Sequence[Letter], now: float) -> list[Action]:
        """More letters of a lane: taken only if the lane is bound to this session in this attempt."""
        lane = self.lanes.get(sender_key)
        if lane is None or lane.attempt != attempt or lane.owner != owner:
            return [Returned(owner, sender_key, self.user, attempt, [letter.time for letter in letters])]
        if lane.held is not None:
            lane.held.extend(letters)
            return []
        unconfirmed = lane.unconfirmed
        for letter in letters:
            unconfirmed[letter[0]] = now
        return [_new(HandLetters, (self, owner, sender_key, letters))]

    def end(self, owner: int, sender_key: int, attempt: int) -> list[Action]:
        """The owner ends an attempt: answer for all that is left of it."""
        lane = self.lanes.get(sender_key)
        if lane is None or lane.owner != owner or lane.attempt != attempt:
            return []
        del self.lanes[sender_key]
        return self._give_back(lane)

    def lost(self, owner: int) -> None:
        """The link to an owner is gone, and with it whatever it sent."""
        for sender_key in [key for key, lane in self.lanes.items() if lane.owner == owner]:
            del self.lanes[sender_key]

    @property
    def is_owing(self) -> bool:
        """Whether an owner waits for an answer from here, so that a time-out may be near."""
        return any(lane.held is not None or lane.unconfirmed for lane in self.lanes.values())

    def tick(self, now: float) -> list[Action]:
        """Return lanes in which a message waited too long; retry what the store failed at."""
        actions: list[Action] = []
        for lane in list(self.lanes.values()):
            waiting_since = lane.since if lane.held is not None else next(iter(lane.unconfirmed.values()), now)
            if now - waiting_since >= self.window.receipt_seconds:
                del self.lanes[lane.sender_key]
                actions += self._give_back(lane)
        return actions

    # ------------------------------------------------------------------ reading the store

    def want_read(self) -> list[Action]:
        """There may be rows: read them, after the running read if there is one."""
        self.is_read_wanted = True
        return self._read_if_possible()

    def _read_if_possible(self) -> list[Action]:
        is_full = self.unconfirmed_rows >= self.window.rows or self.unconfirmed_bytes >= self.window.row_bytes
        if self.is_reading or not self.is_read_wanted or not self.is_fetching or not self.is_open or is_full:
            return []
        self.is_read_wanted = False
        self.is_reading = True
        self.reading_for = [lane for lane in self.lanes.values() if lane.held is not None]
        self.is_fetch_covered = self.is_fetch_answer_due
        return [Read(self)]

    def read_done(self, rows: Sequence[Row], is_more: bool, now: float) -> list[Action]:
        """The read came back with the oldest rows not in `handed`, ascending in (accepted, id); is_more: the store has more of them."""
        self.is_reading = False
        if not self.is_open:
            return []
        actions = self._hand(rows)
        if is_more:  # what waits for this read waits on: the read is done when it met the end
            self.is_read_wanted = True
            return actions + self._read_if_possible()
        covered = [lane for lane in self.reading_for if self.lanes.get(lane.sender_key) is lane]
        self.reading_for = []
        actions += self._release(covered, now)
        if self.is_fetch_covered and self.is_fetch_answer_due:
            self.is_fetch_answer_due = False
            actions.append(Caught(self, self.handed_count))
        return actions + self._read_if_possible()

    def read_failed(self) -> list[Action]:
        """The store could not be read: nothing may be opened on its word, so what waited for it goes back; the sweep tries again."""
        self.is_reading = False
        if not self.is_open:
            return []
        was_wanted, self.is_read_wanted = self.is_read_wanted, True
        actions: list[Action] = []
        for lane in self.reading_for:
            if self.lanes.get(lane.sender_key) is lane:
                del self.lanes[lane.sender_key]
                actions += self._give_back(lane)
        self.reading_for = []
        return actions + self._read_if_possible() if was_wanted else actions

    # ------------------------------------------------------------------ confirmed rows

    def confirmed(self, names: Iterable[tuple[int, int]]) -> list[Action]:
        """The rows are deleted, committed."""
        for name in names:
            self.confirming.discard(name)
            row_id = self.names.get(name)
            if row_id is not None and self.handed[row_id][2] < 0:  # else a late twin was stored and handed after the deletion
                del self.names[name], self.handed[row_id]
        return self._read_if_possible()

    def confirm_failed(self, names: Iterable[tuple[int, int]]) -> None:
        """The store could not delete them; they stay handed, and `retry_confirm` asks again."""
        self.confirming.difference_update(names)

    def retry_confirm(self) -> list[Action]:
        """Ask again for rows whose receipt came but whose deletion failed; called by the sweep."""
        late = [name for name, row_id in self.names.items() if self.handed[row_id][2] < 0 and name not in self.confirming]
        self.confirming.update(late)
        return [Confirm(self, late)] if late else []

    # ------------------------------------------------------------------ inner steps

    def _confirm(self, names: list[tuple[int, int]]) -> list[Action]:
        fresh: list[tuple[int, int]] = []
        for name in names:
            row_id = self.names[name]
            user, time, size = self.handed[row_id]
            if size >= 0:  # the first receipt makes room; a negative size marks a row whose receipt came
                self.unconfirmed_rows -= 1
                self.unconfirmed_bytes -= size
                self.handed[row_id] = (user, time, -1)
            if name not in self.confirming:
                self.confirming.add(name)
                fresh.append(name)
        actions: list[Action] = [Confirm(self, fresh)] if fresh else []
        return actions + self._read_if_possible()

    def _hand(self, rows: Sequence[Row]) -> list[Action]:
        fresh = [row for row in rows if row.id not in self.handed]
        for row in fresh:
            if row.qos == 0:  # deleted before it is handed, and never confirmed
                continue
            size = len(row.body)
            twin = self.names.get((row.user, row.time))
            if twin is not None:
                self._forget_twin(twin)
            self.handed[row.id] = (row.user, row.time, size)
            self.names[(row.user, row.time)] = row.id
            self.unconfirmed_rows += 1
            self.unconfirmed_bytes += size
        self.handed_count += len(fresh)
        return [HandRows(self, fresh)] if fresh else []

    def _forget_twin(self, row_id: int) -> None:
        """A row of the same name was stored again after this one was deleted: this one is gone."""
        size = self.handed.pop(row_id)[2]
        if size >= 0:
            self.unconfirmed_rows -= 1
            self.unconfirmed_bytes -= size

    def _release(self, lanes: Iterable[BoundLane], now: float) -> list[Action]:
        actions: list[Action] = []
        for lane in lanes:
            letters, lane.held = lane.held or [], None
            for letter in letters:
                lane.unconfirmed[letter.time] = now
            if letters:
                actions.append(HandLetters(self, lane.owner, lane.sender_key, letters))
        return actions

    def _give_back(self, lane: BoundLane) -> list[Action]:
        times = lane.unanswered()
        return [Returned(lane.owner, lane.sender_key, self.user, lane.attempt, times)] if times else []
