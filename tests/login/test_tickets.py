"""Tickets: keys that rotate, tickets that end, renewals and revocations, with a store that is a list."""

import dataclasses
from typing import NamedTuple

import pytest

from myim_server.refusals import RequestRefused, SessionRefused, StoreUnavailable
from myim_server.tickets import HOUR, SECOND, SPREADING, Generations, KeyWrap, Tickets
from myim_wire.errors import ErrorCode
from myim_wire.tokens import TicketKey, key_id_of, seal_ticket

DAY = 24 * HOUR
START = 1_800_000_000 * SECOND
SECRET = bytes(range(32))
TERMINAL_KEY = b"t" * 32


class Row(NamedTuple):
    key_id: int
    wrapped: bytes
    created: int


class KeyRows:
    """The store's ticket keys as a list, with a count of reads and a switch that takes the store away."""

    def __init__(self):
        self.rows = []
        self.reads = 0
        self.is_away = False
        self._last = 0

    def keys(self):
        self.reads += 1
        if self.is_away:
            raise StoreUnavailable("away")
        return list(self.rows)

    def add(self, wrapped, created):
        self._last += 1
        self.rows.append(Row(self._last, wrapped, created))
        return self._last

    def drop(self, key_ids):
        self.rows = [row for row in self.rows if row.key_id not in set(key_ids)]


class Clock:
    """Wall and monotonic time that move together until one is stepped."""

    def __init__(self):
        self.wall = START
        self.steady = 5_000.0

    def __call__(self):
        return self.wall

    def monotonic(self):
        return self.steady

    def pass_by(self, micros):
        self.wall += micros
        self.steady += micros / SECOND


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def rows():
    return KeyRows()


def make(rows, clock, secret=SECRET):
    return Tickets(rows, secret, clock, monotonic=clock.monotonic)


@pytest.fixture
def tickets(rows, clock):
    made = make(rows, clock)
    made.rotate()
    return made


def issue(tickets, clock, generations=(3, 9)):
    return tickets.issue(77, 5, TERMINAL_KEY, generations, clock())


def refusal(tickets, token):
    with pytest.raises(SessionRefused) as refused:
        tickets.open(token)
    return refused.value.code


def test_a_ticket_opens_to_what_was_issued(tickets, clock):
    issued = issue(tickets, clock)
    ticket = tickets.open(issued.token)
    assert dataclasses.asdict(ticket) == {
        "user": 77, "slot": 5, "terminal_public": TERMINAL_KEY, "session_key": issued.session_key, "user_generation": 3,
        "terminal_generation": 9, "authenticated": START, "issued": START, "expires": START + DAY,
    }  # fmt: skip
    assert (issued.issued, issued.expires) == (START, START + DAY)


def test_any_center_opens_it_any_number_of_times_until_it_expires(tickets, rows, clock):
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
def test_a_token_with_any_byte_changed_does_not_open(tickets, clock, position):
    token = bytearray(issue(tickets, clock).token)
    token[position] ^= 1
    clock.pass_by(2 * SECOND)
    assert refusal(tickets, bytes(token)) is ErrorCode.TOKEN_INVALID


@pytest.mark.parametrize("token", [b"", b"\x01", bytes(138), b"x" * 137, b"x" * 4000])
def test_what_is_no_token_does_not_open(tickets, token):
    assert refusal(tickets, token) is ErrorCode.TOKEN_INVALID


def test_another_cluster_secret_opens_nothing(tickets, rows, clock):
    stranger = make(rows, clock, secret=bytes(32))
    assert refusal(stranger, issue(tickets, clock).token) is ErrorCode.TOKEN_INVALID


def test_a_wrapped_key_opens_only_as_old_as_it_was_made():
    wrap = KeyWrap(SECRET)
    wrapped = wrap.wrap(b"k" * 32, START)
    assert wrap.unwrap(wrapped, START) == b"k" * 32
    assert wrap.unwrap(wrapped, START + 1) is None
    assert wrap.unwrap(wrapped[:-1], START) is None
    assert wrap.unwrap(b"", START) is None
    assert b"k" * 32 not in wrapped


def test_keys_rotate_daily_and_two_are_accepted(tickets, rows, clock):
    for _ in range(5):
        clock.pass_by(DAY + SECOND)
        tickets.rotate()
        tickets.rotate()
    clock.pass_by(2 * SPREADING)
    tickets.rotate()
    assert [row.key_id for row in rows.rows] == [5, 6]


def test_every_ticket_holds_its_24_hours_whenever_it_was_issued(tickets, rows, clock):
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


def test_a_new_key_seals_only_after_every_center_had_time_to_read_it(tickets, clock):
    clock.pass_by(DAY)
    tickets.rotate()
    assert key_id_of(issue(tickets, clock).token) == 1
    clock.pass_by(SPREADING)
    assert key_id_of(issue(tickets, clock).token) == 2


