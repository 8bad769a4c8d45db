"""Tickets: keys that rotate, tickets that end, and renewals, with a store that is a list."""

import dataclasses

import pytest

from myim_server.refusals import RequestRefused, SessionRefused
from myim_server.tickets import HOUR, SECOND, SPREADING, KeyWrap, Tickets
from myim_wire.contents import RenewedToken
from myim_wire.errors import ErrorCode
from myim_wire.tokens import TicketKey, key_id_of, seal_ticket
from tests.login.ticket_keys import DAY, SECRET, START, TERMINAL_KEY, Clock, KeyRows, make


def issue(tickets: Tickets, clock: Clock, generations: tuple[int, int] = (3, 9)) -> RenewedToken:
    return tickets.issue(77, 5, TERMINAL_KEY, generations, clock())


def refusal(tickets: Tickets, token: bytes) -> ErrorCode:
    with pytest.raises(SessionRefused) as refused:
        tickets.open(token)
    return refused.value.code


def test_a_ticket_opens_to_what_was_issued(tickets: Tickets, clock: Clock) -> None:
    issued = issue(tickets, clock)
    ticket = tickets.open(issued.token)
    assert dataclasses.asdict(ticket) == {
        "user": 77, "slot": 5, "terminal_public": TERMINAL_KEY, "session_key": issued.session_key, "user_generation": 3,
        "terminal_generation": 9, "authenticated": START, "issued": START, "expires": START + DAY,
    }  # fmt: skip
    assert (issued.issued, issued.expires) == (START, START + DAY)


def test_any_center_opens_it_any_number_of_times_until_it_expires(tickets: Tickets, rows: KeyRows, clock: Clock) -> None:
    issued = issue(tickets, clock)
    other = make(rows, clock)
    for _ in range(3):
        other.open(issued.token)
    clock.pass_by(DAY - 1)
    other.open(issued.token)
    clock.pass_by(1)
    assert refusal(other, issued.token) is ErrorCode.TOKEN_EXPIRED
    assert refusal(tickets, issued.token) is ErrorCode.TOKEN_EXPIRED


@pytest.mark.parametrize("position", range(138))
def test_a_token_with_any_byte_changed_does_not_open(tickets: Tickets, clock: Clock, position: int) -> None:
    token = bytearray(issue(tickets, clock).token)
    token[position] ^= 1
    clock.pass_by(2 * SECOND)
    assert refusal(tickets, bytes(token)) is ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize("token", [b"", b"\x01", bytes(138), b"x" * 137, b"x" * 4000])
def test_what_is_no_token_does_not_open(tickets: Tickets, token: bytes) -> None:
    assert refusal(tickets, token) is ErrorCode.TOKEN_INVALID


def test_another_cluster_secret_opens_nothing(tickets: Tickets, rows: KeyRows, clock: Clock) -> None:
    stranger = make(rows, clock, secret=bytes(32))
    assert refusal(stranger, issue(tickets, clock).token) is ErrorCode.TOKEN_INVALID


def test_a_wrapped_key_opens_only_as_old_as_it_was_made() -> None:
    wrap = KeyWrap(SECRET)
    wrapped = wrap.wrap(b"k" * 32, START)
    assert wrap.unwrap(wrapped, START) == b"k" * 32
    assert wrap.unwrap(wrapped, START + 1) is None
    assert wrap.unwrap(wrapped[:-1], START) is None
    assert wrap.unwrap(b"", START) is None
    assert b"k" * 32 not in wrapped


def test_keys_rotate_daily_and_two_are_accepted(tickets: Tickets, rows: KeyRows, clock: Clock) -> None:
    for _ in range(5):
        clock.pass_by(DAY + SECOND)
        tickets.rotate()
        tickets.rotate()
    clock.pass_by(2 * SPREADING)
    tickets.rotate()
    assert [row.key_id for row in rows.rows] == [5, 6]


def test_every_ticket_holds_its_24_hours_whenever_it_was_issued(tickets: Tickets, rows: KeyRows, clock: Clock) -> None:
    waiting = []
    for _ in range(5 * 24):
        waiting.append((issue(tickets, clock).token, clock() + DAY))
        clock.pass_by(HOUR)
        tickets.rotate()
        other = make(rows, clock)
        for token, expires in waiting:
            if clock() < expires:
                other.open(token)
            else:
                assert refusal(other, token) in (ErrorCode.TOKEN_EXPIRED, ErrorCode.TOKEN_INVALID)


def test_a_new_key_seals_only_after_every_center_had_time_to_read_it(tickets: Tickets, clock: Clock) -> None:
    clock.pass_by(DAY)
    tickets.rotate()
    assert key_id_of(issue(tickets, clock).token) == 1
    clock.pass_by(SPREADING)
    assert key_id_of(issue(tickets, clock).token) == 2


def test_nodes_that_race_to_rotate_keep_opening_each_others_tickets(tickets: Tickets, rows: KeyRows, clock: Clock) -> None:
    other = make(rows, clock)
    other.rotate()
    clock.pass_by(DAY)
    rows.add(KeyWrap(SECRET).wrap(b"r" * 32, clock()), clock())
    for node in (tickets, other):
        node.rotate()
    clock.pass_by(SPREADING)
    for issuer, opener in ((tickets, other), (other, tickets)):
        opener.open(issue(issuer, clock).token)


