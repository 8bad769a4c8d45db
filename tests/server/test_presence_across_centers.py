"""Presence and blocks across centers: who hears of whom when links fail, the store fails, or things happen in the worst order."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from myim_server.chat.friend_news import News
from myim_server.chat.presence import Seen
from myim_server.refusals import StoreUnavailable
from myim_wire import friend_peer_messages as wire
from myim_wire.bodies import STORED
from myim_wire.friend_contents import FriendChanged
from tests.server.presence_centers import GRACE, Presences, told, users
from tests.server.three_centers import FakeCenter, Town


@pytest.fixture
def presences(town: Town) -> Presences:
    return Presences(town)


def is_blocked(presences: Presences, center: FakeCenter, target: int, sender: int) -> bool:
    return presences.roles[center.node].hall.is_blocked(target, sender)


# ---------------------------------------------------------------------- blocks


def test_what_a_blocked_sender_wrote_before_the_target_asked_for_what_is_stored_is_never_shown(
    town: Town, presences: Presences, one: FakeCenter, two: FakeCenter
) -> None:
    presences.block(one, town.bob, town.alice)
    alice, hers = one.come(town.alice)
    for center, slot in ((one, 0), (two, 1)):
        bob, his = center.come(town.bob, slot, is_fetching=False)
        (time,) = one.write(hers, town.bob, b"let me in", first=1 + slot)
        town.pump()
        presences.fetch(center, his)
        town.settle(lambda time=time: time in alice.settled)  # type: ignore[misc]
        presences.wait()
        assert (bob.bodies, alice.settled[time]) == ([], STORED)
        center.router.go_offline(his.session)


def test_a_block_of_which_no_center_heard_holds_there_when_the_link_is_back(
    town: Town, presences: Presences, one: FakeCenter, two: FakeCenter
) -> None:
    presences.come(two, town.bob)
    town.cut(1, 2)
    presences.block(one, town.bob, town.alice)
    assert not is_blocked(presences, two, town.bob, town.alice)
    town.link(1, 2)
    presences.wait()
    assert is_blocked(presences, two, town.bob, town.alice)


def test_a_block_made_by_a_center_that_died_holds_elsewhere(town: Town, presences: Presences, one: FakeCenter, two: FakeCenter) -> None:
    presences.come(two, town.bob)
    town.cut(1, 2)
    presences.block(one, town.bob, town.alice)
    presences.wait(2 * GRACE + 1)
    assert is_blocked(presences, two, town.bob, town.alice)


def test_what_is_sent_after_an_unblocking_of_which_the_targets_center_has_not_heard_is_not_lost(
    town: Town, presences: Presences, one: FakeCenter, two: FakeCenter, three: FakeCenter
) -> None:
    alice, hers = three.come(town.alice)
    presences.block(one, town.bob, town.alice)
    bob, _ = presences.come(two, town.bob)
    town.cut(1, 2)
    presences.unblock(one, town.bob, town.alice)
    assert is_blocked(presences, two, town.bob, town.alice)
    (time,) = three.write(hers, town.bob, b"thank you")
    town.settle(lambda: alice.settled.get(time) == STORED)
    town.settle(lambda: bob.bodies == [b"thank you"])


class Wavering:
    """Blocks of a store that is away, for a while."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.is_away = False
        self.reads = 0

    def of(self, asked: Collection[int]) -> Mapping[int, Collection[int]]:
        self.reads += 1
        if self.is_away:
            raise StoreUnavailable("away")
        return self._real.of(asked)  # type: ignore[no-any-return]


def wavering(presences: Presences, center: FakeCenter) -> Wavering:
    circles = presences.roles[center.node].hall.circles
    circles._blocks = table = Wavering(circles._blocks)
    return table


def test_a_block_that_the_store_did_not_show_at_first_holds_when_it_does(
    town: Town, presences: Presences, one: FakeCenter, two: FakeCenter
) -> None:
    presences.come(two, town.bob)
    table = wavering(presences, two)
    table.is_away = True
    presences.block(one, town.bob, town.alice)
    presences.wait()
    assert table.reads > 1 and not is_blocked(presences, two, town.bob, town.alice)
    table.is_away = False
    presences.wait()
    assert is_blocked(presences, two, town.bob, town.alice)


def test_a_block_made_while_the_circle_of_a_new_session_is_read_holds_for_it(town: Town, presences: Presences, one: FakeCenter) -> None:
    table = wavering(presences, one)
    real, made = table._real.of, list[News]()

    def of(asked: Collection[int]) -> Mapping[int, Collection[int]]:
        answer = real(asked)
        if not made:
            made.append(presences.news_of_block(town.bob, town.alice))
            presences.roles[1].friends.tell(made[0])
        return answer  # type: ignore[no-any-return]

    table._real = type("Late", (), {"of": staticmethod(of)})()
    presences.come(one, town.bob)
    presences.read()
    assert made and is_blocked(presences, one, town.bob, town.alice)


