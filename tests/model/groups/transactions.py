"""The store's transactions, each a row of parts. By the rules of docs/groups.md most have one: the row's lock is held to the commit.

What lives here: G-1 to G-10 as pure functions of the tables, which mirror the SQL of myim_server/store/group_*.py. What must not: centers,
terminals, promises, and the transactions without a rule (mutations.py), which have more parts, so that others come between.

A part is given the tables and the operation, and gives the tables after it and what the operation is to remember. What the last part gives
is what the center learns.
"""

from __future__ import annotations

from typing import Any

from tests.model.groups.world import Membership, Op, Part, Past, Row, Rules, Store, bit

Members = tuple[Membership | None, ...]


# ---------------------------------------------------------------------- posts


def number_of(store: Store, post: int) -> int:
    """The number under which a post is known (G-3), or 0."""
    return next((number for number, known in store.history if known == post), 0)


def count_of(store: Store) -> int:
    """How many members the group has."""
    return sum(member is not None for member in store.members)


def post(store: Store, op: Op) -> tuple[Store, tuple[Any, ...]]:
    """op.args: (user, post, …) each. Gives for each (number, version, is a repeat), or () where it is refused, and those behind it."""
    outcomes: list[tuple[int, ...]] = []
    shut: set[int] = set()
    for user, name, *_ in op.args:
        known = number_of(store, name)
        if known:
            outcomes.append((known, store.version, 1))
        elif user in shut or store.members[user] is None:
            shut.add(user)
            outcomes.append(())
        else:
            store = inserted(store, store.number + 1, name, count_of(store))
            outcomes.append((store.number, store.version, 0))
    return store, tuple(outcomes)


def inserted(store: Store, number: int, name: int, count: int) -> Store:
    """The tables with one post more, which is the group's latest."""
    row = Row(number, name, count, 0)
    rows = tuple(sorted((*store.rows, row)))
    return store._replace(number=number, rows=rows, history=(*store.history, (number, name)))


# ---------------------------------------------------------------------- who is a member


def join(store: Store, op: Op) -> tuple[Store, tuple[Any, ...]]:
    """op.who joins: its cursor is the present number (G-4). Gives (version, number, joined), () if it is a member (G-10)."""
    if store.members[op.who] is not None:
        return store, ()
    store = with_member(store, op.who, Membership(store.number, store.number, store.number))
    store = store._replace(version=store.version + 1)
    return store, (store.version, store.number, store.number)


def leave(store: Store, op: Op) -> tuple[Store, tuple[Any, ...]]:
    """op.who is taken off the list, and no row waits for it any more (G-7)."""
    member = store.members[op.who]
    if member is None:
        return store, ()
    store = waiting_for_fewer(off_the_list(store, op.who), member.cursor)
    return store, (store.version, store.number, 0)


def with_member(store: Store, user: int, member: Membership | None) -> Store:
    return store._replace(members=(*store.members[:user], member, *store.members[user + 1 :]))


def off_the_list(store: Store, user: int) -> Store:
    member = store.members[user]
    assert member is not None
    past = Past(user, member.since, store.number, member.cursor)
    return with_member(store, user, None)._replace(version=store.version + 1, past=(*store.past, past))


def waiting_for_fewer(store: Store, above: int) -> Store:
    return store._replace(rows=tuple(row._replace(members=row.members - 1) if row.number > above else row for row in store.rows))


# ---------------------------------------------------------------------- cursors


def claim(store: Store, op: Op) -> tuple[Store, tuple[Any, ...]]:
    """op.who confirms all up to op.args[0] (G-5, G-6)."""
    member, number = store.members[op.who], op.args[0]
    if member is None or not member.cursor < number <= store.number:
        return store, ()
    return counted(with_member(store, op.who, member._replace(cursor=number)), member.cursor, number), ()


def counted(store: Store, above: int, up_to: int) -> Store:
    return store._replace(rows=tuple(row._replace(sent=row.sent + 1) if above < row.number <= up_to else row for row in store.rows))


