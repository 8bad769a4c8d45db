"""The texts of the statements that run for every post of a group and for every confirmation, built from numbers and hex only.

Why text, and why it is safe: see `offline_sql`. What must not live here: running them, and rules. All numbers come as the tables have them
(`schema.signed`); lists that are locked come ascending, because in that order they are locked.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TypeVar

from myim_server.store.database import Tongue
from myim_server.store.offline_sql import numbers

T = TypeVar("T")

# MariaDB makes a join of an IN list of 1,000, and SQLite's expressions may be 1,000 deep, each OR one deeper.
AT_ONCE = 800
INSERT_NAMES = "group_names (chat_group,user,time,number,made) VALUES "
INSERT_MESSAGES = "group_messages (chat_group,number,user,time,accepted,entered,message_id,members,sent,size,body) VALUES "


def chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """The items in pieces of which one statement takes one."""
    for begin in range(0, len(items), AT_ONCE):
        yield items[begin : begin + AT_ONCE]


def inserts(head: str, rows: Iterable[str], most_chars: int) -> Iterator[str]:
    """Statements that begin with `head` and insert these rows, none longer than `most_chars`."""
    held: list[str] = []
    chars = len(head)
    for row in rows:
        if held and chars + len(row) + 1 > most_chars:
            yield head + ",".join(held)
            held, chars = [], len(head)
        held.append(row)
        chars += len(row) + 1
    if held:
        yield head + ",".join(held)


def keyed(columns: tuple[str, ...], keys: Iterable[tuple[int, ...]]) -> str:
    """A condition on the columns being one of the sorted keys: a range of their index for each."""
    *heads, last = columns
    parts = []
    for head, group in groupby(keys, key=lambda key: key[:-1]):
        fixed = "".join([f"{column}={value:d} AND " for column, value in zip(heads, head, strict=True)])
        parts.append(f"({fixed}{last} IN ({numbers(key[-1] for key in group)}))")
    return " OR ".join(parts)


def members(pairs: Iterable[tuple[int, int]]) -> str:
    """A condition on (group, user) being one of the sorted pairs."""
    return keyed(("chat_group", "user"), pairs)


def flat(tongue: Tongue, columns: Sequence[str], source: str) -> str:
    """A query for all rows of `source` in one text: rows are what the driver is slow at. `parsed` takes it apart."""
    return f"SELECT {in_one(tongue, columns)} FROM {source}"


def in_one(tongue: Tongue, columns: Sequence[str]) -> str:
    """What a query that `parsed` takes apart asks for."""
    return f"GROUP_CONCAT({tongue.joined(*columns)})"


def parsed(row: Sequence[object] | None, width: int) -> Iterator[tuple[int, ...]]:
    """The rows of a `flat` query's only row."""
    if row is None or row[0] is None:
        return iter(())
    values = map(int, str(row[0]).split(","))
    return zip(*[values] * width, strict=True)


def message_row(group: int, number: int, user: int, time: int, origin: tuple[int, int, int], waited_for: int, body: bytes) -> str:
    """One row of INSERT_MESSAGES; origin = (accepted, entered, message id)."""
    accepted, entered, message_id = origin
    head = f"{group:d},{number:d},{user:d},{time:d},{accepted:d},{entered:d},{message_id:d},{waited_for:d},0,{len(body):d}"
    return f"({head},x'{body.hex()}')"


def raise_numbers(tongue: Tongue, rows: Iterable[tuple[int, int]]) -> str:
    """Sets the numbers of groups to those of the (group, number)."""
    return update_rows(tongue, "chat_groups", ("g", "n"), rows, "id=g", "number=n")


def raise_cursors(tongue: Tongue, rows: Iterable[tuple[int, int, int]]) -> str:
    """Sets members' cursors to those of the (group, user, cursor)."""
    return update_rows(tongue, "group_members", ("g", "u", "n"), rows, "chat_group=g AND user=u", "cursor_number=n")


def count_rows(tongue: Tongue, rows: Iterable[tuple[int, int, int]]) -> str:
    """Adds to the sent counts of messages by the (group, number, how much)."""
    return update_rows(tongue, "group_messages", ("g", "n", "k"), rows, "chat_group=g AND number=n", "sent=sent+k")


