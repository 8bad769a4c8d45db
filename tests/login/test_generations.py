"""Generations: revoked tickets are refused, their sessions closed, and a center that hears nothing admits nobody."""

from collections.abc import Iterable
from typing import NamedTuple

import pytest

from myim_server.refusals import SessionRefused, StoreUnavailable
from myim_server.tickets import Generations, Tickets
from myim_wire.errors import ErrorCode
from tests.login.ticket_keys import TERMINAL_KEY, Clock

Closings = list[tuple[int, int | None, int]]


class Raise(NamedTuple):
    user_id: int
    slot: int | None
    generation: int


class Terminals:
    """The store's generations as a dict with a log, of which only the last `kept` are there."""

    def __init__(self) -> None:
        self.current = {(77, 5): (3, 9), (77, 6): (3, 1)}
        self.log: list[Raise] = []
        self.kept = 1_000
        self.look_ups = 0
        self.is_away = False

    def raise_terminal(self, user: int, slot: int) -> None:
        of_user, of_terminal = self.current[user, slot]
        self.current[user, slot] = (of_user, of_terminal + 1)
        self.log.append(Raise(user, slot, of_terminal + 1))

    def raise_user(self, user: int) -> None:
        new = 1 + max(of_user for (owner, _), (of_user, _) in self.current.items() if owner == user)
        self.current = {pair: (new if pair[0] == user else old[0], old[1]) for pair, old in self.current.items()}
        self.log.append(Raise(user, None, new))

    def change_number(self) -> int:
        self._be_there()
        return len(self.log)

    def raised_since(self, number: int) -> tuple[list[Raise], int]:
        self._be_there()
        first = max(number, len(self.log) - self.kept)
        page = self.log[first : first + 3]
        return page, first + len(page) if page else number

    def generations(self, pairs: Iterable[tuple[int, int]]) -> dict[tuple[int, int], tuple[int, int]]:
        self._be_there()
        self.look_ups += 1
        return {pair: self.current[pair] for pair in pairs if pair in self.current}

    def _be_there(self) -> None:
        if self.is_away:
            raise StoreUnavailable("away")


@pytest.fixture
def closed() -> Closings:
    return []


@pytest.fixture
def terminals() -> Terminals:
    return Terminals()


@pytest.fixture
def watch(terminals: Terminals, closed: Closings) -> Generations:
    made = Generations(terminals, lambda *raised: closed.append(raised))
    made.poll(0.0)
    return made


def check(
    watch: Generations, tickets: Tickets, clock: Clock, generations: tuple[int, int], now: float = 0.0, slot: int = 5
) -> ErrorCode | None:
    ticket = tickets.open(tickets.issue(77, slot, TERMINAL_KEY, generations, clock()).token)
    try:
        watch.check(ticket, now)
    except SessionRefused as refused:
        return refused.code
    return None


def test_a_raised_generation_of_a_terminal_refuses_its_older_tickets_and_closes_its_sessions(
    watch: Generations, terminals: Terminals, closed: Closings, tickets: Tickets, clock: Clock
) -> None:
    assert check(watch, tickets, clock, (3, 9)) is None
    terminals.raise_terminal(77, 5)
    watch.poll(1.0)
    assert closed == [(77, 5, 10)]
    assert check(watch, tickets, clock, (3, 9)) is ErrorCode.TOKEN_REVOKED
    assert check(watch, tickets, clock, (3, 10)) is None
    assert check(watch, tickets, clock, (3, 1), slot=6) is None


def test_a_raised_generation_of_a_user_refuses_and_closes_all_terminals(
    watch: Generations, terminals: Terminals, closed: Closings, tickets: Tickets, clock: Clock
) -> None:
    assert check(watch, tickets, clock, (3, 9)) is None
    terminals.raise_user(77)
    watch.poll(1.0)
    assert closed == [(77, None, 4)]
    assert check(watch, tickets, clock, (3, 9)) is ErrorCode.TOKEN_REVOKED
    assert check(watch, tickets, clock, (3, 1), slot=6) is ErrorCode.TOKEN_REVOKED
    assert check(watch, tickets, clock, (4, 1), slot=6) is None


def test_a_look_up_for_another_terminal_does_not_hide_a_revocation_from_those_who_are_online(
    watch: Generations, terminals: Terminals, closed: Closings, tickets: Tickets, clock: Clock
) -> None:
    assert check(watch, tickets, clock, (3, 9)) is None
    terminals.raise_user(77)
    assert check(watch, tickets, clock, (4, 1), slot=6) is None  # looked up before the poll
    watch.poll(1.0)
    assert (77, None, 4) in closed


