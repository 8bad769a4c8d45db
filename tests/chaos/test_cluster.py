"""The cluster's chaos run in every check: nothing is lost, doubled, reordered or misdelivered; each broken mechanism turns it red."""

from __future__ import annotations

import pytest

from tests.chaos.cluster import NODE_SABOTAGES, Options, chosen, run
from tests.chaos.cluster_faults import CENTER, HAZELCAST, LINK
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


@pytest.mark.parametrize("sabotage", NODE_SABOTAGES)
def test_a_directory_with_a_broken_mechanism_never_equals_the_true_connections(sabotage: str) -> None:
    for seed in (12, 22, 32):
        options = provoking(sabotage, seed, "hazelcast", (CENTER, HAZELCAST), 6)
        outcome = run(options)
        if outcome.directory_seconds is None:
            return
    pytest.fail(f"nothing was noticed: {outcome.summary(options)}")


def test_the_command_line_means_what_it_says() -> None:
    words = "--messages 7 --faults 3 --seed 9 --every 2-5 --links plain --directory static --json"
    options, is_json = chosen(words.split())
    assert (options.messages, options.faults, options.seed, options.every, is_json) == (7, 3, 9, (2.0, 5.0), True)
    assert (options.shape.links, options.shape.directory) == ("plain", "static")
    assert len(options.plan) == 3
