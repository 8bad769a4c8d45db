"""Claims of other centers that wait for their verdict: what waits stays in its order, is bounded, and ends with what it was said of."""



from myim_wire import peer_messages as wire
from tests.server.three_centers import FakeCenter, Town


def hear(town: Town, center: FakeCenter) -> None:
    """Only this center hears; its answers stay under way."""
    heard = [item for item in town.under_way if item[1] == center.node]
    for item in heard:
        town.under_way.remove(item)
    for source, _, message in heard:
        center.peers.table[message[0]](source, message)


def judge(town: Town) -> None:
    """The next look at the claims, and nothing else."""
    due, town.due = town.due, []
    for _, act in due:
        act()


def test_what_comes_behind_a_letter_for_which_there_was_no_room_does_not_overtake_it(
    town: Town, one: FakeCenter, two: FakeCenter
) -> None:
    _, hers = one.come(town.alice)
    bob, his = two.come(town.bob)
    two.finder.wrong[town.alice] = []  # she is not listed yet
    one.write(hers, town.bob, b"1")
    for number in range(2, 301):
        one.write(hers, town.bob, b"%d" % number, first=number, is_first=False)
    hear(town, two)
    del two.finder.wrong[town.alice]
    judge(town)
    one.write(hers, town.bob, b"301", first=301, is_first=False)

    def is_through() -> bool:
        two.confirm(his, *((town.alice, number << 6) for number in range(1, 302)))
        return b"301" in bob.bodies and b"300" in bob.bodies

    town.settle(is_through)
    assert list(dict.fromkeys(bob.bodies)) == [b"%d" % number for number in range(1, 302)]


def test_a_lane_of_which_a_letter_went_back_with_a_claim_is_over(town: Town, one: FakeCenter, two: FakeCenter) -> None:
    _, hers = one.come(town.alice)
    bob, his = two.come(town.bob)
    two.come(town.carol)
    one.write(hers, town.bob, b"1")
    town.settle(lambda: bob.bodies == [b"1"])
    two.confirm(his, (town.alice, 1 << 6))
    two.peers.table[wire.CAME](3, wire.encode_came([wire.Came(town.alice, 0, 1, 1, 3)]))  # so that her center is asked about anew
    two.finder.wrong[town.alice] = []
    one.write(hers, town.carol, b"waits", first=1)
    one.write(hers, town.bob, b"2", first=2, is_first=False)
    hear(town, two)
    judge(town)
    judge(town)
    one.write(hers, town.bob, b"3", first=3, is_first=False)

    def is_through() -> bool:
        two.confirm(his, *((town.alice, number << 6) for number in range(1, 4)))
        return b"2" in bob.bodies and b"3" in bob.bodies

    del two.finder.wrong[town.alice]
    town.settle(is_through)
    assert list(dict.fromkeys(bob.bodies)) == [b"1", b"2", b"3"]


def test_a_center_whose_terminal_came_here_cannot_speak_for_it_any_more(town: Town, one: FakeCenter, two: FakeCenter) -> None:
    _, hers = one.come(town.alice)
    bob, his = two.come(town.bob)
    one.write(hers, town.bob, b"1")
    town.settle(lambda: bob.bodies == [b"1"])
    two.confirm(his, (town.alice, 1 << 6))
    town.pump()
    two.come(town.alice, number=2)
    town.under_way.clear()
    two.peers.table[wire.OPEN](1, wire.encode_open((town.alice, 0, 1, 1), town.bob, 1 << 60, [(9 << 6, 1, b"late")]))
    assert two.metrics.claims_refused == 1
    assert [wire.decode_lane(message)[4] for _, to, message in town.under_way if to == 1] == [(9 << 6,)]


def test_claims_that_wait_are_bounded_whoever_makes_them(town: Town, two: FakeCenter, three: FakeCenter) -> None:
    two.come(town.bob)
    letters = [(1 << 6, 7, bytes(32_768)), (2 << 6, 8, bytes(32_768))]
    for user in range(1, 801):
        two.peers.table[wire.OPEN](3, wire.encode_open((user, 0, 1, 1), town.bob, user, letters))
    assert 2 * 200 < two.metrics.claims_refused < 2 * 600
    town.under_way.clear()
    town.cut(2, 3)
    town.link(2, 3)
    refused = two.metrics.claims_refused
    two.peers.table[wire.OPEN](3, wire.encode_open((1000, 0, 1, 1), town.bob, 1, letters))
    assert two.metrics.claims_refused == refused  # there is room again
