"""The plan of a cluster's chaos run is the same for a seed, and holds what makes a run worth judging."""

from __future__ import annotations

import itertools

import pytest

from tests.chaos.cluster_faults import APPLICATION, DATABASE, MENU, NEEDS_STORE_AT_START, OF_HAZELCAST, Fault, plan_cluster_faults

SIZES = {what: 3 for _, what, _, _, _ in MENU}
EVERY = (2.0, 5.0)


def test_a_seed_repeats_its_plan_and_another_makes_another() -> None:
    assert plan_cluster_faults(60, EVERY, 5, SIZES) == plan_cluster_faults(60, EVERY, 5, SIZES)
    assert plan_cluster_faults(60, EVERY, 5, SIZES) != plan_cluster_faults(60, EVERY, 6, SIZES)


@pytest.mark.parametrize("seed", range(20))
def test_faults_come_at_the_pace_asked_for_and_a_quarter_of_the_kills_hit_applications(seed: int) -> None:
    faults = plan_cluster_faults(60, EVERY, seed, SIZES)
    gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(faults)]
    assert len(faults) == 60
    assert all(1.99 <= gap <= 5.01 for gap in gaps)
    kills = [fault.what for fault in faults if fault.is_kill]
    assert kills.count(APPLICATION) * 4 >= len(kills) - 3
    assert len(kills) >= 10


def test_over_a_few_seeds_everything_on_the_menu_happens() -> None:
    happened = {(fault.what, fault.how) for seed in range(20) for fault in plan_cluster_faults(60, EVERY, seed, SIZES)}
    assert happened == {(what, how) for _, what, how, _, _ in MENU}


def test_no_target_suffers_twice_at_once_and_nothing_starts_without_the_store_it_needs() -> None:
    for seed in range(20):
        faults = plan_cluster_faults(60, EVERY, seed, SIZES)
        for one in faults:
            overlapping = [other for other in faults if other is not one and one.at <= other.at < one.at + one.seconds]
            assert not any((other.what, other.which) == (one.what, one.which) for other in overlapping)
            if one.what == DATABASE:
                assert not any(_starts(other) for other in overlapping)


def _starts(fault: Fault) -> bool:
    return fault.what in NEEDS_STORE_AT_START and fault.is_kill


def test_what_is_not_there_is_left_alone() -> None:
    sizes = {what: 0 if what in OF_HAZELCAST else size for what, size in SIZES.items()}
    assert not {fault.what for fault in plan_cluster_faults(200, EVERY, 1, sizes)} & set(OF_HAZELCAST)
