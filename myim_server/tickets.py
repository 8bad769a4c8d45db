"""Tickets: issued at login, opened by every center, renewed there, and revoked by generations.

What lives here: the ticket keys (in the store, wrapped by the cluster secret), what makes a ticket good or bad, the renewal rule
[P-7.12], and the watch over raised generations. What must not: the token's bytes (`myim_wire.tokens`), SQL, loops: `node` calls `refresh`,
`rotate` and `poll` every few seconds and hands `now` in. Times are microseconds since 1970.

A key seals for a day and opens for another: a ticket holds for at most 24 h, so two keys are accepted at any time. A key just made is
sealed with only after every center has had time to see it. A key that is gone from the store is gone here at the next refresh.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from gevent.lock import BoundedSemaphore

from myim_server.refusals import RequestRefused, SessionRefused
from myim_wire.contents import RenewedToken
from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.tokens import Ticket, TicketKey, key_id_of, open_ticket, seal_ticket

SECOND = 1_000_000
HOUR = 3600 * SECOND
CLOCK_SLACK = 60 * SECOND  # by how much the clocks of two nodes may differ
SPREADING = 60 * SECOND  # a new key seals nothing before every center must have read it
REFRESH_SECONDS = 1.0
NONCE_BYTES = 12


class WrappedKey(Protocol):
    """A ticket key as the store keeps it."""

    @property
    def key_id(self) -> int: ...
    @property
    def wrapped(self) -> bytes: ...
    @property
    def created(self) -> int: ...


class TicketKeyStore(Protocol):
    """What `store.tickets` offers; every call blocks its greenlet and may raise StoreUnavailable."""

    def keys(self) -> Sequence[WrappedKey]: ...
    def add(self, wrapped: bytes, created: int) -> int: ...
    def drop(self, key_ids: Iterable[int]) -> None: ...


@dataclass(frozen=True, slots=True)
class _Key:
    ticket_key: TicketKey = field(repr=False)
    created: int


class KeyWrap:
    """Seals ticket keys for the store under the cluster secret: nonce ‖ AES-256-GCM(key, aad = created u64).

    The time of making is authenticated, so that whoever can write the store cannot make an old key young again.
    """

    def __init__(self, cluster_secret: bytes) -> None:
        derived = HKDF(SHA256(), 32, salt=None, info=b"MyIM 1 ticket key wrap").derive(cluster_secret)
        self._cipher = AESGCM(derived)

    def wrap(self, key: bytes, created: int) -> bytes:
        """The 60 bytes that the store keeps of a 32-byte key."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, key, created.to_bytes(8, "big"))

    def unwrap(self, wrapped: bytes, created: int) -> bytes | None:
        """The key, or None if it was not wrapped under this secret or at this time."""
        try:
            return self._cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], created.to_bytes(8, "big"))
        except (InvalidTag, ValueError):
            return None


