"""A user of a chaos run of groups: posts, shows what comes, joins and leaves; and writes all of it down in its own transactions.

What lives here: what a careful application does with the SDK's groups. What must not: when (group_application), judging, killing. The
`history` table in the profile is its only memory. Import it after gevent's patch.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import gevent

from myim_client import Client, GroupLeft, GroupMessageArrived, MessageSettled, MyimError, OutcomeKind, RequestRefused
from myim_client.profile import Profile, to_signed, to_unsigned
from myim_client.transaction import Transaction
from myim_wire.errors import ErrorCode
from tests.chaos.group_echo import Echo, Ways
from tests.chaos.group_history import FETCHED, MEMBERSHIP, OUTCOMES, Event, Kind, encode_events
from tests.chaos.group_plan import Circle
from tests.chaos.history import digest_of
from tests.chaos.presence import Presence

MOST_UNSETTLED = 16
SMALLEST_BODY, LARGEST_BODY = 8, 2048
AGAIN_SECONDS = 0.1
SETTLING_SECONDS = 10.0
LATE_SECONDS = 6.0  # longer than a center works on a request

_HISTORY = """CREATE TABLE IF NOT EXISTS history (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, at INTEGER NOT NULL, chat INTEGER NOT NULL,
 number INTEGER NOT NULL, user INTEGER NOT NULL, time INTEGER NOT NULL, digest TEXT NOT NULL, how INTEGER NOT NULL)"""
_RECORD = "INSERT INTO history (kind, at, chat, number, user, time, digest, how) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_READ = "SELECT kind, at, chat, number, user, time, digest, how FROM history ORDER BY id"
_OUTCOMES = {OutcomeKind.STORED: Kind.SETTLED, OutcomeKind.REFUSED: Kind.REFUSED, OutcomeKind.UNKNOWN: Kind.UNKNOWN}
_MEMBER = ("owner", "admin", "member")
_NEVER = (ErrorCode.NOT_ALLOWED, ErrorCode.NOT_MEMBER)


def body_of(seed: int, sender: int, count: int) -> bytes:
    """Of the sender's `count`-th post; the same at every incarnation."""
    random = Random(f"{seed} {sender} {count}")
    return random.randbytes(round(math.exp(random.uniform(math.log(SMALLEST_BODY), math.log(LARGEST_BODY)))))


