"""Where to connect next and what an end means, pure."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from myim_client.itinerary import LONGEST_ROUND_SECONDS, UNDISTURBED_SECONDS, Ending, Itinerary, meaning_of
from myim_wire.contents import Server
from myim_wire.errors import ErrorCode


def server(port: int, priority: int = 0, is_draining: bool = False, load: int = 0, node: int = 0, role: str = "center") -> Server:
    return Server(node or port, "endpoint" if role == "endpoint" else "center", "h", port, priority, load, is_draining)


def certain(*servers: Server) -> Itinerary:
    """An itinerary whose chance is always 1; give equals no equal priority."""
    return Itinerary(servers, lambda: 1.0)


def step(itinerary: Itinerary, is_refused: bool = False) -> int:
    """Try a server in vain; which it was."""
    at = itinerary.next()
    itinerary.failed(is_refused)
    return at.port if at else 0


def walk(itinerary: Itinerary, count: int) -> list[int]:
    return [step(itinerary) for _ in range(count)]


def test_lower_priority_comes_first_and_draining_servers_last_and_the_list_goes_round() -> None:
    itinerary = certain(server(1, 9), server(2, 1, is_draining=True), server(3, 1), server(4, 2))
    assert walk(itinerary, 6) == [3, 4, 1, 2, 3, 4]


def test_endpoints_and_centers_are_tried_alike() -> None:
    assert walk(certain(server(1, 9), server(2, 5, role="endpoint"), server(3, 7)), 3) == [2, 3, 1]


def test_no_server_is_no_crash() -> None:
    assert walk(certain(), 3) == [0, 0, 0]


def test_a_new_list_goes_on_with_the_best_that_was_not_tried_yet() -> None:
    itinerary = certain(server(1, 1), server(2, 2))
    walk(itinerary, 1)
    itinerary.replace([server(5, 5), server(1, 1), server(3, 3)])
    assert walk(itinerary, 3) == [3, 5, 1]
    itinerary.replace([server(7)])
    assert walk(itinerary, 2) == [7, 7]


def test_after_a_good_session_the_best_other_server_is_next() -> None:
    itinerary = certain(server(1, 1), server(2, 2), server(3, 3))
    walk(itinerary, 1)
    itinerary.next()
    itinerary.lasted(60.0)
    itinerary.failed()
    assert walk(itinerary, 3) == [1, 3, 1]


def test_a_server_that_said_it_drains_comes_last_until_a_new_list_says_otherwise() -> None:
    itinerary = certain(server(1, 1), server(2, 2))
    itinerary.next()
    itinerary.lasted(60.0)
    itinerary.drained()
    itinerary.failed()
    assert itinerary.delay() <= 0.1
    assert walk(itinerary, 3) == [2, 2, 1]
    itinerary.replace([server(1, 1), server(2, 2), server(3, 3)])
    assert walk(itinerary, 1) == [1]


def test_several_nodes_behind_one_address_are_one_entry_that_drains_only_if_all_do() -> None:
    workers = [server(1, 5, is_draining=True, node=11), server(1, 5, load=40, node=12), server(1, 5, load=20, node=13)]
    itinerary = certain(*workers, server(2, 9))
    assert walk(itinerary, 3) == [1, 2, 1]
    best = Itinerary([*workers, server(2, 9)], random.Random(3).random).next()
    assert best is not None and best.node == 13
    assert walk(certain(server(1, is_draining=True), server(1, is_draining=True, node=9), server(2, 9)), 3) == [2, 1, 2]


def test_terminals_spread_over_equals_in_proportion_to_what_is_left_of_their_load() -> None:
    chance = random.Random(7).random
    firsts: Counter[int] = Counter()
    for _ in range(4000):
        firsts[walk(Itinerary([server(1, load=75), server(2, load=50), server(3, load=25), server(4, 9)], chance), 1)[0]] += 1
    assert firsts[4] == 0
    for port, share in ((1, 1 / 6), (2, 2 / 6), (3, 3 / 6)):
        assert abs(firsts[port] / 4000 - share) < 0.03


def test_a_full_server_is_still_tried() -> None:
    assert sorted(walk(certain(server(1, load=100), server(2, load=255)), 2)) == [1, 2]


def test_a_terminal_keeps_its_order_when_only_loads_change_a_little() -> None:
    itinerary = Itinerary([server(port) for port in range(1, 9)], random.Random(1).random)
    order = walk(itinerary, 8)
    itinerary.replace([server(port, load=1) for port in range(1, 9)])
    assert walk(itinerary, 8) == order


def test_the_first_try_comes_almost_at_once_and_rounds_wait_longer_up_to_a_bound() -> None:
    itinerary = certain(server(1))
    delays = []
    for _ in range(12):
        delays.append(itinerary.delay())
        step(itinerary)
    assert delays[0] <= 0.1
    assert delays == sorted(delays)
    assert delays[-1] == LONGEST_ROUND_SECONDS
    itinerary.lasted(0.5)
    assert itinerary.delay() == LONGEST_ROUND_SECONDS
    itinerary.lasted(60.0)
    assert itinerary.delay() <= 0.1


def test_who_refuses_the_connection_costs_no_wait_but_a_whole_round_of_them_does() -> None:
    itinerary = certain(server(1, 1), server(2, 2), server(3, 3))
    delays = []
    for _ in range(6):
        step(itinerary, is_refused=True)
        delays.append(itinerary.delay())
    assert [delay <= 0.1 for delay in delays] == [True, True, False, True, True, False]
    step(itinerary, is_refused=False)
    assert itinerary.delay() > 0.1


def test_the_end_of_a_round_is_told() -> None:
    itinerary = certain(server(1, 1), server(2, 2))
    ends = []
    for _ in range(4):
        itinerary.next()
        ends.append(itinerary.failed())
    assert ends == [False, True, False, True]


def test_who_is_sent_away_again_and_again_waits_longer_and_longer_until_a_session_lasted() -> None:
    itinerary = certain(server(1))
    delays = []
    for _ in range(7):
        itinerary.next()
        itinerary.lasted(100.0)
        itinerary.sent_away()
        itinerary.failed()
        delays.append(itinerary.delay())
    assert delays == [30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0]
    step(itinerary)
    assert itinerary.delay() < 1.0, "only the try right after it waits so long"
    itinerary.lasted(UNDISTURBED_SECONDS)
    itinerary.sent_away()
    assert itinerary.delay() == 30.0


def test_chance_spreads_the_delays() -> None:
    chance = 1.0
    itinerary = Itinerary([server(1)], lambda: chance)
    walk(itinerary, 10)
    longest = itinerary.delay()
    chance = 0.0
    assert itinerary.delay() == longest / 2
    itinerary.sent_away()
    assert itinerary.delay() == 15.0


@pytest.mark.parametrize(
    ("code", "is_authentic", "ending"),
    [
        (ErrorCode.REPLACED, True, Ending.STOP),
        (ErrorCode.REPLACED, False, Ending.AGAIN),  # an error flight proves nothing [P-1.4]
        (ErrorCode.TOKEN_EXPIRED, False, Ending.LOG_IN),
        (ErrorCode.TOKEN_REVOKED, True, Ending.LOG_IN),
        (ErrorCode.TOKEN_INVALID, False, Ending.LOG_IN),
        (ErrorCode.STALE_CONNECTION, False, Ending.RAISE_NUMBER),
        (ErrorCode.DRAINING, True, Ending.AGAIN),
        (ErrorCode.SHUTDOWN, True, Ending.AGAIN),
        (ErrorCode.BAD_RECORD, True, Ending.AGAIN),
        (0, True, Ending.AGAIN),
    ],
)
def test_an_end_means(code: int, is_authentic: bool, ending: Ending) -> None:
    assert meaning_of(code, is_authentic) is ending
