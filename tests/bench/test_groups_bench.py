"""A quick run of every part of the group bench against real servers: loads work, counts fit. No figure is held to a goal."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench.groups import GOALS, PARTS
from bench.groups_options import QUICK
from bench.groups_talk import POSTERS
from bench.servers import REPOSITORY

KINDS = ("1 center, mariadb", "1 center, sqlite", "2 centers, mariadb")
FAN = [f"{size} members online, {kind}" for size in QUICK.sizes for kind in KINDS]
LARGE = f"{QUICK.large[0]} members, {QUICK.large[1]} online"
POSTS = [f"posts to {what}, {store}" for store in ("mariadb", "sqlite") for what in ("one hot group", f"{QUICK.groups} groups")]
JANITORS = ("janitor, mariadb", "janitor, sqlite")
TALK = ("center CPU per delivery", "deliveries", "center CPU per post", "posts", "from post to delivery, p99", "from post to settling, p99")
PURGE = ("posts without", "posts while it removes", "p99 of posting without", "p99 of posting, with / without", "rows removed")


def run(part: str) -> dict[str, dict[str, object]]:
    """The figures of one part; the run itself refuses counts that do not fit."""
    command = [sys.executable, "-m", "bench.groups", "--json", "--quick", "--only", part]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    figures: dict[str, dict[str, object]] = json.loads(line)["figures"]
    return figures


def value(figures: dict[str, dict[str, object]], name: str) -> float:
    median = figures[name]["median"]
    assert isinstance(median, int | float)
    return median


def check_talk(figures: dict[str, dict[str, object]], name: str, online: int) -> None:
    for figure in TALK:
        assert value(figures, f"{name}, {figure}") > 0, figure
    posts = value(figures, f"{name}, posts in all")
    assert posts > 0
    assert value(figures, f"{name}, deliveries in all") == posts * online


def test_of_members_who_are_all_online_each_is_given_each_post() -> None:
    figures = run("fan")
    for name in FAN:
        check_talk(figures, name, int(name.split()[0]))
        if name.endswith(KINDS[0]):
            check_talk(figures, f"{name}, one post at a time", int(name.split()[0]))


def test_of_a_large_group_those_who_are_online_are_given_each_post() -> None:
    check_talk(run("large"), LARGE, QUICK.large[1])


def test_posts_to_one_group_and_to_many_reach_their_members() -> None:
    figures = run("posts")
    for name in POSTS:
        check_talk(figures, name, POSTERS if "hot" in name else 2)


@pytest.mark.parametrize("name", JANITORS)
def test_the_janitor_removes_all_that_expired_while_others_post(name: str, purged: dict[str, dict[str, object]]) -> None:
    for figure in PURGE:
        assert value(purged, f"{name}, {figure}") > 0, figure
    assert value(purged, f"{name}, rows removed in all") == QUICK.rows
    assert value(purged, f"{name}, posts in all") > 0


@pytest.fixture(scope="module")
def purged() -> dict[str, dict[str, object]]:
    return run("janitor")


def test_every_goal_has_its_figure_in_a_full_run() -> None:
    sizes = dict(zip(QUICK.sizes, (100, 1_000), strict=True))
    full = [f"{sizes[int(size)]} {rest}" for size, _, rest in (name.partition(" ") for name in FAN)]
    talk = {f"{name}, {figure}" for name in [*full, *POSTS] for figure in TALK}
    assert set(GOALS) <= talk | {f"{name}, {figure}" for name in JANITORS for figure in PURGE}
    assert set(PARTS) == {"fan", "large", "posts", "janitor"}
