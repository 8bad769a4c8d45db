"""The handle of one sent message, and threads that wait for it."""

from __future__ import annotations

import threading
import time

from myim_client import NotSettled, Outcome
from myim_client.events import RECEIVED, Handle


class Overtaken(Handle):
    """The first who asks whether anybody waits yet is held up until a second has gone by, or cannot."""

    def __init__(self) -> None:
        self.second = threading.Thread(target=lambda: wait(self))
        self.got: list[Outcome] = []
        self._is_asked = False
        self._kept: threading.Event | None = None
        super().__init__(8, 64)

    @property
    def _event(self) -> threading.Event | None:
        seen = self._kept
        if not self._is_asked:
            self._is_asked = True
            self.second.start()
            end = time.monotonic() + 0.3
            while self._kept is None and time.monotonic() < end:
                self.second.join(0.01)
        return seen

    @_event.setter
    def _event(self, event: threading.Event | None) -> None:
        self._kept = event


def wait(handle: Overtaken) -> None:
    try:
        handle.got.append(handle.wait(3))
    except NotSettled:
        pass  # the count tells


def test_two_threads_that_begin_to_wait_at_the_same_moment_are_both_woken() -> None:
    handle = Overtaken()
    first = threading.Thread(target=lambda: wait(handle))
    first.start()
    first.join(0.6)
    handle.settle(RECEIVED)
    first.join(10)
    handle.second.join(10)
    assert handle.got == [RECEIVED] * 2
