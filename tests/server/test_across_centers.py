"""Delivery across centers: the same rules, with links between owner and target's center; and what a center is believed."""


import pytest

from cluster.directory import Place
from myim_server.chat.lane import LaneState, Letter
from myim_wire import peer_messages as wire
from myim_wire.bodies import RECEIVED, STORED
from myim_wire.errors import ErrorCode
from myim_wire.messages import Command
from tests.server.three_centers import FakeCenter, Town


def test_a_message_reaches_a_terminal_of_another_center_and_its_receipt_settles_it(town: Town, one: FakeCenter, two: FakeCenter) -> None:
    alice, hers = one.come(town.alice)
    bob, his = two.come(town.bob)
    times = one.write(hers, town.bob, b"hello", b"again")
    town.settle(lambda: bob.bodies == [b"hello", b"again"])
    assert alice.settled == {}
    two.confirm(his, (town.alice, times[0]), (town.alice, times[1]))
    town.pump()
    assert alice.settled == dict.fromkeys(times, RECEIVED)


def test_a_delivered_message_names_where_it_entered_and_where_it_left(town: Town, one: FakeCenter, two: FakeCenter) -> None:
    _, hers = one.come(town.alice)
    bob, _ = two.come(town.bob)
    (time,) = one.write(hers, town.bob, b"hello")
    town.settle(lambda: bob.bodies)
    message = next(told for told in bob.told if told.command == Command.USER_MESSAGE)
    assert message.content[-24:] == (1).to_bytes(8, "big") + time.to_bytes(8, "big") + (2).to_bytes(8, "big")


def test_what_follows_in_an_open_lane_needs_no_directory_and_keeps_its_order(town: Town, one: FakeCenter, two: FakeCenter) -> None:
    _, hers = one.come(town.alice)
    bob, _ = two.come(town.bob)
    one.write(hers, town.bob, b"0")
    town.settle(lambda: bob.bodies)
    one.finder.wrong[town.bob] = two.finder.wrong[town.alice] = []
    for number in range(2, 30):
        one.write(hers, town.bob, b"%d" % (number - 1), first=number, is_first=False)
    town.pump()
    assert bob.bodies == [b"%d" % number for number in range(29)]


def test_what_was_stored_is_read_before_a_lane_from_another_center_is_opened(town: Town, one: FakeCenter, two: FakeCenter) -> None:
    alice, hers = one.come(town.alice)
    one.write(hers, town.bob, b"stored")
    town.settle(lambda: STORED in alice.settled.values())
    bob, _ = two.come(town.bob, is_fetching=False)
    one.write(hers, town.bob, b"direct", first=2, is_first=True)
    town.pump()
    two.router.carry_out(two.router.inboxes.of(town.bob)[0].fetch())
    town.settle(lambda: len(bob.bodies) == 2)
    assert bob.bodies == [b"stored", b"direct"]


def test_a_wrong_directory_costs_a_detour_and_no_message(town: Town, one: FakeCenter, three: FakeCenter, two: FakeCenter) -> None:
    alice, hers = one.come(town.alice)
    bob, _ = two.come(town.bob)
    one.finder.wrong[town.bob] = [Place(3, 3, 0, 1, 1)]
    one.write(hers, town.bob, b"via the store")

    town.settle(lambda: STORED in alice.settled.values())
    two.router.poke(town.bob)  # as the sweep would
    town.settle(lambda: bob.bodies == [b"via the store"])
    assert (town.bob, 3) in one.finder.doubts


def test_where_the_sender_says_the_target_is_is_tried_first_and_a_stale_word_costs_a_hop(
    town: Town, one: FakeCenter, two: FakeCenter, three: FakeCenter
) -> None:
    _, hers = one.come(town.alice)
    bob, _ = two.come(town.bob)
    lane = one.router.lanes.lane(town.alice, 0, town.bob)
    one.router.ways.hint(lane, 3)
    one.write(hers, town.bob, b"1")
    town.settle(lambda: bob.bodies == [b"1"])
    assert (town.bob, 3) in one.finder.doubts
    carol, _ = two.come(town.carol)
    one.finder.wrong[town.carol] = []
    lane = one.router.lanes.lane(town.alice, 0, town.carol)
    one.router.ways.hint(lane, 2)
    one.write(hers, town.carol, b"2")
    town.settle(lambda: carol.bodies == [b"2"])


