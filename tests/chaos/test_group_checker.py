"""The judge of groups is tried by hand-written histories and looks at a database: each violation is found, and clean ones have none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from myim_wire.errors import ErrorCode
from tests.chaos.checker import Kill
from tests.chaos.group_audit import Membership, Row, Snapshot, recount
from tests.chaos.group_checker import VIOLATIONS, check, kills_with_unsettled, vacuities
from tests.chaos.group_history import FETCHED, PUSHED, Event, Kind, decode_events, encode_events
from tests.chaos.group_timeline import Posts, Timeline

GROUP, ALICE, BOB = 7, 1, 2
Histories = dict[int, list[Event]]


def attempt(time: int, at: int, digest: str = "d") -> Event:
    return Event(Kind.ATTEMPT, ALICE, at, GROUP, 0, ALICE, time, digest)


def settled(time: int, at: int, number: int) -> Event:
    return Event(Kind.SETTLED, ALICE, at, GROUP, number, ALICE, time)


def refused(time: int, at: int, code: int = ErrorCode.NOT_MEMBER) -> Event:
    return Event(Kind.REFUSED, ALICE, at, GROUP, 0, ALICE, time, how=code)


def shown(by: int, at: int, number: int, time: int, digest: str = "d", how: int = PUSHED) -> Event:
    return Event(Kind.SHOWN, by, at, GROUP, number, ALICE, time, digest, how)


def word(kind: Kind, at: int, number: int = 0, by: int = BOB) -> Event:
    return Event(kind, by, at, GROUP, number)


def clean() -> Histories:
    """Alice makes a group and posts 1 to 4; Bob joins after 1, leaves after 3, and comes again after 4."""
    alice = [word(Kind.JOINED, 1, by=ALICE)]
    for number, at in enumerate((10, 30, 40, 60), 1):
        alice += [attempt(number, at), settled(number, at + 5, number), shown(ALICE, at + 6, number, number)]
    bob = [
        word(Kind.JOINING, 20), word(Kind.JOINED, 25, 1), shown(BOB, 37, 2, 2), shown(BOB, 47, 3, 3, how=FETCHED),
        word(Kind.LEAVING, 50), word(Kind.LEFT, 55), word(Kind.JOINING, 70), word(Kind.JOINED, 75, 4),
    ]  # fmt: skip
    return {ALICE: alice, BOB: bob}


def last() -> Snapshot:
    """The database at the end of it."""
    memberships = [Membership(GROUP, ALICE, 0, 4), Membership(GROUP, BOB, 1, 3, 3), Membership(GROUP, BOB, 4, 4)]
    return Snapshot({GROUP: 4}, {GROUP: 2}, memberships, {}, {GROUP: [(number, ALICE, number) for number in range(1, 5)]})


def named(*names: tuple[int, int, int], number: int = 4) -> Snapshot:
    return replace(last(), names={GROUP: names}, numbers={GROUP: number})


def of_bob(*memberships: Membership) -> Snapshot:
    return replace(last(), memberships=[Membership(GROUP, ALICE, 0, 4), *memberships])


def changed(user: int, change: Callable[[list[Event]], object]) -> Histories:
    histories = clean()
    change(histories[user])
    return histories


def without(user: int, kind: Kind, number: int) -> Histories:
    return changed(user, lambda events: events.remove(next(one for one in events if (one.kind, one.number) == (kind, number))))


def swapped(user: int, number: int, **values: Any) -> Histories:
    """What was shown under that number was otherwise."""
    histories = clean()
    events = histories[user]
    place = next(place for place, one in enumerate(events) if (one.kind, one.number) == (Kind.SHOWN, number))
    events[place] = events[place]._replace(**values)
    return histories


def test_a_clean_history_breaks_no_promise() -> None:
    verdict = check(clean(), last())
    assert (verdict.violations, verdict.examples) == (0, [])
    counts = verdict.counts
    assert (counts["attempted"], counts["settled"], counts["shown"], counts["pushed"], counts["fetched"]) == (4, 4, 6, 5, 1)
    assert (counts["joins"], counts["leaves"]) == (3, 1)


@pytest.mark.parametrize(
    ("violation", "histories", "snapshot"),
    [
        ("holes", clean(), named((1, ALICE, 1), (2, ALICE, 2), (4, ALICE, 4))),
        ("repeated", clean(), named((1, ALICE, 1), (2, ALICE, 2), (3, ALICE, 3), (3, ALICE, 4), number=3)),
        ("repeated", clean(), replace(last(), numbers={GROUP: 3})),
        ("repeated", changed(ALICE, lambda events: events.extend([attempt(5, 80), settled(5, 81, 4)])), last()),
        ("renumbered", clean(), named((2, ALICE, 1), (1, ALICE, 2), (3, ALICE, 3), (4, ALICE, 4))),
        ("unnumbered", clean(), named((1, ALICE, 1), (2, ALICE, 2), (3, ALICE, 3), number=3)),
        ("disordered", clean(), named((1, ALICE, 1), (3, ALICE, 2), (2, ALICE, 3), (4, ALICE, 4))),
        ("forged", clean(), named(*((number, ALICE, number) for number in range(1, 5)), (5, ALICE, 9), number=5)),
        ("forged", swapped(BOB, 2, digest="other"), last()),
        ("forged", swapped(BOB, 2, time=99), last()),
        ("crossed", swapped(BOB, 3, time=2), last()),
        ("missed", without(ALICE, Kind.SHOWN, 2), last()),
        ("missed", without(BOB, Kind.SHOWN, 2), last()),
        ("missed", without(BOB, Kind.SHOWN, 3), last()),  # he confirmed it before he left
        ("before_joining", changed(BOB, lambda events: events.insert(2, shown(BOB, 36, 1, 1))), last()),
        ("after_leaving", changed(BOB, lambda events: events.append(shown(BOB, 80, 4, 4))), last()),
        ("after_leaving", clean(), of_bob(Membership(GROUP, BOB, 1, 2, 2), Membership(GROUP, BOB, 4, 4))),
        ("reordered", changed(BOB, lambda events: events.insert(2, events.pop(3))), last()),
        ("doubled", changed(BOB, lambda events: events.insert(4, shown(BOB, 48, 3, 3))), last()),
        ("membership_lies", changed(BOB, lambda events: events.append(word(Kind.LEFT, 90))), last()),
        ("membership_lies", clean(), of_bob(Membership(GROUP, BOB, 1, 3, 3), Membership(GROUP, BOB, 3, 4))),
        ("membership_lies", changed(BOB, lambda events: events.remove(word(Kind.LEAVING, 50))), last()),
        ("ghosts", changed(ALICE, lambda events: events.__setitem__(2, refused(1, 15))), last()),
        ("refused_wrongly", changed(ALICE, lambda events: events.extend([attempt(5, 80), refused(5, 81, ErrorCode.MUTED)])), last()),
        ("settled_twice", changed(ALICE, lambda events: events.append(settled(1, 90, 1))), last()),
        ("left_over", clean(), replace(last(), rows={GROUP: [Row(4, 2, 1)]})),
    ],
)
def test_each_violation_is_found(violation: str, histories: Histories, snapshot: Snapshot) -> None:
    verdict = check(histories, snapshot)
    assert verdict.counts[violation] >= 1, verdict
    assert any(example.startswith(violation) for example in verdict.examples), verdict.examples


def test_what_is_told_of_a_joining_is_held_against_the_times_of_posts() -> None:
    """Without the database: number 1 was settled before Bob asked, number 2 attempted after he was told."""
    for number in (0, 2):
        histories = changed(BOB, lambda events, number=number: events.__setitem__(1, word(Kind.JOINED, 25, number)))  # type: ignore[misc]
        memberships = (Membership(GROUP, BOB, number, 3, 3), Membership(GROUP, BOB, 4, 4))
        assert check(histories, of_bob(*memberships)).counts["membership_lies"] == 1, number


def test_what_was_posted_after_a_leaving_may_not_be_shown_whatever_the_database_says() -> None:
    histories = changed(BOB, lambda events: events.insert(6, shown(BOB, 68, 4, 4)))
    verdict = check(histories, of_bob(Membership(GROUP, BOB, 1, 4, 4), Membership(GROUP, BOB, 4, 4)))
    assert verdict.counts["after_leaving"] == 1


def test_a_leaver_need_not_have_seen_what_it_did_not_confirm_and_a_refused_post_is_none() -> None:
    memberships = (Membership(GROUP, BOB, 1, 2, 3), Membership(GROUP, BOB, 4, 4))
    assert check(without(BOB, Kind.SHOWN, 3), of_bob(*memberships)).violations == 0
    verdict = check(changed(ALICE, lambda events: events.extend([attempt(5, 80), refused(5, 81)])), last())
    assert (verdict.violations, verdict.counts["attempted"], verdict.counts["refused"]) == (0, 4, 1)


def test_times_tell_within_what_a_groups_number_was() -> None:
    timeline = Timeline([(10, 15, 1), (30, 35, 2), (31, 50, 3)])
    assert [timeline.at_least(at) for at in (14, 16, 40, 60)] == [0, 1, 2, 3]
    assert [timeline.below(at) for at in (5, 10, 30, 31)] == [1, 2, 3, None]
    assert (list(timeline.between(20, 40)), list(timeline.between(20, None))) == ([2], [2, 3])


def test_a_history_survives_its_text_form() -> None:
    events = clean()[BOB]
    assert list(decode_events(encode_events(events))) == events


# ---------------------------------------------------------------------- the recount


def sound() -> Snapshot:
    """Alice has all of 1 to 5, Bob joined after 1 and has up to 3, Carol joined after 1 and left after 4, having had up to 2."""
    memberships = [Membership(GROUP, 1, 0, 5), Membership(GROUP, 2, 1, 3), Membership(GROUP, 3, 1, 2, 4)]
    rows = [Row(2, 3, 3), Row(3, 2, 2), Row(4, 2, 1), Row(5, 2, 1)]
    return Snapshot({GROUP: 5}, {GROUP: 2}, memberships, {GROUP: rows})


def with_row(place: int, **values: int) -> Snapshot:
    snapshot = sound()
    rows = list(snapshot.rows[GROUP])
    rows[place] = rows[place]._replace(**values)
    return replace(snapshot, rows={GROUP: rows})


def test_a_sound_look_has_nothing_wrong_in_it() -> None:
    assert recount(sound()) == Counter()
    assert recount(replace(sound(), rows={GROUP: list(sound().rows[GROUP])[2:]})) == Counter()  # what all have may be gone
    assert not sound().is_drained and last().is_drained


@pytest.mark.parametrize(
    ("wrong", "snapshot"),
    [
        ("miscounted", with_row(2, sent=2)),
        ("miscounted", with_row(0, sent=2)),
        ("misawaited", with_row(3, members=3)),
        ("misawaited", with_row(0, members=2)),
        ("purged_early", replace(sound(), rows={GROUP: list(sound().rows[GROUP])[3:]})),
        ("purged_early", replace(sound(), rows={GROUP: [row for row in sound().rows[GROUP] if row.number != 4]})),
        ("misnumbered", replace(sound(), members={GROUP: 3})),
        ("misnumbered", replace(last(), memberships=[Membership(GROUP, 1, 0, 5), Membership(GROUP, 2, 4, 4)])),
    ],
)
def test_the_recount_finds(wrong: str, snapshot: Snapshot) -> None:
    assert recount(snapshot) == Counter({wrong: 1})


# ---------------------------------------------------------------------- what makes a run worth judging


def test_kills_count_when_something_was_unsettled_at_that_moment() -> None:
    kills = [Kill("center", at) for at in (5, 12, 16, 62)]
    assert kills_with_unsettled(Posts(clean()), kills) == 2


GOOD_KILLS = [Kill("center", 1), Kill("janitor", 2), Kill("database", 3), Kill("application", 4)]
GOOD = Counter(attempted=100, settled=100, shown=500, pushed=400, fetched=100, joins=101, leaves=101)


def test_a_full_run_is_not_vacuous() -> None:
    assert vacuities(GOOD, GOOD_KILLS, 4, 1, 1001) == []


@pytest.mark.parametrize(
    ("counts", "kills", "with_unsettled", "resent", "repeated"),
    [
        (Counter(joins=101, leaves=101), GOOD_KILLS, 4, 1, 1001),
        (GOOD | Counter(attempted=101), GOOD_KILLS, 4, 1, 1001),
        (GOOD - Counter(fetched=60), GOOD_KILLS, 4, 1, 1001),
        (GOOD - Counter(pushed=360), GOOD_KILLS, 4, 1, 1001),
        (GOOD - Counter(joins=1), GOOD_KILLS, 4, 1, 1001),
        (GOOD - Counter(leaves=1), GOOD_KILLS, 4, 1, 1001),
        (GOOD, GOOD_KILLS, 3, 1, 1001),
        (GOOD, GOOD_KILLS, 4, 0, 1001),
        (GOOD, GOOD_KILLS, 4, 1, 1000),
        (GOOD, [Kill("center", at) for at in range(8)], 8, 1, 1001),
    ],
)
def test_a_vacuous_run_is_called_so(counts: Counter[str], kills: list[Kill], with_unsettled: int, resent: int, repeated: int) -> None:
    assert len(vacuities(counts, kills, with_unsettled, resent, repeated)) == 1


def test_every_violation_is_told_by_name() -> None:
    assert set(VIOLATIONS) <= set(check(clean(), last()).figures())
