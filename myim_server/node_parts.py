"""The parts of a node, put together from its configuration: which value goes where.

What lives here: one function per role and part, and the loops that do something again and again. What must not: which parts a node has and
when they start and stop (`node`), links (`node_links`), rules, SQL, bytes.
"""

from __future__ import annotations

import os
import socket as sockets
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import gevent
import structlog
from gevent.event import Event

from cluster.directory import Directory
from cluster.peer_link import LinkStatus
from myim_server.center import Center
from myim_server.center_parts import DoorLimits, DoorParts
from myim_server.chat import sabotage
from myim_server.chat.accounts import Accounts
from myim_server.chat.admission import Admission, LookUps
from myim_server.chat.expiry import Expiry
from myim_server.chat.friend_roots import FriendRoots
from myim_server.chat.inbox import Window
from myim_server.chat.janitor import Janitor
from myim_server.chat.lane import Patience
from myim_server.chat.peers import Peers
from myim_server.chat.post import NoMesh, Post
from myim_server.chat.router import Router, Surroundings
from myim_server.chat.shelf import Shelf, ShelfLimits
from myim_server.chat.vouching import Finder
from myim_server.commands import Commands, Services
from myim_server.config_sections import Address, Config
from myim_server.keys import LoginKeys
from myim_server.login import LoginCenter, LoginLimits
from myim_server.metrics import Metrics
from myim_server.node_accounts import AccountServices, build_accounts
from myim_server.node_friends import Friends, build_friends
from myim_server.node_groups import Groups, build_groups
from myim_server.node_presence import PresenceRole, PresenceSettings, build_presence
from myim_server.numbering import Numbering
from myim_server.pace import Limits
from myim_server.passwords import Passwords
from myim_server.refusals import StoreUnavailable
from myim_server.requests import Requests
from myim_server.sessions import Outbound, Sessions
from myim_server.store.engine import Store, StoreSettings
from myim_server.throttles import TrustedNetworks
from myim_server.tickets import Generations, Tickets
from myim_wire import contents, peer_messages
from myim_wire.errors import ErrorCode

_BACKLOG = 4096
_STALL_SECONDS = 0.05
_SPREAD_SECONDS = 2.0
_PIECE_SECONDS = 0.02

_log = structlog.get_logger(__name__)

Servers = Callable[[], Sequence[contents.Server]]


def wall_clock() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


class Seat(NamedTuple):
    """Which of several workers on one port a process is: its number, from 1, and the loopback ports they meet at if no other is given."""

    number: int
    link_ports: tuple[int, ...]

    @property
    def directory(self) -> str:
        """Where in the data directory this worker keeps what is its own."""
        return f"worker-{self.number}"


def seated(config: Config, seat: Seat) -> Config:
    """The configuration of one worker: the first has all roles, the others are centers; each has a link door and knows the others'."""
    count, position = len(seat.link_ports), seat.number - 1
    links = config.links
    if links.listen is None:
        doors = [Address("127.0.0.1", port) for port in seat.link_ports]
    else:
        doors = [Address(links.listen.host, links.listen.port + number) for number in range(count)]
    told = links.advertise and Address(links.advertise.host, links.advertise.port + position)
    others = [_seen_from_here(door) for door in doors if door != doors[position]] if config.directory.kind == "memory" else []
    metrics = config.metrics.listen
    return config.model_copy(
        update={
            "node": config.node.model_copy(update={"roles": config.node.roles if position == 0 else ("center",)}),
            "links": links.model_copy(update={"listen": doors[position], "advertise": told, "peers": (*links.peers, *others)}),
            "metrics": config.metrics.model_copy(update={"listen": metrics and Address(metrics.host, metrics.port + position)}),
        }
    )


def _seen_from_here(door: Address) -> Address:
    return Address("::1" if ":" in door.host else "127.0.0.1", door.port) if door.is_wildcard else door


class Loops:
    """Work that is done again and again; what the store cannot do now is done next time."""

    def __init__(self, metrics: Metrics) -> None:
        """One loop is there from the first: it looks how late loops are."""
        self._metrics = metrics
        self._loops: list[gevent.Greenlet[..., Any]] = [gevent.Greenlet(self._watch_stalls)]

    def add(self, seconds: float, work: Callable[[], object]) -> Callable[[], None]:
        """Do this from the start on, `seconds` apart; gives what makes it happen at once."""
        wake = Event()
        self._loops.append(gevent.Greenlet(self._loop, seconds, work, wake))
        return wake.set

    def start(self) -> None:
        """Begin."""
        for loop in self._loops:
            loop.start()

    def stop(self) -> None:
        """End; safe to call again."""
        gevent.killall(self._loops)
        self._loops.clear()

    def _loop(self, seconds: float, work: Callable[[], object], wake: Event) -> None:
        while True:
            wake.wait(seconds)
            wake.clear()
            try:
                work()
            except StoreUnavailable:
                self._metrics.store_failures += 1
            except Exception as fault:
                _log.error("loop_fault", exc_info=fault)

    def _watch_stalls(self) -> None:
        observe = self._metrics.hub_stall_seconds.observe
        while True:
            before = time.monotonic()
            gevent.sleep(_STALL_SECONDS)
            observe(max(0.0, time.monotonic() - before - _STALL_SECONDS))


