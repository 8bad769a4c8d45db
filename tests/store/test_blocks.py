"""Whom users block, as delivery asks it: all of them, however many."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from annotated_types import Le

from myim_server.config_sections import FriendsSection
from myim_server.store.engine import Store

TOP = (1 << 63) - 1
(MOST,) = (limit.le for limit in FriendsSection.model_fields["blocked"].metadata if isinstance(limit, Le))


def statements(user: int, blocked: range) -> Iterator[str]:
    for start in range(0, len(blocked), 10_000):
        rows = ",".join(f"({user},{TOP - other},1)" for other in blocked[start : start + 10_000])
        yield f"INSERT INTO blocks (user,blocked,made) VALUES {rows}"


def test_whom_a_user_blocks_is_known_whole_also_where_it_is_as_many_as_may_be(store: Store, users: list[int]) -> None:
    assert isinstance(MOST, int)
    for statement in (*statements(users[0], range(MOST)), *statements(users[1], range(5, 7))):
        store._database.write(lambda connection, text=statement: connection.exec_driver_sql(text))  # type: ignore[misc]
    found = store.blocks.of(users)
    assert found[users[0]] == {TOP - other for other in range(MOST)}
    assert found[users[1]] == {TOP - 5, TOP - 6}
    assert all(found[user] == set() for user in users[2:])


@pytest.mark.parametrize("asked", [[], [1 << 63, (1 << 64) - 1]])
def test_of_nobody_nothing_is_said(store: Store, asked: list[int]) -> None:
    assert store.blocks.of(asked) == {user: set() for user in asked}
