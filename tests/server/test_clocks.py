"""A wall clock that jumps is not believed about what is old."""

import pytest

from myim_server.clocks import ClockWatch

HOUR, DAY = 3600.0, 86400.0


def test_a_steady_clock_is_trusted_and_small_corrections_change_nothing() -> None:
    watch = ClockWatch(1e9, 0.0)
    assert all(watch.is_trusted(1e9 + hour * HOUR + hour % 3, hour * HOUR) for hour in range(100))


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 200 * DAY, -200 * DAY])
def test_after_a_jump_nothing_is_old_until_the_new_time_has_held_for_a_day(jump: float) -> None:
    watch = ClockWatch(1e9, 0.0)
    assert watch.is_trusted(1e9 + 600, 600.0)
    for seconds in (1200.0, 1800.0, 1200.0 + DAY - 1):
        assert not watch.is_trusted(1e9 + seconds + jump, seconds)
    assert watch.is_trusted(1e9 + 1200.0 + DAY + jump, 1200.0 + DAY)