def test_nodes_that_race_to_rotate_keep_opening_each_others_tickets(tickets, rows, clock):
    other = make(rows, clock)
    other.rotate()
    clock.pass_by(DAY)
    rows.add(KeyWrap(SECRET).wrap(b"r" * 32, clock()), clock())
    for node in (tickets, other):
        node.rotate()
    clock.pass_by(SPREADING)
    for issuer, opener in ((tickets, other), (other, tickets)):
        opener.open(issue(issuer, clock).token)


def test_an_unknown_key_is_asked_for_at_most_once_a_second(tickets, rows, clock):
    strange = seal_ticket(tickets.open(issue(tickets, clock).token), TicketKey(99, bytes(32)), bytes(12))
    clock.pass_by(SECOND)
    before = rows.reads
    for _ in range(50):
        assert refusal(tickets, strange) is ErrorCode.TOKEN_INVALID
    assert rows.reads == before + 1
    clock.pass_by(SECOND)
    assert refusal(tickets, strange) is ErrorCode.TOKEN_INVALID
    assert rows.reads == before + 2


def test_while_the_store_is_away_known_keys_go_on_and_unknown_ones_are_told_busy(tickets, rows, clock):
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


def test_after_compromised_keys_are_dropped_no_ticket_issued_before_opens_anywhere(tickets, rows, clock):
    other = make(rows, clock)
    issued = issue(tickets, clock)
    other.open(issued.token)
    make(rows, clock).drop_all()
    assert other.refresh()
    assert not other.refresh()
    assert refusal(other, issued.token) is ErrorCode.TOKEN_INVALID
    other.open(issue(other, clock).token)


def test_a_refresh_after_an_ordinary_rotation_raises_no_alarm(tickets, rows, clock):
    other = make(rows, clock)
    other.rotate()
    for _ in range(4):
        clock.pass_by(DAY + HOUR)
        tickets.rotate()
        assert not other.refresh()


@pytest.mark.parametrize("back", [HOUR, DAY])
def test_a_wall_clock_set_back_revives_no_expired_ticket(tickets, clock, back):
    issued = issue(tickets, clock)
    clock.pass_by(DAY + SECOND)
    clock.wall -= back
    assert refusal(tickets, issued.token) is ErrorCode.TOKEN_EXPIRED


def test_a_ticket_from_the_future_is_refused_beyond_what_clocks_may_differ(tickets, clock):
    near = tickets.issue(1, 0, TERMINAL_KEY, (1, 1), clock() + 59 * SECOND)
    far = tickets.issue(1, 0, TERMINAL_KEY, (1, 1), clock() + HOUR)
    tickets.open(near.token)
    assert refusal(tickets, far.token) is ErrorCode.TOKEN_EXPIRED


def test_a_renewed_ticket_keeps_all_but_session_key_and_times(tickets, clock):
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
def test_renewal_ends_30_days_after_the_password_or_when_a_generation_was_raised(tickets, clock, generations, days, is_renewed):
    ticket = tickets.open(issue(tickets, clock).token)
    now = clock() + int(days * DAY)
    if is_renewed:
        tickets.renew(ticket, generations, now)
        return
    with pytest.raises(RequestRefused) as refused:
        tickets.renew(ticket, generations, now)
    assert refused.value.code is ErrorCode.RENEWAL_REFUSED


class Raise(NamedTuple):
    user_id: int
    slot: int | None
    generation: int


class Terminals:
    """The store's generations as a dict with a log, of which only the last `kept` are there."""

    def __init__(self):
        self.current = {(77, 5): (3, 9), (77, 6): (3, 1)}
        self.log = []
        self.kept = 1_000
        self.look_ups = 0
        self.is_away = False

    def raise_terminal(self, user, slot):
        of_user, of_terminal = self.current[user, slot]
        self.current[user, slot] = (of_user, of_terminal + 1)
        self.log.append(Raise(user, slot, of_terminal + 1))

    def raise_user(self, user):
        new = 1 + max(of_user for (owner, _), (of_user, _) in self.current.items() if owner == user)
        self.current = {pair: (new if pair[0] == user else old[0], old[1]) for pair, old in self.current.items()}
        self.log.append(Raise(user, None, new))

    def change_number(self):
        self._be_there()
        return len(self.log)

    def raised_since(self, number):
        self._be_there()
        first = max(number, len(self.log) - self.kept)
        page = self.log[first : first + 3]
        return page, first + len(page) if page else number

    def generations(self, pairs):
        self._be_there()
        self.look_ups += 1
        return {pair: self.current[pair] for pair in pairs if pair in self.current}

    def _be_there(self):
        if self.is_away:
            raise StoreUnavailable("away")


@pytest.fixture
def closed():
    return []


