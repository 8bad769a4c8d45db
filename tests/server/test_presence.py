"""How users appear: the most present of what their visible sessions say, and gone only after a time of grace."""

from __future__ import annotations

from myim_server.chat.presence import GONE, Hearsay, Presence, Seen

ONLINE, AWAY, BUSY, INVISIBLE = Seen("online"), Seen("away", "lunch"), Seen("busy"), Seen("invisible")
ALICE, BOB = 1, 2
GRACE = 15.0


def test_who_comes_is_told_once() -> None:
    presence = Presence(GRACE)
    presence.begin(ALICE, 0, ONLINE, 0.0)
    assert presence.take_due(0.0) == [(ALICE, ONLINE)]
    presence.begin(ALICE, 0, ONLINE, 1.0)
    presence.begin(ALICE, 1, AWAY, 1.0)
    assert presence.take_due(1.0) == []


def test_of_several_sessions_the_most_present_counts() -> None:
    presence = Presence(GRACE)
    presence.begin(ALICE, 0, AWAY, 0.0)
    presence.begin(ALICE, 1, BUSY, 0.0)
    assert presence.take_due(0.0) == [(ALICE, BUSY)]
    presence.change(ALICE, 0, ONLINE, 1.0)
    assert presence.take_due(1.0) == [(ALICE, ONLINE)]
    presence.end(ALICE, 0, 2.0)
    assert presence.take_due(2.0) == [(ALICE, BUSY)]


def test_a_reconnect_within_the_grace_is_no_news() -> None:
    presence = Presence(GRACE)
    presence.begin(ALICE, 0, ONLINE, 0.0)
    presence.take_due(0.0)
    presence.end(ALICE, 0, 10.0)
    assert presence.take_due(24.9) == [] and presence.is_leaving(ALICE)
    presence.begin(ALICE, 0, ONLINE, 24.9)
    assert presence.take_due(99.0) == [] and not presence.is_owing


def test_who_stays_away_is_told_of_after_the_grace() -> None:
    presence = Presence(GRACE)
    presence.begin(ALICE, 0, ONLINE, 0.0)
    presence.take_due(0.0)
    presence.end(ALICE, 0, 10.0)
    assert presence.take_due(25.0) == [(ALICE, GONE)]
    assert presence.take_due(99.0) == [] and not presence.is_leaving(ALICE) and len(presence) == 0


def test_who_is_invisible_comes_changes_and_goes_without_a_word() -> None:
    presence = Presence(GRACE)
    presence.begin(ALICE, 0, INVISIBLE, 0.0)
    presence.change(ALICE, 0, INVISIBLE, 0.5)
    assert presence.is_hidden(ALICE) and presence.appearance(ALICE) == GONE
    presence.end(ALICE, 0, 1.0)
    assert presence.take_due(99.0) == []


def test_who_hides_is_gone_at_once_and_told_of_when_who_leaves_would_be() -> None:
    presence = Presence(GRACE)
    for user in (ALICE, BOB):
        presence.begin(user, 0, ONLINE, 0.0)
    presence.take_due(0.0)
    presence.change(ALICE, 0, INVISIBLE, 10.0)
    presence.end(BOB, 0, 10.0)
    assert presence.shown(ALICE) == presence.shown(BOB) == GONE
    assert presence.take_due(24.9) == []
    assert presence.take_due(25.0) == [(ALICE, GONE), (BOB, GONE)]
    presence.change(ALICE, 0, AWAY, 30.0)
    assert presence.take_due(30.0) == [(ALICE, AWAY)]


def test_who_left_and_comes_back_invisible_or_hides_and_leaves_is_told_of_as_if_he_had_only_left() -> None:
    presence = Presence(GRACE)
    for user in (ALICE, BOB):
        presence.begin(user, 0, ONLINE, 0.0)
    presence.take_due(0.0)
    presence.end(ALICE, 0, 10.0)
    presence.begin(ALICE, 0, INVISIBLE, 12.0)
    presence.change(BOB, 0, INVISIBLE, 10.0)
    presence.end(BOB, 0, 20.0)
    assert presence.take_due(24.9) == []
    assert presence.take_due(25.0) == [(ALICE, GONE), (BOB, GONE)]


def test_who_hides_and_shows_himself_within_the_grace_never_went() -> None:
    presence = Presence(GRACE)
    presence.begin(ALICE, 0, ONLINE, 0.0)
    presence.take_due(0.0)
    presence.change(ALICE, 0, INVISIBLE, 1.0)
    presence.change(ALICE, 0, ONLINE, 2.0)
    assert presence.take_due(99.0) == [] and not presence.is_owing


