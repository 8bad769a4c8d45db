"""Brings users' entries in the map `online` in line with this node's sessions.

What lives here: reading, merging and compare-and-set of entries, round after round until nobody else was quicker. What must not: when that
happens, the connection, the lease. One function serves new sessions, ended ones, sweeps and a map that came back empty: what an entry
should say follows from what it says and from who is here, never from what was done before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gevent

from cluster.directory import Place
from cluster.entries import MAX_ENTRY_BYTES, Entries, EntryRefused, Listed, online_key
from cluster.hazelcast_client import RawMap, Value, answered, block_of, gather
from cluster.listing import Listing, merged

ENTRY_TTL_SECONDS = 900
_ROUNDS = 8
_USERS_PER_TURN = 25  # the hub is not held longer than a few of these take


class Step(NamedTuple):
    """What was asked of the map for a user, and what the entry says if it is granted."""

    user: int
    future: Any
    value: Value | None
    listed: Sequence[Listed]


def read_entries(online: RawMap, users: Sequence[int], seconds: float) -> dict[int, Value]:
    """The entries of these users, as they are; who has none is not in it. Raises NoAnswer; yields."""
    keys = {block_of(online_key(user)).buffer: user for user in users}
    present: dict[int, Value] = {}
    for answer in answered(gather(online.read(map(online_key, users)), seconds)):
        for key, block in answer.items():
            if block is not None and bytes(key.buffer) in keys:
                present[keys[bytes(key.buffer)]] = Value(block)
    return present


class Writer:
    """Writes for one run of a node (`life`). published(user, place): an entry holds it now; count(name): something worth a metric."""

    def __init__(self, entries: Entries, listing: Listing, life: int, is_over: Callable[[int], bool],
                 published: Callable[[int, Place], None], count: Callable[[str], None], is_comparing: bool = True) -> None:
        """is_comparing False (sabotage only): where nobody is left here, the whole entry goes, whoever else is in it."""
        self._entries = entries
        self._listing = listing
        self._life = life
        self._is_over = is_over
        self._published = published
        self._count = count
        self._is_comparing = is_comparing

    def read(self, user: int, value: Value | None) -> list[Listed] | None:
        """What an entry says, oldest first; None (and counted): nothing that one of us wrote."""
        if value is None:
            return []
        data = value.data if value.size <= MAX_ENTRY_BYTES else None
        try:
            if data is not None:
                return self._entries.read_places(user, data)
        except EntryRefused:
            pass
        self._count("directory_entries_ignored")
        return None

    def settle(self, online: RawMap, users: Sequence[int], seconds: float) -> int:
        """Makes these users' entries right; those where others were always quicker are in doubt again. How many steps that took.

        Raises NoAnswer (then all are in doubt again); yields.
        """
        steps_taken = 0
        try:
            present: dict[int, Value | None] = dict.fromkeys(users)
            present.update(read_entries(online, users, seconds))
            for _ in range(_ROUNDS):
                steps = self._steps(online, present)
                if not steps:
                    return steps_taken
                steps_taken += len(steps)
                present = self._outcomes(online, steps, seconds)
                if not present:
                    return steps_taken
        except BaseException:
            self._listing.doubt(users)
            raise
        self._listing.doubt(present)
        return steps_taken

    def _steps(self, online: RawMap, present: dict[int, Value | None]) -> list[Step]:
        steps = []
        for number, (user, value) in enumerate(present.items()):
            step = self._step(online, user, value)
            if step is not None:
                steps.append(step)
            if number % _USERS_PER_TURN == _USERS_PER_TURN - 1:
                gevent.sleep(0)
        return steps

    def _step(self, online: RawMap, user: int, value: Value | None) -> Step | None:
        key, mine, listed = online_key(user), self._listing.mine(user), self.read(user, value)
        if not self._is_comparing and not mine and value is not None:
            return Step(user, online.delete(key), None, [])
        wanted = merged(listed or [], mine, self._life, self._is_over)
        if value is not None and value.size > MAX_ENTRY_BYTES:
            return Step(user, online.delete(key), None, [])  # too much to be carried about for a comparison
        if wanted == listed or (listed is None and not wanted):
            self._announce(user, wanted)
            return None
        if not wanted:
            assert value is not None  # then nothing would be listed
            return Step(user, online.remove(key, value), None, wanted)
        new = Value.of(self._entries.places(user, wanted))
        future = online.put_if_absent(key, new, ENTRY_TTL_SECONDS) if value is None else online.replace(key, value, new)
        return Step(user, future, new, wanted)

    def _outcomes(self, online: RawMap, steps: Sequence[Step], seconds: float) -> dict[int, Value | None]:
        """Who has to be looked at once more, and what the entry says by now."""
        again: dict[int, Value | None] = {}
        overtaken: list[int] = []
        answers = answered(gather([step.future for step in steps], seconds))
        for step, answer in zip(steps, answers, strict=True):
            if answer is None and step.value is None:
                again[step.user] = None  # deleted, whatever it was
            elif answer is None or answer is True:
                self._announce(step.user, step.listed)
            elif answer is False:
                overtaken.append(step.user)
            else:
                again[step.user] = Value(answer)
        if overtaken:
            again.update(dict.fromkeys(overtaken))
            again.update(read_entries(online, overtaken, seconds))
        return again

    def _announce(self, user: int, listed: Sequence[Listed]) -> None:
        for place in self._listing.announce(user, listed, self._life):
            self._published(user, place)
