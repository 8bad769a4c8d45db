"""The way of receipts to their sender, state by state: read, send, wait for the answer, delete, read on."""

from collections.abc import Callable

import pytest

from myim_server.chat.receipts import Action, DropReceipts, ReadReceipts, ReceiptDrain, SendReceipts

PAGE = [(5, 64), (6, 128)]


@pytest.fixture
def drain() -> ReceiptDrain:
    return ReceiptDrain(1, 0)


def at_rest(drain: ReceiptDrain) -> None:
    pass


def reading(drain: ReceiptDrain) -> None:
    drain.want()


def sent(drain: ReceiptDrain) -> None:
    drain.want()
    drain.page(PAGE)


def dropping(drain: ReceiptDrain) -> None:
    sent(drain)
    drain.answered(1)


def kinds(actions: list[Action]) -> list[type]:
    return [type(action) for action in actions]


def test_a_page_is_sent_deleted_when_it_is_answered_and_followed_by_the_next(drain: ReceiptDrain) -> None:
    assert drain.want() == [ReadReceipts(drain)]
    assert drain.page(PAGE) == [SendReceipts(drain, 1, PAGE)]
    assert drain.answered(1) == [DropReceipts(drain, PAGE)]
    assert drain.dropped() == [ReadReceipts(drain)]
    assert drain.page([(7, 192)]) == [SendReceipts(drain, 2, [(7, 192)])]


def test_after_an_empty_page_it_rests_until_it_is_wanted_again(drain: ReceiptDrain) -> None:
    reading(drain)
    assert drain.page([]) == []
    assert drain.want() == [ReadReceipts(drain)]


def test_what_is_wanted_during_a_read_is_read_after_it(drain: ReceiptDrain) -> None:
    reading(drain)
    assert drain.want() == []
    assert drain.page([]) == [ReadReceipts(drain)]
    assert drain.page([]) == []


@pytest.mark.parametrize("state", [reading, sent, dropping])
def test_only_one_thing_is_done_at_a_time(drain: ReceiptDrain, state: Callable[[ReceiptDrain], None]) -> None:
    state(drain)
    assert drain.want() == []


@pytest.mark.parametrize("state", [at_rest, reading, dropping])
def test_an_answer_that_nobody_waits_for_deletes_nothing(drain: ReceiptDrain, state: Callable[[ReceiptDrain], None]) -> None:
    state(drain)
    assert drain.answered(1) == drain.answered(0) == []


def test_an_answer_to_another_number_deletes_nothing_and_a_second_one_neither(drain: ReceiptDrain) -> None:
    sent(drain)
    assert drain.answered(2) == drain.answered(0) == []
    assert kinds(drain.answered(1)) == [DropReceipts]
    assert drain.answered(1) == []


@pytest.mark.parametrize("state", [reading, dropping])
def test_after_a_failure_of_the_store_it_begins_again_when_the_sweep_asks(
    drain: ReceiptDrain, state: Callable[[ReceiptDrain], None]
) -> None:
    state(drain)
    assert drain.failed() == []
    assert drain.want() == [ReadReceipts(drain)]
    assert kinds(drain.page(PAGE)) == [SendReceipts]
