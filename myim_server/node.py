"""The composition root: one process, its parts, their life.

What lives here: which parts the roles of the config need, how they are put together, `build` (everything that can fail), `start`, `stop`
in reverse order. What must not: rules, SQL, bytes. Nobody else holds the node; two-way needs are one-function callbacks set here.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
import structlog
from gevent.pywsgi import WSGIServer

from cluster.directory import Directory, Server
from cluster.memory_directory import MemoryDirectory
from myim_server import keys
from myim_server.center import Center
from myim_server.center_parts import DoorLimits, DoorParts
from myim_server.chat import sabotage
from myim_server.chat.accounts import Accounts
from myim_server.chat.admission import Admission, LookUps
from myim_server.chat.inbox import Window
from myim_server.chat.janitor import Janitor
from myim_server.chat.lane import Patience
from myim_server.chat.router import Router, Surroundings
from myim_server.chat.shelf import Shelf, ShelfLimits
from myim_server.clocks import ClockWatch
from myim_server.commands import Commands, Numbering, Services
from myim_server.config_sections import Address, Config
from myim_server.login import LoginCenter, LoginLimits
from myim_server.metrics import Metrics
from myim_server.open_files import ensure_open_files
from myim_server.pace import Limits
from myim_server.passwords import Passwords
from myim_server.refusals import StoreUnavailable
from myim_server.secret_files import check_directory
from myim_server.sessions import Outbound, Sessions
from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.throttles import TrustedNetworks
from myim_server.tickets import Generations, Tickets
from myim_wire import contents
from myim_wire.errors import ErrorCode

_TICK_SECONDS = 0.25
_LOOK_AFTER_SECONDS = 2.0
_STALL_SECONDS = 0.05
_HOUR = 3600.0
_PURGE_ROWS = 1000
_BETWEEN_PURGES_SECONDS = 0.1
_THROTTLES_KEPT_SECONDS = 30 * 24 * 3600
_DRAIN_SECONDS = 5.0

_log = structlog.get_logger(__name__)


def wall_clock() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


class Node:
    """One process playing the roles of its config."""

    def __init__(
        self, config: Config, opener: Callable[[StoreSettings], Store] | None = None, directory: Directory | None = None
    ) -> None:
        """opener (of the store), directory: other than the config's, for a test."""
        self._config = config
        self._open_store = opener or open_store
        self.metrics = Metrics()
        self.store: Store | None = None
        self.login: LoginCenter | None = None
        self.center: Center | None = None
        self.router: Router | None = None
        self.node_id = 0
        self.identity = b""
        self._http: WSGIServer | None = None
        self._sessions: Sessions | None = None
        self._clock_watch = ClockWatch(time.time(), time.monotonic())
        self._passwords: Passwords | None = None
        self._loops: list[gevent.Greenlet[..., Any]] = []
        self._directory = directory or MemoryDirectory()

    # ------------------------------------------------------------------ build

    def build(self) -> None:
        """Open files, store and ports: everything that can fail, fails here. StoreRefused, SecretRefused, TooFewOpenFiles, OSError."""
        config = self._config
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_directory(config.data_dir)
        before, now = ensure_open_files(config.descriptors_needed)
        log = _log.debug if before == now else _log.info
        log("open_files", needed=config.descriptors_needed, limit_before=before, limit_now=now)
        secret = keys.open_cluster_secret(config.cluster_secret_file)
        self.node_id = keys.open_node_key(config.data_dir).node_id
        delivery = config.delivery
        self.store = store = self._open_store(
            StoreSettings(
                url=config.store_url,
                password_file=config.store_password_file,
                allow_unflushed=config.store.allow_unflushed,
                pool_size=config.store.pool_size,
                offline_rows_per_user=delivery.offline_rows_per_user,
                offline_bytes_per_user=delivery.offline_bytes_per_user,
                offline_days=delivery.offline_days,
            )
        )
        tokens = config.tokens
        self.tickets = tickets = Tickets(
            self.store.tickets,
            secret,
            wall_clock,
            valid_hours=tokens.valid_hours,
            rotate_hours=tokens.rotate_hours,
            renew_days=tokens.renew_days,
        )
        tickets.rotate()
        self._keep_doing(_HOUR / 4, tickets.rotate)
        self._keep_doing(tokens.poll_seconds, lambda: self._refresh(tickets))
        self._keep_doing(_HOUR, lambda: self._purge_throttles(store))
        if "center" in config.node.roles:
            self._build_center(self.store, tickets)
        if "login" in config.node.roles:
            self._build_login(self.store, tickets)
        if config.metrics.listen is not None:
            listen = config.metrics.listen
            self._http = WSGIServer((listen.host, listen.port), self.metrics.application, log=None)
            self._http.init_socket()
        self._loops.append(gevent.Greenlet(self._watch_stalls))

    def _build_login(self, store: Store, tickets: Tickets) -> None:
        config = self._config.login
        servers = self._told_servers if config.servers else self._servers
        login_keys = keys.open_login_keys(self._config.data_dir)
        self._passwords = Passwords(config.password_threads or os.cpu_count() or 1, config.password_queue)
        self.identity = login_keys.identity
        accounts = Accounts(
            store.accounts,
            store.terminals,
            store.throttles,
            self._passwords,
            tickets,
            servers=servers,
            trusted=TrustedNetworks(config.trusted_networks),
            is_registration_open=config.registration == "open",
            registrations_per_address=config.registrations_per_address,
        )
        limits = LoginLimits(config.max_handshakes, config.max_handshakes_per_address, config.handshake_seconds)
        listen = (config.listen.host, config.listen.port)
        self.login = LoginCenter(listen, login_keys, accounts, servers, wall_clock, self.metrics, limits)
        self.login.build()

    def count_dropped_line(self) -> None:
        """A log line was not written."""
        self.metrics.log_lines_dropped += 1

    def _build_center(self, store: Store, tickets: Tickets) -> None:
        config, delivery, tokens = self._config.center, self._config.delivery, self._config.tokens
        generations = Generations(store.terminals, self._revoke, isolated_seconds=tokens.isolated_seconds)
        generations.poll(time.monotonic())
        outbound = Outbound(gevent.get_hub().loop.run_callback)
        sessions = self._sessions = Sessions(config.sessions_per_user)
        batch = self._config.store
        broken = sabotage.asked_for(os.environ)
        if broken:
            _log.error("sabotaged_on_purpose", rule=broken)
        shelf_limits = ShelfLimits(
            batch.batch_rows,
            sabotage.LATE_SECONDS if broken == "settle_before_commit" else batch.batch_linger_ms / 1000,
            delivery.store_seconds,
        )
        shelf = Shelf(store.offline, self.node_id, shelf_limits, gevent.spawn, self.metrics.batch_rows.observe)
        around = Surroundings(
            self.node_id, time.monotonic, gevent.spawn, sessions, self._directory, shelf, store.receipts, self.metrics
        )
        window = Window(delivery.unconfirmed_rows, delivery.unconfirmed_bytes, delivery.page_rows, delivery.receipt_seconds)
        self.router = Router(around, *sabotage.parts(broken, Patience(delivery.attempt_seconds)), window)
        admission = Admission(tickets, generations, store.terminals, time.monotonic, wall_clock)
        commands = Commands(
            self.router,
            Numbering(store.nodes.boot(self.node_id, wall_clock()), wall_clock),
            Limits(
                delivery.lanes_per_session,
                delivery.unsettled_per_terminal,
                delivery.unsettled_bytes_per_terminal,
                config.requests_per_second,
                config.messages_per_second,
            ),
            Services(LookUps(store.accounts), admission.renew, self._servers, gevent.spawn, _log_fault),
            self.metrics,
        )
        limits = DoorLimits(
            config.max_connections,
            config.max_handshakes,
            config.max_handshakes_per_address,
            config.handshake_seconds,
            config.frame_seconds,
            config.idle_ping_seconds,
            config.idle_close_seconds,
            config.outbound_bytes,
            config.slow_reader_seconds,
        )
        parts = DoorParts(
            self.node_id, admission, self.router, commands, outbound, time.monotonic, os.urandom, self.metrics, structlog.get_logger()
        )
        self.center = Center((config.listen.host, config.listen.port), limits, parts)
        self.center.init_socket()
        janitor = Janitor(self.router, around)
        self.metrics.watch("sessions", "terminals that are online here", lambda: len(sessions))
        self._keep_doing(_TICK_SECONDS, janitor.tick)
        self._keep_doing(delivery.sweep_seconds / 2, janitor.sweep)
        self._keep_doing(_LOOK_AFTER_SECONDS, self.center.look_after)
        self._keep_doing(tokens.poll_seconds, lambda: generations.poll(time.monotonic()))
        self._keep_doing(_HOUR / 6, lambda: self._purge(store))
        self._keep_doing(_LOOK_AFTER_SECONDS, self._publish)

    # ------------------------------------------------------------------ start and stop

    def start(self) -> None:
        """Let users in."""
        self._publish()
        for loop in self._loops:
            loop.start()
        for server in (self.center, self.login, self._http):
            if server is not None:
                server.start()
        gc.collect()
        gc.freeze()  # what lives as long as the process need not be looked at again and again
        gc.set_threshold(10_000, 50, 100)  # the young ones in a millisecond, the old ones hardly ever
        _log.info("node_started", node=self.node_id, roles=list(self._config.node.roles), **self.addresses())

    def stop(self) -> None:
        """Say goodbye to users, wait for the last bytes, close; safe to call again."""
        if self.store is not None:
            _log.info("node_stopping", node=self.node_id)
        for server in (self.login, self._http):
            if server is not None:
                server.stop(timeout=1)
        if self.center is not None:
            self.center.close()  # the listener; open sessions are drained next
            self.center.drain(_DRAIN_SECONDS)
            self.center.stop(timeout=1)
        gevent.killall(self._loops)
        self._loops.clear()
        if self._passwords is not None:
            self._passwords.close()
            self._passwords = None
        if self.store is not None:
            self.store.close()
            self.store = None
            _log.info("node_stopped", node=self.node_id)

    def addresses(self) -> dict[str, str]:
        """Where the doors are, as bound."""
        doors = {"login": self.login, "center": self.center}
        return {name: str(Address(str(door.server_host), int(door.server_port or 0))) for name, door in doors.items() if door is not None}

    # ------------------------------------------------------------------ callbacks and loops

    def _servers(self) -> list[contents.Server]:
        return [
            contents.Server(one.node, "center", one.host, one.port, one.priority, one.load, one.is_draining)
            for one in self._directory.servers()
            if one.role == "center"
        ]

    def _told_servers(self) -> list[contents.Server]:
        """The centers that run apart, as configured; the login center knows no more of them than where they are [P-7.11]."""
        return [
            contents.Server(0, "center", one.host, one.port, position, 0, False)
            for position, one in enumerate(self._config.login.servers)
        ]

    def _publish(self) -> None:
        center, config = self.center, self._config.center
        if center is not None and self.router is not None:
            host, port = str(center.server_host), int(center.server_port or 0)
            told: Address = config.advertise or Address(host, port)
            load = min(100, 100 * len(self.router.parties) // config.max_connections)
            self._directory.publish_server(
                Server(self.node_id, "center", told.host, told.port or port, config.priority, load, center.is_draining)
            )

    def _revoke(self, user: int, slot: int | None, generation: int) -> None:
        for session in list(self._sessions.of(user)) if self._sessions is not None else ():
            theirs = session.user_generation if slot is None else session.incarnation[0]
            if slot in (None, session.slot) and theirs < generation:
                session.goodbye(ErrorCode.TOKEN_REVOKED, "logged out, or logged in anew")

    def _refresh(self, tickets: Tickets) -> None:
        if tickets.refresh() and self.center is not None:
            self.center.close_all(ErrorCode.TOKEN_REVOKED, "all ticket keys were dropped")

    def _purge_throttles(self, store: Store) -> None:
        before = wall_clock() - _THROTTLES_KEPT_SECONDS * 1_000_000
        while store.throttles.purge(before, _PURGE_ROWS) >= _PURGE_ROWS:
            gevent.sleep(_BETWEEN_PURGES_SECONDS)

    def _purge(self, store: Store) -> None:
        if not self._clock_watch.is_trusted(time.time(), time.monotonic()):
            _log.warning("clock_jumped", what="nothing expires until the new time has held for a day")
            return
        while store.offline.purge_expired(wall_clock(), _PURGE_ROWS) >= _PURGE_ROWS:
            gevent.sleep(_BETWEEN_PURGES_SECONDS)

    def _keep_doing(self, seconds: float, work: Callable[[], object]) -> None:
        """Do this again and again, `seconds` apart; what the store cannot do now is done next time."""

        def loop() -> None:
            while True:
                gevent.sleep(seconds)
                try:
                    work()
                except StoreUnavailable:
                    self.metrics.store_failures += 1
                except Exception as fault:
                    _log.error("loop_fault", exc_info=fault)

        self._loops.append(gevent.Greenlet(loop))

    def _watch_stalls(self) -> None:
        observe = self.metrics.hub_stall_seconds.observe
        while True:
            before = time.monotonic()
            gevent.sleep(_STALL_SECONDS)
            observe(max(0.0, time.monotonic() - before - _STALL_SECONDS))


def _log_fault(connection_id: str, fault: BaseException) -> None:
    _log.error("request_fault", connection=connection_id, exc_info=fault)


def run(node: Node, wait_for_signal: Callable[[], None]) -> None:
    """Start a built node, wait, stop."""
    node.start()
    with suppress(KeyboardInterrupt):
        wait_for_signal()
    node.stop()
