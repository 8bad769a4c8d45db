"""Group commit: what comes while one flush runs goes out together in the next.

Lives here: the collecting, the bound, and who gets which result. Must not: what a flush does, or what its items mean. Why not a timer:
the work itself sets the pace. A lone item goes at once (or after the linger), and the more comes the larger the groups are.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import gevent
import structlog
from gevent.event import Event

from myim_server.refusals import RequestRefused
from myim_wire.errors import ErrorCode

T = TypeVar("T")
R = TypeVar("R")


class Batch(Generic[T, R]):
    """Collects items and flushes them in groups of at most `most`, in the order of their submission.

    `flush(items)` returns one result for each item, in their order; it may yield. At most `parallel` flushes run at once: with 1, a group
    is done before the next begins. `linger_seconds`: how long the first item after idleness waits for company. `spawn(function)` starts a
    greenlet. `bound`: how many items may wait (default 64 groups); beyond it they are refused with BUSY. `weigh(item)`: how much of `most`
    an item takes; one that takes more goes alone. Safe from any greenlet of one thread.
    """

    def __init__(
        self,
        flush: Callable[[list[T]], Sequence[R]],
        most: int,
        linger_seconds: float,
        spawn: Callable[[Callable[[], None]], Any],
        *,
        parallel: int = 1,
        bound: int | None = None,
        weigh: Callable[[T], int] | None = None,
    ) -> None:
        self._flush = flush
        self._most = most
        self._linger_seconds = linger_seconds
        self._spawn = spawn
        self._parallel = parallel
        self._bound = 64 * most if bound is None else bound
        self._weigh = weigh
        self._waiting: deque[tuple[T, Callable[[R | Exception], None]]] = deque()
        self._running = 0
        # A greenlet was started that has not looked at what waits yet.
        self._is_due = False

    def __len__(self) -> int:
        """How many items wait for a flush to begin."""
        return len(self._waiting)

    def submit(self, item: T) -> R:
        """The item's own result, when its group is flushed; yields. Raises what the flush raised, or RequestRefused(BUSY)."""
        is_done = Event()
        outcomes: list[R | Exception] = []

        def done(outcome: R | Exception) -> None:
            outcomes.append(outcome)
            is_done.set()

        self.submit_later(item, done)
        is_done.wait()
        outcome = outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def submit_later(self, item: T, done: Callable[[R | Exception], None]) -> None:
        """Calls `done` once with the item's result or the exception that took its place; does not yield.

        `done` must not yield. Over the bound it is called with RequestRefused(BUSY) before this returns.
        """
        if len(self._waiting) >= self._bound:
            done(RequestRefused(ErrorCode.BUSY, "too much is waiting for the store", retry_ms=1000))
            return
        self._waiting.append((item, done))
        if not self._is_due and self._running < self._parallel:
            self._start()

    def _start(self) -> None:
        self._is_due = True
        self._running += 1
        self._spawn(self._run)

    def _run(self) -> None:
        try:
            if self._linger_seconds and len(self._waiting) < self._most:
                gevent.sleep(self._linger_seconds)
            self._is_due = False
            while self._waiting:
                self._flush_group([self._waiting.popleft() for _ in range(self._next_size())])
        finally:
            self._running -= 1
            if self._waiting and self._running == 0:
                # Killed in the middle: nobody else would take them.
                self._start()

    def _next_size(self) -> int:
        """How many of those that wait make the next group."""
        weigh, most = self._weigh, self._most
        if weigh is None:
            return min(most, len(self._waiting))
        size = weight = 0
        for item, _ in self._waiting:
            weight += weigh(item)
            if size and weight > most:
                break
            size += 1
        return size

    def _flush_group(self, group: list[tuple[T, Callable[[R | Exception], None]]]) -> None:
        outcomes: Sequence[R | Exception]
        try:
            outcomes = self._flush([item for item, _ in group])
            if len(outcomes) != len(group):
                raise RuntimeError(f"a flush of {len(group)} items gave {len(outcomes)} results")
        except Exception as error:
            outcomes = [error] * len(group)
        except BaseException:
            self._tell(group, [RequestRefused(ErrorCode.SHUTDOWN, "the server stops")] * len(group))
            raise
        self._tell(group, outcomes)

    @staticmethod
    def _tell(group: list[tuple[T, Callable[[R | Exception], None]]], outcomes: Sequence[R | Exception]) -> None:
        for (_, done), outcome in zip(group, outcomes, strict=True):
            try:
                done(outcome)
            except Exception:
                # One listener's mistake must not leave the others without their answer.
                structlog.get_logger().exception("batch_listener_failed")
