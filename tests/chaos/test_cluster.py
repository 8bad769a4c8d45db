"""The cluster's chaos run in every check: nothing is lost, doubled, reordered or misdelivered; each broken mechanism turns it red."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.cluster import Options, chosen, run
from tests.chaos.cluster_faults import APPLICATION, CENTER, CLOCK, LINK, Fault
from tests.chaos.cluster_parts import Shape


@pytest.mark.parametrize(
    ("links", "directory", "count"), [("tls", "hazelcast", 12), ("plain", "static", 8)], ids=["tls_and_hazelcast", "plain_and_static_peers"]
)
def test_nothing_is_lost_doubled_or_misdelivered_while_a_cluster_breaks(links: str, directory: str, count: int) -> None:
    for seed in (1, 2, 3):  # a run whose kills happened to meet no traffic proves nothing, and is not counted
        options = Options(count * 800, count, seed, every=(2.0, 4.0), shape=Shape(links=links, directory=directory))
        outcome = run(options)
        assert not outcome.is_broken, outcome.summary(options)
        if outcome.exit_code == 0:
            return
    pytest.fail(f"no run proved anything: {outcome.summary(options)}")


def provoking(sabotage: str, seed: int, directory: str, only: tuple[str, ...], count: int) -> Options:
    """Few users that come and go all the time, so that what is broken has to show."""
    return Options(
        6_000, count, seed, (2.0, 3.0), Shape(endpoints=1, directory=directory), users=40, sabotage=sabotage, drain_seconds=20,
        blink_seconds=0.04, only=only,
    )  # fmt: skip


def test_lanes_that_hold_to_no_session_across_links_are_noticed() -> None:
    for seed in (12, 22, 32):  # a search for one violation: where the faults fall is chance
        options = provoking("no_lane", seed, "static", (CENTER, LINK), 6)
        outcome = run(options)
        if outcome.verdict.reordered > 0:
            return
    pytest.fail(f"nothing was noticed: {outcome.summary(options)}")


def dying_together(sabotage: str, seed: int) -> Options:
    """While a center stands still the applications are killed, then it: users that do not come back are taken off its list by nobody.

    Half of all users, by lot at each start of an application, do not come back for long.
    """
    script = []
    for number in range(2):
        at = 2.0 + 6 * number
        script.append(Fault(at, CENTER, number, "pause", 4.0, 0))
        script += [Fault(at + 0.1, APPLICATION, which, "kill", 0.0, 0) for which in range(4)]
        script.append(Fault(at + 1.0, CENTER, number, "kill", 0.5, 0))
    return replace(provoking(sabotage, seed, "hazelcast", (), 0), script=tuple(script), offline_share=0.5, offline_seconds=120.0)


def test_who_died_with_its_center_stays_listed_where_leases_are_unchecked() -> None:
    for seed in (12, 22, 32):  # whether somebody was at that center, and stays away, is chance
        options = dying_together("lease_unchecked", seed)
        outcome = run(options)
        if outcome.directory_seconds is None:
            return
    pytest.fail(f"nothing was noticed: {outcome.summary(options)}")


def test_a_clock_that_is_stepped_breaks_no_order_lease_or_exactly_once() -> None:
    """Most users are away in turn, so that what is stored by a wrong clock waits beside what is stored by a right one."""
    script = []
    for number, how in enumerate(("hour_ahead", "day_ahead", "hour_back")):
        at = 1.0 + 6 * number
        script.append(Fault(at, CLOCK, 0, how, 4.0, 0))
        script.append(Fault(at + 2.0, CENTER, 0, "kill", 0.5, 0))  # its senders go on at the other center
        script.append(Fault(at + 3.0, APPLICATION, number, "kill", 0.0, 0))
    shape = Shape(endpoints=1, centers=2)
    options = Options(6_000, 0, 16, shape=shape, script=tuple(script), users=40, blink_seconds=0.04, offline_share=0.6, offline_seconds=8.0)
    outcome = run(options)
    assert outcome.exit_code == 0, outcome.summary(options)


def test_the_command_line_means_what_it_says() -> None:
    words = "--messages 7 --faults 3 --seed 9 --every 2-5 --links plain --directory static --json"
    options, is_json = chosen(words.split())
    assert (options.messages, options.faults, options.seed, options.every, is_json) == (7, 3, 9, (2.0, 5.0), True)
    assert (options.shape.links, options.shape.directory) == ("plain", "static")
    assert len(options.plan) == 3
