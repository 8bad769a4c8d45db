"""The judge is tried by hand-written histories: each violation is found, and a clean history has none."""

from __future__ import annotations

import pytest

from tests.chaos.checker import Kill, Verdict, check, kills_with_unsettled, vacuities
from tests.chaos.history import RECEIVED, STORED, Event, Kind, decode_events, encode_events

ALICE, BOB, CAROL = 1, 2, 3
Histories = dict[int, list[Event]]


def attempt(time: int, at: int, digest: str = "d", target: int = BOB) -> Event:
    return Event(Kind.ATTEMPT, ALICE, at, ALICE, time, target, digest)


def settled(time: int, at: int, how: int = RECEIVED, kind: Kind = Kind.SETTLED) -> Event:
    return Event(kind, ALICE, at, ALICE, time, BOB, how=how)


def shown(time: int, at: int, digest: str = "d", by: int = BOB, target: int = 0) -> Event:
    return Event(Kind.SHOWN, by, at, ALICE, time, target or by, digest)


def receipt(time: int, at: int) -> Event:
    return Event(Kind.RECEIPT, ALICE, at, ALICE, time, BOB)


def clean() -> Histories:
    """Two messages, one received, one stored and later receipted."""
    return {
        ALICE: [attempt(64, 10), attempt(128, 11), settled(64, 30), settled(128, 31, STORED), receipt(128, 60)],
        BOB: [shown(64, 20), shown(128, 50)],
    }


def test_a_clean_history_breaks_no_promise() -> None:
    verdict = check(clean())
    assert (verdict.violations, verdict.examples) == (0, [])
    assert (verdict.attempted, verdict.settled, verdict.received, verdict.stored, verdict.shown, verdict.receipts) == (2, 2, 1, 1, 2, 1)


def without(histories: Histories, user: int, index: int) -> Histories:
    del histories[user][index]
    return histories


def added(histories: Histories, user: int, *events: Event) -> Histories:
    histories.setdefault(user, []).extend(events)
    return histories


def replaced(histories: Histories, user: int, index: int, event: Event) -> Histories:
    histories[user][index] = event
    return histories


@pytest.mark.parametrize(
    ("violation", "histories"),
    [
        ("lost", without(clean(), BOB, 1)),
        ("duplicated", added(clean(), BOB, shown(64, 70))),
        ("reordered", {**clean(), BOB: [shown(128, 20), shown(64, 21)]}),
        ("reordered", {ALICE: [attempt(128, 1), attempt(64, 2), settled(64, 30), settled(128, 31)], BOB: [shown(128, 20), shown(64, 21)]}),
        ("forged", added(clean(), BOB, shown(192, 70))),
        ("forged", replaced(clean(), BOB, 0, shown(64, 20, digest="other"))),
        ("forged", added(clean(), ALICE, settled(192, 70))),
        ("forged", replaced(clean(), ALICE, 2, settled(64, 30, 64, Kind.REFUSED))),
        ("misdelivered", added(without(clean(), BOB, 0), CAROL, shown(64, 20, by=CAROL))),
        ("crossed", replaced(clean(), BOB, 0, shown(64, 20, target=CAROL))),
        ("receipt_lies", added(clean(), ALICE, receipt(128, 61))),
        ("receipt_lies", replaced(clean(), ALICE, 4, receipt(128, 49))),
        ("receipt_lies", replaced(clean(), BOB, 0, shown(64, 31))),
        ("receipt_lies", without(clean(), BOB, 0)),
        ("receipts_missing", without(clean(), ALICE, 4)),
        ("settled_twice", added(clean(), ALICE, settled(64, 70, STORED))),
    ],
)
def test_each_violation_is_found(violation: str, histories: Histories) -> None:
    verdict = check(histories)
    assert getattr(verdict, violation) == 1, verdict
    assert verdict.violations
    assert any(example.startswith(violation) for example in verdict.examples)


def test_an_attempt_without_an_outcome_is_unsettled_and_may_be_shown_or_not() -> None:
    verdict = check({ALICE: [attempt(64, 10), attempt(128, 11)], BOB: [shown(64, 20)]})
    assert (verdict.unsettled, verdict.violations) == (2, 0)


def test_a_message_overtaking_another_to_another_target_is_no_reordering() -> None:
    histories = {
        ALICE: [attempt(64, 1), attempt(128, 2, target=CAROL), settled(64, 9), settled(128, 9)],
        BOB: [shown(64, 8)],
        CAROL: [shown(128, 3, by=CAROL)],
    }
    assert check(histories).violations == 0


def test_a_history_survives_its_text_form() -> None:
    events = clean()[ALICE]
    assert list(decode_events(encode_events(events))) == events


def test_kills_count_when_something_was_unsettled_at_that_moment() -> None:
    kills = [Kill("node", at) for at in (5, 15, 35)]
    assert kills_with_unsettled(clean(), kills) == 1


GOOD_KILLS = [Kill("node", 1), Kill("node", 2), Kill("database", 3), Kill("application", 4)]
GOOD = Verdict(attempted=100, settled=100, received=60, stored=40)


def test_a_full_run_is_not_vacuous() -> None:
    assert vacuities(GOOD, GOOD_KILLS, 4, 1) == []


@pytest.mark.parametrize(
    ("verdict", "kills", "with_unsettled", "resent"),
    [
        (Verdict(), GOOD_KILLS, 4, 1),
        (Verdict(attempted=100, settled=99, received=60, stored=39, unsettled=1), GOOD_KILLS, 4, 1),
        (Verdict(attempted=100, settled=100, received=95, stored=5), GOOD_KILLS, 4, 1),
        (Verdict(attempted=100, settled=100, received=5, stored=95), GOOD_KILLS, 4, 1),
        (GOOD, GOOD_KILLS, 3, 1),
        (GOOD, GOOD_KILLS, 4, 0),
        (GOOD, [Kill("node", at) for at in range(8)], 8, 1),
    ],
)
def test_a_vacuous_run_is_called_so(verdict: Verdict, kills: list[Kill], with_unsettled: int, resent: int) -> None:
    assert vacuities(verdict, kills, with_unsettled, resent)
