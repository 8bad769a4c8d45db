"""The chaos run of groups in every check: nothing promised of numbers, members and counts is broken; each broken mechanism is noticed."""

from __future__ import annotations

import pytest

from myim_server.chat import sabotage
from myim_server.store.group_cursors import GroupCursors
from myim_server.store.group_posts import GroupPosts
from myim_server.store.group_purge import GroupPurge
from myim_server.store.group_sabotage import TWINS, twin_of
from tests.chaos.group_plan import Society
from tests.chaos.groups import Options, chosen, run

FEW = Society(large=1, small=4, large_size=16, small_size=5)


def small(store: str, seed: int, messages: int = 10_000, kills: int = 6, broken: str = "") -> Options:
    """A handful of groups whose members come and leave all the time; what is broken never gets done, so nobody waits for it long.

    Posts come so quickly that a kill meets some that are not settled, where settling takes 3 ms, too.
    """
    rate = 250 if broken else 1_000
    return Options(
        messages, kills, seed, store, users=20, applications=2, sabotage=broken, rate=rate, churn_seconds=0.06, society=FEW,
        drain_seconds=8 if broken else 90, offline_seconds=2.0,
    )  # fmt: skip


@pytest.mark.parametrize("store", ["sqlite", "mariadb"])
def test_groups_keep_what_they_promise_while_everything_is_killed(store: str) -> None:
    for seed in (1, 2, 3):  # a run whose kills happened to meet no traffic proves nothing, and is not counted
        options = small(store, seed)
        outcome = run(options)
        assert not outcome.is_broken and outcome.faults == [], outcome.summary(options)
        if outcome.exit_code == 0:
            return
    pytest.fail(f"no run proved anything: {outcome.summary(options)}")


@pytest.mark.parametrize(
    ("broken", "store", "violations"),
    [
        ("number_read_then_write", "mariadb", ("repeated",)),  # it takes two centers to read one number
        ("janitor_by_counter", "sqlite", ("missed", "left_over")),  # too early, or never
        ("count_repeats", "sqlite", ("miscounted", "missed")),
    ],
)
def test_a_broken_rule_of_groups_is_noticed(broken: str, store: str, violations: tuple[str, ...]) -> None:
    for seed in (11, 12, 13):  # a search for a violation: where the kills fall is chance
        options = small(store, seed, messages=1_500, kills=2, broken=broken)
        outcome = run(options)
        if any(outcome.verdict.counts[violation] for violation in violations):
            assert outcome.exit_code == 1
            return
    pytest.fail(f"nothing was noticed: {outcome.summary(options)}")


def test_each_broken_rule_is_asked_for_by_name_and_stands_in_for_one_part() -> None:
    for name, twin in TWINS.items():
        assert sabotage.asked_for({"MYIM_CHAOS": "1", "MYIM_SABOTAGE": name}) == name
        assert sabotage.asked_for({"MYIM_SABOTAGE": name}) == ""
        stand_ins: list[type] = [twin_of(GroupPosts, name), twin_of(GroupCursors, name), twin_of(GroupPurge, name)]
        assert stand_ins.count(twin) == 1
    assert [twin_of(GroupPosts, ""), twin_of(GroupCursors, ""), twin_of(GroupPurge, "")] == [GroupPosts, GroupCursors, GroupPurge]


def test_the_command_line_means_what_it_says() -> None:
    words = "--messages 7 --kills 3 --seed 9 --store mariadb --centers 3 --sabotage count_repeats --json"
    options, is_json = chosen(words.split())
    assert (options.messages, options.kills, options.seed, options.store, options.centers) == (7, 3, 9, "mariadb", 3)
    assert (options.sabotage, is_json, options.traffic.program) == ("count_repeats", True, "tests.chaos.group_application")