def test_with_the_link_everything_unsettled_goes_to_the_store(town: Town, one: FakeCenter, two: FakeCenter) -> None:
    alice, hers = one.come(town.alice)
    bob, his = two.come(town.bob)
    times = one.write(hers, town.bob, b"1", b"2")
    town.settle(lambda: len(bob.bodies) == 2)
    town.cut(1, 2)
    two.confirm(his, (town.alice, times[0]))  # its owner will not hear of it: the copy in the store is confirmed like any other
    town.settle(lambda: alice.settled == dict.fromkeys(times, STORED))


def test_a_link_without_room_lets_messages_go_through_the_store(town: Town, one: FakeCenter, two: FakeCenter) -> None:
    alice, hers = one.come(town.alice)
    bob, _ = two.come(town.bob)
    first = one.write(hers, town.bob, b"1")
    town.settle(lambda: bob.bodies)
    one.line.is_full_to.add(2)
    second = one.write(hers, town.bob, b"2", first=2, is_first=False)
    town.settle(lambda: alice.settled == {first[0]: STORED, second[0]: STORED})
    town.settle(lambda: bob.bodies == [b"1", b"1", b"2"])
    assert one.metrics.mesh_bounced == 1


def test_a_center_gets_nothing_through_for_a_user_it_does_not_hold(town: Town, one: FakeCenter, two: FakeCenter, three: FakeCenter) -> None:
    one.come(town.alice)
    bob, _ = two.come(town.bob)
    letter = (1 << 6, 7, b"I am alice")
    for incarnation in ((1, 1), (1, 9), (9, 1)):
        three.line.send(2, wire.encode_open((town.alice, 0, *incarnation), town.bob, 5, [letter]))
        three.line.send(2, wire.encode_follow(town.alice, 0, town.bob, 5, [letter]))
        three.line.send(2, wire.encode_copy((town.alice, 0, *incarnation), town.bob, town.bob, letter))
        three.line.send(2, wire.encode_once((town.alice, 0, *incarnation), town.bob, 1, letter))
    returned = []
    three.peers.table[wire.RETURNED] = lambda center, message: returned.append(wire.decode_lane(message))
    for _ in range(20):
        town.pump()
        town.pass_time(0.1)
    assert bob.bodies == []
    assert two.metrics.claims_refused >= 3
    assert two.metrics.qos0_dropped == 3
    assert {one[3] for one in returned} == {5}


def test_a_user_who_is_offline_cannot_be_spoken_for(town: Town, two: FakeCenter, three: FakeCenter) -> None:
    bob, _ = two.come(town.bob)
    three.line.send(2, wire.encode_open((town.carol, 0, 1, 1), town.bob, 5, [(1 << 6, 7, b"I am carol")]))
    for _ in range(20):
        town.pump()
        town.pass_time(0.1)
    assert bob.bodies == []
    assert two.metrics.claims_refused == 1


def test_a_session_that_is_not_listed_yet_is_waited_for_and_all_behind_it(town: Town, one: FakeCenter, two: FakeCenter) -> None:
    _, hers = one.come(town.alice)
    bob, _ = two.come(town.bob)
    two.finder.wrong[town.alice] = []
    one.write(hers, town.bob, b"1")
    town.pump()
    one.write(hers, town.bob, b"2", first=2, is_first=False)
    town.pump()
    assert bob.bodies == []
    del two.finder.wrong[town.alice]
    town.pass_time(0.06)
    town.settle(lambda: bob.bodies == [b"1", b"2"])
    assert two.metrics.claims_refused == 0


@pytest.mark.parametrize("kind", [wire.RECEIVED, wire.RETURNED])
def test_only_the_center_a_lane_is_open_to_can_answer_for_it(
    town: Town, one: FakeCenter, two: FakeCenter, three: FakeCenter, kind: int
) -> None:
    alice, hers = one.come(town.alice)
    bob, _ = two.come(town.bob)
    times = one.write(hers, town.bob, b"1")
    town.settle(lambda: bob.bodies)
    lane = hers.lanes[town.bob]
    three.line.send(1, wire.encode_lane(kind, town.alice, 0, town.bob, lane.attempt, times))
    town.pump()
    assert alice.settled == {} and list(lane.queue) == times


def test_a_session_that_is_listed_at_last_is_told_again_and_reads_what_was_stored_meanwhile(
    town: Town, one: FakeCenter, two: FakeCenter
) -> None:
    alice, hers = one.come(town.alice)
    one.finder.wrong[town.bob] = []
    bob, his = two.come(town.bob)
    one.write(hers, town.bob, b"stored")
    town.settle(lambda: STORED in alice.settled.values() and not town.under_way)
    assert bob.bodies == []
    two.router._published(town.bob, his.place)  # as the directory does; the three share one here
    assert [message[0] for _, _, message in town.under_way] == [wire.CAME] * 2
    town.settle(lambda: bob.bodies == [b"stored"])