def test_when_the_visible_one_of_two_sessions_ends_the_user_leaves() -> None:
    presence = Presence(GRACE)
    presence.begin(ALICE, 0, ONLINE, 0.0)
    presence.begin(ALICE, 1, INVISIBLE, 0.0)
    presence.take_due(0.0)
    presence.end(ALICE, 0, 10.0)
    assert presence.take_due(24.9) == [] and presence.take_due(25.0) == [(ALICE, GONE)]


def test_what_changes_back_before_it_was_told_is_no_news() -> None:
    presence = Presence(GRACE)
    presence.begin(ALICE, 0, ONLINE, 0.0)
    presence.take_due(0.0)
    presence.change(ALICE, 0, AWAY, 1.0)
    presence.change(ALICE, 0, ONLINE, 1.0)
    assert presence.take_due(1.0) == []


def test_who_changes_all_the_time_is_told_of_once_a_second_as_he_is_then() -> None:
    presence = Presence(GRACE)
    presence.begin(ALICE, 0, ONLINE, 0.0)
    presence.begin(BOB, 0, ONLINE, 0.0)
    presence.take_due(0.0)
    told = []
    for number in range(1, 1001):  # a hundred a second
        now = number / 100
        presence.change(ALICE, 0, Seen("away", str(number)), now)
        told += [(now, seen.text) for _, seen in presence.take_due(now)]
    assert 10 <= len(told) <= 12 and all(text == str(round(100 * now)) for now, text in told)
    presence.change(ALICE, 0, BUSY, 10.01)
    assert presence.take_due(10.01) == [] and presence.is_owing
    assert presence.take_due(11.1) == [(ALICE, BUSY)]
    presence.change(BOB, 0, AWAY, 11.1)
    assert presence.take_due(11.1) == [(BOB, AWAY)]  # nobody else waits for it


def test_what_is_remembered_of_who_was_told_of_is_bounded() -> None:
    presence = Presence(GRACE)
    for user in range(5_000):
        presence.begin(user, 0, ONLINE, 0.01 * user)
        presence.take_due(0.01 * user)
    assert len(presence._paid) <= 1_001


def test_a_visible_session_beside_an_invisible_one_is_seen() -> None:
    presence = Presence(GRACE)
    presence.begin(ALICE, 0, INVISIBLE, 0.0)
    presence.begin(ALICE, 1, AWAY, 0.0)
    assert presence.take_due(0.0) == [(ALICE, AWAY)]
    assert presence.visible_slots(ALICE) == [1] and not presence.is_hidden(ALICE)


def test_a_center_that_has_just_come_is_told_of_all_who_were_told_of_as_there() -> None:
    presence = Presence(GRACE)
    presence.begin(ALICE, 0, ONLINE, 0.0)
    presence.begin(BOB, 0, INVISIBLE, 0.0)
    presence.take_due(0.0)
    presence.end(ALICE, 0, 1.0)
    assert presence.all_told() == [ALICE]  # back within the grace, or told of as gone: either way the newcomer must know of him
    assert (presence.told(ALICE), presence.told(BOB)) == (ONLINE, GONE)


def test_a_user_at_several_centers_is_gone_when_the_last_of_them_says_so() -> None:
    hearsay = Hearsay()
    assert hearsay.hear(1, ALICE, AWAY)
    assert hearsay.hear(2, ALICE, ONLINE)
    assert not hearsay.hear(1, ALICE, GONE)
    assert hearsay.of(ALICE) == ONLINE
    assert hearsay.hear(2, ALICE, GONE) and hearsay.of(ALICE) == GONE


def test_what_a_dead_center_said_ends_with_it() -> None:
    hearsay = Hearsay()
    hearsay.hear(1, ALICE, ONLINE)
    hearsay.hear(1, BOB, ONLINE)
    hearsay.hear(2, BOB, ONLINE)
    assert hearsay.forget(1) == [ALICE]
    assert (hearsay.of(ALICE), hearsay.of(BOB)) == (GONE, ONLINE)


def test_what_a_center_does_not_say_again_on_a_new_link_ends() -> None:
    hearsay = Hearsay()
    hearsay.hear(1, ALICE, ONLINE)
    hearsay.hear(1, BOB, ONLINE)
    number = hearsay.begin_round(1)
    assert not hearsay.hear(1, BOB, ONLINE)
    assert hearsay.forget(1, number) == [ALICE]
    assert (hearsay.of(ALICE), hearsay.of(BOB)) == (GONE, ONLINE)


def test_of_no_more_than_so_many_users_is_kept_what_centers_say() -> None:
    hearsay = Hearsay(most=2)
    assert hearsay.hear(1, 11, ONLINE) and hearsay.hear(1, 12, ONLINE)
    assert not hearsay.hear(1, 13, ONLINE) and hearsay.of(13) == GONE
    assert hearsay.hear(2, 12, AWAY) is False and hearsay.hear(1, 12, BUSY) and hearsay.of(12) == BUSY
    assert hearsay.hear(1, 11, GONE) and hearsay.hear(1, 13, ONLINE)
