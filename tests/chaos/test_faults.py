"""The plan of a chaos run is the same for a seed, and holds what makes a run worth judging."""

from __future__ import annotations

import pytest

from tests.chaos.faults import APPLICATION, DATABASE, NODE, plan_faults


@pytest.mark.parametrize("kills", [1, 4, 7, 20, 150])
@pytest.mark.parametrize("has_database", [False, True])
def test_a_quarter_of_the_kills_hit_applications_and_the_rest_hits_servers(kills: int, has_database: bool) -> None:
    faults = plan_faults(kills, 4, has_database, seed=3)
    whats = [fault.what for fault in faults]
    assert len(faults) == kills
    assert whats.count(APPLICATION) * 4 >= kills
    assert (whats.count(DATABASE) > 0) == (has_database and kills > 1)
    assert whats.count(NODE) > 0 or kills == 1


def test_the_shares_rise_within_the_traffic() -> None:
    shares = [fault.share for fault in plan_faults(50, 4, True, seed=1)]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 1


def test_a_seed_repeats_its_plan_and_another_makes_another() -> None:
    assert plan_faults(20, 4, True, 5) == plan_faults(20, 4, True, 5)
    assert plan_faults(20, 4, True, 5) != plan_faults(20, 4, True, 6)
