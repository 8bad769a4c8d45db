"""The limit of open files (reliability row 117): raised where allowed, refused with both numbers where not."""

import resource

import pytest

from myim_server.config import load_config
from myim_server.open_files import Limits, TooFewOpenFiles, ensure_open_files

INFINITY = resource.RLIM_INFINITY


class Kernel:
    """A kernel with one pair of limits; may forbid to change it."""

    def __init__(self, soft: int, hard: int, may_change: bool = True) -> None:
        self.limits = (soft, hard)
        self.may_change = may_change

    def read(self) -> Limits:
        return self.limits

    def write(self, limits: Limits) -> None:
        if not self.may_change:
            raise PermissionError
        self.limits = limits


@pytest.mark.parametrize(
    ("soft", "hard", "expected", "left"),
    [
        (20_000, 20_000, (20_000, 20_000), (20_000, 20_000)),
        (INFINITY, INFINITY, (INFINITY, INFINITY), (INFINITY, INFINITY)),
        (1024, 20_000, (1024, 15_000), (15_000, 20_000)),
        (1024, 15_000, (1024, 15_000), (15_000, 15_000)),
        (1024, INFINITY, (1024, 15_000), (15_000, INFINITY)),
        (15_000, 15_000, (15_000, 15_000), (15_000, 15_000)),
    ],
)
def test_the_limit_is_raised_as_far_as_needed_and_no_further(soft: int, hard: int, expected: Limits, left: Limits) -> None:
    kernel = Kernel(soft, hard)
    assert ensure_open_files(15_000, kernel.read, kernel.write) == expected
    assert kernel.limits == left


@pytest.mark.parametrize(
    ("soft", "hard", "may_change", "told"), [(1024, 4096, True, 4096), (4096, 4096, True, 4096), (1024, 20_000, False, 1024)]
)
def test_too_low_a_limit_is_refused_with_both_numbers(soft: int, hard: int, may_change: bool, told: int) -> None:
    kernel = Kernel(soft, hard, may_change)
    with pytest.raises(TooFewOpenFiles, match=f"needs 15000 open files, the limit is {told}:"):
        ensure_open_files(15_000, kernel.read, kernel.write)
    assert kernel.limits == (soft, hard)


def test_the_real_limit_can_be_read() -> None:
    assert ensure_open_files(16)[1] >= 16 or ensure_open_files(16)[1] == INFINITY


def test_what_is_needed_follows_the_roles_and_limits() -> None:
    only_login = load_config(None, {"MYIM_NODE__ROLES": "login", "MYIM_LOGIN__SERVERS": "a.example:7401"}).descriptors_needed
    both = load_config(None, {"MYIM_CENTER__MAX_CONNECTIONS": "1000"}).descriptors_needed
    assert both == only_login + 1000 + 200
