"""One user's file on one terminal: a SQLite database that holds the account, the outbox and the seen-set, and the application's data.

Everything that must survive a crash together is one transaction here. The SDK's tables begin with `myim_`; all other names are the
application's. What the rows mean is decided elsewhere (`sending`, `courier`); nothing here touches a socket.

`lock` guards the file *and* the state in memory that mirrors it (outbox, inbox, handles): whoever changes either holds it, so what
one thread reads is never another's uncommitted transaction. It is re-entrant; keep transactions short, the reader waits for them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from myim_client.errors import LoginNeeded, ProfileRefused
from myim_client.profile_schema import open_database
from myim_wire.contents import RenewedToken, Server, decode_servers, encode_servers
from myim_wire.messages import name_time

SEEN_DAYS = 40
DAY_US = 24 * 3600 * 1_000_000
UNSETTLED, AWAITING_RECEIPT = 0, 2

_AWAIT_RECEIPT = f"UPDATE myim_outbox SET state = {AWAITING_RECEIPT} WHERE time = ?"
_FINISH = "DELETE FROM myim_outbox WHERE time = ?"
_KEEP_SERVERS = "UPDATE myim_account SET servers = ?"


@dataclass(frozen=True, slots=True)
class Account:
    """Who is logged in, and with what: times in microseconds since 1970 by *this* machine's clock."""

    login_server: str
    user: int
    name: str
    slot: int
    terminal_key: bytes
    token: bytes
    session_key: bytes
    renew_at: int
    expires_at: int
    servers: tuple[Server, ...]

    def renewed(self, token: RenewedToken, now_us: int) -> Account:
        """The account with a renewed token, whose life counts from now by this machine's clock; half of it later it is renewed again."""
        life = max(0, token.expires - token.issued)
        return replace(self, token=token.token, session_key=token.session_key, renew_at=now_us + life // 2, expires_at=now_us + life)

    def __repr__(self) -> str:
        return f"Account(user={self.user}, name={self.name!r}, slot={self.slot}, token=***)"


class OutgoingRow(NamedTuple):
    """One row of the outbox; `enqueued` in microseconds since 1970. is_post: `target` is a group."""

    time: int
    target: int
    body: bytes
    enqueued: int
    is_awaiting_receipt: bool
    is_post: bool


def to_signed(number: int) -> int:
    """A u64 of the wire as SQLite's 64-bit integer."""
    return number - (1 << 64) if number >= 1 << 63 else number


def to_unsigned(number: int) -> int:
    """The mirror of `to_signed`."""
    return number + (1 << 64) if number < 0 else number


def check_private(path: Path) -> None:
    """Raise ProfileRefused unless `path` is a plain file of this user that nobody else may read."""
    info = os.lstat(path)
    if not stat.S_ISREG(info.st_mode):
        raise ProfileRefused(f"{path} is not a plain file")
    if info.st_uid != os.geteuid():
        raise ProfileRefused(f"{path} belongs to another user")
    if info.st_mode & 0o077:
        raise ProfileRefused(f"{path} can be read by others (mode {info.st_mode & 0o777:04o}); chmod 600 it if its content is still secret")


class Profile:
    """An open profile; one process and one `Profile` at a time."""

    def __init__(self, path: Path, database: sqlite3.Connection, lock_file: int) -> None:
        self.path = path
        self.lock = threading.RLock()
        self._database = database
        self._lock_file = lock_file
        self.execute = database.execute
        self.execute_many = database.executemany
        self._owner = 0  # the thread that is within a transaction
        self._is_committing = False
        self._later: dict[str, list[tuple[Any, ...]]] = {}
        self._after_commit: list[Callable[[], None]] = []
        self.commits = 0
        self._last_time = self._kept_time = self._read_last_time()

    @classmethod
    def open(cls, path: str | Path, create: bool = False) -> Profile:
        """The profile at `path` (made 0600 if `create`). Raises LoginNeeded (no such file), ProfileRefused."""
        path = Path(path)
        if not path.exists() and not create:
            raise LoginNeeded(f"there is no profile {path}: register or log in first")
        try:
            lock_file = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ProfileRefused(f"{path}: {error.strerror}") from None
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            check_private(path)
            return cls(path, open_database(path), lock_file)
        except BlockingIOError:
            os.close(lock_file)
            raise ProfileRefused(f"{path} is in use by another process") from None
        except (OSError, sqlite3.Error) as error:
            os.close(lock_file)
            raise ProfileRefused(f"{path}: {error}") from None
        except ProfileRefused:
            os.close(lock_file)
            raise

    def close(self) -> None:
        """Keep what was put off, and let go of the file; a second call does nothing."""
        with self.lock:
            if self._lock_file < 0:
                return
            try:
                self.keep_later()
            finally:
                self._database.close()
                os.close(self._lock_file)
                self._lock_file = -1

    @property
    def is_within(self) -> bool:
        """Whether the calling thread is within a transaction of its own."""
        return self._owner == threading.get_ident()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """`execute` within one flushed transaction; nothing of the block happened if it raises. Inside another it joins that one.

        Raises ProfileRefused when the file cannot keep it (disk full, …): then nothing of the block happened.
        """
        with self.lock, self._in_our_words():
            if self._owner:
                with self._joined():
                    yield self.execute
                return
            if self._lock_file < 0:
                raise ProfileRefused(f"{self.path} is closed")
            try:
                self._begin()
                yield self.execute
                self._commit()
            except BaseException as error:
                if not self._has_committed(error):
                    self._roll_back()
                    raise
                self._finish()  # an interrupt came between the COMMIT and what follows from it
                raise
            self._finish()

    @contextlib.contextmanager
    def _joined(self) -> Iterator[None]:
        count = len(self._after_commit)
        self.execute("SAVEPOINT myim_joined")
        try:
            yield
        except BaseException:
            del self._after_commit[count:]
            if self._database.in_transaction:  # a full disk may have ended all of it
                self.execute("ROLLBACK TO myim_joined")
                self.execute("RELEASE myim_joined")
            raise
        self.execute("RELEASE myim_joined")

    @contextlib.contextmanager
    def _in_our_words(self) -> Iterator[None]:
        """What is wrong with the file becomes ProfileRefused; what is wrong with a statement or its data stays as it is."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if self._lock_file < 0:
                raise ProfileRefused(f"{self.path} is closed") from error
            if type(error) in (sqlite3.OperationalError, sqlite3.DatabaseError, sqlite3.InternalError):
                raise ProfileRefused(f"{self.path}: {error}") from error
            raise

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run `action` once the present transaction is flushed, still under the lock; never if it is rolled back."""
        self._after_commit.append(action)

    def later(self, sql: str, row: tuple[Any, ...]) -> None:
        """Put off a statement to the next commit: for what a crash may undo without harm."""
        with self.lock:
            self._later.setdefault(sql, []).append(row)

    def keep_later(self) -> None:
        """Commit what was put off, if anything, and the last name that was used [P-3.6]."""
        with self.lock:
            if (self._later or self._last_time != self._kept_time) and not self._owner:
                with self.transaction():
                    pass

    def query(self, sql: str, row: tuple[Any, ...] = ()) -> list[Any]:
        """All rows of a reading statement. Raises ProfileRefused."""
        with self.lock, self._in_our_words():
            return self.execute(sql, row).fetchall()

    def _begin(self) -> None:
        self._is_committing = False
        self._owner = threading.get_ident()
        self.execute("BEGIN IMMEDIATE")

    def _commit(self) -> None:
        for sql, rows in self._later.items():
            self.execute_many(sql, rows)
        if self._last_time != self._kept_time:
            self.execute("UPDATE myim_account SET last_time = ?", (self._last_time,))
        self._is_committing = True
        self.execute("COMMIT")

    def _has_committed(self, error: BaseException) -> bool:
        return self._is_committing and not isinstance(error, sqlite3.Error) and not self._database.in_transaction

    def _finish(self) -> None:
        """The COMMIT happened: do what waited for it, all of it, whatever interrupts."""
        self._owner = 0
        self._kept_time = self._last_time
        self._later = {}
        self.commits += 1
        after, self._after_commit = self._after_commit, []
        actions = iter(after)
        try:
            for action in actions:
                action()
        except BaseException:
            for action in actions:
                action()
            raise

    def _roll_back(self) -> None:
        self._owner = 0
        self._after_commit.clear()
        if self._database.in_transaction:
            self.execute("ROLLBACK")

    # the account

    def account(self) -> Account:
        """Who is logged in here. Raises LoginNeeded."""
        rows = self.query(
            "SELECT login_server, user, name, slot, terminal_key, token, session_key, renew_at, expires_at, servers FROM myim_account"
        )
        if not rows:
            raise LoginNeeded(f"{self.path} has never been logged in")
        server, user, name, slot, terminal_key, token, session_key, renew_at, expires_at, servers = rows[0]
        return Account(
            server, to_unsigned(user), name, slot, terminal_key, token, session_key, renew_at, expires_at, tuple(decode_servers(servers))
        )

    def log_in(self, account: Account) -> None:
        """Keep what a password login gave: the connection number starts anew [P-5.4]. Another user is ProfileRefused."""
        with self.transaction() as execute:
            self._later.pop(_KEEP_SERVERS, None)  # what was put off is older than this login's list
            old = execute("SELECT user FROM myim_account").fetchone()
            if old and to_unsigned(old[0]) != account.user:
                raise ProfileRefused(f"{self.path} belongs to user {to_unsigned(old[0])}")
            execute(
                "INSERT OR REPLACE INTO myim_account VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)",
                (
                    account.login_server, to_signed(account.user), account.name, account.slot, account.terminal_key, account.token,
                    account.session_key, account.renew_at, account.expires_at, self._last_time, encode_servers(account.servers),
                ),
            )  # fmt: skip

    def keep_token(self, account: Account) -> None:
        """Keep a renewed token; the connection number goes on [P-7.12]."""
        with self.transaction() as execute:
            execute(
                "UPDATE myim_account SET token = ?, session_key = ?, renew_at = ?, expires_at = ?",
                (account.token, account.session_key, account.renew_at, account.expires_at),
            )

    def keep_servers(self, servers: Sequence[Server]) -> None:
        """Keep the server list for the next start (not flushed by itself)."""
        self.later(_KEEP_SERVERS, (encode_servers(servers),))

    def next_connection_number(self, step: int = 1) -> int:
        """The next number of a connection attempt, `step` above the last, flushed before it is used [P-5.4]."""
        with self.transaction() as execute:
            execute("UPDATE myim_account SET connection_number = connection_number + ?", (step,))
            return int(execute("SELECT connection_number FROM myim_account").fetchone()[0])

    def next_time(self, now_us: int, slot: int) -> int:
        """The time that names the next message or request; kept with the next commit, so that names rise over restarts [P-3.6]."""
        self._last_time = name_time(now_us, self._last_time, slot)
        return self._last_time

    def _read_last_time(self) -> int:
        row = self.execute("SELECT last_time FROM myim_account").fetchone()
        return int(row[0]) if row else 0

    # the outbox

    def outgoing(self) -> list[OutgoingRow]:
        """All that is unsettled or awaits its receipt, oldest first."""
        rows = self.query("SELECT time, target, body, enqueued, state = ?, is_post FROM myim_outbox ORDER BY time", (AWAITING_RECEIPT,))
        return [OutgoingRow(time, to_unsigned(target), body, at, bool(waits), bool(post)) for time, target, body, at, waits, post in rows]

    def keep_outgoing(self, time: int, target: int, body: bytes, now_us: int, is_post: bool = False) -> None:
        """A new unsettled message, with the present transaction."""
        self.execute("INSERT INTO myim_outbox VALUES (?, ?, ?, ?, ?, ?)", (time, to_signed(target), body, now_us, UNSETTLED, is_post))

    def keep_settled(self, stored: list[int], finished: list[int]) -> None:
        """These (by time) were settled as stored, those are over: with the present transaction, in this order."""
        if stored:
            self.execute_many(_AWAIT_RECEIPT, [(time,) for time in stored])
        if finished:
            self.execute_many(_FINISH, [(time,) for time in finished])

    def keep_settled_later(self, time: int, is_stored: bool) -> None:
        """As `keep_settled`, with the next commit: after a crash before it the message is sent, and settled, again."""
        self.later(_AWAIT_RECEIPT if is_stored else _FINISH, (time,))

    # the seen-set

    def is_seen(self, user: int, time: int) -> bool:
        """Whether (user, time) was shown, exactly [P-8.3]."""
        return bool(self.query("SELECT 1 FROM myim_seen WHERE user = ? AND time = ?", (to_signed(user), to_signed(time))))

    def keep_seen(self, names: list[tuple[int, int]], now_us: int) -> None:
        """These (user, time) are shown, with the present transaction [P-8.3]."""
        if names:
            self.execute_many("INSERT OR IGNORE INTO myim_seen VALUES (?, ?, ?)", [(to_signed(u), to_signed(t), now_us) for u, t in names])

    def purge_seen(self, now_us: int) -> int:
        """Forget what was shown over 40 days ago, and receipts that never came; how many rows."""
        with self.transaction() as execute:
            old = now_us - SEEN_DAYS * DAY_US
            count = execute("DELETE FROM myim_seen WHERE shown < ?", (old,)).rowcount
            return count + execute("DELETE FROM myim_outbox WHERE state = ? AND enqueued < ?", (AWAITING_RECEIPT, old)).rowcount

    # names of users

    def names(self) -> dict[int, str]:
        """All cached names, by user id."""
        return {to_unsigned(user): name for user, name in self.query("SELECT user, name FROM myim_names")}

    def keep_name(self, user: int, name: str) -> None:
        """Cache the name of a user (not flushed by itself)."""
        self.later("INSERT OR REPLACE INTO myim_names VALUES (?, ?)", (to_signed(user), name))