def test_a_newer_session_at_another_center_ends_the_older(town: Town, one: FakeCenter, two: FakeCenter) -> None:
    old, _ = one.come(town.alice, number=1)
    new, _ = two.come(town.alice, number=2)
    town.pump()
    assert old.closed_with is ErrorCode.REPLACED
    assert new.closed_with is None
    assert town.alice << 6 not in one.router.parties


def test_connection_numbers_of_sixty_four_bits_cross(town: Town, one: FakeCenter, two: FakeCenter) -> None:
    _, hers = one.come(town.alice, number=2**64 - 1)
    bob, _ = two.come(town.bob, number=2**63)
    one.write(hers, town.bob, b"hello")
    town.settle(lambda: bob.bodies == [b"hello"])


def test_an_older_session_at_another_center_ends_when_the_newer_hears_of_it(town: Town, one: FakeCenter, two: FakeCenter) -> None:
    new, _ = one.come(town.alice, number=2)
    old, _ = two.come(town.alice, number=1, is_fetching=False)
    town.pump()
    assert old.closed_with is ErrorCode.REPLACED
    assert new.closed_with is None


def test_of_two_sessions_begun_while_centers_were_apart_the_newer_stays(town: Town, one: FakeCenter, two: FakeCenter) -> None:
    town.cut(1, 2)
    old, _ = one.come(town.alice, number=1)
    new, _ = two.come(town.alice, number=2)
    town.pump()
    assert [old.closed_with, new.closed_with] == [None, None]
    town.link(1, 2)
    town.pass_time(0.1)
    town.pump()
    assert [old.closed_with, new.closed_with] == [ErrorCode.REPLACED, None]


def test_a_center_cannot_end_a_session_by_claiming_a_newer_one(town: Town, one: FakeCenter, three: FakeCenter) -> None:
    alice, _ = one.come(town.alice)
    three.line.send(1, wire.encode_came([wire.Came(town.alice, 0, 9, 9, 3)]))
    for _ in range(10):
        town.pump()
        town.pass_time(0.1)
    assert alice.closed_with is None and town.alice << 6 in one.router.parties


def test_the_same_session_told_twice_is_no_conversation_between_centers(town: Town, one: FakeCenter, three: FakeCenter) -> None:
    one.come(town.alice)
    town.pump()
    three.line.send(1, wire.encode_came([wire.Came(town.alice, 0, 1, 1, 3)]))
    one.peers.table[wire.CAME](3, wire.encode_came([wire.Came(town.alice, 0, 1, 1, 3)]))
    assert [source for source, _, _ in town.under_way] == [3]


def test_the_other_terminals_of_both_people_see_the_message_wherever_they_are(
    town: Town, one: FakeCenter, two: FakeCenter, three: FakeCenter
) -> None:
    _, hers = one.come(town.alice, slot=0)
    bob, his = two.come(town.bob, slot=0)
    hers_too, _ = two.come(town.alice, slot=1)
    his_too, _ = three.come(town.bob, slot=1)
    hers_three, _ = three.come(town.alice, slot=2)
    hers_four, _ = one.come(town.alice, slot=3)
    town.pump()
    one.finder.wrong[town.bob] = [Place(2, 2, 0, 1, 1), Place(3, 3, 1, 1, 1)]
    (time,) = one.write(hers, town.bob, b"to all")
    town.settle(lambda: all(session.bodies == [b"to all"] for session in (bob, hers_too, his_too)))
    assert hers_three.bodies == hers_four.bodies == []
    two.confirm(his, (town.alice, time))
    town.settle(lambda: hers_three.bodies == hers_four.bodies == [b"to all"])
    assert [session.bodies for session in (bob, hers_too, his_too)] == [[b"to all"]] * 3


def test_what_is_sent_to_who_hides_at_another_center_is_shown_to_the_senders_other_terminals_as_little_as_to_who_is_absent(
    town: Town, one: FakeCenter, two: FakeCenter, three: FakeCenter
) -> None:
    alice, hers = one.come(town.alice, slot=0)
    others = [one.come(town.alice, slot=1)[0], two.come(town.alice, slot=2)[0], three.come(town.alice, slot=3)[0]]
    two.come(town.bob)
    two.router.inboxes.hides = lambda target, sender: target == town.bob
    town.pump()
    for target in (town.bob, town.carol):
        (time,) = one.write(hers, target, b"are you there?")
        town.settle(lambda time=time: time in alice.settled)  # type: ignore[misc]
        assert alice.settled[time] == STORED
    town.pump()
    assert [session.bodies for session in others] == [[]] * 3


