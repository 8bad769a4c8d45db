"""One batch of messages on its way into the table: what is refused, which `accepted` each gets, and what was there already.

**The order rule.** Within (target, user, slot) `accepted` rises in the order of the list, and above every row of that lane that is there.
It rests on:
1. Before inserting, the transaction reads the highest `accepted` of each *target* that is not below what the batch brings, and the batch
   goes above it (one dive into an index the pages need anyway; a lane's own would cost another index). Its snapshot begins after `insert`
   was called, and by the delivery rules all that is earlier in a lane is settled, thus committed, by then, or is in this list before it,
   or is being written by another center *under a name of this list*. There is no cache: another center may have had the lane since, and
   nobody would tell.
2. Such a race ends at the unique index: the later INSERT waits for the other's commit and is refused. Then the rows that are there are
   read with a lock that keeps them until our commit, and what follows them in the list goes above *their* `accepted`; the rest is
   inserted again.
A row that is there is never moved: what its owner stored behind it would be overtaken.

What must not live here: transactions and caches that outlive one (`offline`).
"""

import enum
from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy.engine.interfaces import DBAPICursor

from myim_server.refusals import StoreUnavailable
from myim_server.store import offline_sql
from myim_server.store.database import STATEMENT_CHARS, Tongue, is_duplicate
from myim_server.store.schema import signed

ATTEMPTS = 20
COMPARED_BYTES = 1 << 20
Name = tuple[int, int, int]


class StoredMessage(NamedTuple):
    """A row of the offline table. `accepted`: the accepting center's time in µs, raised on insert where the order rule needs it; `id`:
    the row's, 0 before it is stored; `entered` and `message_id`: where the message entered, and its id there [P-3.10]."""

    target: int
    user: int
    time: int
    qos: int
    body: bytes
    entered: int
    message_id: int
    accepted: int
    id: int = 0


class Inserted(enum.Enum):
    """What became of a message: in the table; there already with the same content; there with other content; not stored because the
    target's quota is used up, or an earlier one of its lane in this list was; no such user."""

    STORED = enum.auto()
    DUPLICATE = enum.auto()
    CONFLICT = enum.auto()
    FULL = enum.auto()
    NO_TARGET = enum.auto()


