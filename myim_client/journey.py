"""The life of a connected client, told in one thread: choose a server, connect, converse, lose it, wait, connect again.

It owns the only reader, the timers, and the decision whether to go on; the rules are in `itinerary` and `courier`. The thread is a
daemon (under gevent's patching a greenlet) and ends by `stop`, by being replaced, or with the process.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from myim_client.courier import Courier, SessionEnded
from myim_client.errors import MyimError
from myim_client.events import Disconnected, PasswordNeeded
from myim_client.itinerary import PASSWORD_ROUND_SECONDS, Ending, Itinerary, meaning_of
from myim_client.link import Link, LinkLost
from myim_client.renewal import PasswordLogins
from myim_wire.center_handshake import CenterClient
from myim_wire.contents import Server
from myim_wire.errors import ErrorCode, ProtocolError, ReportedError
from myim_wire.messages import Command, encode_message

LONGEST_WAIT_SECONDS = 2.0
GOODBYE_SECONDS = 2.0
STALE_STEP = 1000


class Journey:
    """Keeps one client connected; `renew_login` logs in with the password (None: cannot), `refresh` asks for another server list."""

    def __init__(
        self, courier: Courier, terminal_private: bytes, itinerary: Itinerary, is_list_fixed: bool,
        renew_login: Callable[[], None] | None, refresh: Callable[[], tuple[Server, ...]],
    ) -> None:  # fmt: skip
        self._courier = courier
        self._terminal_private = terminal_private
        self._itinerary = itinerary
        self._is_list_fixed = is_list_fixed
        self._renew_login = renew_login
        self._refresh = refresh
        self._stopping = threading.Event()
        self._online = threading.Event()
        self._over = threading.Event()
        self._link: Link | None = None
        self._thread: threading.Thread | None = None
        self._number_step = 1
        self._logins = PasswordLogins()
        self.logging_in = threading.Lock()  # held while the token is about to be another
        self._token = b""
        self._is_password_asked = False
        self._needs_password = False
        self._is_refused = False
        self.last_failure = "not tried yet"
        self.connections = 0

    def start(self) -> None:
        """Begin; once."""
        self._thread = threading.Thread(target=self._run, name="myim-client", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether it has ended for good."""
        return self._over.is_set()

    def wait_online(self, timeout: float | None) -> bool:
        """Whether a session is open, waiting at most `timeout` seconds for one."""
        return self._online.wait(timeout)

    def flush(self) -> None:
        """Write what is due, if there is a session."""
        link = self._link
        if link is not None:
            link.flush()

    def stop(self) -> None:
        """Say GOODBYE and end; returns when the thread is gone (at most a few seconds)."""
        self._stopping.set()
        self._courier.is_closing = True
        link = self._link
        if link is not None:
            link.say_goodbye(encode_message(Command.GOODBYE, 0, self._courier.account.user, 0, 0))
        if self._thread is not None and self._thread is not threading.current_thread():
            if not self._over.wait(GOODBYE_SECONDS) and link is not None:
                link.cut()
            self._over.wait(GOODBYE_SECONDS)

    def _run(self) -> None:
        reason, code = "closed", 0
        try:
            while not self._stopping.is_set():
                if self._stopping.wait(self._delay()):
                    break
                ending, code, reason = self._one_connection()
                if ending is Ending.STOP:
                    break
                self._prepare_next(ending)
        except MyimError as error:  # the profile cannot be written: going on would break its promises
            reason = str(error)
        finally:
            self._over.set()
            self._online.set()
            self._courier.note(Disconnected(reason, code, is_final=True))
            self._courier.inbox.close()

    def _delay(self) -> float:
        delay = self._itinerary.delay()
        return max(delay, PASSWORD_ROUND_SECONDS) if self._needs_password and self._itinerary.rounds > 1 else delay

    def _one_connection(self) -> tuple[Ending, int, str]:
        server = self._itinerary.next()
        self._is_refused = False
        if server is None:
            return self._failed(Ending.AGAIN, 0, "no server is known")
        account = self._courier.account
        self._token = account.token
        number = self._courier.profile.next_connection_number(self._number_step)
        client = CenterClient(account.token, account.session_key, self._terminal_private, os.urandom(32), os.urandom(32), number)
        try:
            link = Link.open(server.host, server.port, client, lambda: self._courier.due(time.monotonic()))
        except ReportedError as error:
            self._is_refused = error.code == ErrorCode.DRAINING
            return self._failed(meaning_of(error.code, is_authentic=False), error.code, error.code.name)
        except ProtocolError as error:
            return self._failed(Ending.AGAIN, 0, str(error))
        except (OSError, LinkLost) as error:
            self._is_refused = isinstance(error, ConnectionRefusedError)
            return self._failed(Ending.AGAIN, 0, f"{server.host}:{server.port}: {getattr(error, 'strerror', None) or error}")
        return self._converse(link, f"{server.host}:{server.port}")

    def _failed(self, ending: Ending, code: int, reason: str) -> tuple[Ending, int, str]:
        self.last_failure = reason
        return ending, code, reason

    def _converse(self, link: Link, server: str) -> tuple[Ending, int, str]:
        courier = self._courier
        began = time.monotonic()
        self._link = link
        if self._stopping.is_set():  # it was told while the handshake went on, and whoever told it could not see this link
            self._link = None
            link.close()
            return Ending.STOP, 0, "closed"
        self.connections += 1
        ending, code, reason, is_told = Ending.AGAIN, 0, "closed", False
        try:
            courier.begin(server, began)
            link.flush()
            self._online.set()
            self._read(link)
        except SessionEnded as end:
            code, reason = end.code, end.text
            ending = meaning_of(end.code, is_authentic=True)
            is_told = True
        except ReportedError as error:  # the center changed its mind before our first record counted
            code, reason = error.code, error.code.name
            ending = meaning_of(error.code, is_authentic=False)
        except (LinkLost, ProtocolError) as error:
            reason = str(error)
        finally:
            self._link = None
            self._online.clear()
            link.close()
            courier.end(reason)
        self.last_failure = reason
        lasted = time.monotonic() - began
        self._itinerary.lasted(lasted)
        if is_told and code == ErrorCode.BUSY:
            self._itinerary.sent_away()
        if is_told and code in (ErrorCode.DRAINING, ErrorCode.SHUTDOWN):
            if not self._is_list_fixed:
                self._itinerary.replace(courier.account.servers)
            self._itinerary.drained()
        if code not in (ErrorCode.STALE_CONNECTION, ErrorCode.TOKEN_EXPIRED, ErrorCode.TOKEN_INVALID, ErrorCode.TOKEN_REVOKED):
            self._number_step = 1
            self._needs_password = self._is_password_asked = False
        if ending is not Ending.STOP and not self._stopping.is_set():
            courier.note(Disconnected(reason, code))
        return ending, code, reason

    def _read(self, link: Link) -> None:
        courier = self._courier
        while True:
            now = time.monotonic()
            messages = link.receive(min(LONGEST_WAIT_SECONDS, courier.deadline(now) - now))
            now = time.monotonic()
            if messages is None:
                raise SessionEnded(0, "the center closed the session")
            if messages:
                courier.receive(messages, now)
            courier.tick(now)
            link.keep_keys_fresh(now)
            link.flush()

    def _prepare_next(self, ending: Ending) -> None:
        itinerary = self._itinerary
        self._courier.keep_house(time.monotonic())
        if ending is Ending.RAISE_NUMBER:
            # the file is older than the center's memory (a backup came back): leap, for one by one may take for ever
            self._number_step = min(self._number_step * STALE_STEP, 1 << 40)
        if ending is Ending.LOG_IN:
            with self.logging_in:
                if self._courier.account.token == self._token:  # else another thread logged in meanwhile
                    self._log_in()
        if not self._is_list_fixed:
            itinerary.replace(self._courier.account.servers)
        is_round_over = itinerary.failed(self._is_refused)
        if is_round_over and not self._is_list_fixed and (itinerary.rounds in (3, 6) or itinerary.rounds % 20 == 0):
            self._refresh_list()
            itinerary.replace(self._courier.account.servers)

    def _log_in(self) -> None:
        self._needs_password = True
        reason = "the token does not serve any more"
        if self._renew_login is not None and not self._logins.is_over:
            if not self._logins.may_begin(time.monotonic()):
                return
            try:
                self._renew_login()
                self._needs_password = False
                return
            except MyimError as error:
                self._logins.failed(error, time.monotonic())
                reason = f"{reason}, and the login failed: {error}"
        if not self._is_password_asked:
            self._is_password_asked = True
            self._courier.note(PasswordNeeded(reason))

    def _refresh_list(self) -> None:
        try:
            servers = self._refresh()
        except MyimError:
            return
        if servers:
            self._courier.take_servers(servers)
