"""What waits in the store: letters put there, pages read, rows confirmed, in batches.

What lives here: the bridge between the delivery rules' Store, Read and Confirm actions and the store, where many lanes and sessions share
a transaction. What must not: delivery rules (lanes, inbox), SQL, sockets. Every read begins after it was asked for; every answer comes
after the commit; a failure is an answer too. What is QoS 0 has a small queue of its own: a flood of it must not keep QoS 1 waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple, Protocol

from myim_server.batches import Batch
from myim_server.chat.inbox import Inbox
from myim_server.chat.lane import Letter
from myim_server.refusals import StoreUnavailable
from myim_server.store.offline import Inserted, StoredMessage
from myim_wire.errors import ErrorCode

Outcomes = list[tuple[int, ErrorCode | None]]
Page = tuple[Sequence[StoredMessage], bool]

_ONCE_ROWS = 64
_ONCE_WAITING = 256
_CONFIRMED_AT_ONCE = 5000
_BODY_BYTES_OF_A_ROW = 2048  # a longer body counts as several rows: the hub writes all of a transaction's text in one piece

_CODES: dict[Inserted, ErrorCode | None] = {
    Inserted.STORED: None,
    Inserted.DUPLICATE: None,
    Inserted.CONFLICT: ErrorCode.ID_CONFLICT,
    Inserted.FULL: ErrorCode.RECIPIENT_FULL,
    Inserted.NO_TARGET: ErrorCode.NOT_ALLOWED,
}


_THERE = (Inserted.STORED, Inserted.DUPLICATE)


class Offline(Protocol):
    """What the shelf asks of the store."""

    def insert(self, messages: Sequence[StoredMessage]) -> list[Inserted]: ...
    def page(self, target: int, handed: set[int], limit: int, max_bytes: int) -> tuple[Sequence[StoredMessage], bool]: ...
    def targets_with_rows(self, user_ids: Sequence[int]) -> set[int]: ...
    def confirm(self, names: Sequence[tuple[int, int, int]], is_held: bool = False) -> int: ...
    def delete(self, row_ids: Sequence[int]) -> None: ...


class ShelfLimits(NamedTuple):
    """Rows per transaction, how long a first item waits for company, and how long a store may take before it counts as failed."""

    batch_rows: int = 500
    linger_seconds: float = 0.002
    store_seconds: float = 5.0


class _Put(NamedTuple):
    number: int
    user: int
    target: int
    letters: Sequence[Letter]


class Shelf:
    """Group-committed access to stored point-to-point messages."""

    def __init__(
        self,
        offline: Offline,
        node_id: int,
        limits: ShelfLimits,
        spawn: Callable[..., object],
        count_rows: Callable[[int], object] = lambda rows: None,
    ) -> None:
        """count_rows: told of each commit's number of rows."""
        self._offline = offline
        self._count_rows = count_rows
        self._node_id = node_id
        self._store_seconds = limits.store_seconds
        self._last_put = 0
        self._unanswered: dict[int, tuple[float, Callable[[Outcomes | Exception], None]]] = {}
        self._batch_rows = limits.batch_rows
        self._puts: Batch[_Put, Outcomes] = Batch(
            self._flush_puts, limits.batch_rows, limits.linger_seconds, spawn, weigh=lambda put: sum(map(_weight, put.letters))
        )
        self._onces: Batch[StoredMessage, Inserted] = Batch(
            self._flush_onces, _ONCE_ROWS, limits.linger_seconds, spawn, bound=_ONCE_WAITING
        )
        self._reads: Batch[Inbox, Page] = Batch(self._flush_reads, 64, 0.0, spawn, parallel=4)
        self._confirms: Batch[tuple[Inbox, list[tuple[int, int]]], int] = Batch(
            self._flush_confirms, _CONFIRMED_AT_ONCE, limits.linger_seconds, spawn, weigh=lambda item: len(item[1]), bound=4096
        )

    is_blocked: Callable[[int, int], bool] = staticmethod(lambda target, sender: False)  # its messages are never shown to the target
    blocked_by: Callable[[int], Collection[int]] = staticmethod(lambda target: ())  # whom the target blocks, by the store itself (blocks)
    is_held: Callable[[int], bool] = staticmethod(lambda target: False)  # its receipts wait until it may be seen

    def put(self, user: int, target: int, letters: Sequence[Letter], done: Callable[[Outcomes | Exception], None], now: float) -> None:
        """Store QoS 1 letters of one lane, in order; done gets (time, code or None) of each after the commit, or what went wrong. now:
        monotonic seconds; the answer comes within `store_seconds`, however many wait before these for a store that does not answer."""
        self._last_put = number = self._last_put + 1
        self._unanswered[number] = (now + self._store_seconds, done)
        self._puts.submit_later(_Put(number, user, target, letters), lambda outcome: self._answer(number, outcome))

    def put_once(self, user: int, target: int, letter: Letter, entered: int, done: Callable[[bool], None]) -> None:
        """Store a QoS 0 letter, taken by the center `entered`, if there is room for it among those that wait; done gets whether it is
        stored."""
        row = StoredMessage(target, user, letter.time, 0, letter.body, entered, letter.message_id, letter.accepted)
        self._onces.submit_later(row, lambda outcome: done(outcome in _THERE))

    def _row(self, user: int, target: int, letter: Letter) -> StoredMessage:
        return StoredMessage(target, user, letter.time, 1, letter.body, self._node_id, letter.message_id, letter.accepted)

    def tick(self, now: float) -> None:
        """Answer for what took too long; a few times a second. It may be stored all the same, as after any failure, if its transaction had
        begun."""
        for number, (deadline, _) in list(self._unanswered.items()):
            if deadline > now:
                break
            self._answer(number, StoreUnavailable("the store did not commit in time"))

    def _answer(self, number: int, outcome: Outcomes | Exception) -> None:
        waiting = self._unanswered.pop(number, None)
        if waiting is not None:
            waiting[1](outcome)

    def read(self, inbox: Inbox, done: Callable[[Page | Exception], None]) -> None:
        """The oldest rows not handed to this session, QoS 0 rows already deleted; done gets (rows, is_more)."""
        self._reads.submit_later(inbox, done)

    def confirm(self, inbox: Inbox, names: list[tuple[int, int]], done: Callable[[int | Exception], None]) -> None:
        """Delete rows of (user, time) and keep their receipts."""
        self._confirms.submit_later((inbox, names), done)

    def users_with_rows(self, users: Sequence[int]) -> set[int]:
        """Which of these users have rows (blocks)."""
        return self._offline.targets_with_rows(users)

    def _flush_puts(self, items: Sequence[_Put]) -> list[Outcomes]:
        wanted = [item.letters if item.number in self._unanswered else () for item in items]  # what was answered for stays out
        rows = [self._row(item.user, item.target, letter) for item, letters in zip(items, wanted, strict=True) for letter in letters]
        codes: list[ErrorCode | None] = []
        for part in _parts(rows, self._batch_rows):  # more than one only if a single put was too much
            codes += [_CODES[inserted] for inserted in self._offline.insert(part)]
            self._count_rows(len(part))
        code = iter(codes)
        return [[(letter.time, next(code)) for letter in letters] for letters in wanted]

    def _flush_onces(self, rows: Sequence[StoredMessage]) -> list[Inserted]:
        inserted = self._offline.insert(rows)
        self._count_rows(len(rows))
        return inserted

    def _flush_reads(self, items: Sequence[Inbox]) -> list[Page]:
        if len(items) == 1:
            return [self._page(items[0])]
        with_rows = self._offline.targets_with_rows(list({inbox.user for inbox in items}))
        return [self._page(inbox) if inbox.user in with_rows else ((), False) for inbox in items]

    def _page(self, inbox: Inbox) -> Page:
        window = inbox.window
        limit = min(window.page_rows, max(1, window.rows - inbox.unconfirmed_rows))
        rows, is_more = self._offline.page(inbox.user, set(inbox.handed), limit, max(1, window.row_bytes - inbox.unconfirmed_bytes))
        never: set[int] = set()
        if any(self.is_blocked(inbox.user, row.user) for row in rows):
            blocked = self.blocked_by(inbox.user)  # asked anew: who was unblocked meanwhile would lose what is deleted here
            never = {row.id for row in rows if row.user in blocked}
        once = [row.id for row in rows if row.qos == 0]
        if once and not inbox.is_open:  # it left meanwhile: what is deleted now would be handed to nobody
            return (), False
        if once or never:
            self._offline.delete(sorted(never.union(once)))
        return ([row for row in rows if row.id not in never] if never else rows), is_more  # perhaps nothing, and more: the inbox reads on

    def _flush_confirms(self, items: Sequence[tuple[Inbox, list[tuple[int, int]]]]) -> list[int]:
        names: dict[bool, list[tuple[int, int, int]]] = {}
        for inbox, pairs in items:
            names.setdefault(self.is_held(inbox.user), []).extend((inbox.user, user, time) for user, time in pairs)
        deleted = 0
        for is_held, some in names.items():
            for start in range(0, len(some), _CONFIRMED_AT_ONCE):  # a second time only if one session confirmed that many
                part = some[start : start + _CONFIRMED_AT_ONCE]
                deleted += self._offline.confirm(part, is_held=True) if is_held else self._offline.confirm(part)
        return [deleted] * len(items)


def _weight(row: Letter | StoredMessage) -> int:
    return 1 + len(row.body) // _BODY_BYTES_OF_A_ROW


def _parts(rows: list[StoredMessage], most: int) -> Iterator[list[StoredMessage]]:
    """Rows in groups of at most `most`, long bodies counting as several."""
    part: list[StoredMessage] = []
    weight = 0
    for row in rows:
        if part and weight + _weight(row) > most:
            yield part
            part, weight = [], 0
        part.append(row)
        weight += _weight(row)
    if part:
        yield part