def test_an_unknown_key_is_asked_for_at_most_once_a_second(tickets: Tickets, rows: KeyRows, clock: Clock) -> None:
    strange = seal_ticket(tickets.open(issue(tickets, clock).token), TicketKey(99, bytes(32)), bytes(12))
    clock.pass_by(SECOND)
    before = rows.reads
    for _ in range(50):
        assert refusal(tickets, strange) is ErrorCode.TOKEN_INVALID
    assert rows.reads == before + 1
    clock.pass_by(SECOND)
    assert refusal(tickets, strange) is ErrorCode.TOKEN_INVALID
    assert rows.reads == before + 2


def test_while_the_store_is_away_known_keys_go_on_and_unknown_ones_are_told_busy(tickets: Tickets, rows: KeyRows, clock: Clock) -> None:
    issued = issue(tickets, clock)
    newcomer = make(rows, clock)
    rows.is_away = True
    tickets.open(issued.token)
    assert refusal(newcomer, issued.token) is ErrorCode.BUSY
    with pytest.raises(RequestRefused) as refused:
        issue(newcomer, clock)
    assert refused.value.code is ErrorCode.STORE_UNAVAILABLE
    rows.is_away = False
    clock.pass_by(SECOND)
    newcomer.open(issued.token)


def test_after_compromised_keys_are_dropped_no_ticket_issued_before_opens_anywhere(tickets: Tickets, rows: KeyRows, clock: Clock) -> None:
    other = make(rows, clock)
    issued = issue(tickets, clock)
    other.open(issued.token)
    make(rows, clock).drop_all()
    assert other.refresh()
    assert not other.refresh()
    assert refusal(other, issued.token) is ErrorCode.TOKEN_INVALID
    other.open(issue(other, clock).token)


def test_whoever_notices_dropped_keys_first_the_next_refresh_tells_of_it(tickets: Tickets, rows: KeyRows, clock: Clock) -> None:
    by_look_up, by_rotation = make(rows, clock), make(rows, clock)
    for watcher in (by_look_up, by_rotation):
        watcher.open(issue(tickets, clock).token)
    make(rows, clock).drop_all()
    clock.pass_by(2 * SECOND)
    assert refusal(by_look_up, b"\x01" + (99).to_bytes(4, "big") + bytes(133)) is ErrorCode.TOKEN_INVALID
    by_rotation.rotate()
    for watcher in (by_look_up, by_rotation):
        assert watcher.refresh()
        assert not watcher.refresh()


def test_a_refresh_after_an_ordinary_rotation_raises_no_alarm(tickets: Tickets, rows: KeyRows, clock: Clock) -> None:
    other = make(rows, clock)
    other.rotate()
    for _ in range(4):
        clock.pass_by(DAY + HOUR)
        tickets.rotate()
        assert not other.refresh()


@pytest.mark.parametrize("back", [HOUR, DAY])
def test_a_wall_clock_set_back_revives_no_expired_ticket(tickets: Tickets, clock: Clock, back: int) -> None:
    issued = issue(tickets, clock)
    clock.pass_by(DAY + SECOND)
    clock.wall -= back
    assert refusal(tickets, issued.token) is ErrorCode.TOKEN_EXPIRED


def test_a_ticket_from_the_future_is_refused_beyond_what_clocks_may_differ(tickets: Tickets, clock: Clock) -> None:
    near = tickets.issue(1, 0, TERMINAL_KEY, (1, 1), clock() + 59 * SECOND)
    far = tickets.issue(1, 0, TERMINAL_KEY, (1, 1), clock() + HOUR)
    tickets.open(near.token)
    assert refusal(tickets, far.token) is ErrorCode.TOKEN_EXPIRED


def test_a_renewed_ticket_keeps_all_but_session_key_and_times(tickets: Tickets, clock: Clock) -> None:
    old = tickets.open(issue(tickets, clock).token)
    clock.pass_by(12 * HOUR)
    renewed = tickets.renew(old, (3, 9), clock())
    new = tickets.open(renewed.token)
    assert new == dataclasses.replace(old, session_key=renewed.session_key, issued=clock(), expires=clock() + DAY)
    assert new.session_key != old.session_key


@pytest.mark.parametrize(
    ("generations", "days", "is_renewed"),
    [((3, 9), 30, True), ((3, 9), 30.001, False), ((4, 9), 1, False), ((3, 10), 1, False), ((2, 9), 1, False), ((3, 9), -1, False)],
)
def test_renewal_ends_30_days_after_the_password_or_when_a_generation_was_raised(
    tickets: Tickets, clock: Clock, generations: tuple[int, int], days: float, is_renewed: bool
) -> None:
    ticket = tickets.open(issue(tickets, clock).token)
    now = clock() + int(days * DAY)
    if is_renewed:
        tickets.renew(ticket, generations, now)
        return
    with pytest.raises(RequestRefused) as refused:
        tickets.renew(ticket, generations, now)
    assert refused.value.code is ErrorCode.RENEWAL_REFUSED
