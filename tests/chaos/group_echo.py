"""What is done to the confirmations of a client, and seen of its arrivals: looked over the SDK's shoulder, on one client at a time.

What lives here: repeated, late and early RECEIPTs of kind 2, and how a post came. What must not: a change of what the SDK itself decides.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from myim_client import Client
from myim_client.group_arrivals import Fetch, GroupArrivals
from myim_wire.bodies import CONFIRMED_GROUPS, encode_pairs
from myim_wire.messages import Command, encode_message
from tests.chaos.group_history import FETCHED, PUSHED

MOST_COPIES = 4
COPY_AFTER = (0.0, 0.0, 0.05, 0.3, 2.0)  # seconds
EARLY_BY = 1_000_000  # numbers that no group will ever have
OLD_KEPT = 50


class Echo:
    """Sends each RECEIPT of kind 2 one to five times, now and later, on this session or another; old ones again; and some that claim
    what was never posted."""

    def __init__(self, random: Random, groups: Callable[[], Sequence[int]]) -> None:
        """groups: of which it makes early claims."""
        self.repeated = 0
        self._random = random
        self._groups = groups
        self._later: list[tuple[float, int, bytes]] = []
        self._old: deque[bytes] = deque(maxlen=OLD_KEPT)
        self._count = 0

    def attach(self, client: Client) -> None:
        """To a client that is about to connect."""
        groups = client.courier.groups
        confirm = groups.confirmations

        def confirmations(own: int, now: float, is_at_once: bool) -> list[bytes]:
            due = confirm(own, now, is_at_once)
            for receipt in due:
                self._repeat(receipt, now)
            return due + self._due(now) + (self._early(own, groups.arrivals) if due else [])

        vars(groups)["confirmations"] = confirmations

    def _repeat(self, receipt: bytes, now: float) -> None:
        random = self._random
        for _ in range(random.randint(0, MOST_COPIES)):
            self._at(now + random.choice(COPY_AFTER), receipt)
        if self._old and random.random() < 0.5:
            self._at(now + random.choice(COPY_AFTER), random.choice(self._old))
        self._old.append(receipt)

    def _at(self, when: float, receipt: bytes) -> None:
        self._count += 1
        heapq.heappush(self._later, (when, self._count, receipt))

    def _due(self, now: float) -> list[bytes]:
        out = []
        while self._later and self._later[0][0] <= now:
            out.append(heapq.heappop(self._later)[2])
        self.repeated += len(out)
        return out

    def _early(self, own: int, arrivals: GroupArrivals[Any]) -> list[bytes]:
        if self._random.random() > 0.1:
            return []
        pairs = [(group, arrivals.position(group) + EARLY_BY) for group in self._groups()]
        return [encode_message(Command.RECEIPT, 0, own, 0, 0, encode_pairs(CONFIRMED_GROUPS, pairs))] if pairs else []


class Ways:
    """How posts came to a client: what comes while a fetch of its group is under way came by it, the rest was pushed."""

    def __init__(self) -> None:
        self._fetching: set[int] = set()
        self._fetched: dict[int, set[int]] = {}

    def attach(self, client: Client) -> None:
        """To a client that is about to connect."""
        arrivals = client.courier.groups.arrivals
        fetches, fetched, refused, restart, arrived = (
            arrivals.fetches, arrivals.fetched, arrivals.refused, arrivals.restart, arrivals.arrived,
        )  # fmt: skip

        def look_at_fetches(now: float) -> list[Fetch]:
            asked = fetches(now)
            self._fetching.update(fetch.group for fetch in asked)
            return asked

        def look_at_fetched(name: int, serial: int, up_to: int, number: int, now: float) -> list[Any]:
            self._fetching.discard(name)
            self._fetched[name] = {one for one in self._fetched.get(name, ()) if one <= up_to}
            return fetched(name, serial, up_to, number, now)

        def look_at_refused(name: int, serial: int, retry_ms: int, now: float) -> None:
            self._fetching.discard(name)
            refused(name, serial, retry_ms, now)

        def look_at_restart() -> None:
            self._fetching.clear()
            restart()

        def look_at_arrived(name: int, number: int, item: Any, size: int, now: float) -> list[Any]:
            if name in self._fetching:
                self._fetched.setdefault(name, set()).add(number)
            return arrived(name, number, item, size, now)

        vars(arrivals).update(
            fetches=look_at_fetches, fetched=look_at_fetched, refused=look_at_refused, restart=look_at_restart, arrived=look_at_arrived
        )

    def of(self, group: int, number: int) -> int:
        """PUSHED or FETCHED; asked once for each that is shown."""
        seen = self._fetched.get(group)
        if seen is None or number not in seen:
            return PUSHED
        seen.discard(number)
        return FETCHED
