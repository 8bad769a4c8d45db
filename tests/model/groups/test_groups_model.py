"""Whatever happens in a small world of a group, numbers have no hole, nobody misses, repeats or overhears a post, and rows go in the end.

What lives here: the search of the worlds that close within a minute. What must not: larger ones (python -m tests.model.groups --full).
"""

from __future__ import annotations

import pytest

from tests.model.groups.steps import GroupSteps
from tests.model.groups.worlds import CHECKED
from tests.model.search import search


@pytest.mark.parametrize("name", CHECKED)
def test_every_promise_to_members_holds_in_every_state_and_every_state_can_come_to_rest(name: str) -> None:
    found = search(GroupSteps(CHECKED[name].settings))
    assert found.violation is None, found.violation
    assert found.is_complete and found.resting
