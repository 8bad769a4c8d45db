"""How users appear: the most present of what their visible sessions say, and gone only after a time of grace."""

from __future__ import annotations

from myim_server.chat.presence import GONE, Hearsay, Presence, Seen

ONLINE, AWAY, BUSY, INVISIBLE = Seen("online"), Seen("away", "lunch"), Seen("busy"), Seen("invisible")
ALICE, BOB = 1, 2
GRACE = 15.0


def test_who_comes_is_told_once() -> None:
    presence = Presence(GRACE)
    presence.begin(ALICE, 0, ONLINE)
    assert presence.take_due(0.0) == [(ALICE, ONLINE)]
    presence.begin(ALICE, 0, ONLINE)
    presence.begin(ALICE, 1, AWAY)
    assert presence.take_due(0.0) == []


def test_of_several_sessions_the_most_present_counts() -> None:
    presence = Presence(GRACE)
    presence.begin(ALICE, 0, AWAY)
    presence.begin(ALICE, 1, BUSY)
    assert presence.take_due(0.0) == [(ALICE, BUSY)]
    presence.change(ALICE, 0, ONLINE)
    assert presence.take_due(0.0) == [(ALICE, ONLINE)]
    presence.end(ALICE, 0, 1.0)
    assert presence.take_due(1.0) == [(ALICE, BUSY)]


def test_a_reconnect_within_the_grace_is_no_news() -> None:
    presence = Presence(GRACE)
    presence.begin(ALICE, 0, ONLINE)
    presence.take_due(0.0)
    presence.end(ALICE, 0, 10.0)
    assert presence.take_due(24.9) == [] and presence.is_leaving(ALICE)
    presence.begin(ALICE, 0, ONLINE)
    assert presence.take_due(99.0) == []


def test_who_stays_away_is_told_of_after_the_grace() -> None:
    presence = Presence(GRACE)
    presence.begin(ALICE, 0, ONLINE)
    presence.take_due(0.0)
    presence.end(ALICE, 0, 10.0)
    assert presence.take_due(25.0) == [(ALICE, GONE)]
    assert presence.take_due(99.0) == [] and not presence.is_leaving(ALICE) and len(presence) == 0


def test_who_is_invisible_comes_changes_and_goes_without_a_word() -> None:
    presence = Presence(GRACE)
    presence.begin(ALICE, 0, INVISIBLE)
    presence.change(ALICE, 0, INVISIBLE)
    assert presence.is_hidden(ALICE) and presence.appearance(ALICE) == GONE
    presence.end(ALICE, 0, 1.0)
    assert presence.take_due(99.0) == []


def test_who_hides_goes_at_once_and_who_shows_himself_comes() -> None:
    presence = Presence(GRACE)
    presence.begin(ALICE, 0, ONLINE)
    presence.take_due(0.0)
    presence.change(ALICE, 0, INVISIBLE)
    assert presence.take_due(0.0) == [(ALICE, GONE)]
    presence.change(ALICE, 0, AWAY)
    assert presence.take_due(0.0) == [(ALICE, AWAY)]


def test_what_changes_back_before_it_was_told_is_no_news() -> None:
    presence = Presence(GRACE)
    presence.begin(ALICE, 0, ONLINE)
    presence.take_due(0.0)
    presence.change(ALICE, 0, AWAY)
    presence.change(ALICE, 0, ONLINE)
    assert presence.take_due(0.0) == []


def test_a_visible_session_beside_an_invisible_one_is_seen() -> None:
    presence = Presence(GRACE)
    presence.begin(ALICE, 0, INVISIBLE)
    presence.begin(ALICE, 1, AWAY)
    assert presence.take_due(0.0) == [(ALICE, AWAY)]
    assert presence.visible_slots(ALICE) == [1] and not presence.is_hidden(ALICE)


def test_a_center_that_has_just_come_is_told_of_all_who_are_seen() -> None:
    presence = Presence(GRACE)
    presence.begin(ALICE, 0, ONLINE)
    presence.begin(BOB, 0, INVISIBLE)
    presence.take_due(0.0)
    assert presence.seen_now() == [(ALICE, ONLINE)]


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
    assert hearsay.forget(1) == {ALICE: GONE}
