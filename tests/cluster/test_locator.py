"""Where users are, found through a directory that may lie, hang or fail, and through peers that may too. Time is a number here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import gevent
import pytest
from gevent.event import Event

from cluster import locator as rules
from cluster.directory import Place
from cluster.locator import Bounds, Locator
from cluster.memory_directory import MemoryDirectory
from myim_wire.errors import RemoteProtocolError
from myim_wire.peer_messages import PLACES, decode_ask, decode_places, encode_ask, encode_places

HERE, EAST, WEST = 10, 20, 30
ANN, BOB, EVE = 1, 2, 3


class FakeMesh:
    """Notes what is sent."""

    def __init__(self, *linked: int) -> None:
        self.nodes = list(linked)
        self.full: set[int] = set()
        self.sent: list[tuple[int, bytes]] = []

    def linked(self) -> Sequence[int]:
        return self.nodes

    def send(self, node: int, message: bytes, is_urgent: bool = False) -> bool:
        assert is_urgent
        if node in self.full:
            return False
        self.sent.append((node, message))
        return True

    def asked(self) -> list[tuple[int, int, set[int]]]:
        """(center, question, users) of each question sent."""
        return [(node, number, set(users)) for node, message in self.sent for number, users in [decode_ask(message[1:])]]


class Moody(MemoryDirectory):
    """A directory that answers, hangs or fails, as told; counts its questions."""

    def __init__(self) -> None:
        super().__init__()
        self.questions: list[set[int]] = []
        self.mood: Callable[[], Mapping[int, Sequence[Place]] | None] | None = None

    def find(self, users: Collection[int]) -> Mapping[int, Sequence[Place]] | None:
        self.questions.append(set(users))
        return super().find(users) if self.mood is None else self.mood()


class World:
    """A locator and what it stands on; the time is `time`."""

    def __init__(self, bounds: Bounds) -> None:
        self.time = 1000.0
        self.directory = Moody()
        self.mesh = FakeMesh(EAST, WEST)
        self.local: dict[int, list[Place]] = {}
        self.threads: list[gevent.Greenlet[..., object]] = []
        self.answers: list[list[Place]] = []
        self.never = Event()
        self.locator = Locator(
            self.directory, self.mesh, HERE, lambda user: self.local.get(user, []), self.spawn, lambda: self.time,
            lambda seconds: self.never.wait(), bounds,
        )  # fmt: skip

    def spawn(self, work: Callable[..., object], *parts: object) -> gevent.Greenlet[..., object]:
        self.threads.append(gevent.spawn(work, *parts))
        return self.threads[-1]

    def turn(self) -> None:
        """Let everything that can run do so."""
        for _ in range(5):
            gevent.sleep(0)

    def after(self, seconds: float) -> None:
        """Time passes; looked after in small steps, as the watch does."""
        end = self.time + seconds
        while self.time < end - 1e-9:
            self.time = min(end, self.time + rules.TICK_SECONDS)
            self.locator.look_after()
            self.turn()

    def find(self, user: int) -> None:
        self.locator.find(user, lambda places: self.answers.append(list(places)))

    def found(self, user: int) -> list[Place]:
        """The answer to a question that is answered without time passing."""
        before = len(self.answers)
        self.find(user)
        self.turn()
        assert len(self.answers) == before + 1
        return self.answers[-1]

    def hang(self) -> Mapping[int, Sequence[Place]] | None:
        self.never.wait()
        return None


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(getattr(request, "param", Bounds()))
    yield made
    gevent.killall(made.threads)


def place(center: int = EAST, slot: int = 0, number: int = 1, generation: int = 1) -> Place:
    return Place(center, center, slot, generation, number)


def answer(world: World, center: int, number: int, places: Mapping[int, Sequence[Place]]) -> None:
    world.locator.took_answer(center, encode_places(number, {user: [one[1:] for one in ones] for user, ones in places.items()})[1:])


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
