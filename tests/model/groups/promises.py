"""What is promised: in every state, at every showing, and where nothing more will happen.

What lives here: the checks, each of them a sentence of docs/groups.md or of P9 to P11. What must not: steps, rules.

What users are promised is always looked at; so are the *books* (numbers without a hole, counts that equal a recount), unless a world is to
show what users would see of a rule left out.
"""

from __future__ import annotations

from functools import lru_cache

from tests.model.groups.transactions import audience
from tests.model.groups.world import (
    AUTHORS,
    LINKS,
    NUMBERED,
    OPS,
    REFUSED,
    SHOWN,
    STORE,
    TERMINALS,
    Settings,
    State,
    Store,
    author_of,
    bit,
    named,
    terminal_named,
)
from tests.model.world import Violation


@lru_cache(1 << 16)
def check_confirmed(store: Store, shown: tuple[int, ...]) -> None:
    """Confirmed is shown, or expired before it could be."""
    for user, member in enumerate(store.members):
        if member is None:
            continue
        for number in range(member.since + 1, member.cursor + 1):
            if number <= store.number and not (shown[user] | store.expired) & bit(number):
                raise Violation(f"{number} is confirmed for U{user + 1}, whose application never had it")


@lru_cache(1 << 16)
def check_books(store: Store) -> None:
    """Numbers 1, 2, 3 … in the order of the commits, each post once; sent and member counts equal a recount from the cursors."""
    for place, (number, post) in enumerate(store.history, 1):
        if number != place:
            raise Violation(f"the post that is committed after number {place - 1} is {number}")
        if any(post == other for _, other in store.history[: place - 1]):
            raise Violation(f"{named(post)} has two numbers")
    for user, member in enumerate(store.members):
        if member is not None and member.cursor > store.number:
            raise Violation(f"{member.cursor} is confirmed for U{user + 1} before it is posted")
    for row in store.rows:
        had = [user for user, cursor, _ in audience(store, row.number) if cursor >= row.number]
        waited_for = [user for user, cursor, is_there in audience(store, row.number) if is_there and cursor < row.number]
        if row.sent != len(had):
            raise Violation(f"the sent count of {row.number} is {row.sent}, and {len(had)} confirmed it")
        if row.members != len(had) + len(waited_for):
            raise Violation(f"{row.number} waits for {row.members - row.sent} more, and {len(waited_for)} members do not have it")


def check_commit(before: Store, after: Store) -> None:
    """Posts of a step of the store: whose they are, and their order within a session."""
    for number, post in after.history[len(before.history) :]:
        user = author_of(post)
        if before.members[user] is None:
            raise Violation(f"{named(post)} is committed as {number}, and U{user + 1} is no member")
        if any(author_of(other) == user and other > post for _, other in before.history):
            raise Violation(f"{named(post)} is committed after one that U{user + 1} posted later")
        if any(other == post for _, other in before.history):
            raise Violation(f"{named(post)} has two numbers")


def check_removed(before: Store, after: Store, shown: tuple[int, ...]) -> None:
    """A row goes when everybody it waits for has shown it, or when it is expired."""
    kept = {row.number for row in after.rows}
    for row in before.rows:
        if row.number not in kept and not after.expired & bit(row.number):
            for user, _, is_there in audience(before, row.number):
                if is_there and not shown[user] & bit(row.number):
                    raise Violation(f"{row.number} is removed, and U{user + 1} has not had it")


def check_shown(store: Store, user: int, number: int, post: int, last: int) -> None:
    """The same number is the same post for all; order, once, and nothing of the time before or after a membership."""
    if (number, post) not in store.history:
        raise Violation(f"{named(post)} is shown as {number}, which is another post")
    if number <= last:
        raise Violation(f"{number} is shown {'twice' if number == last else f'after {last}'}")
    member = store.members[user]
    if member is not None and number > member.since:
        return
    if not any(one.user == user and one.since < number <= one.until for one in store.past):
        raise Violation(f"U{user + 1} is shown {number}, which was posted before it joined or after it left")


def check_settled(store: Store, post: int, number: int) -> None:
    """What a sender is told of its post."""
    if number and (number, post) not in store.history:
        raise Violation(f"{named(post)} is settled as {number}, and is not stored")
    if not number and any(post == other for _, other in store.history):
        raise Violation(f"{named(post)} is refused for good, and is stored")


def check_rest(state: State, settings: Settings) -> None:
    """What must be true where nothing more will happen."""
    store, shown = state[STORE], state[SHOWN]
    if state[OPS] or any(state[LINKS]):
        raise Violation("at rest, but something is on its way")
    for number, _ in store.history:
        if [other for other, _ in store.history].count(number) > 1:
            raise Violation(f"two posts have the number {number}")
    for user, member in enumerate(store.members):
        if member is not None:
            for number in range(member.since + 1, store.number + 1):
                if not (shown[user] | store.expired) & bit(number):
                    raise Violation(f"at rest, but U{user + 1} was never shown {number}")
    for user, outcomes in enumerate(state[AUTHORS]):
        for index, outcome in enumerate(outcomes, 1):
            if outcome < REFUSED:
                raise Violation(f"at rest, but U{user + 1} was not told what became of p{index}")
            check_settled(store, 4 * user + index, max(0, outcome - NUMBERED))
    if store.rows:
        raise Violation(f"at rest, but {', '.join(str(row.number) for row in store.rows)} is never removed")
    for rank, terminal in enumerate(state[TERMINALS]):
        member = store.members[terminal.user]
        if member is not None and member.cursor < store.number:
            raise Violation(f"at rest, but {terminal_named(settings, rank)} never confirmed {store.number}")