def store_settings(config: Config) -> StoreSettings:
    """How the store is opened."""
    delivery = config.delivery
    return StoreSettings(
        url=config.store_url,
        password_file=config.store_password_file,
        allow_unflushed=config.store.allow_unflushed,
        pool_size=config.store.pool_size,
        offline_rows_per_user=delivery.offline_rows_per_user,
        offline_bytes_per_user=delivery.offline_bytes_per_user,
        offline_days=delivery.offline_days,
        group_days=config.groups.days,
        group_rows_per_group=config.groups.rows_per_group,
        friend_removals=config.friends.changes_kept,
        sabotage=sabotage.asked_for(os.environ),
    )


def open_tickets(config: Config, store: Store, secret: bytes) -> Tickets:
    """The ticket keys, with one that serves."""
    tokens = config.tokens
    tickets = Tickets(
        store.tickets, secret, wall_clock, valid_hours=tokens.valid_hours, rotate_hours=tokens.rotate_hours, renew_days=tokens.renew_days
    )
    tickets.rotate()
    return tickets


def build_passwords(config: Config) -> Passwords:
    """The threads that check passwords."""
    return Passwords(config.login.password_threads or os.cpu_count() or 1, config.login.password_queue)


def build_login(
    config: Config,
    login_keys: LoginKeys,
    store: Store,
    tickets: Tickets,
    passwords: Passwords,
    servers: Servers,
    changed: Callable[[], None],
    metrics: Metrics,
) -> LoginCenter:
    """The login center, bound; changed: called when a login raised a generation. OSError."""
    section = config.login
    accounts = Accounts(
        store.accounts,
        store.terminals,
        store.throttles,
        passwords,
        tickets,
        servers=servers,
        trusted=TrustedNetworks(section.trusted_networks),
        is_registration_open=section.registration == "open",
        registrations_per_address=section.registrations_per_address,
        friends=FriendRoots(store.friends).of,
        changed=changed,
    )
    limits = LoginLimits(section.max_handshakes, section.max_handshakes_per_address, section.handshake_seconds)
    login = LoginCenter((section.listen.host, section.listen.port), login_keys, accounts, servers, wall_clock, metrics, limits)
    login.build()
    return login


class Reach(NamedTuple):
    """How a center finds users that are not here, and speaks to the centers where they are; one that is alone has no finder."""

    directory: Directory
    finder: Finder | None = None
    post: Post = Post(NoMesh())
    is_whole: Callable[[], bool] = lambda: True  # whether all centers that are known of are linked


