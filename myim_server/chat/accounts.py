"""Registering, logging in, changing the password, deleting the account: who may, what it costs to be wrong, and what is granted.

What lives here: the rules, with `now` (microseconds since 1970) handed in. What must not: SQL, sockets, clocks, how a password is hashed,
what a ticket holds. Why one path for every failure: an unknown name, a wrong password and a locked account take the same steps (the same
look-ups, one hash, one count), so that neither words nor time tell them apart [P-4.9]. Why a password is changed, and an account deleted,
only where the hash that was checked is still the account's: what another terminal did meanwhile must not be undone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from myim_server import throttles
from myim_server.chat.names import parse_name
from myim_server.passwords import Passwords
from myim_server.refusals import RequestRefused
from myim_server.store.accounts import Account, NameTaken, NoSuchUser
from myim_server.store.accounts import Accounts as AccountTable
from myim_server.store.terminals import Admission, NoFreeSlot
from myim_server.store.throttles import Throttles
from myim_server.throttles import Gate, TrustedNetworks
from myim_server.tickets import Tickets
from myim_wire.contents import Grant, LastLogin, Server
from myim_wire.errors import ErrorCode
from myim_wire.login_flights import CredentialsReceived

UNNAMED_TERMINAL = ""
NO_FRIENDS = (0, bytes(32))
_CHANGE_ATTEMPTS = 2  # of a password: a hash made anew for another login may come between


class TerminalTable(Protocol):
    """What `store.terminals` offers here; every call blocks its greenlet and may raise StoreUnavailable."""

    def slot_of(self, user_id: int, terminal_key: bytes) -> int | None: ...
    def admit(
        self, user_id: int, terminal_key: bytes, fingerprint: bytes, terminal_name: str, address: str, network: str, now: int
    ) -> Admission: ...


class Accounts:
    """Registers users and logs them in; every method yields, and raises RequestRefused with a code of [P-9].

    `servers` gives the server list, best first; `changed` is called when tickets that were good are so no more; `address` is the
    terminal's, as text. Any method may be told BUSY and STORE_UNAVAILABLE.
    """

    def __init__(
        self,
        accounts: AccountTable,
        terminals: TerminalTable,
        counters: Throttles,
        passwords: Passwords,
        tickets: Tickets,
        *,
        servers: Callable[[], Sequence[Server]],
        trusted: TrustedNetworks,
        is_registration_open: bool,
        registrations_per_address: int = 20,
        changed: Callable[[], None] = lambda: None,
        friends: Callable[[int], tuple[int, bytes]] = lambda user: NO_FRIENDS,
    ) -> None:
        """friends: (version, root) of a user's friend list (may block)."""
        self._accounts = accounts
        self._terminals = terminals
        self._counters = counters
        self._passwords = passwords
        self._tickets = tickets
        self._servers = servers
        self._trusted = trusted
        self._is_registration_open = is_registration_open
        self._registrations_per_address = registrations_per_address
        self._changed = changed
        self._friends = friends
        self._gate = Gate()

    def register(self, asked: CredentialsReceived, address: str, now: int) -> Grant:
        """Make an account and log its first terminal in [P-4.12].

        Raises REGISTRATION_CLOSED, NAME_INVALID, PASSWORD_REFUSED, NAME_TAKEN, THROTTLED (too many failures from this address, or too many
        accounts made).
        """
        if not self._is_registration_open:
            raise RequestRefused(ErrorCode.REGISTRATION_CLOSED, "registration is closed")
        name = parse_name(asked.name)
        if name is None:
            raise RequestRefused(ErrorCode.NAME_INVALID, "1 to 32 letters and digits of one script, and . _ - between them", field="name")
        self._check_address(address, now)
        self._check_registrations(address, now)
        self._check_password(name.folded, asked.password, address, now)
        # Asked before hashing: hashing for a name that is taken would be a free way to keep the cores busy.
        if self._accounts.find(name.folded) is not None or self._accounts.is_reserved(name.folded, now):
            raise self._name_taken(address, now)
        self._count_registration(address, now)
        password_hash = self._passwords.hash(asked.password)
        try:
            user_id = self._accounts.create(name.folded, name.shown, password_hash, now)
        except NameTaken:
            raise self._name_taken(address, now) from None
        account = Account(user_id, name.folded, name.shown, password_hash, generation=1, is_locked=False)
        return self._granted(account, self._admit(account, asked, address, now), asked, now, is_new_account=True)

    def log_in(self, asked: CredentialsReceived, address: str, now: int) -> Grant:
        """Check the password and grant a session key and token [P-4.8].

        Raises LOGIN_FAILED (unknown name, wrong password or locked account), THROTTLED, NO_FREE_SLOT.
        """
        account = self._proven(asked, address, now)
        if self._passwords.needs_rehash(account.password_hash):
            with suppress(RequestRefused):  # a convenience of ours, which another login will see to: no reason to refuse this one
                self._accounts.rehash(account.user_id, self._passwords.hash(asked.password), was=account.password_hash)
        grant = self._granted(account, self._admit(account, asked, address, now), asked, now)
        self._changed()
        return grant

    def change_password(self, asked: CredentialsReceived, address: str, now: int) -> Grant:
        """Check the password, set the new one, end all tokens of the user, and grant this terminal new ones [P-4.7].

        Raises as `log_in`, and PASSWORD_REFUSED.
        """
        for _ in range(_CHANGE_ATTEMPTS):
            account = self._proven(asked, address, now)
            self._check_password(account.name, asked.new_password, address, now)
            password_hash = self._passwords.hash(asked.new_password)
            # Before the change: a terminal that finds no slot must find the old password good.
            admission = self._admit(account, asked, address, now)
            generation = self._accounts.change_password(account.user_id, password_hash, account.password_hash, admission.slot)
            self._changed()
            if generation is not None:
                return self._granted(replace(account, generation=generation), admission, asked, now)
        raise _login_failed()

    def delete(self, asked: CredentialsReceived, address: str, now: int) -> Grant:
        """Check the password and end the account; the grant is of user 0, with an empty token [P-4.8]. Raises LOGIN_FAILED, THROTTLED."""
        for _ in range(_CHANGE_ATTEMPTS):
            account = self._proven(asked, address, now)
            if self._accounts.delete(account.user_id, now, was=account.password_hash):
                self._changed()
                return Grant(0, "", 0, 0, bytes(32), b"", 0, 0, (), None, new_terminal=False, new_network=False)
        raise _login_failed()

    def _proven(self, asked: CredentialsReceived, address: str, now: int) -> Account:
        """The account whose name and password these are; counts, and refuses, what is wrong."""
        name = parse_name(asked.name)
        account = self._accounts.find(name.folded if name else "")
        counter, is_known_terminal = self._counter(name.folded if name else asked.name, account, asked.terminal_public_key)
        if not is_known_terminal:  # whoever shares an address with a guesser (NAT) still gets in by a terminal that logged in before
            self._check_address(address, now)
        with self._gate.one_at_a_time(counter):
            return self._authenticated(account, asked.password, counter, address, now)

    def _counter(self, name: str, account: Account | None, terminal_key: bytes) -> tuple[str, bool]:
        """The counter of this attempt's failures, and whether it is that of a terminal which logged in to the account before."""
        # Asked for nobody too: the look-up must not tell by its time whether the name exists.
        slot = self._terminals.slot_of(account.user_id if account else 0, terminal_key)
        if account is None or slot is None:
            return throttles.account_counter(name), False
        return throttles.terminal_counter(account.user_id, slot), True

    def _authenticated(self, account: Account | None, password: str, counter: str, address: str, now: int) -> Account:
        count = self._counters.read([counter]).get(counter)
        failures = count.failures if count else 0
        wait = throttles.account_wait(failures, count.until, now) if count else 0
        if wait:
            raise _throttled(wait)
        is_right = self._passwords.verify(account.password_hash if account else None, password)
        if account is None or not is_right or account.is_locked or throttles.is_locked(failures):
            self._counters.fail(counter, now, throttles.account_hold(failures + 1))
            self._count_for_address(address, now)
            raise _login_failed()
        if failures:
            self._counters.clear(counter)
        return account

    def _check_address(self, address: str, now: int) -> None:
        if address in self._trusted:
            return
        self._check_window(throttles.address_counter(address), throttles.ADDRESS_FAILURES, now)

    def _check_registrations(self, address: str, now: int) -> None:
        if address not in self._trusted:
            self._check_window(throttles.registration_counter(address), self._registrations_per_address, now)

    def _check_window(self, counter: str, most: int, now: int) -> None:
        count = self._counters.read([counter]).get(counter)
        wait = throttles.address_wait(count.failures, count.since, now, most) if count else 0
        if wait:
            raise _throttled(wait)

    def _count_for_address(self, address: str, now: int) -> None:
        if address in self._trusted:
            return
        self._count_in_window(throttles.address_counter(address), now)

    def _count_registration(self, address: str, now: int) -> None:
        """Counts one before it is made, so that those that come at once are not all let through; refuses one too many."""
        if address in self._trusted:
            return
        counter = throttles.registration_counter(address)
        if self._count_in_window(counter, now) > self._registrations_per_address:
            self._check_registrations(address, now)

    def _count_in_window(self, counter: str, now: int) -> int:
        count = self._counters.read([counter]).get(counter)
        if count and throttles.is_window_over(count.since, now):
            self._counters.clear(counter)
        return self._counters.fail(counter, now, throttles.ADDRESS_WINDOW)

    def _check_password(self, name: str, password: str, address: str, now: int) -> None:
        try:
            self._passwords.check_new(name, password)
        except RequestRefused as refusal:
            if refusal.code is ErrorCode.PASSWORD_REFUSED:  # judging costs a core some milliseconds, as checking a wrong one does
                self._count_for_address(address, now)
            raise

    def _name_taken(self, address: str, now: int) -> RequestRefused:
        # Counted as a failure: asking which names exist must not come cheaper than trying passwords.
        self._count_for_address(address, now)
        return RequestRefused(ErrorCode.NAME_TAKEN, "this name is taken", field="name")

    def _admit(self, account: Account, asked: CredentialsReceived, address: str, now: int) -> Admission:
        network = throttles.network_of(address)
        terminal_name = asked.terminal or UNNAMED_TERMINAL
        try:
            return self._terminals.admit(
                account.user_id, asked.terminal_public_key, asked.fingerprint, terminal_name, address, network, now
            )  # fmt: skip
        except NoFreeSlot:
            raise RequestRefused(ErrorCode.NO_FREE_SLOT, "64 terminals of this user were active within 40 days") from None
        except NoSuchUser:  # deleted a moment ago
            raise _login_failed() from None

    def _granted(
        self, account: Account, admission: Admission, asked: CredentialsReceived, now: int, *, is_new_account: bool = False
    ) -> Grant:
        generations = (account.generation, admission.generation)
        issued = self._tickets.issue(account.user_id, admission.slot, asked.terminal_public_key, generations, now)
        last = admission.last_login
        friends_version, friends_hash = NO_FRIENDS if is_new_account else self._friends(account.user_id)
        return Grant(
            user=account.user_id,
            name=account.shown_name,
            slot=admission.slot,
            terminal_generation=admission.generation,
            session_key=issued.session_key,
            token=issued.token,
            issued=issued.issued,
            expires=issued.expires,
            servers=tuple(self._servers()),
            last_login=LastLogin(last.time, last.address, last.terminal) if last else None,
            new_terminal=admission.is_new_terminal and not is_new_account,
            new_network=admission.is_new_network and not is_new_account,
            friends_version=friends_version,
            friends_hash=friends_hash,
        )


def _login_failed() -> RequestRefused:
    return RequestRefused(ErrorCode.LOGIN_FAILED, "wrong name or password, or the account is locked")


def _throttled(wait: int) -> RequestRefused:
    return RequestRefused(ErrorCode.THROTTLED, "too many failures", retry_ms=-(-wait // 1_000))