def test_no_terminal_of_who_blocks_a_sender_is_shown_a_copy_at_whatever_center(
    town: Town, one: FakeCenter, two: FakeCenter, three: FakeCenter
) -> None:
    alice, hers = one.come(town.alice)
    two.come(town.bob, slot=0)
    elsewhere, _ = three.come(town.bob, slot=1)
    for center in (two, three):
        inboxes, shelf = center.router.inboxes, center.router._shelf
        inboxes.hides = inboxes.blocks = shelf.is_blocked = lambda target, sender: (target, sender) == (town.bob, town.alice)
        shelf.blocked_by = lambda target: {town.alice}
    town.pump()
    one.finder.wrong[town.bob] = [Place(2, 2, 0, 1, 1), Place(3, 3, 1, 1, 1)]
    (time,) = one.write(hers, town.bob, b"let me in")
    town.settle(lambda: alice.settled.get(time) == STORED)
    town.pump()
    assert elsewhere.bodies == []


def test_qos_0_reaches_a_terminal_at_another_center(town: Town, one: FakeCenter, two: FakeCenter) -> None:
    _, hers = one.come(town.alice)
    bob, _ = two.come(town.bob)
    one.router.send_once(hers, town.bob, Letter(64, b"once", 1, 1, town.now))
    town.settle(lambda: bob.bodies == [b"once"])


def test_a_receipt_that_was_stored_reaches_its_sender_at_another_center_at_once(town: Town, one: FakeCenter, two: FakeCenter) -> None:
    alice, hers = one.come(town.alice)
    (time,) = one.write(hers, town.bob, b"later")
    town.settle(lambda: STORED in alice.settled.values())
    bob, his = two.come(town.bob)
    town.settle(lambda: bob.bodies == [b"later"])
    two.confirm(his, (town.alice, time))
    town.settle(lambda: any(told.command == Command.RECEIPT for told in alice.told))


def test_who_came_online_elsewhere_after_a_message_was_stored_is_poked(town: Town, one: FakeCenter, two: FakeCenter) -> None:
    _, hers = one.come(town.alice)
    bob, _ = two.come(town.bob)
    one.finder.wrong[town.bob] = []
    one.write(hers, town.bob, b"missed")
    del one.finder.wrong[town.bob]  # the store takes its time; the directory has learnt meanwhile
    town.settle(lambda: bob.bodies == [b"missed"])


def test_a_sender_who_moved_gets_no_lane_held_open_behind_it(town: Town, one: FakeCenter, two: FakeCenter) -> None:
    _, hers = one.come(town.alice)
    bob, his = two.come(town.bob)
    times = one.write(hers, town.bob, b"1")
    town.settle(lambda: bob.bodies)
    two.come(town.alice, number=2)
    town.pump()
    two.confirm(his, (town.alice, times[0]))
    town.settle(lambda: not one.router.lanes.terminals)


def test_the_end_of_a_link_with_many_lanes_is_taken_in_pieces_and_nothing_overtakes(town: Town, one: FakeCenter, two: FakeCenter) -> None:
    alice, hers = one.come(town.alice)
    bob, his = two.come(town.bob)
    crowd = range(1000, 1250)
    for target in crowd:
        one.finder.wrong[target] = [Place(2, 2, 0, 1, 1)]
        one.router.lanes.lane(town.alice, 0, target)
    one.write(hers, town.bob, b"1")
    town.settle(lambda: bob.bodies == [b"1"])
    for target in crowd:
        one.write(hers, target, b"under way")
    town.cut(1, 2)
    lane = hers.lanes[town.bob]
    before = lane.attempt
    assert len([lane for lane in hers.lanes.values() if lane.state == LaneState.OPEN]) > 100
    town.link(1, 2)  # before its turn came
    one.write(hers, town.bob, b"2", first=2, is_first=False)
    town.pump()
    assert lane.attempt == before
    while town.due:
        due, town.due = town.due, []
        for _, act in due:
            act()
    town.settle(lambda: b"2" in bob.bodies)
    two.confirm(his, (town.alice, 1 << 6), (town.alice, 2 << 6))
    town.settle(lambda: {1 << 6, 2 << 6} <= set(alice.settled))
    assert not [lane for lane in hers.lanes.values() if lane.state == LaneState.OPEN and lane is not hers.lanes[town.bob]]
    assert list(dict.fromkeys(bob.bodies)) == [b"1", b"2"]