def count_range(group: int, above: int, up_to: int, more: int) -> str:
    """Adds to the sent counts of the messages above .. up to."""
    return f"UPDATE group_messages SET sent=sent+{more:d} WHERE {between(group, above, up_to)}"


def wait_for_fewer(group: int, above: int, up_to: int, fewer: int) -> str:
    """Takes from the member counts of the messages above .. up to."""
    return f"UPDATE group_messages SET members=members-{fewer:d} WHERE {between(group, above, up_to)}"


def between(group: int, above: int, up_to: int) -> str:
    """A condition on the messages above .. up to."""
    return f"chat_group={group:d} AND number>{above:d} AND number<={up_to:d}"


def update_rows(tongue: Tongue, table: str, columns: Sequence[str], rows: Iterable[tuple[int, ...]], condition: str, change: str) -> str:
    """An UPDATE by a list: `columns` name what stands in `rows`, for `condition` and `change` to use."""
    listed = _values(tongue, len(columns), rows)
    return tongue.update.format(columns=",".join(columns), rows=listed, table=table, condition=condition, change=change)


def listed(tongue: Tongue, what: str, table: str, keys: Sequence[str], rows: Iterable[tuple[int, ...]], condition: str = "") -> str:
    """A query for `what` of those rows of the table whose primary key is in the list, and for which `condition` holds."""
    return tongue.listed.format(what=what, table=table, **_asked(tongue, keys, rows, condition))


def delete_listed(tongue: Tongue, table: str, keys: Sequence[str], rows: Iterable[tuple[int, ...]], condition: str) -> str:
    """A DELETE of such rows."""
    return tongue.delete_listed.format(table=table, **_asked(tongue, keys, rows, condition))


def _asked(tongue: Tongue, keys: Sequence[str], rows: Iterable[tuple[int, ...]], condition: str) -> dict[str, str]:
    columns = [f"asked_{key}" for key in keys]
    parts = [f"{key}={column}" for key, column in zip(keys, columns, strict=True)] + [condition] * bool(condition)
    return {"columns": ",".join(columns), "rows": _values(tongue, len(keys), rows), "condition": " AND ".join(parts)}


def _values(tongue: Tongue, width: int, rows: Iterable[tuple[int, ...]]) -> str:
    form = tongue.row + "(" + ",".join(["%d"] * width) + ")"
    return ",".join([form % row for row in rows])


def removable(tongue: Tongue, groups: Iterable[int], condition: str, limit: int) -> str:
    """Rows (group, first, end, last) for those of the groups that have rows: their first and last row, and the first one for which the
    condition does not hold, or which is `limit` above the first (NULL: none). A dive into the index for each."""
    asked = ",".join([f"{tongue.row}({group:d})" for group in groups])
    here = f"SELECT number FROM group_messages{tongue.by('PRIMARY')} WHERE chat_group=g"
    one = f"({here} ORDER BY number LIMIT 1),({here} ORDER BY number DESC LIMIT 1)"
    end = f"({here} AND number>=f AND (number>=f+{limit:d} OR NOT {condition}) ORDER BY number LIMIT 1)"
    found = f"WITH asked(g) AS (VALUES {asked}), found(g,f,l) AS (SELECT g,{one} FROM asked)"
    return f"{found} SELECT g,f,{end},l FROM found WHERE f IS NOT NULL"


def stored(tongue: Tongue, groups: Iterable[int]) -> str:
    """Rows (first, last, accepted of the first) for those of the groups that have rows. A dive into the index for each."""
    asked = ",".join([f"{tongue.row}({group:d})" for group in groups])
    here = f"FROM group_messages{tongue.by('PRIMARY')} WHERE chat_group=g ORDER BY number"
    found = f"SELECT (SELECT number {here} LIMIT 1),(SELECT number {here} DESC LIMIT 1),(SELECT accepted {here} LIMIT 1) FROM asked"
    return f"WITH asked(g) AS (VALUES {asked}), found(f,l,a) AS ({found}) SELECT f,l,a FROM found WHERE f IS NOT NULL"
