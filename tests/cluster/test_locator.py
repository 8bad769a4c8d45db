"""Where users are: the cache and the directory, which may lie or fail. Time is a number here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import gevent
import pytest

from cluster import locator as rules
from cluster.directory import Place
from cluster.locator import Bounds
from tests.cluster.located import ANN, BOB, EAST, EVE, HERE, WEST, World, place


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(getattr(request, "param", Bounds()))
    yield made
    gevent.killall(made.threads)


# ---------------------------------------------------------------------- the cache


def test_what_was_found_once_is_told_at_once_and_asks_nobody(world: World) -> None:
    world.directory.publish(ANN, place())
    assert world.locator.known(ANN) is None
    assert world.found(ANN) == [place()]
    world.find(ANN)
    assert world.answers == [[place()], [place()]]
    assert world.locator.known(ANN) == (place(),)
    assert len(world.directory.questions) == 1 and not world.mesh.sent


def test_an_answer_is_believed_for_thirty_seconds_and_that_nobody_is_there_for_one(world: World) -> None:
    world.directory.publish(ANN, place())
    world.found(ANN)
    world.found(BOB)
    world.time += 0.99
    assert world.found(BOB) == [] and len(world.directory.questions) == 2
    world.time += 0.02
    world.directory.publish(BOB, place(WEST))
    assert world.found(BOB) == [place(WEST)]
    world.time += 28.9
    world.found(ANN)
    assert len(world.directory.questions) == 3
    world.time += 0.1
    world.found(ANN)
    assert len(world.directory.questions) == 4


@pytest.mark.parametrize("world", [Bounds(cached=2)], indirect=True)
def test_the_cache_forgets_who_was_not_asked_for_for_longest(world: World) -> None:
    for user in (ANN, BOB):
        world.directory.publish(user, place())
        world.found(user)
    world.found(ANN)
    world.found(EVE)
    assert world.locator.known(ANN) == (place(),)
    assert world.locator.known(BOB) is None


def test_a_doubted_answer_is_asked_for_anew_and_the_doubted_place_comes_last(world: World) -> None:
    wrong, right = place(EAST, slot=1), place(WEST, slot=2)
    world.directory.publish(ANN, right)
    world.directory.publish(ANN, wrong)
    assert world.found(ANN) == [wrong, right]
    world.locator.doubt(ANN, EAST)
    assert world.locator.known(ANN) is None
    assert world.found(ANN) == [right, wrong]
    world.time += rules.FRESH_SECONDS
    assert world.found(ANN) == [wrong, right]


def test_what_is_as_if_nobody_were_there_is_kept_as_long_as_that(world: World) -> None:
    world.directory.publish(ANN, place())
    world.found(ANN)
    world.time += 5.0
    for _ in range(3):  # to say it again does not make it longer, while the answer lasts
        world.locator.keep_shortly(ANN)
        world.locator.keep_shortly(BOB)
        world.time += 0.3
        assert world.found(ANN) == [place()] and len(world.directory.questions) == 1
    world.time += 0.2
    assert world.found(ANN) == [place()] and len(world.directory.questions) == 2


@pytest.mark.parametrize("world", [Bounds(doubts=3)], indirect=True)
def test_doubts_are_bounded(world: World) -> None:
    for user in range(10):
        world.locator.doubt(user, EAST)
    assert len(world.locator._doubts) == 3


def test_who_came_elsewhere_is_asked_for_anew_and_the_claim_alone_is_not_believed(world: World) -> None:
    world.directory.publish(ANN, place(EAST, number=1))
    world.found(ANN)
    world.locator.note(ANN, place(EAST, number=1))
    assert world.locator.known(ANN) == (place(EAST, number=1),)
    world.locator.note(ANN, place(WEST, number=9))
    assert world.found(ANN) == [place(EAST, number=1)]
    world.locator.note(EVE, place(WEST))
    assert world.locator.known(EVE) is None


def test_an_answer_overtaken_by_news_is_used_but_not_kept(world: World) -> None:
    world.directory.publish(ANN, place())
    world.find(ANN)
    world.locator.note(ANN, place(WEST, number=2))
    world.turn()
    assert world.answers == [[place()]]
    assert world.locator.known(ANN) is None


def test_when_a_link_ends_who_was_there_is_asked_for_anew_and_others_are_not(world: World) -> None:
    world.directory.publish(ANN, place(EAST))
    world.directory.publish(BOB, place(WEST))
    world.found(ANN)
    world.found(BOB)
    world.locator.forget_center(EAST)
    assert world.locator.known(ANN) is None
    assert world.locator.known(BOB) == (place(WEST),)
    world.found(BOB)
    world.found(ANN)
    assert world.directory.questions[2:] == [{ANN}]
    assert world.locator.known(ANN) == (place(EAST),)


# ---------------------------------------------------------------------- questions to the directory


def test_users_asked_for_while_a_question_runs_go_into_one_next_question(world: World) -> None:
    for user in range(1, 6):
        world.find(user)
    world.turn()
    assert world.directory.questions == [{1}, {2, 3, 4, 5}]
    assert len(world.answers) == 5


def test_all_who_asked_for_the_same_user_meanwhile_get_the_one_answer(world: World) -> None:
    world.directory.publish(ANN, place())
    for _ in range(3):
        world.find(ANN)
    world.turn()
    assert world.answers == [[place()]] * 3
    assert world.directory.questions == [{ANN}]


def test_one_who_fails_at_the_answer_takes_it_from_nobody_else(world: World) -> None:
    def fail(places: Sequence[Place]) -> None:
        raise ZeroDivisionError

    world.locator.find(ANN, fail)
    world.find(ANN)
    world.turn()
    assert world.answers == [[]]


def test_places_at_ourselves_are_what_is_so_whatever_the_directory_says(world: World) -> None:
    lie, other, truth = place(HERE, slot=1), place(EAST, slot=2), place(HERE, slot=3)
    world.local[ANN] = [truth]
    world.directory.mood = lambda: {ANN: [lie, other], 99: [place()]}
    assert world.found(ANN) == [other, truth]


def test_of_one_terminal_only_the_newest_session_is_told(world: World) -> None:
    old, new = place(EAST, number=4), place(WEST, number=5)
    world.directory.mood = lambda: {ANN: [old, new]}
    assert world.found(ANN) == [new]


@pytest.mark.parametrize("world", [Bounds(wanted=2)], indirect=True)
def test_a_user_beyond_the_bound_is_nowhere(world: World) -> None:
    for user in (1, 2, 3):
        world.find(user)
    assert world.answers == [[]]
    world.turn()
    assert world.answers == [[], [], []]
