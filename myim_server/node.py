"""The composition root: one process, its parts, their life.

What lives here: which parts the roles of the config need, how they are put together, `build` (everything that can fail), `start`, `stop`
in reverse order. What must not: rules, SQL, bytes. Nobody else holds the node; two-way needs are one-function callbacks set here.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import suppress

import gevent
import structlog
from gevent.pywsgi import WSGIServer

from cluster.directory import Directory, Server
from cluster.memory_directory import MemoryDirectory
from myim_server import keys, node_parts
from myim_server.center import Center
from myim_server.chat.router import Router
from myim_server.clocks import ClockWatch
from myim_server.config_sections import Address, Config
from myim_server.login import LoginCenter
from myim_server.metrics import Metrics
from myim_server.node_parts import CenterRole, Loops, Reach, wall_clock
from myim_server.open_files import ensure_open_files
from myim_server.passwords import Passwords
from myim_server.secret_files import check_directory
from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.tickets import Tickets
from myim_wire import contents
from myim_wire.errors import ErrorCode

__all__ = ["Node", "run", "wall_clock"]

_TICK_SECONDS = 0.25
_LOOK_AFTER_SECONDS = 2.0
_STALL_SECONDS = 0.05
_HOUR = 3600.0
_PURGE_ROWS = 1000
_BETWEEN_PURGES_SECONDS = 0.1
_THROTTLES_KEPT_SECONDS = 30 * 24 * 3600
_DRAIN_SECONDS = 5.0

_log = structlog.get_logger(__name__)


class Node:
    """One process playing the roles of its config."""

    def __init__(self, config: Config, opener: Callable[[StoreSettings], Store] | None = None, directory: Directory | None = None) -> None:
        """opener (of the store), directory: other than the config's, for a test."""
        self._config = config
        self._open_store = opener or open_store
        self.metrics = Metrics()
        self.store: Store | None = None
        self.login: LoginCenter | None = None
        self.node_id = 0
        self.identity = b""
        self._http: WSGIServer | None = None
        self._role: CenterRole | None = None
        self._clock_watch = ClockWatch(time.time(), time.monotonic())
        self._passwords: Passwords | None = None
        self._loops = Loops(self.metrics)
        self._stalls = gevent.Greenlet(self._watch_stalls)
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
        self.store = store = self._open_store(node_parts.store_settings(config))
        self.tickets = tickets = node_parts.open_tickets(config, store, secret)
        self._loops.add(_HOUR / 4, tickets.rotate)
        self._loops.add(config.tokens.poll_seconds, lambda: self._refresh(tickets))
        self._loops.add(_HOUR, lambda: self._purge_throttles(store))
        if "center" in config.node.roles:
            self._build_center(store, tickets)
        if "login" in config.node.roles:
            self._build_login(store, tickets)
        if config.metrics.listen is not None:
            listen = config.metrics.listen
            self._http = WSGIServer((listen.host, listen.port), self.metrics.application, log=None)
            self._http.init_socket()

    def _build_login(self, store: Store, tickets: Tickets) -> None:
        config = self._config
        servers = self._told_servers if config.login.servers else self._servers
        login_keys = keys.open_login_keys(config.data_dir)
        self.identity = login_keys.identity
        self._passwords = node_parts.build_passwords(config)
        self.login = node_parts.build_login(config, login_keys, store, tickets, self._passwords, servers, self.metrics)

    def _build_center(self, store: Store, tickets: Tickets) -> None:
        config = self._config
        role = self._role = node_parts.build_center(
            config, self.node_id, store, tickets, Reach(self._directory), self._servers, self.metrics, is_shared=False
        )
        loops = self._loops
        loops.add(_TICK_SECONDS, role.janitor.tick)
        loops.add(config.delivery.sweep_seconds / 2, role.janitor.sweep)
        loops.add(_LOOK_AFTER_SECONDS, role.center.look_after)
        loops.add(config.tokens.poll_seconds, lambda: role.generations.poll(time.monotonic()))
        loops.add(_HOUR / 6, lambda: self._purge(store))
        loops.add(_LOOK_AFTER_SECONDS, self._publish)

    @property
    def center(self) -> Center | None:
        """The center's door, if this node has one."""
        return None if self._role is None else self._role.center

    @property
    def router(self) -> Router | None:
        """Where the center's messages go, if this node is one."""
        return None if self._role is None else self._role.router

    def count_dropped_line(self) -> None:
        """A log line was not written."""
        self.metrics.log_lines_dropped += 1

    # ------------------------------------------------------------------ start and stop

    def start(self) -> None:
        """Let users in."""
        self._publish()
        self._loops.start()
        self._stalls.start()
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
        self._loops.stop()
        self._stalls.kill()
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
            contents.Server(0, "center", one.host, one.port, position, 0, False) for position, one in enumerate(self._config.login.servers)
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

    def _watch_stalls(self) -> None:
        observe = self.metrics.hub_stall_seconds.observe
        while True:
            before = time.monotonic()
            gevent.sleep(_STALL_SECONDS)
            observe(max(0.0, time.monotonic() - before - _STALL_SECONDS))


def run(node: Node, wait_for_signal: Callable[[], None]) -> None:
    """Start a built node, wait, stop."""
    node.start()
    with suppress(KeyboardInterrupt):
        wait_for_signal()
    node.stop()
