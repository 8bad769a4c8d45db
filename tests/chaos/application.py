"""One application process of a chaos run: a share of the users, each an SDK client that talks, listens, and comes and goes.

What lives here: what a careful application does with the SDK, and the history it writes in its own transactions. What must not:
judging, killing. It may be killed at any instruction and is started again on its files; the `history` table in each user's
profile is its only memory. Files in the run's directory: `application-N.json` in, `progress-N.json` and `history-USER.jsonl` out;
`still` (nobody comes or goes), `calm` (everybody comes and stays) and `end` are the orchestrator's words to it.
"""

from gevent import monkey

monkey.patch_all()

import contextlib  # noqa: E402
import math  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections import Counter  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from random import Random  # noqa: E402

import gevent  # noqa: E402

from myim_client import MessageArrived, MessageSettled, MyimError, OutcomeKind, ReceiptArrived, Transaction  # noqa: E402
from myim_client.profile import Profile  # noqa: E402
from tests.chaos.history import RECEIVED, STORED, Event, Kind, digest_of, encode_events  # noqa: E402
from tests.chaos.presence import Presence, Settings, blink, come_in, wander  # noqa: E402

MOST_UNSETTLED = 64
SMALLEST_BODY, LARGEST_BODY = 8, 4096
FRIENDS, IN_A_ROW = 4, 8
LARGEST_PIECE, PIECE_SECONDS = 8, 0.01

_HISTORY = """CREATE TABLE IF NOT EXISTS history (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, at INTEGER NOT NULL,
 user INTEGER NOT NULL, time INTEGER NOT NULL, target INTEGER NOT NULL, digest TEXT NOT NULL, how INTEGER NOT NULL)"""
_RECORD = "INSERT INTO history (kind, at, user, time, target, digest, how) VALUES (?, ?, ?, ?, ?, ?, ?)"
# The SDK finds no trace of what it has shown: its seen-set is what keeps resends from being shown twice.
_FORGET = """CREATE TRIGGER IF NOT EXISTS forget AFTER INSERT ON myim_seen
 BEGIN DELETE FROM myim_seen WHERE user = new.user AND time = new.time; END"""
_OUTCOMES = {
    OutcomeKind.RECEIVED: (Kind.SETTLED, RECEIVED),
    OutcomeKind.STORED: (Kind.SETTLED, STORED),
    OutcomeKind.REFUSED: (Kind.REFUSED, 0),
    OutcomeKind.UNKNOWN: (Kind.UNKNOWN, 0),
}


