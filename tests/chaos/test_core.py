"""The chaos run in every check: nothing is lost, doubled or reordered, on both stores; and each broken mechanism turns it red."""

from __future__ import annotations

import pytest

from tests.chaos.core import Options, run


@pytest.mark.parametrize("store", ["sqlite", "mariadb"])
def test_nothing_settled_is_lost_doubled_or_reordered_while_everything_is_killed(store: str) -> None:
    for seed in (11, 21, 31):  # a run whose kills happened to meet no traffic proves nothing, and is not counted
        options = Options(messages=20_000, kills=8, seed=seed, store=store)
        outcome = run(options)
        assert outcome.verdict.violations == 0, outcome.summary(options)
        if outcome.exit_code == 0:
            return
    pytest.fail(f"no run proved anything: {outcome.summary(options)}")


def provoking(sabotage: str, seed: int) -> Options:
    """Few users that come and go all the time, so that many messages follow each other to sessions that change under them."""
    drain_seconds = 20 if sabotage else 120  # what is lost never comes
    return Options(8_000, 5, seed, users=40, sabotage=sabotage, seconds_per_kill=2.4, drain_seconds=drain_seconds, blink_seconds=0.04)


@pytest.mark.parametrize(
    ("sabotage", "violation"), [("settle_before_commit", "lost"), ("no_dedupe", "duplicated"), ("no_lane", "reordered")]
)
def test_a_broken_mechanism_is_noticed(sabotage: str, violation: str) -> None:
    for seed in (12, 22, 32, 42):  # a search for one violation: where the kills fall is chance
        options = provoking(sabotage, seed)
        outcome = run(options)
        if getattr(outcome.verdict, violation) > 0:
            return
    pytest.fail(f"nothing was noticed: {outcome.summary(options)}")


def test_the_same_run_breaks_nothing_with_every_mechanism_in_place() -> None:
    options = provoking("", 12)
    outcome = run(options)
    assert outcome.verdict.violations == 0, outcome.summary(options)