@pytest.fixture
def terminals():
    return Terminals()


@pytest.fixture
def watch(terminals, closed):
    made = Generations(terminals, lambda *raised: closed.append(raised))
    made.poll(0.0)
    return made


def check(watch, tickets, clock, generations, now=0.0, slot=5):
    ticket = tickets.open(tickets.issue(77, slot, TERMINAL_KEY, generations, clock()).token)
    try:
        watch.check(ticket, now)
    except SessionRefused as refused:
        return refused.code
    return None


def test_a_raised_generation_of_a_terminal_refuses_its_older_tickets_and_closes_its_sessions(watch, terminals, closed, tickets, clock):
    assert check(watch, tickets, clock, (3, 9)) is None
    terminals.raise_terminal(77, 5)
    watch.poll(1.0)
    assert closed == [(77, 5, 10)]
    assert check(watch, tickets, clock, (3, 9)) is ErrorCode.TOKEN_REVOKED
    assert check(watch, tickets, clock, (3, 10)) is None
    assert check(watch, tickets, clock, (3, 1), slot=6) is None


def test_a_raised_generation_of_a_user_refuses_and_closes_all_terminals(watch, terminals, closed, tickets, clock):
    assert check(watch, tickets, clock, (3, 9)) is None
    terminals.raise_user(77)
    watch.poll(1.0)
    assert closed == [(77, None, 4)]
    assert check(watch, tickets, clock, (3, 9)) is ErrorCode.TOKEN_REVOKED
    assert check(watch, tickets, clock, (3, 1), slot=6) is ErrorCode.TOKEN_REVOKED
    assert check(watch, tickets, clock, (4, 1), slot=6) is None


def test_what_was_raised_before_the_center_started_refuses_tickets_too(terminals, tickets, clock):
    for _ in range(5):
        terminals.raise_terminal(77, 5)
    late = Generations(terminals, lambda *raised: None)
    late.poll(0.0)
    assert check(late, tickets, clock, (3, 13)) is ErrorCode.TOKEN_REVOKED
    assert check(late, tickets, clock, (3, 14)) is None


def test_a_terminal_the_store_does_not_know_is_refused(watch, tickets, clock):
    assert check(watch, tickets, clock, (3, 9), slot=40) is ErrorCode.TOKEN_REVOKED


def test_a_ticket_fresh_from_the_login_center_is_taken_before_the_log_tells_of_it_and_closes_what_is_older(watch, closed, tickets, clock):
    assert check(watch, tickets, clock, (3, 9)) is None
    assert check(watch, tickets, clock, (3, 10)) is None
    assert closed == [(77, 5, 10)]
    assert check(watch, tickets, clock, (3, 9)) is ErrorCode.TOKEN_REVOKED


def test_a_raise_told_by_a_peer_and_by_the_store_closes_once(watch, terminals, closed, tickets, clock):
    assert check(watch, tickets, clock, (3, 9)) is None
    watch.learn(77, 5, 10)
    terminals.raise_terminal(77, 5)
    watch.poll(1.0)
    watch.learn(77, 5, 8)
    assert closed == [(77, 5, 10)]


def test_a_terminal_is_looked_up_once(watch, terminals, tickets, clock):
    for _ in range(20):
        assert check(watch, tickets, clock, (3, 9)) is None
    assert terminals.look_ups == 1


def test_a_long_log_is_read_to_its_end_in_one_poll(watch, terminals, closed):
    for _ in range(10):
        terminals.raise_terminal(77, 6)
    watch.poll(1.0)
    assert closed[-1] == (77, 6, 11)


def test_a_center_that_missed_part_of_the_log_looks_up_again_what_it_knows(watch, terminals, closed, tickets, clock):
    assert check(watch, tickets, clock, (3, 9)) is None
    terminals.raise_terminal(77, 5)
    terminals.kept = 4
    for _ in range(10):
        terminals.raise_terminal(77, 6)
    watch.poll(1.0)
    assert (77, 5, 10) in closed
    assert check(watch, tickets, clock, (3, 9)) is ErrorCode.TOKEN_REVOKED


def test_a_center_that_heard_nothing_for_60_seconds_admits_nobody_until_it_hears_again(watch, terminals, tickets, clock):
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


def test_what_is_known_is_bounded_and_looked_up_again_after_it_was_forgotten(terminals, tickets, clock):
    small = Generations(terminals, lambda *raised: None, most_known=20)
    small.poll(0.0)
    assert check(small, tickets, clock, (3, 9)) is None
    for user in range(1_000, 1_100):
        small.learn(user, 0, 1)
    assert len(small._known) + len(small._known_before) <= 20
    terminals.current[77, 5] = (3, 10)
    assert check(small, tickets, clock, (3, 9)) is ErrorCode.TOKEN_REVOKED