class Insertion:
    """One batch in one transaction; `outcomes` is right when the transaction is committed."""

    def __init__(self, messages: Sequence[StoredMessage]) -> None:
        self.messages = messages
        self.outcomes = [Inserted.STORED] * len(messages)
        self._positions: dict[Name, int] = {}
        self._repeats: list[tuple[int, int]] = []
        for position, message in enumerate(messages):
            name = (message.target, message.user, signed(message.time))
            first = self._positions.setdefault(name, position)
            if first != position:
                self._repeats.append((position, first))
        for position, _ in self._repeats:
            self.outcomes[position] = Inserted.DUPLICATE
        # {position of what was there already: its accepted}
        self._present: dict[int, int] = {}

    def refuse_targets(self, existing: set[int]) -> None:
        """Refuses what is for nobody."""
        for position, message in enumerate(self.messages):
            if message.target not in existing:
                self.outcomes[position] = Inserted.NO_TARGET

    def wanted(self) -> dict[int, tuple[int, int, int]]:
        """{target: (rows, bytes, the latest accepted)} of what would be stored."""
        wanted: dict[int, tuple[int, int, int]] = {}
        for message, outcome in zip(self.messages, self.outcomes, strict=True):
            if outcome is Inserted.STORED:
                rows, size, now = wanted.get(message.target, (0, 0, 0))
                wanted[message.target] = (rows + 1, size + len(message.body), max(now, message.accepted))
        return wanted

    def refuse_full(self, rooms: dict[int, tuple[int, int]]) -> None:
        """Refuses what is over the rooms {target: (rows, bytes)}, and whatever is behind it in its lane; other targets' are left alone.

        What is there already needs no room, so `find_present` comes first where a target is short of it.
        """
        shut: set[Name] = set()
        for position, message in enumerate(self.messages):
            room = rooms.get(message.target)
            if room is None or self.outcomes[position] is not Inserted.STORED:
                continue
            rows, size = room
            lane = (message.target, message.user, message.time & 63)
            if lane in shut or rows < 1 or size < len(message.body):
                shut.add(lane)
                self.outcomes[position] = Inserted.FULL
            else:
                rooms[message.target] = (rows - 1, size - len(message.body))

    def store(self, cursor: DBAPICursor, tongue: Tongue) -> None:
        """Inserts what is not refused, by the order rule. Raises StoreUnavailable where other centers win every race."""
        floors = self._floors(cursor, tongue)
        for _ in range(ATTEMPTS):
            statements = list(offline_sql.inserts(self._rows(floors), STATEMENT_CHARS))
            try:
                self._run(cursor, statements)
            except Exception as error:
                if not is_duplicate(error):
                    raise
                self.find_present(cursor, tongue)
            else:
                self._settle_repeats()
                return
        raise StoreUnavailable("other centers store the same messages")

    def find_present(self, cursor: DBAPICursor, tongue: Tongue, targets: Container[int] | None = None) -> None:
        """Finds what is there already (for these targets, or all), keeps it there until the commit, and settles it."""
        asked = {
            name: at
            for name, at in self._positions.items()
            if self.outcomes[at] is Inserted.STORED and at not in self._present and (targets is None or name[0] in targets)
        }
        for names in self._by_size(asked):
            where = offline_sql.named(names)
            cursor.execute(f"SELECT target,user,time,qos,accepted,body FROM offline_messages WHERE {where}{tongue.shared}")
            for target, user, time, qos, accepted, body in cursor.fetchall():
                position = asked[target, user, time]
                message = self.messages[position]
                self._present[position] = accepted
                is_same = message.qos == qos and message.body == bytes(body)
                self.outcomes[position] = Inserted.DUPLICATE if is_same else Inserted.CONFLICT

    def _floors(self, cursor: DBAPICursor, tongue: Tongue) -> dict[int, int]:
        lowest: dict[int, int] = {}
        for message, outcome in zip(self.messages, self.outcomes, strict=True):
            if outcome is Inserted.STORED:
                lowest[message.target] = min(message.accepted, lowest.get(message.target, message.accepted))
        if not lowest:
            return {}
        cursor.execute(offline_sql.highest_above(tongue, lowest.items()))
        return dict(cursor.fetchall())

    def _rows(self, floors: dict[int, int]) -> list[str]:
        """The rows to insert, each with its `accepted`, in the order of their names: two centers that store the same lock alike."""
        last: dict[Name, int] = {}
        rows = []
        for position, message in enumerate(self.messages):
            target, user, time, qos, body, entered, message_id, accepted, _ = message
            lane = (target, user, time & 63)
            if self.outcomes[position] is Inserted.STORED:
                floor = max(last.get(lane, -1), floors.get(target, -1))
                last[lane] = accepted = max(accepted, floor + 1)
                text = offline_sql.row(target, user, signed(time), qos, accepted, signed(entered), signed(message_id), body)
                rows.append((target, user, time, text))
            elif position in self._present:
                last[lane] = max(last.get(lane, -1), self._present[position])
        rows.sort()
        return [row[3] for row in rows]

    @staticmethod
    def _run(cursor: DBAPICursor, statements: list[str]) -> None:
        if len(statements) < 2:
            for statement in statements:
                cursor.execute(statement)
            return
        # A refused statement undoes itself; the ones before it would be taken for somebody else's rows.
        cursor.execute("SAVEPOINT batch")
        try:
            for statement in statements:
                cursor.execute(statement)
        except Exception as error:
            if is_duplicate(error):
                cursor.execute("ROLLBACK TO SAVEPOINT batch")
            raise

    def _by_size(self, asked: dict[Name, int]) -> Iterator[list[Name]]:
        names: list[Name] = []
        size = 0
        for name in sorted(asked):
            names.append(name)
            size += len(self.messages[asked[name]].body)
            if size >= COMPARED_BYTES or len(names) >= offline_sql.GROUPS_AT_ONCE:
                yield names
                names, size = [], 0
        if names:
            yield names

    def _settle_repeats(self) -> None:
        for position, first in self._repeats:
            outcome = self.outcomes[first]
            if outcome in (Inserted.STORED, Inserted.DUPLICATE):
                one, other = self.messages[position], self.messages[first]
                outcome = Inserted.DUPLICATE if (one.qos, one.body) == (other.qos, other.body) else Inserted.CONFLICT
            self.outcomes[position] = outcome