def message_of(seed: int, sender: int, number: int, users: int) -> tuple[int, bytes]:
    """The `number`-th message of a sender: the place of its target among the users, and its body; the same at every incarnation.

    Few targets, and several messages in a row to each: order is only at stake where messages follow each other.
    """
    friend = Random(f"{seed} {sender} {number // IN_A_ROW}").randrange(FRIENDS)
    target = (sender + 1 + friend * (users - 1) // FRIENDS) % users
    random = Random(f"{seed} {sender} {number}")
    size = round(math.exp(random.uniform(math.log(SMALLEST_BODY), math.log(LARGEST_BODY))))
    return target, random.randbytes(size)


@dataclass(slots=True)
class User(Presence):
    """One user of this application."""

    def prepare(self) -> None:
        """Make the profile at the first start; count what the history holds."""
        profile = self.open_profile()
        with profile.transaction() as execute:
            execute(_HISTORY)
            if self.settings.sabotage == "no_dedupe":
                execute(_FORGET)
        for kind, how, count in profile.query("SELECT kind, how, count(*) FROM history GROUP BY kind, how"):
            self._count(Kind(kind), how, count)
        profile.close()

    def send_some(self, most: int) -> None:
        """Up to `most` messages in one transaction with their records, within the limit of unsettled ones."""
        client = self.client
        if client is None:
            return
        start = self.counts[Kind.ATTEMPT]
        end = min(start + most, self.quota, start + MOST_UNSETTLED - client.unsettled)
        if end <= start:
            return
        messages = [message_of(self.settings.seed, self.place, number, len(self.everybody)) for number in range(start, end)]
        with client.transaction() as transaction:
            for place, body in messages:
                handle = transaction.send(self.everybody[place], body)
                self._record(transaction, Kind.ATTEMPT, client.user, handle.time, handle.target, digest_of(body))
        self._count(Kind.ATTEMPT, 0, end - start)

    def listen_once(self) -> None:
        """Show what waits: events and their records in one transaction, so that only what is committed is confirmed."""
        client = self.client
        if client is None:
            gevent.sleep(0.1)
            return
        events = [event for event in client.take(0.5) if isinstance(event, MessageArrived | MessageSettled | ReceiptArrived)]
        if not events:
            return
        noted: list[tuple[Kind, int]] = []
        with client.transaction() as transaction:
            for event in events:
                if isinstance(event, MessageArrived):
                    if not event.is_copy:
                        noted.append(self._record(transaction, Kind.SHOWN, event.user, event.time, event.target, digest_of(event.body)))
                elif isinstance(event, ReceiptArrived):
                    noted.append(self._record(transaction, Kind.RECEIPT, client.user, event.time, event.target))
                else:
                    kind, how = _OUTCOMES[event.outcome.kind]
                    how = how or event.outcome.code
                    noted.append(self._record(transaction, kind, client.user, event.time, event.target, how=how))
            transaction.done(*events)
        for kind, how in noted:
            self._count(kind, how, 1)

    def _record(
        self, transaction: Transaction, kind: Kind, user: int, named: int, target: int, digest: str = "", how: int = 0
    ) -> tuple[Kind, int]:
        transaction.execute(_RECORD, (kind, time.monotonic_ns(), user, named, target, digest, how))
        return kind, how

    def _count(self, kind: Kind, how: int, count: int) -> None:
        self.counts[kind] += count
        if kind is Kind.SETTLED:
            self.counts["received" if how == RECEIVED else "stored"] += count

    def export(self) -> None:
        """Write the history as JSON lines."""
        profile = Profile.open(self.path)
        user = profile.account().user
        rows = profile.query("SELECT kind, at, user, time, target, digest, how FROM history ORDER BY id")
        events = (Event(Kind(kind), user, at, who, named, target, digest, how) for kind, at, who, named, target, digest, how in rows)
        (self.settings.directory / f"history-{user}.jsonl").write_text("".join(encode_events(events)))
        profile.close()


def talk(user: User, random: Random) -> None:
    """Send the user's messages at its part of the run's rate, in bursts of 1 to 64 that go out in pieces: a target that leaves
    or comes does so in the middle of a burst."""
    seconds_each = len(user.everybody) / user.settings.rate
    largest = min(MOST_UNSETTLED, max(1, user.quota // 3))
    gevent.sleep(random.uniform(0, seconds_each))
    while (left := user.quota - user.counts[Kind.ATTEMPT]) > 0:
        burst = due = min(left, round(math.exp(random.uniform(0, math.log(largest)))))
        while due > 0:
            piece = min(due, random.randint(1, LARGEST_PIECE))
            due -= piece
            with contextlib.suppress(MyimError):  # went offline meanwhile
                user.send_some(piece)
            gevent.sleep(PIECE_SECONDS)
        gevent.sleep(random.uniform(0.5, 1.5) * seconds_each * burst)


def listen(user: User) -> None:
    """Take events as they come, for ever."""
    while True:
        try:
            user.listen_once()
        except MyimError:
            gevent.sleep(0.05)


def tell_progress(settings: Settings, users: list[User]) -> None:
    """Say how far the users are."""
    counts: Counter[str] = sum((user.counts for user in users), Counter())
    said = {
        "attempted": counts[Kind.ATTEMPT],
        "settled": counts[Kind.SETTLED],
        "received": counts["received"],
        "stored": counts["stored"],
        "shown": counts[Kind.SHOWN],
        "receipts": counts[Kind.RECEIPT],
        "online": [user.row["user"] for user in users if user.client is not None and user.client.is_online],
        "resent": sum(user.resent + (user.client.resent if user.client else 0) for user in users),
    }
    settings.tell(said)


def main() -> None:
    """Live until `end` appears, then write the histories."""
    settings = Settings.read(Path(sys.argv[1]))
    rows = settings.rows()
    everybody = [row["user"] for row in rows]
    random = Random()
    users = [User(settings, place, rows[place], everybody) for place in settings.places(len(rows))]
    for user in users:
        user.prepare()
    come_in(users, random)
    for user in users:
        gevent.spawn(listen, user)
        gevent.spawn(talk, user, random)
    still, calm = settings.directory / "still", settings.directory / "calm"
    restless = [gevent.spawn(unrest, users, still, calm, random) for unrest in (wander, blink)]
    while not (settings.directory / "end").exists():
        tell_progress(settings, users)
        gevent.sleep(0.1)
    gevent.joinall(restless, raise_error=True)
    for user in users:
        user.go()
    for user in users:
        user.export()
    os._exit(0)  # the histories are on disk, and greenlets that wait have nothing more to say


if __name__ == "__main__":
    main()
