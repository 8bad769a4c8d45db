"""A run of a node is over when its beat stands still while somebody looks, and for no other reason."""

from cluster.entries import Lease
from cluster.leases import Leases

PATIENCE = 3


def beat(life: int, number: int) -> Lease:
    return Lease(1, life, number)


def test_a_beat_that_stands_still_over_so_many_looks_is_over() -> None:
    leases = Leases(PATIENCE)
    leases.look([beat(5, 1)])
    for _ in range(PATIENCE):
        leases.look([beat(5, 1)])
        assert not leases.is_over(5)
    leases.look([beat(5, 1)])
    assert leases.is_over(5)


def test_a_lease_that_vanished_is_over_no_sooner_and_no_later() -> None:
    leases = Leases(PATIENCE)
    leases.look([beat(5, 1)])
    for _ in range(PATIENCE):
        leases.look([])
        assert not leases.is_over(5)
    leases.look([])
    assert leases.is_over(5)


def test_a_new_beat_brings_it_back() -> None:
    leases = Leases(PATIENCE)
    for _ in range(PATIENCE + 2):
        leases.look([beat(5, 1)])
    assert leases.is_over(5)
    leases.look([beat(5, 2)])
    assert not leases.is_over(5)


def test_beats_that_fall_count_as_well_since_nobody_orders_by_them() -> None:
    leases = Leases(PATIENCE)
    for number in range(20, 0, -1):
        leases.look([beat(5, number)])
        assert not leases.is_over(5)


def test_a_lease_given_back_is_over_at_once() -> None:
    leases = Leases(PATIENCE)
    leases.look([beat(5, 4)])
    leases.look([beat(5, 0)])
    assert leases.is_over(5)


def test_of_an_unknown_life_nobody_says_it_is_over_until_it_is_given_up() -> None:
    leases = Leases(PATIENCE)
    leases.look([])
    assert not leases.is_over(5)
    assert not leases.is_known(5)
    leases.give_up(5)
    assert leases.is_over(5)
    leases.look([beat(5, 1)])
    assert not leases.is_over(5)


def test_giving_up_ends_nobody_who_is_known() -> None:
    leases = Leases(PATIENCE)
    leases.look([beat(5, 1)])
    leases.give_up(5)
    assert not leases.is_over(5)


def test_looks_out_of_turn_wear_nobody_down() -> None:
    leases = Leases(PATIENCE)
    leases.look([beat(5, 1)])
    for _ in range(50):
        leases.learn([])
    assert not leases.is_over(5)


def test_what_is_long_over_is_forgotten() -> None:
    leases = Leases(PATIENCE)
    leases.look([beat(5, 1)])
    for number in range(2500):
        leases.look([beat(6, number + 1)])
    assert leases.is_known(6)
    assert not leases.is_known(5)
