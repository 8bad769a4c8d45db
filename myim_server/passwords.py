"""Password hashing and the judgement of new passwords, off the hub.

What lives here: argon2id in a bounded pool of threads (argon2 releases the GIL), zxcvbn in one thread of its own, and the rules on length
and on names inside passwords. What must not: accounts, throttles, the wire. Why two pools: zxcvbn is pure Python and holds the GIL, so it
runs one at a time and on a capped input; waiting for it must not keep a hash from starting.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import Argon2Error, InvalidHashError
from gevent.threadpool import ThreadPool

from myim_server.refusals import RequestRefused
from myim_wire.errors import ErrorCode

LEAST_CHARACTERS = 8
MOST_CHARACTERS = 256
LEAST_SCORE = 2  # zxcvbn 0..4: 0 and 1 fall to the lists of common passwords
# zxcvbn's time grows with the cube of the length: 6 ms at worst for 16 characters, 22 for 32, over 100 for 72. What follows can only add.
JUDGED_CHARACTERS = 16
LEAST_NAME_CHARACTERS = 4  # a shorter name stands in too many words by chance
BUSY_RETRY_MS = 1_000
HASHING_NICENESS = 10

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class HashingCost:
    """What one argon2id hash costs: memory in KiB, passes over it, and lanes; the defaults are the design's."""

    memory_kib: int = 19_456
    passes: int = 2
    lanes: int = 1


def normalise_password(password: str) -> str:
    """The form in which passwords are compared: NFC [P-4.12]."""
    return unicodedata.normalize("NFC", password)


def is_possible(password: str) -> bool:
    """Whether the (normalised) password has 8 to 256 characters, so that it can belong to an account [P-4.12]."""
    return LEAST_CHARACTERS <= len(password) <= MOST_CHARACTERS


class Passwords:
    """Hashes, verifies and judges passwords in threads; every method but `close` yields to other greenlets.

    `threads` hash at once, at most `queue` wait for them; whoever comes on top is refused with BUSY.
    """

    def __init__(self, threads: int, queue: int, cost: HashingCost | None = None) -> None:
        cost = cost or HashingCost()
        self._hasher = PasswordHasher(time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=cost.lanes, type=Type.ID)
        self._hashing = ThreadPool(threads)
        self._judging = ThreadPool(1)
        self._most_pending = threads + queue
        self._pending = 0
        self._nobodys_hash = self._hasher.hash("nobody has this password")

    def hash(self, password: str) -> str:
        """The argon2id hash (PHC string) of the password in NFC; raises RequestRefused(BUSY) when the queue is full."""
        return self._run(self._hashing, self._hash, normalise_password(password))

    def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is the one hashed; with None (no such user) it costs the same and says False.

        A password of impossible length is told False without hashing: that time tells the asker only what it sent.
        Raises RequestRefused(BUSY) when the queue is full.
        """
        normal = normalise_password(password)
        if not is_possible(normal):
            return False
        return self._run(self._hashing, self._is_match, password_hash, normal)

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether the hash was made at another cost than today's."""
        try:
            return self._hasher.check_needs_rehash(password_hash)
        except InvalidHashError:
            return False

    def check_new(self, name: str, password: str) -> None:
        """Refuse a new password that is too short or long, common, or has the (folded) name in it.

        Raises RequestRefused(PASSWORD_REFUSED), or BUSY when the queue is full [P-4.12].
        """
        normal = normalise_password(password)
        if not is_possible(normal):
            raise _refused(f"a password has {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters")
        if _has_name(name, normal):
            raise _refused("a password must not contain the name")
        if self._run(self._judging, _strength, name, normal) < LEAST_SCORE:
            raise _refused("this password is too common")

    @property
    def pending(self) -> int:
        """How many passwords are being hashed or judged, or wait for it."""
        return self._pending

    def close(self) -> None:
        """End the threads, after what they are at."""
        for pool in (self._hashing, self._judging):
            pool.join()
            pool.kill()

    def _run(self, pool: ThreadPool, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        if self._pending >= self._most_pending:
            raise RequestRefused(ErrorCode.BUSY, "too many passwords at once", retry_ms=BUSY_RETRY_MS)
        self._pending += 1
        try:
            result: R = pool.apply(work, args, kwargs)
            return result
        finally:
            self._pending -= 1

    def _hash(self, password: str) -> str:
        _step_back()
        return self._hasher.hash(password)

    def _is_match(self, password_hash: str | None, password: str) -> bool:
        _step_back()
        try:
            self._hasher.verify(password_hash or self._nobodys_hash, password)
        except Argon2Error:
            return False
        except InvalidHashError:  # an account without a password (made by `admin mint`): nothing matches, at the usual cost
            return self._is_match(None, password)
        return password_hash is not None


def _step_back() -> None:
    # Linux gives each thread its own priority: where cores are short the hub, which serves everybody, goes first.
    if sys.platform == "linux" and os.getpriority(os.PRIO_PROCESS, 0) < HASHING_NICENESS:
        os.setpriority(os.PRIO_PROCESS, 0, HASHING_NICENESS)


def _has_name(name: str, password: str) -> bool:
    folded = unicodedata.normalize("NFKC", password).casefold()
    return folded == name or (len(name) >= LEAST_NAME_CHARACTERS and name in folded)


def _strength(name: str, password: str) -> int:
    from zxcvbn import zxcvbn  # its word lists take 30 ms to load: not at start, and in this thread

    score: int = zxcvbn(password[:JUDGED_CHARACTERS], user_inputs=[name])["score"]
    return score


def _refused(why: str) -> RequestRefused:
    return RequestRefused(ErrorCode.PASSWORD_REFUSED, why, field="password")
