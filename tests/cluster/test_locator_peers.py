"""Where users are when the directory cannot say: linked centers are asked, which may be silent or lie too."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import gevent
import pytest
from gevent.event import Event

from cluster import locator as rules
from cluster.directory import Place
from cluster.locator import Bounds, Locator
from cluster.peer_link import MAX_MESSAGE_BYTES
from myim_wire.errors import RemoteProtocolError
from myim_wire.peer_messages import MAX_TOLD, PLACES, decode_places, encode_ask
from tests.cluster.located import ANN, BOB, EAST, EVE, HERE, WEST, World, answer, place


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(getattr(request, "param", Bounds()))
    yield made
    gevent.killall(made.threads)


# ---------------------------------------------------------------------- where the directory cannot say


def fail() -> None:
    raise ConnectionError("no member")


@pytest.mark.parametrize("mood", [lambda: None, fail], ids=["silent", "failing"])
def test_where_the_directory_cannot_say_all_linked_centers_are_asked_at_once_in_one_question(
    world: World, mood: Callable[[], None]
) -> None:
    world.directory.mood = mood
    world.find(ANN)
    world.turn()
    assert [(center, users) for center, _, users in world.mesh.asked()] == [(EAST, {ANN}), (WEST, {ANN})]
    number = world.mesh.asked()[0][1]
    answer(world, EAST, number, {})
    assert not world.answers
    answer(world, WEST, number, {ANN: [place(WEST)]})
    assert world.answers == [[place(WEST)]]


def test_what_peers_said_is_believed_for_five_seconds(world: World) -> None:
    world.directory.mood = lambda: None
    world.find(ANN)
    world.turn()
    for center in (EAST, WEST):
        answer(world, center, world.mesh.asked()[0][1], {ANN: [place(center)]} if center == EAST else {})
    world.time += 4.9
    assert world.locator.known(ANN) == (place(EAST),)
    world.time += 0.1
    assert world.locator.known(ANN) is None


def test_of_peers_that_contradict_each_other_the_newest_incarnation_wins(world: World) -> None:
    world.directory.mood = lambda: None
    world.find(ANN)
    world.turn()
    number = world.mesh.asked()[0][1]
    answer(world, EAST, number, {ANN: [place(EAST, 1, number=9), place(EAST, 2, number=3)]})
    answer(world, WEST, number, {ANN: [place(WEST, 1, number=1, generation=2)]})
    assert world.answers == [[place(WEST, 1, number=1, generation=2), place(EAST, 2, number=3)]]


def test_a_peer_is_heard_once_for_what_it_was_asked_and_only_if_it_was_asked(world: World) -> None:
    world.directory.mood = lambda: None
    world.find(ANN)
    world.turn()
    number = world.mesh.asked()[0][1]
    answer(world, 77, number, {ANN: [place(77)]})
    answer(world, EAST, number + 1, {ANN: [place(EAST, number=5)]})
    answer(world, EAST, number, {EVE: [place(EAST)]})
    answer(world, EAST, number, {ANN: [place(EAST, number=9)]})
    answer(world, WEST, number, {})
    assert world.answers == [[]]
    assert world.locator.known(EVE) is None


def test_a_peer_that_does_not_answer_or_goes_away_holds_nobody_up(world: World) -> None:
    world.directory.mood = lambda: None
    world.find(ANN)
    world.turn()
    answer(world, EAST, world.mesh.asked()[0][1], {ANN: [place(EAST)]})
    world.after(0.85)
    assert not world.answers
    world.after(0.1)
    assert world.answers == [[place(EAST)]]
    world.find(BOB)
    world.turn()
    answer(world, EAST, world.mesh.asked()[-1][1], {})
    world.locator.forget_center(WEST)
    world.after(rules.TICK_SECONDS)
    assert world.answers[1:] == [[]]


def test_where_nobody_is_linked_nobody_is_found(world: World) -> None:
    world.directory.mood = lambda: None
    world.mesh.nodes = []
    assert world.found(ANN) == []
    world.mesh.nodes = [EAST]
    world.mesh.full = {EAST}
    assert world.found(BOB) == []


def test_a_hanging_directory_holds_nobody_up_for_longer_than_a_second(world: World) -> None:
    world.directory.mood = world.hang
    world.find(ANN)
    world.turn()
    world.find(BOB)
    world.after(0.1)
    assert world.directory.questions == [{ANN}, {BOB}]
    world.directory.mood = None
    world.directory.publish(EVE, place())
    world.find(EVE)
    world.after(2 * rules.QUEUE_SECONDS)
    assert world.answers == [[place()]], "a question that hangs must not stop the ones behind it"
    world.after(0.4)
    assert {center for center, _, _ in world.mesh.asked()} == {EAST, WEST}
    for center, number, users in world.mesh.asked():
        answer(world, center, number, {user: [place(center)] for user in users if center == EAST})
    assert world.answers[1:] == [[place(EAST)], [place(EAST)]]


def test_a_hanging_directory_and_silent_peers_are_given_up_within_a_second_and_the_greenlet_ends(world: World) -> None:
    world.directory.mood = world.hang
    world.find(ANN)
    world.turn()
    asking = [thread for thread in world.threads if not thread.dead]
    world.after(1.0)
    assert world.answers == [[]]
    world.after(0.1)
    assert len([thread for thread in asking if not thread.dead]) <= 1, "all but the watch"
    assert not world.locator._running and not world.locator._asked


def test_a_directory_that_comes_to_itself_before_the_peers_know_anything_is_heard(world: World) -> None:
    woken = Event()
    world.directory.publish(ANN, place(WEST))
    world.directory.mood = lambda: {ANN: [place(WEST)]} if woken.wait() else None
    world.find(ANN)
    world.after(0.5)
    number = world.mesh.asked()[0][1]
    answer(world, EAST, number, {})
    answer(world, WEST, number, {})
    assert not world.answers
    woken.set()
    world.turn()
    assert world.answers == [[place(WEST)]]


@pytest.mark.parametrize("world", [Bounds(running=3)], indirect=True)
def test_however_many_questions_hang_only_so_many_greenlets_do(world: World) -> None:
    world.directory.mood = world.hang
    for user in range(10):
        world.find(user)
        world.after(rules.QUEUE_SECONDS)
    assert len(world.directory.questions) == 3
    world.after(rules.TICK_SECONDS)
    assert any(9 in users for _, _, users in world.mesh.asked()), "the rest go to the peers at once"
    world.after(1.0)
    assert len(world.answers) == 10


def test_the_watch_runs_only_while_a_question_is_open() -> None:
    world = World(Bounds())
    waits: list[float] = []
    clock = iter(range(1000, 2000))

    def pause(seconds: float) -> None:
        waits.append(seconds)
        world.time = float(next(clock)) + 1.0
        gevent.sleep(0)

    world.directory.mood = world.hang
    locator = Locator(world.directory, world.mesh, HERE, lambda user: [], world.spawn, lambda: world.time, pause)
    locator.find(ANN, lambda places: world.answers.append(list(places)))
    gevent.joinall(world.threads, timeout=5)
    assert world.answers == [[]]
    assert waits and all(thread.dead for thread in world.threads)


# ---------------------------------------------------------------------- being asked


def test_a_question_is_answered_with_the_sessions_that_are_here_and_nothing_else(world: World) -> None:
    world.local[ANN] = [place(HERE, 1, 7), place(HERE, 2, 8)]
    world.directory.publish(BOB, place(WEST))
    world.locator.took_ask(EAST, encode_ask(5, [ANN, BOB])[1:])
    [(center, message)] = world.mesh.sent
    assert center == EAST and message[0] == PLACES
    assert decode_places(message[1:]) == (5, {ANN: [(HERE, 1, 1, 7), (HERE, 2, 1, 8)]})


@pytest.mark.parametrize("payload", [b"", b"\0\0\0", b"\0\0\0\1half", bytes(4) + bytes(8) * 1001])
def test_nonsense_is_the_peers_fault(world: World, payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        world.locator.took_ask(EAST, payload)
    if len(payload) < 100:
        with pytest.raises(RemoteProtocolError):
            world.locator.took_answer(EAST, payload)
    assert not world.mesh.sent


def test_an_answer_fits_into_one_message_whatever_is_asked(world: World) -> None:
    for user in range(1, MAX_TOLD + 1):
        world.local[user] = [Place(HERE, HERE, slot, 1, slot + 1) for slot in range(16)]
    world.locator.took_ask(EAST, encode_ask(9, range(1, MAX_TOLD + 1))[1:])
    ((_, message),) = world.mesh.sent
    assert len(message) <= MAX_MESSAGE_BYTES
    found = decode_places(message[1:])[1]
    assert len(found) == MAX_TOLD
    assert {places[-1][3] for places in found.values()} == {16}  # the latest is told