@dataclass(slots=True)
class Member(Presence):
    """One user of this application. groups: the id of each group of its circles, once it is founded."""

    circles: list[Circle] = field(default_factory=list)
    groups: dict[int, int] = field(default_factory=dict)
    standing: dict[int, Kind] = field(default_factory=dict)  # group -> the last word on the own membership
    unsettled: Counter[int] = field(default_factory=Counter)  # by group
    quiet: set[int] = field(default_factory=set)  # groups that are to be left, in which nothing is posted any more
    doubted: set[int] = field(default_factory=set)  # groups in which one may be a member no more
    ways: Ways = field(default_factory=Ways)
    echo: Echo = field(init=False)

    def __post_init__(self) -> None:
        self.echo = Echo(Random(), lambda: list(self.standing))

    @property
    def left_to_post(self) -> int:
        """How many posts are still to be made; those that were refused are made anew."""
        return self.quota - self.counts[Kind.ATTEMPT] + self.counts[Kind.REFUSED]

    def prepare(self) -> None:
        """Make the profile at the first start; take up what the history holds."""
        profile = self.open_profile()
        with profile.transaction() as execute:
            execute(_HISTORY)
        for kind, how, chat, count in profile.query("SELECT kind, how, chat, count(*) FROM history GROUP BY kind, how, chat"):
            self._count(Event(Kind(kind), self.user, 0, to_unsigned(chat), how=how), count)
        words = ", ".join(f"'{kind}'" for kind in MEMBERSHIP)
        for kind, chat in profile.query(f"SELECT kind, chat FROM history WHERE kind IN ({words}) ORDER BY id"):
            self.standing[to_unsigned(chat)] = Kind(kind)
        profile.close()

    def watch(self, client: Client) -> None:
        """Repeat what it confirms, and see how posts come."""
        self.echo.attach(client)
        self.ways.attach(client)

    # ------------------------------------------------------------------ posting and showing

    def postable(self) -> list[Circle]:
        """The circles in whose groups it may post, as far as it knows."""
        found = []
        for circle in self.circles:
            group = self.groups.get(circle.number)
            if group is not None and self.standing.get(group) is Kind.JOINED and group not in self.quiet:
                found.append(circle)
        return found

    def post_some(self, group: int, most: int) -> None:
        """Up to `most` posts in one transaction with their records, within the limit of unsettled ones."""
        client = self.client
        if client is None:
            return
        start = self.counts[Kind.ATTEMPT]
        end = min(start + most, start + self.left_to_post, start + MOST_UNSETTLED - client.unsettled)
        if end <= start:
            return
        bodies = [body_of(self.settings.seed, self.place, count) for count in range(start, end)]
        noted = []
        with client.transaction() as transaction:
            for body in bodies:
                handle = transaction.post(group, body)
                noted.append(self._event(Kind.ATTEMPT, group, user=self.user, time=handle.time, digest=digest_of(body)))
            self._record(transaction, noted)
        for event in noted:
            self._count(event, 1)

    def listen_once(self) -> None:
        """Show what waits: events and their records in one transaction, so that only what is committed is confirmed."""
        client = self.client
        if client is None:
            gevent.sleep(AGAIN_SECONDS)
            return
        events = client.take(0.5)
        noted = []
        for event in events:
            if isinstance(event, GroupMessageArrived):
                how = self.ways.of(event.group, event.number)
                noted.append(self._event(Kind.SHOWN, event.group, event.number, event.user, event.time, digest_of(event.body), how))
            elif isinstance(event, MessageSettled):
                outcome = event.outcome
                kind = _OUTCOMES.get(outcome.kind, Kind.UNKNOWN)
                noted.append(self._event(kind, event.target, outcome.number, self.user, event.time, how=outcome.code))
                if kind is Kind.REFUSED:
                    self.doubted.add(event.target)
            elif isinstance(event, GroupLeft) and self.standing.get(event.group) is Kind.JOINED:
                self.doubted.add(event.group)
        if not noted:
            return
        with client.transaction() as transaction:
            self._record(transaction, noted)
            transaction.done(*events)
        for one in noted:
            self._count(one, 1)

    # ------------------------------------------------------------------ coming into groups and out of them

    def found(self, circle: Circle) -> int:
        """Make the group of a circle; its id."""
        while True:
            client = self.client
            try:
                if client is not None:
                    group = client.groups.create(f"circle {circle.number}", join="open").group
                    self._note(self._event(Kind.JOINED, group, 0))
                    return group
            except MyimError:
                pass
            gevent.sleep(AGAIN_SECONDS)

    def join(self, group: int) -> None:
        """Be a member, however often it has to be asked."""
        if self.standing.get(group) is not Kind.JOINING:
            self._note(self._event(Kind.JOINING, group))
        else:
            gevent.sleep(LATE_SECONDS)  # it was asked for in an earlier life
        while True:
            state = self._asked(group, "join")
            if isinstance(state, int):
                self._note(self._event(Kind.JOINED, group, state))
                return

    def leave(self, group: int, is_abrupt: bool) -> None:
        """Be no member any more, however often it has to be asked; abruptly: with own posts on the way."""
        self.quiet.add(group)
        until = time.monotonic() + SETTLING_SECONDS
        while not is_abrupt and self.unsettled[group] and time.monotonic() < until:
            gevent.sleep(AGAIN_SECONDS / 5)
        if self.standing.get(group) is not Kind.LEAVING:
            self._note(self._event(Kind.LEAVING, group))
        else:
            gevent.sleep(LATE_SECONDS)
        while self._asked(group, "leave") is not None:
            pass
        self._note(self._event(Kind.LEFT, group))
        self.quiet.discard(group)

    def remove(self, group: int, user: int) -> None:
        """Take somebody off the list of an own group; asked once."""
        self._note(self._event(Kind.REMOVING, group, user=user))
        client = self.client
        try:
            if client is not None:
                client.groups.remove(group, user)
        except MyimError:
            pass

    def make_sure(self, group: int) -> None:
        """Find out whether it is still a member where that is in doubt, and write it down if not."""
        self.doubted.discard(group)
        if self.standing.get(group) is Kind.JOINED and self._asked(group, "describe") is None:
            self._note(self._event(Kind.LEFT, group))

    def _asked(self, group: int, verb: str) -> int | None:
        """Ask until there is an answer: the number at which one joined, None if one is no member. What was asked and not answered may
        happen a little later, so it is waited for before one asks again."""
        while True:
            client = self.client
            try:
                if client is not None and client.is_online:
                    groups = client.groups
                    state = {"join": groups.join, "leave": groups.leave, "describe": groups.describe}[verb](group)
                    return state.joined if state.role in _MEMBER else None
                gevent.sleep(AGAIN_SECONDS)
            except RequestRefused as refusal:
                if refusal.code in _NEVER:
                    return None
                gevent.sleep(LATE_SECONDS if refusal.code == ErrorCode.STORE_UNAVAILABLE else AGAIN_SECONDS)
            except MyimError:
                gevent.sleep(LATE_SECONDS)

    # ------------------------------------------------------------------ the history

    def _event(
        self, kind: Kind, group: int, number: int = 0, user: int = 0, time: int = 0, digest: str = "", how: int = 0
    ) -> Event:  # fmt: skip
        return Event(kind, self.user, _now(), group, number, user, time, digest, how)

    def _note(self, event: Event) -> None:
        """Write it down by itself, flushed."""
        while True:
            client = self.client
            try:
                if client is not None:
                    with client.transaction() as transaction:
                        self._record(transaction, [event])
                    break
            except MyimError:  # it went offline meanwhile
                pass
            gevent.sleep(AGAIN_SECONDS)
        self._count(event, 1)
        if event.kind in MEMBERSHIP:
            self.standing[event.group] = event.kind

    @staticmethod
    def _record(transaction: Transaction, events: list[Event]) -> None:
        rows = []
        for kind, _, at, group, number, user, named, digest, how in events:
            rows.append((kind, at, to_signed(group), number, to_signed(user), to_signed(named), digest, how))
        transaction.execute_many(_RECORD, rows)

    def _count(self, event: Event, count: int) -> None:
        self.counts[event.kind] += count
        if event.kind is Kind.ATTEMPT:
            self.unsettled[event.group] += count
        elif event.kind in OUTCOMES:
            self.unsettled[event.group] -= count
        elif event.kind is Kind.SHOWN:
            self.counts["fetched" if event.how == FETCHED else "pushed"] += count

    def export(self) -> None:
        """Write the history as JSON lines."""
        profile = Profile.open(self.path)
        events = (
            Event(Kind(kind), self.user, at, to_unsigned(chat), number, to_unsigned(user), to_unsigned(named), digest, how)
            for kind, at, chat, number, user, named, digest, how in profile.query(_READ)
        )
        with (self.settings.directory / f"history-{self.user}.jsonl").open("w") as lines:
            lines.writelines(encode_events(events))
        profile.close()


def _now() -> int:
    return time.monotonic_ns()
