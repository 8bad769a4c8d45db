"""Each rule of docs/delivery.md is left out once, and the search must then print a way to a broken promise; where it finds none, another
rule covers.

What lives here: the proof that the search can fail. What must not: the worlds (mutations.py).
"""

from __future__ import annotations

import pytest

from tests.model.mutations import COVERED, MUTATIONS, Mutation
from tests.model.search import explore


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_rule_left_out_breaks_a_promise(mutation: Mutation) -> None:
    found = explore(mutation.world._replace(rules=mutation.rules), played=mutation.played)
    assert found.violation is not None, f"{found.states} states, and nothing broke"
    why, *way = found.violation.splitlines()
    assert mutation.says in why
    assert way, "a trace has steps"


@pytest.mark.parametrize("mutation", COVERED, ids=lambda mutation: mutation.name)
def test_where_another_rule_covers_nothing_breaks(mutation: Mutation) -> None:
    found = explore(mutation.world._replace(rules=mutation.rules))
    assert found.is_complete and found.violation is None, found.violation
