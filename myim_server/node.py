"""The composition root: one process, its parts, their life.

What lives here: which parts the roles of the config need, how they are put together, `build` (everything that can fail), `start`, `stop`
in reverse order. What must not: rules, SQL, bytes. Nobody else holds the node; two-way needs are one-function callbacks set here.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import gevent
import structlog
from gevent.pywsgi import WSGIServer

from cluster.directory import Directory, Server
from cluster.identity import make_identity
from cluster.memory_directory import MemoryDirectory
from myim_server import keys, node_accounts, node_parts
from myim_server.center import Center
from myim_server.chat.peers import Peers
from myim_server.chat.router import Router
from myim_server.clocks import ClockWatch
from myim_server.config_sections import Address, Config
from myim_server.control import ControlRefused, ControlSocket
from myim_server.login import LoginCenter
from myim_server.metrics import Metrics
from myim_server.node_endpoint import EndpointNode
from myim_server.node_links import NodeLinks
from myim_server.node_parts import CenterRole, Loops, Reach, Seat, wall_clock
from myim_server.open_files import ensure_open_files
from myim_server.passwords import Passwords
from myim_server.secret_files import check_directory
from myim_server.store.engine import Store, StoreSettings, open_store
from myim_server.tickets import Tickets
from myim_wire import contents
from myim_wire.errors import ErrorCode

__all__ = ["EndpointNode", "Node", "make_node", "run", "wall_clock"]

_TICK_SECONDS = 0.25
_LOOK_AFTER_SECONDS = 2.0
_TELL_SECONDS = 0.5
_NEWS_SECONDS = 0.2
_HEARD_SECONDS = 0.3  # for others to hear that this node drains, before its terminals come to them
_HOUR = 3600.0
_PURGE_ROWS = 1000
_BETWEEN_PURGES_SECONDS = 0.1
_THROTTLES_KEPT_SECONDS = 30 * 24 * 3600
_DRAIN_SECONDS = 5.0
_DEPART_SECONDS = 15.0

_log = structlog.get_logger(__name__)


class Node:
    """One process playing the roles of its config."""

    def __init__(
        self,
        config: Config,
        opener: Callable[[StoreSettings], Store] | None = None,
        directory: Directory | None = None,
        seat: Seat | None = None,
    ) -> None:
        """opener (of the store), directory: other than the config's, for a test; seat: which of several workers this process is."""
        self._config = config if seat is None else node_parts.seated(config, seat)
        self._own_dir = config.data_dir if seat is None else config.data_dir / seat.directory
        self._is_worker = seat is not None
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
        self._directory = directory or MemoryDirectory()
        self._links: NodeLinks | None = None
        self._control = ControlSocket(
            self._own_dir, {"links": self._show_links, "status": lambda question: self.status(), "drain": self._take_drain}
        )
        self._began = wall_clock()

    # ------------------------------------------------------------------ build

    def build(self) -> None:
        """Open files, store and ports: everything that can fail, fails here. StoreRefused, SecretRefused, TooFewOpenFiles, OSError."""
        config = self._config
        for directory in dict.fromkeys((config.data_dir, self._own_dir)):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_directory(directory)
        before, now = ensure_open_files(config.descriptors_needed)
        log = _log.debug if before == now else _log.info
        log("open_files", needed=config.descriptors_needed, limit_before=before, limit_now=now)
        secret = keys.open_cluster_secret(config.cluster_secret_file)
        key = keys.open_node_key(self._own_dir)
        self.node_id = key.node_id
        self.store = store = self._open_store(node_parts.store_settings(config))
        self.tickets = tickets = node_parts.open_tickets(config, store, secret)
        self._loops.add(_HOUR / 4, tickets.rotate)
        self._loops.add(config.tokens.poll_seconds, lambda: self._refresh(tickets))
        self._loops.add(_HOUR, lambda: self._purge_accounts(store))
        if config.is_linked:
            self._links = NodeLinks(config, make_identity(key.seed), secret, store.endpoints, self.metrics)
            self._directory = self._links.directory
        if "center" in config.node.roles:
            self._build_center(store, tickets)
        if "login" in config.node.roles:
            self._build_login(store, tickets)
        if config.metrics.listen is not None:
            listen = config.metrics.listen
            self._http = WSGIServer((listen.host, listen.port), self.metrics.application, log=None)
            self._http.init_socket()
        if self._links is not None:
            self._build_links(self._links)
        self._control.build()

    def _build_links(self, links: NodeLinks) -> None:
        role, peers = self._role, None
        if role is not None:
            peers = Peers(self.node_id, role.router, links.locator, role.sessions, time.monotonic, gevent.spawn_later, self.metrics)
            peers.on_changed = self._poll_generations
            role.serve(peers)
            self._loops.add(_TELL_SECONDS, lambda: links.tell(role.sessions))
        links.serve(peers, role, self.login, lambda is_wished: gevent.spawn(self._drain_told, is_wished))
        links.build()
        self._loops.add(self._config.tokens.poll_seconds, links.read_admitted)
        self._loops.add(_NEWS_SECONDS, lambda: self._publish() if links.is_news else None)
        if role is None:
            self._loops.add(_LOOK_AFTER_SECONDS, self._publish)

    def _build_login(self, store: Store, tickets: Tickets) -> None:
        config = self._config
        servers = self._told_servers if config.login.servers else self._servers
        login_keys = keys.open_login_keys(config.data_dir)
        self.identity = login_keys.identity
        self._passwords = node_parts.build_passwords(config)
        self.login = node_parts.build_login(config, login_keys, store, tickets, self._passwords, servers, self._changed, self.metrics)

    def _build_center(self, store: Store, tickets: Tickets) -> None:
        config = self._config
        links = self._links
        reach = Reach(self._directory) if links is None else Reach(self._directory, links.locator, links.post, links.is_whole)
        role = self._role = node_parts.build_center(
            config, self.node_id, store, tickets, reach, self._servers, self._changed, self.metrics, self._is_worker
        )
        loops = self._loops
        loops.add(_TICK_SECONDS, role.janitor.tick)
        loops.add(config.delivery.sweep_seconds / 2, role.janitor.sweep)
        groups = role.groups
        loops.add(_TICK_SECONDS, groups.tick)
        presence, users = role.presence, role.router.inboxes.users
        loops.add(_TICK_SECONDS, presence.hall.tick)
        loops.add(config.delivery.sweep_seconds / 2, lambda: presence.held.sweep(list(users)))
        loops.add(config.delivery.sweep_seconds / 2, groups.parts.hall.sweep)
        loops.add(config.delivery.sweep_seconds / 2, groups.parts.hall.look_round)
        loops.add(config.groups.tidy_seconds, groups.janitor.tidy)
        loops.add(config.groups.walk_seconds, lambda: groups.janitor.walk(self._trusted_wall()))
        accounts = role.accounts
        loops.add(config.delivery.sweep_seconds / 2, accounts.warnings.sweep)
        node_accounts.hear(role.generations, store, accounts, loops.add(_DEPART_SECONDS, accounts.departures.run))
        loops.add(_LOOK_AFTER_SECONDS, role.center.look_after)
        self._poll_generations = loops.add(config.tokens.poll_seconds, lambda: role.generations.poll(time.monotonic()))
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
        for server in (self._links, self.center, self.login, self._http, self._control):
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
        self._control.stop()
        if self._links is not None and self._links.has_other_servers:
            self.drain()
        for server in (self.login, self._http):
            if server is not None:
                server.stop(timeout=1)
        if self._role is not None:
            self._role.center.close()  # the listener; open sessions are drained next
            self._role.center.drain(_DRAIN_SECONDS)
            if self._links is not None:
                self._role.wait_until_settled(_DRAIN_SECONDS)
            self._role.center.stop(timeout=1)
        if self._links is not None:
            self._links.stop()
        self._loops.stop()
        if self._passwords is not None:
            self._passwords.close()
            self._passwords = None
        if self.store is not None:
            self.store.close()
            self.store = None
            _log.info("node_stopped", node=self.node_id)

    def drain(self, is_wished: bool = True) -> int:
        """Take no new sessions, and send those that are here to other servers, a few at a time (yields); how many.

        Not wished: take sessions again.
        """
        role, links = self._role, self._links
        if role is None or links is None:
            return 0
        _log.info("node_draining" if is_wished else "node_takes_sessions", node=self.node_id)
        role.center.is_draining = is_wished
        self._publish()
        links.tell_draining(is_wished)
        links.tell(role.sessions, is_urgent=True)
        if not is_wished:
            return 0
        gevent.sleep(_HEARD_SECONDS)
        sent = role.send_away()
        role.wait_until_settled(_DRAIN_SECONDS)
        return sent

    def addresses(self) -> dict[str, str]:
        """Where the doors are, as bound."""
        doors = {"login": self.login, "center": self.center}
        found = {name: str(Address(str(door.server_host), int(door.server_port or 0))) for name, door in doors.items() if door is not None}
        return found if self._links is None else {**found, "links": str(self._links.bound)}

    @property
    def fingerprint(self) -> str:
        """What other nodes know this one by; "" where there are no others."""
        return "" if self._links is None else self._links.fingerprint

    # ------------------------------------------------------------------ operators

    def status(self) -> Mapping[str, Any]:
        """What this node is and does, for an operator."""
        role = self._role
        return {
            "node": self.node_id,
            "pid": os.getpid(),
            "roles": list(self._config.node.roles),
            "addresses": self.addresses(),
            "identity": self.identity.hex(),
            "fingerprint": self.fingerprint,
            "up_seconds": (wall_clock() - self._began) // 1_000_000,
            "sessions": 0 if role is None else len(role.sessions),
            "is_draining": role is not None and role.center.is_draining,
            "links": 0 if self._links is None else self._links.count,
            "servers": [server.to_map() for server in self._servers()],
        }

    def _show_links(self, question: Mapping[str, Any]) -> object:
        return [] if self._links is None else self._links.status()

    def _drain_told(self, is_wished: bool) -> None:
        """Another node's operator wishes it."""
        if is_wished and self._links is not None and not self._links.has_other_servers:
            _log.warning("drain_refused", why="there is no other server for the terminals here")
        else:
            self.drain(is_wished)

    def _take_drain(self, question: Mapping[str, Any]) -> object:
        node, is_wished = question.get("node") or self.node_id, not question.get("undo")
        links = self._links
        if links is None:
            raise ControlRefused("this node runs alone: there is no other server for its terminals")
        if node != self.node_id:
            if not isinstance(node, int) or not links.drain(node, is_wished):
                raise ControlRefused(f"node {node} is not linked to this one")
            return f"node {node} was told"
        if self._role is None:
            raise ControlRefused("this node holds no sessions")
        if is_wished and not links.has_other_servers:
            raise ControlRefused("there is no other server for its terminals")
        sent = self.drain(is_wished)
        return f"{sent} sessions sent to other servers" if is_wished else "this node takes sessions again"

    # ------------------------------------------------------------------ callbacks and loops

    def _servers(self) -> list[contents.Server]:
        if self._links is not None:
            return self._links.servers()
        return [
            contents.Server(one.node, "center", one.host, one.port, one.priority, one.load, one.is_draining)
            for one in self._directory.servers()
            if one.role == "center"
        ]

    def _changed(self) -> None:
        """A generation was raised here: centers look into the store at once."""
        if self._links is not None:
            self._links.changed()
        self._poll_generations()

    _poll_generations: Callable[[], None] = staticmethod(lambda: None)

    def _told_servers(self) -> list[contents.Server]:
        """The centers that run apart, as configured; the login center knows no more of them than where they are [P-7.11]."""
        return [
            contents.Server(0, "center", one.host, one.port, position, 0, False) for position, one in enumerate(self._config.login.servers)
        ]

    def _publish(self) -> None:
        own: list[Server] = []
        link = "" if self._links is None else str(self._links.address)
        center, config = self.center, self._config.center
        if center is not None and self.router is not None:
            host, port = str(center.server_host), int(center.server_port or 0)
            told = (config.advertise or Address(host, port)) if config.listed else Address("", 0)
            load = min(100, 100 * len(self.router.parties) // config.max_connections)
            own.append(Server(self.node_id, "center", told.host, told.port, config.priority, load, center.is_draining, link, self._began))
        if self._links is None:
            for server in own:
                self._directory.publish_server(server)
            return
        if self.login is not None:
            own.append(Server(self.node_id, "login", "", 0, 0, 0, False, link, self._began))
        self._links.publish(own)

    def _refresh(self, tickets: Tickets) -> None:
        if tickets.refresh() and self.center is not None:
            self.center.close_all(ErrorCode.TOKEN_REVOKED, "all ticket keys were dropped")

    def _purge_accounts(self, store: Store) -> None:
        now = wall_clock()
        while store.throttles.purge(now - _THROTTLES_KEPT_SECONDS * 1_000_000, _PURGE_ROWS) >= _PURGE_ROWS:
            gevent.sleep(_BETWEEN_PURGES_SECONDS)
        if self._trusted_wall():
            while store.logins.purge(now, _PURGE_ROWS) >= _PURGE_ROWS:
                gevent.sleep(_BETWEEN_PURGES_SECONDS)
            store.deletions.tidy(now)

    def _purge(self, store: Store) -> None:
        if not self._trusted_wall():
            return
        while True:
            purged = store.offline.purge_expired(wall_clock(), _PURGE_ROWS)
            self.metrics.messages_expired += len(purged.names)
            if self._role is not None:
                self._role.expiry.tell(purged.names)
            if purged.rows < _PURGE_ROWS:
                break
            gevent.sleep(_BETWEEN_PURGES_SECONDS)

    def _trusted_wall(self) -> int:
        """Microseconds since 1970, or 0 while the clock is not to be trusted."""
        if self._clock_watch.is_trusted(time.time(), time.monotonic()):
            return wall_clock()
        _log.warning("clock_jumped", what="nothing expires until the new time has held for a day")
        return 0


def make_node(config: Config, seat: Seat | None = None) -> Node | EndpointNode:
    """The node of a config; seat: which of several workers it is."""
    return EndpointNode(config) if "endpoint" in config.node.roles else Node(config, seat=seat)


def run(node: Node | EndpointNode, wait_for_signal: Callable[[], None]) -> None:
    """Start a built node, wait, stop."""
    node.start()
    with suppress(KeyboardInterrupt):
        wait_for_signal()
    node.stop()
