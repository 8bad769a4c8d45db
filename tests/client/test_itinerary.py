"""Where to connect next and what an end means, pure."""

from __future__ import annotations

import pytest

from myim_client.itinerary import LONGEST_ROUND_SECONDS, Ending, Itinerary, meaning_of
from myim_wire.contents import Server
from myim_wire.errors import ErrorCode


def server(port: int, priority: int = 0, is_draining: bool = False) -> Server:
    return Server(port, "center", "h", port, priority, 0, is_draining)


def walk(itinerary: Itinerary, count: int) -> list[int]:
    ports = []
    for _ in range(count):
        at = itinerary.next()
        ports.append(at.port if at else 0)
        itinerary.failed()
    return ports


def test_lower_priority_comes_first_and_draining_servers_last_and_the_list_goes_round() -> None:
    itinerary = Itinerary([server(1, 9), server(2, 1, is_draining=True), server(3, 1), server(4, 1)])
    assert walk(itinerary, 6) == [3, 4, 1, 2, 3, 4]


def test_no_server_is_no_crash() -> None:
    assert walk(Itinerary([]), 3) == [0, 0, 0]


def test_a_new_list_goes_on_from_the_server_in_use() -> None:
    itinerary = Itinerary([server(1), server(2)])
    itinerary.failed()
    itinerary.replace([server(5), server(2), server(3)])
    assert walk(itinerary, 2) == [2, 3]
    itinerary.replace([server(7)])
    assert walk(itinerary, 1) == [7]


def test_the_first_try_comes_almost_at_once_and_rounds_wait_longer_up_to_a_bound() -> None:
    itinerary = Itinerary([server(1)])
    delays = []
    for _ in range(12):
        delays.append(itinerary.delay(1.0))
        itinerary.failed()
    assert delays[0] <= 0.1
    assert delays == sorted(delays)
    assert delays[-1] == LONGEST_ROUND_SECONDS
    itinerary.lasted(0.5)
    assert itinerary.delay(1.0) == LONGEST_ROUND_SECONDS
    itinerary.lasted(60.0)
    assert itinerary.delay(1.0) <= 0.1


def test_chance_spreads_the_delays() -> None:
    itinerary = Itinerary([server(1)])
    for _ in range(10):
        itinerary.failed()
    assert itinerary.delay(0.0) == itinerary.delay(1.0) / 2


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
