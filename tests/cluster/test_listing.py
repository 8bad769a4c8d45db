"""What a node wants listed, and what becomes of an entry that others share."""

from cluster.directory import Place
from cluster.entries import Listed
from cluster.listing import MAX_GONE, Listing, merged

ME, OTHER, DEAD = 1, 2, 3


def place(slot: int = 0, number: int = 1, center: int = 10) -> Place:
    return Place(center, center, slot, 1, number)


def by(life: int, *places: Place) -> list[Listed]:
    return [Listed(at, life) for at in places]


def next_of(present: list[Listed], *mine: Place) -> list[Listed]:
    return merged(present, {at.slot: at for at in mine}, ME, lambda life: life == DEAD)


def test_others_places_stay_and_ours_come_last() -> None:
    theirs = by(OTHER, place(1), place(2))
    assert next_of(theirs, place(3)) == theirs + by(ME, place(3))


def test_of_one_slot_the_higher_incarnation_stays_whoever_holds_it() -> None:
    assert next_of(by(OTHER, place(number=5)), place(number=4)) == by(OTHER, place(number=5))
    assert next_of(by(OTHER, place(number=5)), place(number=6)) == by(ME, place(number=6))
    assert next_of(by(OTHER, place(number=5), place(number=9), place(number=7))) == by(OTHER, place(number=9))


def test_what_we_listed_and_do_not_hold_goes() -> None:
    assert next_of(by(ME, place(1), place(2)), place(2)) == by(ME, place(2))
    assert next_of(by(ME, place(1, number=9)), place(1, number=3)) == by(ME, place(1, number=3))


def test_the_dead_lose_their_places_to_anybody() -> None:
    assert next_of(by(DEAD, place(1), place(0, number=99)) + by(OTHER, place(2)), place(0)) == by(OTHER, place(2)) + by(ME, place(0))


def test_an_entry_that_is_right_stays_as_it_is() -> None:
    right = by(ME, place(3)) + by(OTHER, place(1)) + by(ME, place(2))
    assert next_of(right, place(2), place(3)) == right


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def listing(clock: Clock | None = None) -> Listing:
    return Listing(clock or Clock(), remember_seconds=100)


def test_a_user_that_changes_often_is_looked_at_once() -> None:
    wanted = listing()
    for number in range(1, 20):
        wanted.add(7, place(number=number))
    wanted.add(8, place())
    assert wanted.take_dirty(10) == [7, 8]
    assert wanted.take_dirty(10) == []
    assert list(wanted.mine(7).values()) == [place(number=19)]


def test_only_exactly_what_is_wanted_is_dropped() -> None:
    wanted = listing()
    wanted.add(7, place(number=2))
    wanted.take_dirty(10)
    assert not wanted.drop(7, place(number=1))
    assert not wanted.drop(8, place(number=2))
    assert wanted.waiting == 0
    assert wanted.drop(7, place(number=2))
    assert wanted.take_dirty(10) == [7]


def test_who_left_is_looked_at_for_a_while_and_never_too_many() -> None:
    clock = Clock()
    wanted = listing(clock)
    wanted.add(7, place())
    wanted.drop(7, place())
    clock.now = 99
    wanted.add(8, place())
    wanted.drop(8, place())
    assert wanted.users() == [7, 8]
    clock.now = 101
    assert wanted.users() == [8]
    for user in range(MAX_GONE + 10):
        wanted.add(user, place())
        wanted.drop(user, place())
    assert len(wanted.users()) == MAX_GONE


def test_a_session_is_announced_once_and_only_if_it_is_in() -> None:
    wanted = listing()
    wanted.add(7, place(1))
    wanted.add(7, place(2))
    assert wanted.announce(7, by(OTHER, place(1)) + by(ME, place(2)), ME) == [place(2)]
    assert wanted.announce(7, by(ME, place(1), place(2)), ME) == [place(1)]
    assert wanted.announce(7, by(ME, place(1), place(2)), ME) == []


def test_a_session_that_ended_before_it_was_in_is_not_announced() -> None:
    wanted = listing()
    wanted.add(7, place(1))
    wanted.drop(7, place(1))
    assert wanted.announce(7, by(ME, place(1)), ME) == []