def test_a_new_profile_and_a_new_remark_are_no_reason_to_read_circles(
    town: Town, presences: Presences, one: FakeCenter, two: FakeCenter
) -> None:
    presences.come(two, town.bob)
    presences.come(one, town.alice)
    tables = [wavering(presences, center) for center in (one, two)]
    one.line.send(2, wire.encode_friend_told([town.bob], FriendChanged("list", 7, 0).encode()))
    presences.remark(one, town.alice, town.bob)
    presences.wait()
    assert [table.reads for table in tables] == [0, 0]


def test_who_is_blocked_hears_that_the_other_went_when_he_would_hear_it_of_who_leaves(
    town: Town, presences: Presences, one: FakeCenter, two: FakeCenter
) -> None:
    presences.befriend((town.bob, town.alice), (town.bob, town.carol))
    bob, _ = presences.come(two, town.bob)
    presences.come(one, town.alice)
    _, carols = presences.come(one, town.carol)
    presences.wait()
    bob.told.clear()
    presences.block(one, town.alice, town.bob)
    one.router.go_offline(carols.session)
    assert users(presences.online(two, town.bob)) == []
    presences.wait(GRACE - 1)
    assert told(bob) == []
    presences.wait(2)
    assert sorted(told(bob)) == sorted([(town.alice, "offline"), (town.carol, "offline")])


def test_who_is_unblocked_within_the_grace_hears_nothing(town: Town, presences: Presences, one: FakeCenter, two: FakeCenter) -> None:
    presences.befriend((town.bob, town.alice))
    bob, _ = presences.come(two, town.bob)
    presences.come(one, town.alice)
    presences.wait()
    bob.told.clear()
    presences.block(one, town.alice, town.bob)
    presences.wait(GRACE / 2)
    presences.unblock(one, town.alice, town.bob)
    presences.wait(2 * GRACE)
    assert told(bob) == [] and users(presences.online(two, town.bob)) == [town.alice]


# ---------------------------------------------------------------------- who comes and goes


def test_new_friends_hear_that_each_other_is_there_wherever_they_are(
    town: Town, presences: Presences, one: FakeCenter, two: FakeCenter
) -> None:
    alice, _ = presences.come(one, town.alice)
    bob, _ = presences.come(one, town.bob)
    carol, _ = presences.come(two, town.carol)
    presences.wait()
    for other in (town.bob, town.carol):  # the second when others know her already
        presences.accept(one, town.alice, other)
        presences.wait()
    assert sorted(told(alice)) == sorted([(town.bob, "online"), (town.carol, "online")])
    assert told(bob) == told(carol) == [(town.alice, "online")]


def test_who_went_while_a_link_was_away_for_a_moment_is_heard_of_as_gone(
    town: Town, presences: Presences, one: FakeCenter, two: FakeCenter
) -> None:
    presences.befriend((town.alice, town.bob), (town.alice, town.carol))
    alice, _ = presences.come(one, town.alice)
    _, bobs = presences.come(two, town.bob)
    presences.come(two, town.carol)
    presences.wait()
    two.router.go_offline(bobs.session)
    presences.wait(GRACE - 1)
    alice.told.clear()
    town.cut(1, 2)
    presences.wait(2)
    town.link(1, 2)
    presences.wait(2 * GRACE + 12)
    assert told(alice) == [(town.bob, "offline")]
    presences.come(two, town.bob, number=2)
    presences.wait()
    assert told(alice)[1:] == [(town.bob, "online")]


def test_what_a_new_link_did_not_take_it_is_told_later_as_it_is_then(
    town: Town, presences: Presences, one: FakeCenter, two: FakeCenter
) -> None:
    presences.befriend((town.alice, town.bob))
    alice, _ = presences.come(one, town.alice)
    town.cut(1, 2)
    _, bobs = presences.come(two, town.bob)
    presences.wait()
    two.line.is_full_to = {1}
    town.link(1, 2)
    presences.say(two, bobs, "busy")
    presences.wait()
    assert told(alice) == []
    two.line.is_full_to = set()
    presences.wait()
    assert told(alice) == [(town.bob, "busy")]


def test_what_a_link_did_not_take_it_is_told_later_as_it_is_then(
    town: Town, presences: Presences, one: FakeCenter, two: FakeCenter
) -> None:
    presences.befriend((town.alice, town.bob), (town.alice, town.carol))
    alice, _ = presences.come(one, town.alice)
    _, bobs = presences.come(two, town.bob)
    _, carols = presences.come(two, town.carol)
    presences.wait()
    alice.told.clear()
    two.line.is_full_to = {1}
    two.router.go_offline(carols.session)
    for state in ("busy", "away"):
        presences.say(two, bobs, state)
        presences.wait(GRACE)
    assert told(alice) == []
    two.line.is_full_to = set()
    presences.wait()
    assert sorted(told(alice)) == sorted([(town.bob, "away"), (town.carol, "offline")])
    two.line.is_full_to = {1}
    presences.say(two, bobs, "busy")
    presences.wait(0.5)
    two.line.is_full_to = set()
    presences.say(two, bobs, "away")
    presences.wait(3)
    assert len(told(alice)) == 2  # the old news did not come behind the new


