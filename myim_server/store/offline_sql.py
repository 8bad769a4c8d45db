"""The texts of the statements that run for every message, built from numbers and bytes.

Why text: SQLAlchemy and the drivers' own parameters cost more than the database does for a row of 100 bytes. Why this is safe: only
integers (by `:d`) and hex digits ever enter a text; a name or any other string never does. What must not live here: running them, and
rules. All numbers come as the tables have them (`schema.signed`).
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from myim_server.store.database import Tongue

INSERT = "INSERT INTO offline_messages (target,user,time,slot,qos,accepted,entered,message_id,size,body) VALUES "
# SQLite's expressions may be 1,000 deep, and each OR is one deeper.
GROUPS_AT_ONCE = 400


def inserts(rows: Iterable[str], most_chars: int) -> Iterator[str]:
    """Statements that insert these rows, none longer than `most_chars`."""
    held: list[str] = []
    chars = len(INSERT)
    for row in rows:
        if held and chars + len(row) + 1 > most_chars:
            yield INSERT + ",".join(held)
            held, chars = [], len(INSERT)
        held.append(row)
        chars += len(row) + 1
    if held:
        yield INSERT + ",".join(held)


def row(target: int, user: int, time: int, qos: int, accepted: int, entered: int, message_id: int, body: bytes) -> str:
    """One row of an INSERT; a body of n bytes takes 2 n characters."""
    numbers = f"{target:d},{user:d},{time:d},{time & 63:d},{qos:d},{accepted:d},{entered:d},{message_id:d},{len(body):d}"
    return f"({numbers},x'{body.hex()}')"


def numbers(values: Iterable[int]) -> str:
    """Integers with commas between them."""
    return ",".join([f"{value:d}" for value in values])


def highest_above(tongue: Tongue, lowest: Iterable[tuple[int, int]]) -> str:
    """Rows (target, m) for those (target, lowest accepted) where the target's highest accepted m is not below.

    One dive into the index for each, however many rows a target has: GROUP BY reads them all, in both databases.
    """
    asked = ",".join([f"{tongue.row}({target:d},{accepted:d})" for target, accepted in lowest])
    one = "(SELECT accepted FROM offline_messages WHERE target=t ORDER BY target DESC, accepted DESC LIMIT 1)"
    return f"WITH asked(t,a) AS (VALUES {asked}), found(t,a,m) AS (SELECT t,a,{one} FROM asked) SELECT t,m FROM found WHERE m>=a"


def having_rows(tongue: Tongue, targets: Iterable[int], table: str = "offline_messages") -> str:
    """Those of the targets that have a row in the table; one dive into the index for each."""
    asked = ",".join([f"{tongue.row}({target:d})" for target in targets])
    one = f"(SELECT target FROM {table} WHERE target=t LIMIT 1)"
    return f"WITH asked(t) AS (VALUES {asked}), found(t,i) AS (SELECT t,{one} FROM asked) SELECT t FROM found WHERE i IS NOT NULL"


def in_groups(pairs: Sequence[tuple[int, int]], column: str) -> str:
    """A condition on (column, time) being one of the sorted pairs."""
    groups = groupby(pairs, key=itemgetter(0))
    parts = [f"({column}={key:d} AND time IN ({numbers(map(itemgetter(1), group))}))" for key, group in groups]
    return " OR ".join(parts)


def named(names: Sequence[tuple[int, int, int]]) -> str:
    """A condition on (target, user, time) being one of the sorted names; a range of the index `offline_name` for each."""
    parts = []
    for (target, user), group in groupby(names, key=itemgetter(0, 1)):
        parts.append(f"(target={target:d} AND user={user:d} AND time IN ({numbers(map(itemgetter(2), group))}))")
    return " OR ".join(parts)


def name_chunks(names: Iterable[tuple[int, int, int]], most: int = GROUPS_AT_ONCE) -> Iterator[list[tuple[int, int, int]]]:
    """The names without repeats, sorted (so that all transactions lock in one order), in lists of at most `most`."""
    ordered = sorted(set(names))
    for i in range(0, len(ordered), most):
        yield ordered[i : i + most]
