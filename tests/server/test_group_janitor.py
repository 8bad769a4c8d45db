"""The janitor of groups looks at what moved, and at what moves while it looks."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from myim_server.chat.group_janitor import GroupJanitor
from myim_server.metrics import Metrics
from myim_server.refusals import StoreUnavailable


class Table:
    """Finds so many rows at each look; `meanwhile` happens while it looks."""

    def __init__(self, *found: int | Exception) -> None:
        self.found = list(found)
        self.looked: list[list[int]] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def done(self, groups: list[int], limit: int) -> tuple[int, int]:
        self.looked.append(groups)
        self.meanwhile()
        found = self.found.pop(0) if self.found else 0
        if isinstance(found, Exception):
            raise found
        return found, found


def janitor_of(table: Table, touched: set[int]) -> GroupJanitor:
    confirmations = cast(Any, SimpleNamespace(touched=touched))
    return GroupJanitor(cast(Any, table), confirmations, lambda seconds: None, lambda: 0.0, Metrics())


def test_what_is_confirmed_during_a_look_is_looked_at_again() -> None:
    touched = {7}
    table = Table()

    def confirm() -> None:
        table.meanwhile = lambda: None
        touched.add(7)

    table.meanwhile = confirm
    janitor_of(table, touched).tidy()
    assert table.looked == [[7], [7]] and not touched


def test_a_full_look_is_followed_by_another_and_one_that_failed_is_not_forgotten() -> None:
    touched = {7, 8}
    table = Table(500, 3)
    janitor_of(table, touched).tidy()
    assert table.looked == [[7, 8], [7, 8]] and not touched
    touched.add(9)
    with pytest.raises(StoreUnavailable):
        janitor_of(Table(StoreUnavailable("away")), touched).tidy()
    assert touched == {9}
