"""The comparison of directory and truth finds every kind of difference, and none where there is none."""

from __future__ import annotations

import pytest

from tests.chaos.directory_truth import lies

TRUTH = {10: 2, 20: 1}
ONLINE = {1, 2, 3}  # 4 is away


def test_a_true_directory_tells_no_lie() -> None:
    assert lies({1: [[10, 5]], 2: [[10, 5]], 3: [[20, 5]], 4: []}, ONLINE, TRUTH) == []


@pytest.mark.parametrize(
    ("places", "word"),
    [
        ({1: [[10, 5]], 2: [[10, 5]], 3: [], 4: []}, "user 3, online, is listed at 0 centers"),
        ({1: [[10, 5]], 2: [[10, 5]], 3: [[20, 5], [10, 5]], 4: []}, "user 3, online, is listed at 2 centers"),
        ({1: [[10, 5]], 2: [[10, 5]], 3: [[20, 5]], 4: [[20, 5]]}, "user 4, away, is listed at 1 centers"),
        ({1: [[10, 5]], 2: [[20, 5]], 3: [[20, 5]], 4: []}, "1 are listed at 10, which holds 2"),
        ({1: [[10, 5]], 2: [[10, 5]], 3: [[30, 5]], 4: []}, "1 are listed at 30, which holds 0"),
        ({1: [[10, 5]], 2: [[10, 5]], 4: []}, "user 3 was not asked for"),
    ],
)
def test_each_difference_is_named(places: dict[int, list[list[int]]], word: str) -> None:
    assert any(word in lie for lie in lies(places, ONLINE, TRUTH))
