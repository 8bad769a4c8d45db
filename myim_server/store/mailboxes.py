"""How full each target's offline store is, nearly: counts that are read rarely and added to in memory.

What must not live here: SQL. Why not exact: counting 100,000 rows for each message would cost more than storing it, and a counter row per
target would make all senders to it wait for each other. The bound: a count is read again when this process has added a sixteenth of the
quota since, and before anything is refused (then at most once a second of the messages' `accepted`). So a mailbox can grow over its quota
by at most a sixteenth for each *other* center that stores for it at the same time, plus one batch each; and it is refused only by a count
that was read.
"""

from collections.abc import Iterable
from dataclasses import dataclass

READ_AGAIN_AFTER = 16
REFUSE_UNREAD_FOR = 1_000_000
MOST_KEPT = 50_000


@dataclass(slots=True)
class Fill:
    """Rows and bytes of one target; `added` rows and `added_bytes` since they were read, at `counted` (µs of `accepted`)."""

    rows: int
    size: int
    counted: int
    added: int = 0
    added_bytes: int = 0


class Mailboxes:
    """The fills known to this process, at most 50,000; the limits are per target."""

    def __init__(self, most_rows: int, most_bytes: int) -> None:
        self._most_rows = most_rows
        self._most_bytes = most_bytes
        self._fills: dict[int, Fill] = {}

    def __len__(self) -> int:
        return len(self._fills)

    def unread(self, wanted: dict[int, tuple[int, int, int]]) -> list[int]:
        """Those targets of {target: (rows, bytes, accepted)} whose fill must be read before so much is added."""
        fills = self._fills
        found = []
        for target, (rows, size, now) in wanted.items():
            fill = fills.get(target)
            if fill is None or self._is_doubtful(fill, rows, size, now):
                found.append(target)
        return found

    def put(self, target: int, rows: int, size: int, now: int) -> None:
        """A fill as it was just read."""
        if len(self._fills) >= MOST_KEPT:
            self._fills.clear()
        self._fills[target] = Fill(rows, size, now)

    def room(self, target: int) -> tuple[int, int]:
        """How many rows and bytes more the target takes; nothing unknown is refused."""
        fill = self._fills.get(target)
        return (self._most_rows, self._most_bytes) if fill is None else (self._most_rows - fill.rows, self._most_bytes - fill.size)

    def add(self, stored: Iterable[tuple[int, int]]) -> None:
        """(target, bytes) of messages whose commit is done."""
        fills = self._fills
        for target, size in stored:
            fill = fills.get(target)
            if fill is not None:
                fill.rows += 1
                fill.size += size
                fill.added += 1
                fill.added_bytes += size

    def _is_doubtful(self, fill: Fill, rows: int, size: int, now: int) -> bool:
        if fill.rows + rows > self._most_rows or fill.size + size > self._most_bytes:
            return fill.added > 0 or not fill.counted <= now < fill.counted + REFUSE_UNREAD_FOR
        return fill.added * READ_AGAIN_AFTER > self._most_rows or fill.added_bytes * READ_AGAIN_AFTER > self._most_bytes