def test_a_block_that_a_link_did_not_take_is_told_later(town: Town, presences: Presences, one: FakeCenter, two: FakeCenter) -> None:
    presences.come(two, town.bob)
    send, one.line.send = one.line.send, lambda node, message, is_urgent=False: False  # type: ignore[method-assign]
    presences.block(one, town.bob, town.alice)
    presences.wait()
    assert not is_blocked(presences, two, town.bob, town.alice)
    one.line.send = send  # type: ignore[method-assign]
    presences.wait()
    assert is_blocked(presences, two, town.bob, town.alice)


def test_a_block_holds_at_its_center_before_it_is_answered(town: Town, presences: Presences, one: FakeCenter) -> None:
    alice, hers = one.come(town.alice)
    bob, _ = presences.come(one, town.bob)
    news = presences.news_of_block(town.bob, town.alice)
    presences.roles[1].friends.tell(news)
    (time,) = one.write(hers, town.bob, b"let me in")
    town.settle(lambda: alice.settled.get(time) == STORED)
    presences.wait()
    assert bob.bodies == []


def test_who_is_invisible_from_the_start_is_so_before_he_asks_for_what_is_stored(
    town: Town, presences: Presences, one: FakeCenter, two: FakeCenter
) -> None:
    alice, hers = one.come(town.alice)
    _, his = two.come(town.bob, is_fetching=False)
    presences.say(two, his, "invisible")
    (time,) = one.write(hers, town.bob, b"are you there?")
    town.settle(lambda: alice.settled.get(time) == STORED)


def test_what_a_session_that_ended_says_is_not_said_for_the_next_one(town: Town, presences: Presences, one: FakeCenter) -> None:
    hall = presences.roles[1].hall
    _, old = presences.come(one, town.bob)
    one.router.go_offline(old.session)
    presences.say(one, old, "invisible")
    _, new = one.come(town.bob, number=2, is_fetching=False)
    presences.fetch(one, new)
    assert hall.is_visible(town.bob)
    presences.say(one, old, "invisible")
    assert hall.is_visible(town.bob)


def test_when_the_last_invisible_session_ends_the_user_cannot_be_seen_though_another_has_begun(
    town: Town, presences: Presences, one: FakeCenter
) -> None:
    hall, seen = presences.roles[1].hall, list[int]()
    hall.on_visible = seen.append
    _, hidden = presences.come(one, town.bob, "invisible")
    _, fresh = one.come(town.bob, slot=1, is_fetching=False)
    one.router.go_offline(hidden.session)
    assert seen == []
    presences.fetch(one, fresh)
    assert hall.is_visible(town.bob)


# ---------------------------------------------------------------------- who is online


def test_a_center_is_believed_only_of_whom_it_was_asked(town: Town, presences: Presences, one: FakeCenter, three: FakeCenter) -> None:
    presences.befriend((town.alice, town.bob))
    presences.come(one, town.alice)
    presences.roles[3].hall.questions._placed = lambda asker, users: [  # type: ignore[method-assign]
        wire.Placed(town.carol, "online", "", [0]),
        wire.Placed(town.bob, "away", "", [0] * 64),
    ]
    other = presences.roles[2].hall.questions
    other._placed = lambda asker, users: [wire.Placed(town.bob, "online", "", [0])]  # type: ignore[method-assign]
    page = presences.online(one, town.alice)
    assert [(each.user, each.state, len(each.places)) for each in page.online] == [(town.bob, "online", 64)]


def test_a_center_that_does_not_answer_leaves_who_is_missing_unknown(town: Town, presences: Presences, one: FakeCenter) -> None:
    presences.befriend((town.alice, town.bob))
    presences.come(one, town.alice)
    pages: list[Any] = []
    presences.roles[1].hall.online(town.alice, 0, pages.append)
    town.under_way.clear()
    town.pass_time(1.0)
    assert [(page.online, page.is_complete) for page in pages] == [((), False)]
    assert presences.online(one, town.alice).is_complete
    presences.is_whole = False
    assert not presences.online(one, town.alice).is_complete


def test_a_friend_at_two_centers_appears_as_the_more_present_and_with_both_places(
    town: Town, presences: Presences, one: FakeCenter, two: FakeCenter, three: FakeCenter
) -> None:
    presences.befriend((town.alice, town.bob))
    presences.come(one, town.alice)
    presences.come(two, town.bob, "away")
    presences.come(three, town.bob, "busy", slot=1)
    presences.wait()
    (bob,) = presences.online(one, town.alice).online
    assert (bob.state, sorted(center for _, center in bob.places)) == ("busy", [2, 3])
    assert Seen(bob.state) == Seen("busy")


def test_nothing_is_kept_of_a_session_that_ended_while_its_circle_was_read(town: Town, presences: Presences, one: FakeCenter) -> None:
    hall = presences.roles[one.node].hall
    _, party = one.come(town.alice, is_fetching=False)
    begun: list[bool] = []
    hall.begin(party, lambda: begun.append(True))
    one.router.go_offline(party.session)
    presences.read()
    assert begun == [] and not len(hall.circles) and not hall.presence
