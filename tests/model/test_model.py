"""Whatever happens in a small world, nothing acknowledged is lost, nothing is shown twice, order is kept, and every state can come to
rest.

What lives here: the search of the worlds that close within minutes. What must not: larger ones (python -m tests.model --full).
"""

from __future__ import annotations

import pytest

from tests.model.search import explore
from tests.model.worlds import CHECKED


@pytest.mark.parametrize("name", CHECKED)
def test_every_promise_holds_in_every_state_and_every_state_can_come_to_rest(name: str) -> None:
    found = explore(*CHECKED[name])
    assert found.violation is None, found.violation
    assert found.is_complete and found.resting
