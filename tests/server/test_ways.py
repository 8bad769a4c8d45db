"""Which center is worth a hop: of who hides, or blocks the sender, the same is known as of who is absent."""

from __future__ import annotations

from myim_wire import peer_messages as wire
from myim_wire.bodies import STORED
from tests.server.three_centers import FakeCenter, Town


def opened(town: Town) -> list[int]:
    """The centers to which letters are under way that open a lane."""
    return [to for _, to, message in town.under_way if message[0] == wire.OPEN]


def test_who_was_not_to_be_seen_at_a_center_is_for_a_while_no_hop_further_away_than_who_is_absent(
    town: Town, one: FakeCenter, two: FakeCenter
) -> None:
    alice, hers = one.come(town.alice)
    two.come(town.bob)
    two.router.inboxes.hides = lambda target, sender: target == town.bob
    times = one.write(hers, town.bob, b"first")
    assert opened(town) == [2]
    town.settle(lambda: alice.settled.get(times[0]) == STORED)
    times += one.write(hers, town.bob, b"second", first=2)
    assert opened(town) == []
    town.settle(lambda: alice.settled.get(times[1]) == STORED)
    _, carols = one.come(town.carol)
    one.write(carols, town.bob, b"of another sender")
    assert opened(town) == [2]
    town.settle(lambda: not town.under_way)
    town.now += 31
    times += one.write(hers, town.bob, b"third", first=3)
    assert opened(town) == [2]
    town.settle(lambda: alice.settled.get(times[2]) == STORED)
    one.router.ways.appeared(2, town.bob)
    one.write(hers, town.bob, b"fourth", first=4)
    assert opened(town) == [2]


def test_who_is_not_to_be_seen_is_looked_for_as_often_as_who_is_absent(town: Town, one: FakeCenter, two: FakeCenter) -> None:
    alice, hers = one.come(town.alice)
    bob, his = two.come(town.bob)
    (time,) = one.write(hers, town.bob, b"while he is seen")
    town.settle(lambda: bob.bodies)
    two.confirm(his, (town.alice, time))
    town.settle(lambda: time in alice.settled)
    two.router.inboxes.hides = one.router.inboxes.hides = lambda target, sender: target in (town.bob, town.carol)
    two.router.carry_out(two.router.inboxes.hide(town.bob))
    for number, kept in ((2, 0), (3, 1), (4, 2)):  # the first finds out, the others know
        one.write(hers, town.bob, b"later", first=number)
        town.settle(lambda number=number: len(alice.settled) == number)  # type: ignore[misc]
        assert one.finder.kept_shortly == [town.bob] * kept
    one.come(town.carol)
    one.write(hers, town.carol, b"to who hides here", first=9)
    town.settle(lambda: len(alice.settled) == 5)
    assert one.finder.kept_shortly[2:] == [town.carol]


def test_how_many_are_remembered_is_bounded(town: Town, one: FakeCenter) -> None:
    ways = one.router.ways
    lane = one.router.lanes.lane(town.alice, 0, town.bob)
    for number in range(25_000):
        lane.user, lane.target, lane.center = number, number % 3, 2
        ways.gave_back(lane, True)
        lane.target, lane.center = number, 3
        ways.gave_back(lane, True)
    assert len(ways._unseen) <= 10_001 and max(map(len, ways._unseen.values())) <= 10_000


def test_what_is_sent_to_who_hides_here_and_is_to_be_seen_elsewhere_goes_there(
    town: Town, one: FakeCenter, two: FakeCenter
) -> None:
    alice, hers = one.come(town.alice)
    one.come(town.bob, slot=0)
    seen, _ = two.come(town.bob, slot=1)
    one.router.inboxes.hides = lambda target, sender: target == town.bob
    (time,) = one.write(hers, town.bob, b"hello")
    town.settle(lambda: seen.bodies == [b"hello"])
    assert time not in alice.settled
