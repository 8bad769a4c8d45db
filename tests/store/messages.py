"""Messages for the store's tests, with the parts that do not matter filled in, and the rows as an outsider would read them."""

from collections.abc import Iterable

from myim_server.store.engine import Store
from myim_server.store.offline import Inserted, StoredMessage

T0 = 1_700_000_000_000_000 & ~63


def time_of(number: int, slot: int = 0) -> int:
    """The name of a terminal's n-th message."""
    return T0 + number * 64 + slot


def message(
    target: int, user: int, number: int, *, slot: int = 0, accepted: int | None = None, qos: int = 1, body: bytes | None = None
) -> StoredMessage:
    time = time_of(number, slot)
    content = b"body %d" % number if body is None else body
    when = time if accepted is None else accepted
    return StoredMessage(target, user, time, qos, content, entered=7, message_id=number + 1, accepted=when)


def put(store: Store, *messages: StoredMessage) -> None:
    """Inserts what must not be refused."""
    assert store.offline.insert(messages) == [Inserted.STORED] * len(messages)


def rows_of(store: Store, target: int) -> list[StoredMessage]:
    """All rows of the target, in the order they would be handed over."""
    rows, is_more = store.offline.page(target, set(), 10_000, 1 << 30)
    assert not is_more
    return rows


def times(rows: Iterable[StoredMessage]) -> list[int]:
    return [row.time for row in rows]
