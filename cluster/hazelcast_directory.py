"""The directory that all centers share: hints in two maps of a Hazelcast cluster, and what this node does when it has none.

What lives here: the connection's keeper, the question, the polled list of servers, the rhythm of leases and sweeps. What must not: the
client's own ways (`hazelcast_client`), the merge (`listing`, `hazelcast_writer`). Nothing here is waited for over a second, and nothing
raises: without members every question is answered "cannot say" at once, and what is to be listed waits until there is a map again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import gevent
from gevent.event import Event
from gevent.greenlet import Greenlet

from cluster.directory import Place, Server, best_first
from cluster.entries import MAX_ENTRY_BYTES, ONLINE, SERVERS, Entries, EntryRefused, Lease, Listed, ListedServer, online_key, server_key
from cluster.hazelcast_client import Block, Connected, NoAnswer, RawMap, Value, answered, connect, gather, group_of
from cluster.hazelcast_writer import ENTRY_TTL_SECONDS, Writer, read_entries
from cluster.leases import Leases
from cluster.listing import Listing

SERVER_TTL_SECONDS = 60
_RENEW_LOOKS = 20
_BATCH_USERS = 200
_MAX_STRANGERS = 200  # entries of `servers` that are none; more are taken away, so that a look stays small
_RENEW_PASSES = 30
_ALARM_SECONDS = 60.0


class Log(Protocol):
    """Where events go: a name and fields."""

    def info(self, event: str, **fields: object) -> object:
        """What may interest."""

    def warning(self, event: str, **fields: object) -> object:
        """What somebody should look at."""


class Pace(NamedTuple):
    """How often and how long, in seconds; find: a question, answer: anything else that is asked of a member.

    lease_looks: looks without a beat after which a lease is over.
    """

    look: float = 1.0
    find: float = 0.8
    answer: float = 0.8
    connect: float = 3.0
    sweep: float = 10.0
    lease_looks: int = 12
    failures_before_rebuild: int = 4


class Row(NamedTuple):
    """An entry of `servers` as it came; says: None if no node wrote it."""

    key: Block
    value: Value
    says: Lease | ListedServer | None


class HazelcastDirectory:
    """A `Directory` in a Hazelcast cluster that others may read, write and stop as they like."""

    def __init__(self, members: Sequence[str], cluster_name: str, key: bytes, node_id: int, now: Callable[[], float], log: Log,
                 count: Callable[[str], None] = lambda name: None, pace: Pace = Pace(),  # noqa: B008
                 compare_on_remove: bool = True, check_lease: bool = True) -> None:
        """members: "host:port"; key: 16 to 64 bytes every center has; node_id: one live directory each; now: monotonic seconds.

        count(name) is called for directory_unanswered, directory_entries_ignored, directory_mended, directory_rebuilds, directory_failures.
        compare_on_remove, check_lease: for sabotage only; false, they break what is shared and what ends by itself.
        """
        self.on_published: Callable[[int, Place], None] = lambda user, place: None
        self._members, self._cluster_name, self._node_id = members, cluster_name, node_id
        self._now, self._log, self._count, self._pace = now, log, count, pace
        self._is_lease_checked = check_lease
        self._entries = Entries(key)
        self._life = secrets.randbits(64) | 1
        self._beat = 0
        self._leases = Leases(pace.lease_looks)
        self._listing = Listing(now, ENTRY_TTL_SECONDS)
        self._writer = Writer(self._entries, self._listing, self._life, self._is_over, self._say_published, count, compare_on_remove)
        self._own: dict[str, Server] = {}
        self._heard: dict[tuple[int, str], ListedServer] = {}
        self._connected: Connected | None = None
        self._seen_members: frozenset[str] = frozenset()
        self._is_available = False
        self._held_until = self._hold = 0.0
        self._failures = self._looks = self._settling = 0
        self._alarmed = -_ALARM_SECONDS
        self._since: float | None = None
        self._is_stopped = False
        self._wake, self._work = Event(), Event()
        self._greenlets: list[Greenlet[..., None]] = []

    # --- what the center asks ---

    def start(self) -> None:
        """Begin to connect; returns at once, whether there are members or not."""
        if not self._greenlets and not self._is_stopped:
            turns: tuple[Callable[[], None], ...] = (self._keep, self._write, self._sweep)
            self._greenlets = [gevent.spawn(_forever, self, turn) for turn in turns]

    def stop(self) -> None:
        """Take back what this node listed, within two seconds, and end. Yields."""
        if self._is_stopped:
            return
        self._is_stopped = True
        gevent.killall(self._greenlets)
        self._listing.drop_all()
        connected, self._connected = self._connected, None
        if connected is not None:
            if self._is_available:
                work = gevent.spawn(self._take_back, connected)
                work.join(2.0)
                work.kill()
            connected.close()
        self._is_available = False

    def publish(self, user: int, place: Place) -> None:
        """List a session unless a newer one of the same slot is listed; never blocks."""
        self._listing.add(user, place)
        self._work.set()

    def remove(self, user: int, place: Place) -> None:
        """Take back exactly this entry; never blocks."""
        if self._listing.drop(user, place):
            self._work.set()

    def find(self, users: Collection[int]) -> Mapping[int, Sequence[Place]] | None:
        """Where these users are online, newest entry first; None: the members do not answer. Yields, at most for a second."""
        connected = self._connected
        if connected is None or not self._is_available or not connected.is_alive:
            self._count("directory_unanswered")
            return None
        end = self._now() + self._pace.find
        try:
            return self._found(connected, list(users), end)
        except NoAnswer as why:
            self._count("directory_unanswered")
            self._hold = min(5.0, 2 * self._hold or self._pace.look)
            self._held_until = self._now() + self._hold
            self._fail(str(why))
            self._wake.set()
            return None

    def publish_server(self, server: Server) -> None:
        """List or renew a server of this node; ValueError if it cannot be written. Never blocks."""
        self._entries.server(server, self._life)
        key = f"{server.node} {server.role}"
        if self._own.get(key) != server:
            self._own[key] = server
            self._wake.set()

    def servers(self) -> Sequence[Server]:
        """All servers as last heard of, best first; from memory."""
        listed = {at: one.server for at, one in self._heard.items() if self._is_running(one.life)}
        listed.update({(server.node, server.role): server for server in self._own.values()})
        return best_first(listed.values())

    @property
    def is_available(self) -> bool:
        """Whether questions are answered."""
        return self._is_available

    @property
    def waiting(self) -> int:
        """Users whose entries are still to be brought in line; for status pages."""
        return self._listing.waiting + self._settling

    # --- the question ---

    def _found(self, connected: Connected, users: list[int], end: float) -> dict[int, list[Place]]:
        present = read_entries(connected.maps[ONLINE], users, end - self._now())
        listed = {user: self._writer.read(user, present.get(user)) or [] for user in users}
        unknown = {one.life for places in listed.values() for one in places if not self._leases.is_known(one.life)}
        if unknown:
            self._learn(connected, unknown, max(0.1, end - self._now()))
        self._hold = 0.0
        return {user: [one.place for one in reversed(places) if self._is_believed(user, one)] for user, places in listed.items()}

    def _learn(self, connected: Connected, unknown: Iterable[int], seconds: float) -> None:
        """A node that came after the last look has its lease in the map before its first place."""
        self._leases.learn(row.says for row in self._read_servers(connected, seconds) if isinstance(row.says, Lease))
        for life in unknown:
            self._leases.give_up(life)

    def _is_believed(self, user: int, one: Listed) -> bool:
        is_so = self._is_running(one.life) if one.life != self._life else self._listing.mine(user).get(one.place.slot) == one.place
        if not is_so:
            self._listing.doubt([user])  # so that it goes
            self._work.set()
        return is_so

    def _is_running(self, life: int) -> bool:
        return not self._is_over(life) and (self._leases.is_known(life) or not self._is_lease_checked)

    def _is_over(self, life: int) -> bool:
        return self._is_lease_checked and life != self._life and self._leases.is_over(life)

    # --- the keeper ---

    def _keep(self) -> None:
        self._wake.clear()
        self._failures += 1  # until this turn is through
        if self._connected is not None and (not self._connected.is_alive or self._failures > self._pace.failures_before_rebuild):
            connected, self._connected = self._connected, None
            self._fail("the client ended" if not connected.is_alive else "too many failures")
            self._count("directory_rebuilds")
            connected.close()
        if self._connected is None:
            self._connected = self._connect()
        self._look(self._connected)
        self._failures = 0
        if not self._is_available and self._now() >= self._held_until:
            self._open()
        self._wake.wait(self._pace.look if self._is_available else self._pace.look / 4)

    def _connect(self) -> Connected:
        connected = connect(self._members, self._cluster_name, (ONLINE, SERVERS), self._pace.connect)
        self._failures = self._looks = 0
        self._seen_members = frozenset()
        return connected

    def _open(self) -> None:
        if self._since is not None and self._alarmed >= self._since:
            self._log.info("directory_available", after_seconds=round(self._now() - self._since, 1))
        self._is_available, self._since = True, None
        self._work.set()

    def _fail(self, why: str) -> None:
        self._is_available = False
        self._count("directory_failures")
        now = self._now()
        self._since = now if self._since is None else self._since
        if now - self._alarmed >= _ALARM_SECONDS:
            self._alarmed = now
            self._log.warning("directory_unavailable", why=why[:200], what="centers ask each other; entries wait")

    def _look(self, connected: Connected) -> None:
        """One poll of `servers`, the beat of our lease, and what of ours is not there."""
        rows = self._read_servers(connected, self._pace.answer)
        leases = [row.says for row in rows if isinstance(row.says, Lease)]
        self._leases.look(leases)
        self._heard = {(row.says.server.node, row.says.server.role): row.says for row in rows if isinstance(row.says, ListedServer)}
        members = connected.members()
        is_lease_there = any(lease.life == self._life for lease in leases)
        if members != self._seen_members or not is_lease_there:
            self._seen_members = members
            self._listing.doubt(self._listing.users())
            self._work.set()
        self._renew(connected.maps[SERVERS], is_lease_there)
        self._clear(connected.maps[SERVERS], rows)
        self._looks += 1

    def _renew(self, servers: RawMap, is_lease_there: bool) -> None:
        futures = []
        if not is_lease_there or self._looks % 2 == 0:
            self._beat += 1
            lease = self._entries.lease(Lease(self._node_id, self._life, self._beat))
            futures.append(servers.put(server_key(self._node_id, ""), Value.of(lease), SERVER_TTL_SECONDS))
        for server in self._own.values():
            if self._heard.get((server.node, server.role)) != (server, self._life) or self._looks % _RENEW_LOOKS == 0:
                value = Value.of(self._entries.server(server, self._life))
                futures.append(servers.put(server_key(server.node, server.role), value, SERVER_TTL_SECONDS))
        answered(gather(futures, self._pace.answer))

    def _clear(self, servers: RawMap, rows: Sequence[Row]) -> None:
        """What lives by a lease that is over goes, and what no node wrote where it is too big or too much to stay."""
        strangers = [row for row in rows if row.says is None]
        big = [row for row in strangers if row.value.size > MAX_ENTRY_BYTES]
        many = [row for row in strangers if row.value.size <= MAX_ENTRY_BYTES][_MAX_STRANGERS:]
        over = [row for row in rows if row.says is not None and self._is_over(row.says.life)]
        answered(gather([*(servers.delete(row.key) for row in big), *(servers.remove(row.key, row.value) for row in many + over)],
                        self._pace.answer))

    def _read_servers(self, connected: Connected, seconds: float) -> list[Row]:
        rows = answered(gather([connected.maps[SERVERS].read_all()], seconds))[0]
        return [Row(key, value := Value(block), self._read_server(Value(key), value)) for key, block in rows]

    def _read_server(self, key: Value, value: Value) -> Lease | ListedServer | None:
        name, data = key.data, value.data if value.size <= MAX_ENTRY_BYTES else None
        try:
            if name is not None and data is not None:
                return self._entries.read_server(name, data)
        except EntryRefused:
            pass
        self._count("directory_entries_ignored")
        return None

    # --- what is written behind ---

    def _online(self) -> RawMap | None:
        return self._connected.maps[ONLINE] if self._connected is not None and self._is_available else None

    def _write(self) -> None:
        self._work.wait()
        self._work.clear()
        while (online := self._online()) is not None and (users := self._listing.take_dirty(_BATCH_USERS)):
            self._settling = len(users)
            try:
                self._writer.settle(online, users, self._pace.answer)
            finally:
                self._settling = 0

    def _sweep(self) -> None:
        """Looks at every user of ours once, evenly over the pass."""
        for number in range(_RENEW_PASSES):
            users = sorted(self._listing.users(), key=lambda user: group_of(online_key(user)))
            parts = [users[at:at + _BATCH_USERS] for at in range(0, len(users), _BATCH_USERS)] or [[]]
            for part in parts:
                gevent.sleep(self._pace.sweep / len(parts))
                online = self._online()
                if online is None or not part:
                    continue
                if self._writer.settle(online, part, self._pace.answer):
                    self._count("directory_mended")
                due = [online_key(user) for user in part if user % _RENEW_PASSES == number and self._listing.mine(user)]
                answered(gather([online.renew(key, ENTRY_TTL_SECONDS) for key in due], self._pace.answer))

    def _take_back(self, connected: Connected) -> None:
        try:
            while users := self._listing.take_dirty(_BATCH_USERS):
                self._writer.settle(connected.maps[ONLINE], users, self._pace.answer)
            over = Value.of(self._entries.lease(Lease(self._node_id, self._life, 0)))
            servers = connected.maps[SERVERS]
            gather([servers.put(server_key(self._node_id, ""), over, SERVER_TTL_SECONDS),
                    *(servers.delete(server_key(server.node, server.role)) for server in self._own.values())], self._pace.answer)
        except NoAnswer:
            return  # the lease ends by itself

    def _say_published(self, user: int, place: Place) -> None:
        self.on_published(user, place)


def _forever(self: HazelcastDirectory, turn: Callable[[], None]) -> None:
    while not self._is_stopped:
        try:
            turn()
        except Exception as why:  # whatever the client comes up with: this goes on
            self._fail(f"{type(why).__name__}: {why}")
            gevent.sleep(self._pace.look / 2)