def test_what_was_raised_before_the_center_started_refuses_tickets_too(terminals: Terminals, tickets: Tickets, clock: Clock) -> None:
    for _ in range(5):
        terminals.raise_terminal(77, 5)
    late = Generations(terminals, lambda *raised: None)
    late.poll(0.0)
    assert check(late, tickets, clock, (3, 13)) is ErrorCode.TOKEN_REVOKED
    assert check(late, tickets, clock, (3, 14)) is None


def test_a_terminal_the_store_does_not_know_is_refused(watch: Generations, tickets: Tickets, clock: Clock) -> None:
    assert check(watch, tickets, clock, (3, 9), slot=40) is ErrorCode.TOKEN_REVOKED


def test_a_ticket_fresh_from_the_login_center_is_taken_before_the_log_tells_of_it_and_closes_what_is_older(
    watch: Generations, closed: Closings, tickets: Tickets, clock: Clock
) -> None:
    assert check(watch, tickets, clock, (3, 9)) is None
    assert check(watch, tickets, clock, (3, 10)) is None
    assert closed == [(77, 5, 10)]
    assert check(watch, tickets, clock, (3, 9)) is ErrorCode.TOKEN_REVOKED


def test_a_raise_told_by_a_peer_and_by_the_store_closes_what_is_older(
    watch: Generations, terminals: Terminals, closed: Closings, tickets: Tickets, clock: Clock
) -> None:
    assert check(watch, tickets, clock, (3, 9)) is None
    watch.learn(77, 5, 10)
    terminals.raise_terminal(77, 5)
    watch.poll(1.0)
    watch.learn(77, 5, 8)
    assert set(closed) == {(77, 5, 10)}


def test_a_terminal_is_looked_up_once(watch: Generations, terminals: Terminals, tickets: Tickets, clock: Clock) -> None:
    for _ in range(20):
        assert check(watch, tickets, clock, (3, 9)) is None
    assert terminals.look_ups == 1


def test_a_long_log_is_read_to_its_end_in_one_poll(watch: Generations, terminals: Terminals, closed: Closings) -> None:
    for _ in range(10):
        terminals.raise_terminal(77, 6)
    watch.poll(1.0)
    assert closed[-1] == (77, 6, 11)


def test_a_center_that_missed_part_of_the_log_looks_up_again_what_it_knows(
    watch: Generations, terminals: Terminals, closed: Closings, tickets: Tickets, clock: Clock
) -> None:
    assert check(watch, tickets, clock, (3, 9)) is None
    terminals.raise_terminal(77, 5)
    terminals.kept = 4
    for _ in range(10):
        terminals.raise_terminal(77, 6)
    watch.poll(1.0)
    assert (77, 5, 10) in closed
    assert check(watch, tickets, clock, (3, 9)) is ErrorCode.TOKEN_REVOKED


def test_a_center_that_heard_nothing_for_60_seconds_admits_nobody_until_it_hears_again(
    watch: Generations, terminals: Terminals, tickets: Tickets, clock: Clock
) -> None:
    assert check(Generations(terminals, lambda *raised: None), tickets, clock, (3, 9)) is ErrorCode.ISOLATED
    assert check(watch, tickets, clock, (3, 9), 0.0) is None
    terminals.is_away = True
    for now in (3.0, 30.0, 60.0):
        with pytest.raises(StoreUnavailable):
            watch.poll(now)
        assert check(watch, tickets, clock, (3, 9), now) is None
        assert check(watch, tickets, clock, (3, 1), now, slot=6) is ErrorCode.BUSY
    assert check(watch, tickets, clock, (3, 9), 60.1) is ErrorCode.ISOLATED
    watch.heard(61.0)
    assert check(watch, tickets, clock, (3, 9), 120.0) is None


def test_what_is_known_is_bounded_and_looked_up_again_after_it_was_forgotten(terminals: Terminals, tickets: Tickets, clock: Clock) -> None:
    small = Generations(terminals, lambda *raised: None, most_known=20)
    small.poll(0.0)
    assert check(small, tickets, clock, (3, 9)) is None
    for user in range(1_000, 1_100):
        small.learn(user, 0, 1)
    assert len(small._known) + len(small._known_before) <= 20
    terminals.current[77, 5] = (3, 10)
    assert check(small, tickets, clock, (3, 9)) is ErrorCode.TOKEN_REVOKED