class Tickets:
    """Issues, opens and renews tickets with the keys of the store, cached; `refresh` or `rotate` before first use.

    `clock` is wall time in microseconds, `monotonic` seconds: where the wall clock was set back, tickets expire by the later of the two.
    """

    def __init__(
        self,
        store: TicketKeyStore,
        cluster_secret: bytes,
        clock: Callable[[], int],
        *,
        valid_hours: float = 24,
        rotate_hours: float = 24,
        renew_days: float = 30,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._wrap = KeyWrap(cluster_secret)
        self._clock = clock
        self._monotonic = monotonic
        self._valid = int(valid_hours * HOUR)
        self._rotate_after = int(rotate_hours * HOUR)
        self._renew_within = int(renew_days * 24 * HOUR)
        self._keys: dict[int, _Key] = {}
        self._reading = BoundedSemaphore(1)
        self._is_alarm = False
        self._read_at = -REFRESH_SECONDS
        self._started = clock() - int(monotonic() * SECOND)

    def issue(self, user: int, slot: int, terminal_key: bytes, generations: tuple[int, int], now: int) -> RenewedToken:
        """A fresh ticket after a password login; `generations` = (the user's, the terminal's). Does not yield."""
        ticket = Ticket(
            user=user,
            slot=slot,
            terminal_public=terminal_key,
            session_key=secrets.token_bytes(32),
            user_generation=generations[0],
            terminal_generation=generations[1],
            authenticated=now,
            issued=now,
            expires=now + self._valid,
        )
        return self._seal(ticket, now)

    def open(self, token: bytes, *, may_yield: bool = True) -> Ticket:
        """The ticket in the token, if its key is accepted and its time is now; yields only where the key is unknown, and it may.

        Raises SessionRefused: TOKEN_INVALID (no accepted key opens it), TOKEN_EXPIRED (over, or issued in the future: some clock was set
        back), BUSY (the key is unknown and the store does not answer) [P-5.6].
        """
        try:
            key = self._key(key_id_of(token), may_yield)
            ticket = open_ticket(token, key.ticket_key)
        except RemoteProtocolError as error:
            raise SessionRefused(ErrorCode.TOKEN_INVALID, "no accepted key opens this token") from error
        now = self._clock()
        latest = max(now, self._started + int(self._monotonic() * SECOND))
        if ticket.expires <= latest or ticket.issued > now + CLOCK_SLACK:
            raise SessionRefused(ErrorCode.TOKEN_EXPIRED, "the token's time is not now")
        return ticket

    def renew(self, ticket: Ticket, generations: tuple[int, int], now: int) -> RenewedToken:
        """A new ticket with a fresh session key and the same generations and time of password [P-7.12]. Does not yield.

        `generations` = (the user's, the terminal's) as the store has them now. Raises RequestRefused(RENEWAL_REFUSED) when the password was
        given over 30 days ago, or a generation was raised.
        """
        if (ticket.user_generation, ticket.terminal_generation) != generations:
            raise RequestRefused(ErrorCode.RENEWAL_REFUSED, "the terminal was logged out, or logged in anew")
        if not 0 <= now + CLOCK_SLACK - ticket.authenticated <= self._renew_within + CLOCK_SLACK:
            raise RequestRefused(ErrorCode.RENEWAL_REFUSED, "the password was given too long ago")
        return self._seal(replace(ticket, session_key=secrets.token_bytes(32), issued=now, expires=now + self._valid), now)

    def refresh(self) -> bool:
        """Read the accepted keys anew; yields. True if one that should still hold is gone: the keys were compromised, close all sessions.

        Raises StoreUnavailable; the cached keys then stay.
        """
        with self._reading:
            self._read()
        is_alarm, self._is_alarm = self._is_alarm, False
        return is_alarm

    def rotate(self, *, is_due: bool = False) -> None:
        """Make a new key when the newest is a day old, or there is none, or `is_due`; drop those no ticket can need; yields.

        Any number of nodes may do so at once: each key made is accepted everywhere. Raises StoreUnavailable.
        """
        with self._reading:
            self._read()
            now = self._clock()
            if is_due or not any(now - key.created < self._rotate_after for key in self._keys.values()):
                self._store.add(self._wrap.wrap(secrets.token_bytes(32), now), now)
            self._store.drop([key_id for key_id, key in self._keys.items() if self._is_over(key.created, now)])
            self._read()

    def drop_all(self) -> None:
        """Drop every key and make a new one: no ticket issued so far opens again, everybody needs the password; yields."""
        with self._reading:
            now = self._clock()
            old = [row.key_id for row in self._store.keys()]
            self._store.add(self._wrap.wrap(secrets.token_bytes(32), now), now)
            self._store.drop(old)
            self._read()

    @property
    def accepted(self) -> int:
        """How many keys opened under the cluster secret at the last reading."""
        return len(self._keys)

    def _seal(self, ticket: Ticket, now: int) -> RenewedToken:
        if not self._keys:
            raise RequestRefused(ErrorCode.STORE_UNAVAILABLE, "no ticket key yet", retry_ms=1_000)
        newest_first = sorted(self._keys.values(), key=lambda key: (key.created, key.ticket_key.key_id), reverse=True)
        spread = (key for key in newest_first if key.created <= now - SPREADING)
        key = next(spread, newest_first[0])
        token = seal_ticket(ticket, key.ticket_key, secrets.token_bytes(NONCE_BYTES))
        return RenewedToken(token, ticket.session_key, ticket.issued, ticket.expires)

    def _key(self, key_id: int, may_yield: bool) -> _Key:
        key = self._keys.get(key_id) or (self._look_up(key_id) if may_yield else None)
        if key is None or self._is_over(key.created, self._clock()):
            raise RemoteProtocolError(ErrorCode.TOKEN_INVALID, "unknown ticket key")
        return key

    def _look_up(self, key_id: int) -> _Key | None:
        with self._reading:
            if key_id not in self._keys and self._monotonic() - self._read_at >= REFRESH_SECONDS:
                try:
                    self._read()
                except RequestRefused as error:
                    raise SessionRefused(ErrorCode.BUSY, "the ticket keys cannot be read") from error
            return self._keys.get(key_id)

    def _read(self) -> None:
        self._read_at = self._monotonic()
        rows = self._store.keys()
        keys = {}
        for row in rows:
            key = self._wrap.unwrap(row.wrapped, row.created)
            if key is not None:
                keys[row.key_id] = _Key(TicketKey(row.key_id, key), row.created)
        gone = [key for key_id, key in self._keys.items() if key_id not in keys]
        self._keys = keys
        # Younger than the life of its tickets by more than clocks differ: another center's rotation did not drop it. Whoever reads first
        # sees it, and `refresh` tells.
        self._is_alarm = self._is_alarm or any(self._clock() - key.created < self._rotate_after + self._valid for key in gone)

    def _is_over(self, created: int, now: int) -> bool:
        return now - created > self._rotate_after + self._valid + 2 * SPREADING


class Raised(Protocol):
    """One raised generation: of a terminal, or with `slot` None of the user."""

    @property
    def user_id(self) -> int: ...
    @property
    def slot(self) -> int | None: ...
    @property
    def generation(self) -> int: ...


class GenerationStore(Protocol):
    """What `store.terminals` offers; every call blocks its greenlet and may raise StoreUnavailable."""

    def change_number(self) -> int: ...
    def raised_since(self, change_number: int) -> tuple[Sequence[Raised], int]: ...
    def generations(self, pairs: Iterable[tuple[int, int]]) -> Mapping[tuple[int, int], tuple[int, int]]: ...


class Generations:
    """Which generations are the newest, as far as this center has heard, and how long ago it heard anything at all.

    `close(user, slot or None, generation)` is told of every raise, so that sessions of lower generations are closed. Times are monotonic
    seconds, handed in. A pair never heard of is looked up once; what rises later comes by the log. The log is of bounded length: a center
    that was away for longer sees the gap in the numbers and looks up again all that it knows.
    """

    def __init__(
        self,
        store: GenerationStore,
        close: Callable[[int, int | None, int], None],
        *,
        isolated_seconds: float = 60.0,
        most_known: int = 200_000,
    ) -> None:
        self._store = store
        self._close = close
        self._isolated_seconds = isolated_seconds
        self._most_known = most_known
        self._change_number: int | None = None
        self._heard_at: float | None = None
        self._known: dict[tuple[int, int | None], int] = {}
        self._known_before: dict[tuple[int, int | None], int] = {}

    on_raised: Callable[[int, int | None], None] = staticmethod(lambda user, slot: None)  # of all that the log tells, after `close`

    def poll(self, now: float) -> None:
        """Ask the store what was raised since the last poll; yields. Raises StoreUnavailable, and nothing was heard then."""
        if self._change_number is None:
            self._change_number = self._store.change_number()
        is_more = True
        while is_more:
            rows, number = self._store.raised_since(self._change_number)
            for row in rows:
                self._keep(row.user_id, row.slot, row.generation)
                # Known or not: a look-up may have met it first, and tells nobody who is online under an older one.
                self._close(row.user_id, row.slot, row.generation)
                self.on_raised(row.user_id, row.slot)
            if number - self._change_number > len(rows):
                self._look_up_all()
            is_more = number != self._change_number
            self._change_number = number
        self.heard(now)

    def heard(self, now: float) -> None:
        """Store or a peer answered: this center is not cut off. Does not yield."""
        self._heard_at = now if self._heard_at is None else max(now, self._heard_at)

    def learn(self, user: int, slot: int | None, generation: int) -> None:
        """A generation was raised, says the store or a peer; tells `close` if that is news. Does not yield."""
        if self._keep(user, slot, generation):
            self._close(user, slot, generation)

    def check(self, ticket: Ticket, now: float, *, may_yield: bool = True) -> None:
        """Refuse a ticket of an older generation, or any while this center is cut off; yields where the pair was never heard of, and it may
        [P-5.6].

        Raises SessionRefused: TOKEN_REVOKED, ISOLATED (nothing heard for a minute), BUSY (the store does not answer, or may not be asked).
        """
        if self.is_isolated(now):
            raise SessionRefused(ErrorCode.ISOLATED, "cut off from store and peers")
        user, slot = ticket.user, ticket.slot
        if self._newest(user, None) is None or self._newest(user, slot) is None:
            if not may_yield:
                raise SessionRefused(ErrorCode.BUSY, "the generations are not at hand")
            self._look_up(user, slot)
        if ticket.user_generation < (self._newest(user, None) or 0) or ticket.terminal_generation < (self._newest(user, slot) or 0):
            raise SessionRefused(ErrorCode.TOKEN_REVOKED, "logged out, or logged in anew")
        # A ticket fresh from the login center may be ahead of the log.
        self.learn(user, None, ticket.user_generation)
        self.learn(user, slot, ticket.terminal_generation)

    def is_isolated(self, now: float) -> bool:
        """Whether neither store nor peer was heard for so long that no new session may begin."""
        return self._heard_at is None or now - self._heard_at > self._isolated_seconds

    def _newest(self, user: int, slot: int | None) -> int | None:
        known = self._known.get((user, slot))
        return self._known_before.get((user, slot)) if known is None else known

    def _keep(self, user: int, slot: int | None, generation: int) -> bool:
        known = self._newest(user, slot)
        if known is not None and generation <= known:
            return False
        # Two halves that are dropped in turn bound the memory; what is dropped is looked up again when it is asked for.
        if len(self._known) >= self._most_known // 2:
            self._known, self._known_before = {}, self._known
        self._known[user, slot] = generation
        return True

    def _look_up(self, user: int, slot: int) -> None:
        try:
            found = self._store.generations([(user, slot)]).get((user, slot))
        except RequestRefused as error:
            raise SessionRefused(ErrorCode.BUSY, "the generations cannot be read") from error
        if found is None:
            raise SessionRefused(ErrorCode.TOKEN_REVOKED, "no such terminal")
        self._keep(user, None, found[0])
        self._keep(user, slot, found[1])

    def _look_up_all(self) -> None:
        known = {**self._known_before, **self._known}
        pairs = [(user, slot) for user, slot in known if slot is not None]
        for (user, slot), (of_user, of_terminal) in self._store.generations(pairs).items():
            self.learn(user, None, of_user)
            self.learn(user, slot, of_terminal)
