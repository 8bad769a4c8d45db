"""The plan of a chaos run of groups is the same for a seed, and holds what makes a run worth judging."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.faults import APPLICATION, DATABASE
from tests.chaos.group_plan import CENTER, JANITOR, Society, plan_group_faults

SIZES = {CENTER: 2, APPLICATION: 4, DATABASE: 1, JANITOR: 1}


@pytest.mark.parametrize(("users", "society"), [(48, Society()), (24, Society()), (12, Society(large=1, small=4, large_size=12))])
def test_everybody_is_in_a_small_group_and_every_group_has_a_founder_of_its_own(users: int, society: Society) -> None:
    circles = society.circles(users, 1)
    assert circles == society.circles(users, 1) != society.circles(users, 2)
    assert len({circle.owner for circle in circles[: society.small]}) == society.small
    assert {place for circle in circles[: society.small] for place in circle.places} == set(range(users))
    for circle in circles:
        assert len(set(circle.places)) == len(circle.places) and set(circle.places) <= set(range(users))
    assert [len(circle.places) for circle in circles[society.small :]] == [min(society.large_size, users)] * society.large


def test_large_groups_get_their_share_of_the_posts() -> None:
    users, society = 48, Society()
    circles = society.circles(users, 3)
    large = 0.0
    for place in range(users):
        mine = [circle for circle in circles if place in circle.places]
        of_large = sum(circle.weight for circle in mine if circle.number >= society.small)
        large += of_large / sum(circle.weight for circle in mine) / users
    assert 0.7 * society.large_share < large < 1.5 * society.large_share


@pytest.mark.parametrize("seed", range(10))
def test_everything_is_killed_and_applications_in_a_quarter_of_the_kills(seed: int) -> None:
    faults = plan_group_faults(20, SIZES, seed)
    assert faults == plan_group_faults(20, SIZES, seed) != plan_group_faults(20, SIZES, seed + 1)
    assert Counter(fault.what for fault in faults) == {APPLICATION: 5, DATABASE: 3, JANITOR: 3, CENTER: 9}
    assert [fault.share for fault in faults] == sorted(fault.share for fault in faults)
    assert all(0 <= fault.which < SIZES[fault.what] for fault in faults)


def test_what_is_not_there_is_not_killed() -> None:
    faults = plan_group_faults(20, {**SIZES, DATABASE: 0}, 1)
    assert Counter(fault.what for fault in faults) == {APPLICATION: 5, JANITOR: 3, CENTER: 12}
