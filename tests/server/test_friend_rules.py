"""Who may do what about friends, decided from a view of two users."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from myim_server.chat import friend_rules as rules
from myim_server.chat.friend_news import news_of
from myim_server.chat.friend_rules import FriendLimits
from myim_server.chat.names import parse_beginning
from myim_server.pace import Budgets
from myim_server.refusals import RequestRefused
from myim_server.store.friend_changes import (
    Answered,
    Befriended,
    Blocked,
    Change,
    GroupAdded,
    GroupAltered,
    GroupRemoved,
    Moved,
    Remarked,
    Requested,
    Unblocked,
    Unfriended,
    Withdrawn,
)
from myim_server.store.friend_values import REQUEST_STATES, FriendGroup, Kept, View
from myim_server.store.friends import Outcome
from myim_wire.errors import ErrorCode

ME, OTHER = 1, 2
LIMITS = FriendLimits(friends=10, groups=2, requests=4, blocked=3)
GROUPS = {group: FriendGroup(group, f"g{group}" if group else "", group, b"") for group in (0, 5)}
STRANGERS = View(ME, OTHER, True, 7, None, 3, 3, None, None, 0, 0, False, False, 0, True, GROUPS)
FRIENDS = STRANGERS._replace(kept=Kept(0, ""))
STATES = (None, *REQUEST_STATES)


def refusal(decide: Callable[[], Sequence[Change]]) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        decide()
    return caught.value


def code(decide: Callable[[], Sequence[Change]]) -> ErrorCode:
    return refusal(decide).code


def outcome(decide: Callable[[], Sequence[Change]]) -> Any:
    """All that is told of a decision."""
    try:
        return tuple(decide())
    except RequestRefused as refused:
        return refused.code, refused.text, refused.field, refused.retry_ms


def ask(view: View) -> Sequence[Change]:
    return rules.ask(view, "please", LIMITS)


# ---------------------------------------------------------------------- asking


def test_a_stranger_is_asked() -> None:
    assert ask(STRANGERS) == (Requested("please"),)


def test_a_friend_is_not_asked_again() -> None:
    assert ask(FRIENDS) == ()


@pytest.mark.parametrize("state", REQUEST_STATES)
def test_who_asked_before_is_a_friend_by_being_asked(state: str) -> None:
    assert ask(STRANGERS._replace(incoming=state)) == (Befriended(0),)


def test_nobody_and_who_blocks_and_who_is_not_to_be_asked_are_refused_alike() -> None:
    hidden = [{"exists": False}, {"is_blocked": True}, {"is_askable": False}, {"is_blocked": True, "is_askable": False}]
    seen = {outcome(lambda values=values: ask(STRANGERS._replace(**values))) for values in hidden}  # type: ignore[misc]
    assert len(seen) == 1 and next(iter(seen))[0] is ErrorCode.NOT_ALLOWED


@given(
    st.sampled_from(REQUEST_STATES),
    st.booleans(),
    st.booleans(),
    st.integers(0, 6),
)
def test_in_the_askers_eyes_a_request_stays_open_whatever_became_of_it(state: str, is_blocked: bool, is_askable: bool, many: int) -> None:
    view = STRANGERS._replace(outgoing=state, is_blocked=is_blocked, is_askable=is_askable, others_requests=many, own_requests=9)
    changes = ask(view)
    is_asked_anew = state == "refused" and is_askable and not is_blocked and many < LIMITS.requests
    assert changes == ((Requested("please"),) if is_asked_anew else ())


def test_who_is_blocked_is_neither_asked_nor_accepted() -> None:
    for view in (STRANGERS._replace(blocks=True), STRANGERS._replace(blocks=True, incoming="open")):
        assert "block" in refusal(lambda view=view: ask(view)).text  # type: ignore[misc]
    assert code(lambda: rules.accept(STRANGERS._replace(blocks=True, incoming="open"), 0, LIMITS)) is ErrorCode.NOT_ALLOWED


def test_a_block_does_not_keep_the_blocked_from_accepting_what_it_was_asked() -> None:
    assert rules.accept(STRANGERS._replace(is_blocked=True, incoming="open"), 0, LIMITS) == (Befriended(0),)


def test_open_requests_are_bounded_on_both_sides() -> None:
    assert code(lambda: ask(STRANGERS._replace(own_requests=4))) is ErrorCode.LIMIT_REACHED
    assert code(lambda: ask(STRANGERS._replace(others_requests=4))) is ErrorCode.LIMIT_REACHED
    assert ask(STRANGERS._replace(own_requests=3, others_requests=3)) == (Requested("please"),)


def test_words_have_no_control_characters() -> None:
    assert rules.ask(STRANGERS, "two\nlines", LIMITS) == (Requested("two\nlines"),)
    assert code(lambda: rules.ask(STRANGERS, "a\x07", LIMITS)) is ErrorCode.BAD_COMMAND


# ---------------------------------------------------------------------- answering


@pytest.mark.parametrize("state", ["open", "ignored"])
def test_a_request_is_accepted_into_a_group_that_is_there(state: str) -> None:
    view = STRANGERS._replace(incoming=state)
    assert rules.accept(view, 5, LIMITS) == (Befriended(5),)
    assert refusal(lambda: rules.accept(view, 6, LIMITS)).field == "group"
    assert rules.accept(view._replace(groups={}), 0, LIMITS) == (Befriended(0),)


@pytest.mark.parametrize("state", [None, "refused"])
def test_what_is_not_asked_or_was_refused_is_not_accepted(state: str | None) -> None:
    view = STRANGERS._replace(incoming=state)
    assert outcome(lambda: rules.accept(view, 0, LIMITS)) == outcome(lambda: rules.accept(view._replace(exists=False), 0, LIMITS))


def test_friends_are_bounded_on_both_sides() -> None:
    asked = STRANGERS._replace(incoming="open")
    for view in (asked._replace(friends=10), asked._replace(others_friends=10)):
        assert code(lambda view=view: rules.accept(view, 0, LIMITS)) is ErrorCode.LIMIT_REACHED  # type: ignore[misc]
        assert code(lambda view=view: ask(view)) is ErrorCode.LIMIT_REACHED  # type: ignore[misc]


def test_answers_to_what_was_not_asked_change_nothing() -> None:
    views = {state: STRANGERS._replace(incoming=state) for state in STATES}
    answers = {state: (rules.refuse(view), rules.ignore(view)) for state, view in views.items()}
    refused, ignored = (Answered("refused"),), (Answered("ignored"),)
    assert answers == {None: ((), ()), "open": (refused, ignored), "ignored": (refused, ()), "refused": ((), ())}


def test_what_is_so_already_changes_nothing() -> None:
    assert rules.withdraw(STRANGERS) == rules.remove(STRANGERS) == rules.unblock(STRANGERS) == ()
    assert rules.accept(FRIENDS, 0, LIMITS) == rules.remark(FRIENDS, "") == rules.move(FRIENDS, 0) == ()
    assert rules.block(STRANGERS._replace(blocks=True), LIMITS) == ()
    assert rules.withdraw(STRANGERS._replace(outgoing="refused")) == (Withdrawn(),)
    assert rules.remove(FRIENDS) == (Unfriended(),)


# ---------------------------------------------------------------------- keeping


def test_a_friend_is_called_and_moved_and_nobody_else() -> None:
    assert rules.remark(FRIENDS, "Bobby") == (Remarked("Bobby"),)
    assert rules.move(FRIENDS, 5) == (Moved(5),)
    assert code(lambda: rules.remark(FRIENDS, "two\nlines")) is ErrorCode.BAD_COMMAND
    assert refusal(lambda: rules.move(FRIENDS, 6)).field == "group"
    for view in (STRANGERS, STRANGERS._replace(exists=False)):
        assert code(lambda view=view: rules.remark(view, "x")) is ErrorCode.NOT_ALLOWED  # type: ignore[misc]
        assert code(lambda view=view: rules.move(view, 0)) is ErrorCode.NOT_ALLOWED  # type: ignore[misc]


def test_a_block_leaves_all_that_the_other_sees_as_it_is() -> None:
    assert rules.block(FRIENDS._replace(outgoing="open"), LIMITS) == (Blocked(),)
    assert rules.block(STRANGERS._replace(incoming="open"), LIMITS) == (Blocked(), Answered("refused"))
    assert rules.unblock(STRANGERS._replace(blocks=True)) == (Unblocked(),)
    assert code(lambda: rules.block(STRANGERS._replace(exists=False), LIMITS)) is ErrorCode.NOT_ALLOWED
    assert code(lambda: rules.block(STRANGERS._replace(blocked=3), LIMITS)) is ErrorCode.LIMIT_REACHED


def test_groups_are_added_changed_and_removed_but_for_group_0() -> None:
    assert rules.add_group(STRANGERS, " work ", 1, LIMITS) == (GroupAdded("work", 1),)
    assert rules.add_group(STRANGERS, "g5", 5, LIMITS) == (), "a repeat"
    full = STRANGERS._replace(groups={**GROUPS, 6: FriendGroup(6, "six", 0, b"")})
    assert code(lambda: rules.add_group(full, "more", 1, LIMITS)) is ErrorCode.LIMIT_REACHED
    assert rules.change_group(STRANGERS, 5, None, 9) == (GroupAltered(5, "g5", 9),)
    assert rules.change_group(STRANGERS, 5, "new", None) == (GroupAltered(5, "new", 5),)
    assert rules.change_group(STRANGERS, 5, "g5", 5) == ()
    assert rules.remove_group(STRANGERS, 5) == (GroupRemoved(5),) and rules.remove_group(STRANGERS, 6) == ()
    for decide in (
        lambda: rules.change_group(STRANGERS, 0, "x", None),
        lambda: rules.change_group(STRANGERS, 6, None, 1),
        lambda: rules.remove_group(STRANGERS, 0),
    ):
        assert code(decide) is ErrorCode.NOT_ALLOWED
    assert code(lambda: rules.add_group(STRANGERS, "\n", 0, LIMITS)) is ErrorCode.NAME_INVALID


# ---------------------------------------------------------------------- telling


def told(view: View, *changes: Change, **versions: int) -> Any:
    """(pushes, may_hear, is_blocked)."""
    news = news_of(ME << 6, Outcome(view, changes, {ME if who == "me" else OTHER: version for who, version in versions.items()}))
    return [(user, push.event, push.version, push.user) for user, push in news.pushes], news.may_hear, news.is_blocked


def test_nothing_is_told_of_a_refusal_an_ignoring_or_a_block() -> None:
    asked = STRANGERS._replace(incoming="open")
    assert told(asked, Answered("refused")) == told(asked, Answered("ignored")) == ([], None, None)
    assert told(asked, Blocked(), Answered("refused")) == ([], None, True)
    assert told(STRANGERS._replace(blocks=True), Unblocked()) == ([], None, False)
    assert told(STRANGERS._replace(outgoing="refused"), Withdrawn()) == ([], None, None)


def test_who_is_asked_or_accepted_or_asked_no_more_is_told() -> None:
    assert told(STRANGERS, Requested("x")) == ([(OTHER, "asked", 7, ME)], None, None)
    assert told(STRANGERS._replace(outgoing="open"), Withdrawn()) == ([(OTHER, "withdrawn", 7, ME)], None, None)
    lists = [(ME, "list", 4, 0), (OTHER, "list", 8, 0)]
    assert told(STRANGERS, Befriended(0), me=4, other=8) == ([*lists, (OTHER, "accepted", 8, ME)], True, None)
    assert told(FRIENDS, Unfriended(), me=4, other=8) == (lists, False, None)
    assert told(FRIENDS, Remarked("x"), me=4) == (lists[:1], None, None)


def test_friends_hear_of_each_other_unless_one_blocks_the_other() -> None:
    assert told(FRIENDS, Blocked()) == ([], False, True)
    for is_blocked in (False, True):
        assert told(FRIENDS._replace(blocks=True, is_blocked=is_blocked), Unblocked()) == ([], not is_blocked, False)
        assert told(STRANGERS._replace(is_blocked=is_blocked), Befriended(0), me=1, other=1)[1] is not is_blocked


# ---------------------------------------------------------------------- beginnings and budgets


@pytest.mark.parametrize(
    ("text", "beginning"), [("Ali", "ali"), ("a.b.", "a.b."), ("a..", None), ("a b", None), ("", None), ("-", None), ("ＡＢＣ", "abc")]
)
def test_the_beginning_of_a_name_is_folded_like_a_name(text: str, beginning: str | None) -> None:
    assert parse_beginning(text) == beginning


def test_a_budget_is_a_minutes_worth_at_once_and_then_its_rate() -> None:
    budgets = Budgets(30)
    assert all(not budgets.spend(1, 100.0) for _ in range(30))
    assert budgets.spend(1, 100.0) == pytest.approx(2.0) and not budgets.spend(2, 100.0)
    assert budgets.spend(1, 101.0) == pytest.approx(1.0) and not budgets.spend(1, 102.5)
    assert all(not budgets.spend(1, 200.0) for _ in range(30)) and budgets.spend(1, 200.0)


def test_budgets_that_are_whole_again_are_forgotten() -> None:
    budgets = Budgets(60, remembered=100)
    for user in range(1000):
        budgets.spend(user, float(user))
    assert len(budgets._spent) <= 101


class Tidied(Budgets):
    """Counts how often everybody is looked at."""

    passes = 0

    def _forget(self, now: float) -> None:
        self.passes += 1
        super()._forget(now)


def test_when_many_spend_at_once_not_each_of_them_looks_at_all_others() -> None:
    budgets = Tidied(60, remembered=100)
    for user in range(10_000):
        budgets.spend(user, 1000.0)
    assert budgets.passes <= 8
    budgets.spend(0, 2000.0)
    for user in range(20_000, 30_000):
        budgets.spend(user, 2000.0 + user)
    assert len(budgets._spent) <= 101