# ---------------------------------------------------------------------- reads


def fetch_number(store: Store, op: Op) -> tuple[Store, tuple[Any, ...]]:
    """G-9: the member and the group's number first. op.args: (serial, after, rows of a page)."""
    member = store.members[op.args[3]]
    return store, () if member is None else (member.joined, store.number)


def fetch_rows(store: Store, op: Op) -> tuple[Store, tuple[Any, ...]]:
    """Then the rows up to that number. Gives (up to, number, rows), () for who is no member."""
    if not op.local:
        return store, ()
    joined, number = op.local
    return store, page(store, max(op.args[1], joined), number, number, op.args[2])


def page(store: Store, above: int, up_to: int, number: int, most: int) -> tuple[Any, ...]:
    rows = tuple((row.number, row.post) for row in store.rows if above < row.number <= up_to)
    return (rows[most - 1][0] if len(rows) > most else number, number, rows[:most])


def standing(store: Store, op: Op) -> tuple[Store, tuple[Any, ...]]:
    """Gives (version, number, cursor, joined) of op.args[0], () for who is no member."""
    member = store.members[op.args[0]]
    return store, () if member is None else (store.version, store.number, member.cursor, member.joined)


def standings(store: Store, op: Op) -> tuple[Store, tuple[Any, ...]]:
    """Gives (user, standing) for the users op.args that are members."""
    found = ((user, standing(store, op._replace(args=(user,)))[1]) for user in op.args)
    return store, tuple(one for one in found if one[1])


def describe(store: Store, op: Op) -> tuple[Store, tuple[Any, ...]]:
    """Like a standing; (version,) for who is no member."""
    return store, standing(store, op)[1] or (store.version,)


def members(store: Store, op: Op) -> tuple[Store, tuple[Any, ...]]:
    """op.args: (are all asked for, users, …). Gives (version, ((user, joined), …))."""
    found = ((user, member.joined) for user, member in enumerate(store.members) if member is not None)
    return store, (store.version, tuple(one for one in found if op.args[0] or one[0] in op.args[1]))


def numbers(store: Store, op: Op) -> tuple[Store, tuple[Any, ...]]:
    """What the sweep asks (G-14): (number, version)."""
    return store, (store.number, store.version)


# ---------------------------------------------------------------------- the janitor


def decide(store: Store, op: Op) -> tuple[Store, tuple[Any, ...]]:
    """G-8: the head of the rows that may go."""
    return store, tuple(head(store, lambda row: row.sent >= row.members))


def head(store: Store, is_done: Any) -> list[int]:
    found = []
    for row in store.rows:
        if not (is_done(row) or store.expired & bit(row.number)):
            break
        found.append(row.number)
    return found


def remove(store: Store, op: Op) -> tuple[Store, tuple[Any, ...]]:
    """Removes what was decided; whatever may go stays so, hence it need not look again."""
    return store._replace(rows=tuple(row for row in store.rows if row.number not in op.local)), ()


TRANSACTIONS: dict[str, tuple[Part, ...]] = {
    "post": (post,),
    "join": (join,),
    "leave": (leave,),
    "claim": (claim,),
    "fetch": (fetch_number, fetch_rows),
    "standing": (standing,),
    "describe": (describe,),
    "members": (members,),
    "sweep": (numbers,),
    "round": (standings,),
    "purge": (decide, remove),
}


def parts_of(rules: Rules, kind: str) -> tuple[Part, ...]:
    """The parts of a transaction, as a world has them."""
    return rules.transactions.get(kind) or TRANSACTIONS[kind]


def audience(store: Store, number: int) -> list[tuple[int, int, bool]]:
    """For each user who was a member when this number was committed: (user, cursor, whether the membership goes on)."""
    present = [(user, one.cursor, True) for user, one in enumerate(store.members) if one is not None and one.since < number]
    return present + [(one.user, one.cursor, False) for one in store.past if one.since < number <= one.until]

