"""The comparison of directory and truth finds every kind of difference, and none where there is none."""

from __future__ import annotations

import pytest

from tests.chaos.directory_truth import lies

TRUTH = {10: 2, 20: 1}


def test_a_true_directory_tells_no_lie() -> None:
    assert lies({1: [10], 2: [10], 3: [20]}, 3, TRUTH) == []


@pytest.mark.parametrize(
    ("places", "word"),
    [
        ({1: [10], 2: [10], 3: []}, "user 3 is at 0 centers"),
        ({1: [10], 2: [10], 3: [20, 10]}, "user 3 is at 2 centers"),
        ({1: [10], 2: [20], 3: [20]}, "1 are listed at 10, which holds 2"),
        ({1: [10], 2: [10], 3: [30]}, "1 are listed at 30, which holds 0"),
        ({1: [10], 2: [10]}, "2 of 3 users are listed"),
    ],
)
def test_each_difference_is_named(places: dict[int, list[int]], word: str) -> None:
    assert word in lies(places, 3, TRUTH)
