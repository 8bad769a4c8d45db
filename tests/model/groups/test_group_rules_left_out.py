"""Each rule of docs/groups.md is left out once, and the search must then print a way to a broken promise; where it finds none, another rule
covers.

What lives here: the proof that the search can fail. What must not: the worlds (mutations.py).
"""

from __future__ import annotations

import re

import pytest

from tests.house.tree import REPOSITORY
from tests.model.groups.__main__ import main
from tests.model.groups.mutations import COVERED, MUTATIONS, Mutation
from tests.model.groups.steps import GroupSteps
from tests.model.groups.worlds import RULES
from tests.model.search import search


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_rule_of_groups_left_out_breaks_a_promise(mutation: Mutation) -> None:
    found = search(GroupSteps(mutation.world))
    assert found.violation is not None, f"{found.states} states, and nothing broke"
    why, *way = found.violation.splitlines()
    assert mutation.says in why
    assert way, "a trace has steps"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_with_the_rule_the_same_world_keeps_every_promise(mutation: Mutation) -> None:
    kept = mutation.world._replace(rules=RULES, is_audited=True)
    found = search(GroupSteps(kept), most_states=4_000)
    assert found.violation is None, found.violation


@pytest.mark.parametrize("mutation", COVERED, ids=lambda mutation: mutation.name)
def test_where_another_rule_of_groups_covers_nothing_breaks(mutation: Mutation) -> None:
    found = search(GroupSteps(mutation.world))
    assert found.is_complete and found.violation is None, found.violation


def test_the_command_prints_the_trace_of_a_rule_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--without", "G-12"]) == 0
    told = capsys.readouterr().out
    assert "is not stored" in told and "T1 posts p1" in told


def test_every_rule_of_groups_is_left_out_once() -> None:
    text = (REPOSITORY / "docs" / "groups.md").read_text()
    rules = set(re.findall(r"^- \*\*(G-\d+)\*\*", text, re.MULTILINE))
    assert rules
    assert rules == {mutation.name.split()[0] for mutation in MUTATIONS}
