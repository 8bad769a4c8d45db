"""Receipts that reach the sender later [P-7.3], [P-8.7]: which are awaited, which wait for the application, which notices are answered.

A notice (one RECEIPT of the center) is answered once every receipt in it was shown, flushed, or was none of ours. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from myim_client.events import ReceiptArrived


class Receipts:
    """Messages settled as stored, by the time that names them."""

    def __init__(self) -> None:
        self._awaiting: dict[int, int] = {}
        self._in_hand: dict[int, ReceiptArrived] = {}
        self._notices: dict[int, set[int]] = {}

    def expect(self, time: int, target: int) -> None:
        """The message was settled as stored: its receipt may come."""
        self._awaiting[time] = target

    def restart(self) -> None:
        """A new session: the center tells again what was not answered."""
        self._notices.clear()

    def arrived(self, notice: int, pairs: Iterable[tuple[int, int]]) -> list[ReceiptArrived]:
        """A notice came: the events to show; pairs (target, time) that are not awaited are none of ours."""
        events: list[ReceiptArrived] = []
        waiting = self._notices.setdefault(notice, set())
        for target, time in pairs:
            event = self._in_hand.get(time)
            if event is None and self._awaiting.get(time) == target:
                del self._awaiting[time]
                event = self._in_hand[time] = ReceiptArrived(target, time)
                events.append(event)
            if event is not None:
                event.notices.append(notice)
                waiting.add(time)
        return events

    def expired(self, time: int, target: int) -> bool:
        """The message will never be received; False if its receipt is not awaited."""
        if self._awaiting.get(time) != target:
            return False
        del self._awaiting[time]
        return True

    def shown(self, event: ReceiptArrived) -> None:
        """The application has it, flushed."""
        self._in_hand.pop(event.time, None)
        for notice in event.notices:
            if notice in self._notices:
                self._notices[notice].discard(event.time)

    def answerable(self) -> list[int]:
        """The notices to answer now, each once."""
        done = [notice for notice, waiting in self._notices.items() if not waiting]
        for notice in done:
            del self._notices[notice]
        return done