class CenterRole(NamedTuple):
    """What makes a center: its door, its rules, its sessions, and what is done again and again."""

    center: Center
    router: Router
    sessions: Sessions
    generations: Generations
    janitor: Janitor
    groups: Groups
    friends: Friends
    presence: PresenceRole
    accounts: AccountServices
    expiry: Expiry

    def serve(self, peers: Peers) -> None:
        """Take what other centers say of groups, and of what expired."""
        self.groups.serve(peers)
        self.presence.serve(peers, self.groups.peers)
        peers.table[peer_messages.EXPIRED] = self.expiry.take

    def send_away(self) -> int:
        """End all sessions with the advice to go elsewhere, a few at a time, so that others are not run over (yields); how many."""
        sessions = list(self.sessions)
        each = max(1, -(-len(sessions) // int(_SPREAD_SECONDS / _PIECE_SECONDS)))
        for number, session in enumerate(sessions, 1):
            session.goodbye(ErrorCode.DRAINING, "this server is being emptied; go to the next")
            if number % each == 0 and number < len(sessions):
                gevent.sleep(_PIECE_SECONDS)
        return len(sessions)

    def wait_until_settled(self, seconds: float) -> None:
        """Until nothing that was taken from a sender waits for its end, or the time is over (yields)."""
        deadline = time.monotonic() + seconds
        postings = self.groups.parts.postings
        while (postings.unanswered or not all(lane.is_idle for lane in self.router.busy_lanes)) and time.monotonic() < deadline:
            gevent.sleep(_PIECE_SECONDS)


def build_center(
    config: Config,
    node_id: int,
    store: Store,
    tickets: Tickets,
    reach: Reach,
    servers: Servers,
    changed: Callable[[], None],
    metrics: Metrics,
    is_shared: bool,
) -> CenterRole:
    """The center, bound; changed: called when a terminal raised a generation; is_shared: other workers listen at the same port.

    OSError, StoreUnavailable.
    """
    sessions = Sessions(config.center.sessions_per_user)
    generations = Generations(store.terminals, partial(_revoke, sessions), isolated_seconds=config.tokens.isolated_seconds)
    generations.poll(time.monotonic())
    router, around = _build_router(config, node_id, store, reach, sessions, metrics)
    admission = Admission(tickets, generations, store.terminals, time.monotonic, wall_clock)
    numbering = Numbering(store.nodes.boot(node_id, wall_clock()), wall_clock)
    services = Services(LookUps(store.accounts, store.profiles), admission.renew, servers)
    limits, requests = _limits(config), Requests(metrics, gevent.spawn, _log_fault)
    groups = build_groups(config, node_id, store, router, reach.post, (numbering, limits, requests), wall_clock, metrics)
    friends = build_friends(config, store, router, requests, wall_clock, metrics)
    accounts = build_accounts(store, router, reach.finder, requests, (groups.parts.hall, friends.hall), (changed, wall_clock), metrics)
    settings = PresenceSettings(config.friends.grace_seconds, reach.is_whole)
    presence = build_presence(node_id, store, router, around.shelf, friends.hall, reach.post, requests, settings)
    router.on_left = partial(_left, groups, presence)
    families = (groups.commands, friends.commands, presence.commands, accounts.commands)
    commands = Commands(router, numbering, limits, services, requests, *families, metrics)
    outbound = Outbound(gevent.get_hub().loop.run_callback)
    parts = DoorParts(node_id, admission, router, commands, outbound, time.monotonic, os.urandom, metrics, structlog.get_logger())
    center = Center(_listener(config.center.listen, is_shared), _door_limits(config), parts)
    center.init_socket()
    metrics.watch("sessions", "terminals that are online here", lambda: len(sessions))
    expiry = Expiry(router.parties, reach.finder, reach.post)
    return CenterRole(center, router, sessions, generations, Janitor(router, around), groups, friends, presence, accounts, expiry)


def _left(groups: Groups, presence: PresenceRole, user: int, slot: int) -> None:
    groups.parts.hall.left(user)
    presence.hall.left(user, slot)


def _revoke(sessions: Sessions, user: int, slot: int | None, generation: int) -> None:
    for session in list(sessions.of(user)):
        theirs = session.user_generation if slot is None else session.incarnation[0]
        if slot in (None, session.slot) and theirs < generation:
            session.goodbye(ErrorCode.TOKEN_REVOKED, "logged out, or logged in anew")


def _build_router(
    config: Config, node_id: int, store: Store, reach: Reach, sessions: Sessions, metrics: Metrics
) -> tuple[Router, Surroundings]:
    delivery, batch = config.delivery, config.store
    broken = sabotage.asked_for(os.environ)
    if broken:
        _log.error("sabotaged_on_purpose", rule=broken)
    shelf_limits = ShelfLimits(
        batch.batch_rows,
        sabotage.LATE_SECONDS if broken == "settle_before_commit" else batch.batch_linger_ms / 1000,
        delivery.store_seconds,
    )
    shelf = Shelf(store.offline, node_id, shelf_limits, gevent.spawn, metrics.batch_rows.observe)
    around = Surroundings(
        node_id,
        time.monotonic,
        gevent.spawn,
        sessions,
        reach.directory,
        shelf,
        store.receipts,
        metrics,
        reach.finder,
        reach.post,
    )
    window = Window(delivery.unconfirmed_rows, delivery.unconfirmed_bytes, delivery.page_rows, delivery.receipt_seconds)
    return Router(around, *sabotage.parts(broken, Patience(delivery.attempt_seconds)), window), around


def _limits(config: Config) -> Limits:
    delivery = config.delivery
    return Limits(
        delivery.lanes_per_session,
        delivery.unsettled_per_terminal,
        delivery.unsettled_bytes_per_terminal,
        config.center.requests_per_second,
        config.center.messages_per_second,
    )


def _door_limits(config: Config) -> DoorLimits:
    center = config.center
    return DoorLimits(
        center.max_connections,
        center.max_handshakes,
        center.max_handshakes_per_address,
        center.handshake_seconds,
        center.frame_seconds,
        center.idle_ping_seconds,
        center.idle_close_seconds,
        center.outbound_bytes,
        center.slow_reader_seconds,
    )


def _listener(listen: Address, is_shared: bool) -> Any:
    """What a StreamServer listens at: an address, or a socket at a port that several processes share."""
    if not is_shared:
        return listen.host, listen.port
    return sockets.create_server(
        (listen.host, listen.port), family=sockets.AF_INET6 if ":" in listen.host else sockets.AF_INET, backlog=_BACKLOG, reuse_port=True
    )


def _log_fault(connection_id: str, fault: BaseException) -> None:
    _log.error("request_fault", connection=connection_id, exc_info=fault)


def shown_link(link: LinkStatus) -> dict[str, Any]:
    """A link as an operator is told of it; seconds: for how long it has been so."""
    peer = link.peer
    return {
        "node": peer.node,
        "role": peer.role,
        "address": peer.address,
        "state": link.state,
        "is_tls": link.is_tls,
        "rtt_ms": round(link.rtt_ms, 3),
        "queued_bytes": link.queued_bytes,
        "unconsumed_bytes": link.unconsumed_bytes,
        "last_error": link.last_error,
        "seconds": round(max(0.0, time.monotonic() - link.since), 1),
    }
