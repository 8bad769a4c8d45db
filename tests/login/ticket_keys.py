"""What the tests of tickets and generations share: ticket keys in a list, and a clock that a test moves."""

from collections.abc import Iterable
from typing import NamedTuple

from myim_server.refusals import StoreUnavailable
from myim_server.tickets import HOUR, SECOND, Tickets

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

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.reads = 0
        self.is_away = False
        self._last = 0

    def keys(self) -> list[Row]:
        self.reads += 1
        if self.is_away:
            raise StoreUnavailable("away")
        return list(self.rows)

    def add(self, wrapped: bytes, created: int) -> int:
        self._last += 1
        self.rows.append(Row(self._last, wrapped, created))
        return self._last

    def drop(self, key_ids: Iterable[int]) -> None:
        self.rows = [row for row in self.rows if row.key_id not in set(key_ids)]


class Clock:
    """Wall and monotonic time that move together until one is stepped."""

    def __init__(self) -> None:
        self.wall = START
        self.steady = 5_000.0

    def __call__(self) -> int:
        return self.wall

    def monotonic(self) -> float:
        return self.steady

    def pass_by(self, micros: int) -> None:
        self.wall += micros
        self.steady += micros / SECOND


def make(rows: KeyRows, clock: Clock, secret: bytes = SECRET) -> Tickets:
    return Tickets(rows, secret, clock, monotonic=clock.monotonic)
