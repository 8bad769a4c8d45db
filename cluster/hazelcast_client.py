"""A Hazelcast client that trusts nothing it is told: bytes in, bytes out, and every wait has an end.

What lives here: the only code that touches hazelcast-python-client, and what keeps it harmless. What must not: what the bytes mean.
The client unpickles by default; here no value is deserialized at all, whatever type it claims: keys and values pass as the raw blocks of
the protocol, and only byte arrays become bytes. Its own waits are by the wall clock or endless; here every answer is waited for by gevent's
timers. It polls 100 times a second; here 10 times. It reconnects in ways of its own; here it ends and is made anew by its owner.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from zlib import crc32

import gevent
from gevent.event import Event
from hazelcast import reactor
from hazelcast.client import HazelcastClient
from hazelcast.config import Config, ReconnectMode
from hazelcast.future import Future
from hazelcast.serialization.data import Data

_BLOCK = struct.Struct(">iii")  # partition hash, type, length
_BYTE_ARRAY = -12
_POLL_SECONDS = 0.1
_poll_once: Callable[..., None] = vars(reactor)["asyncore"].loop
# Keys stand in so many groups, each in one partition: a question about thousands of users is so many requests, not one for each user.
GROUPS = 64


Block = Data


class NoAnswer(Exception):
    """The members did not answer in time, or refused."""


def group_of(key: bytes) -> int:
    """The group of a key."""
    return crc32(key) % GROUPS


def block_of(key: bytes) -> Data:
    """A key as the protocol carries it."""
    return _block(1 + group_of(key), key)


def _block(partition_hash: int, data: bytes) -> Data:
    return Data(_BLOCK.pack(partition_hash, _BYTE_ARRAY, len(data)) + data)  # type: ignore[no-untyped-call]


class Value:
    """A value as it came, of whatever type; size: its bytes."""

    __slots__ = ("block", "size")

    def __init__(self, block: Data) -> None:
        self.block = block
        self.size = len(block.buffer)

    @staticmethod
    def of(data: bytes) -> Value:
        """A value to be put."""
        return Value(_block(0, data))

    @property
    def data(self) -> bytes | None:
        """Its bytes; None if it is of any other type."""
        buffer = self.block.buffer
        if len(buffer) < _BLOCK.size:
            return None
        _, type_id, length = _BLOCK.unpack_from(buffer)
        return bytes(buffer[_BLOCK.size:]) if type_id == _BYTE_ARRAY and length == len(buffer) - _BLOCK.size else None


class RawMap:
    """A map of raw blocks; every method sends at once and returns what `gather` waits for."""

    def __init__(self, proxy: Any) -> None:
        self._proxy = proxy

    def read(self, keys: Iterable[bytes]) -> list[Future[dict[Data, Data]]]:
        """Asks for all these entries, one request for each group."""
        groups: dict[int, list[Data]] = {}
        for key in keys:
            groups.setdefault(group_of(key), []).append(block_of(key))
        return [self._proxy.get_all(blocks) for blocks in groups.values()]

    def read_all(self) -> Future[list[tuple[Data, Data]]]:
        """Asks for the whole map."""
        future: Future[list[tuple[Data, Data]]] = self._proxy.entry_set()
        return future

    def put(self, key: bytes, value: Value, ttl_seconds: int) -> Future[Any]:
        """Sets it, whatever was there."""
        future: Future[Any] = self._proxy.set(block_of(key), value.block, ttl_seconds)
        return future

    def put_if_absent(self, key: bytes, value: Value, ttl_seconds: int) -> Future[Any]:
        """Answers None if it was put, else the block that is there."""
        future: Future[Any] = self._proxy.put_if_absent(block_of(key), value.block, ttl_seconds)
        return future

    def replace(self, key: bytes, present: Value, value: Value) -> Future[Any]:
        """Answers whether it stood there and was replaced."""
        future: Future[Any] = self._proxy.replace_if_same(block_of(key), present.block, value.block)
        return future

    def remove(self, key: bytes | Block, present: Value) -> Future[Any]:
        """Answers whether it stood there and was removed."""
        future: Future[Any] = self._proxy.remove_if_same(key if isinstance(key, Block) else block_of(key), present.block)
        return future

    def delete(self, key: bytes | Block) -> Future[Any]:
        """Removes whatever is there."""
        future: Future[Any] = self._proxy.delete(key if isinstance(key, Block) else block_of(key))
        return future

    def renew(self, key: bytes, ttl_seconds: int) -> Future[Any]:
        """Sets the time to live anew; answers whether there was an entry."""
        future: Future[Any] = self._proxy.set_ttl(block_of(key), ttl_seconds)
        return future


def gather(futures: Sequence[Future[Any]], seconds: float) -> list[Any]:
    """Each answer, or the exception in its place (NoAnswer where none came within so many seconds). Yields."""
    left, done = len(futures), Event()

    def arrived(_: object) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    for future in futures:
        future.add_done_callback(arrived)
    if left:
        done.wait(seconds)
    return [_outcome(future) for future in futures]


def _outcome(future: Future[Any]) -> Any:
    if not future.done():
        return NoAnswer("no answer in time")
    return future.result() if future.is_success() else future.exception()


def answered(outcomes: Iterable[Any]) -> list[Any]:
    """All of them; raises NoAnswer if one is an exception."""
    outcomes = list(outcomes)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise NoAnswer(f"{type(outcome).__name__}: {outcome}".partition("\n")[0][:200])  # a member's own trace may follow
    return outcomes


class _HarmlessClient(HazelcastClient):
    """Deserializes nothing, polls seldom, and is known to its owner before it waits for anything."""

    def __init__(self, config: Config, is_made: Callable[[HazelcastClient], None]) -> None:
        self._is_made = is_made
        super().__init__(config)

    def _start(self) -> None:
        service: Any = self._serialization_service
        service.to_object = lambda block: block
        service.read_object = _refuse
        loop: Any = self._reactor._loop
        loop.run_loop = lambda: _poll_once(timeout=_POLL_SECONDS, use_poll=True, map=loop._map, count=1)
        self._is_made(self)
        super()._start()  # type: ignore[no-untyped-call]


def _refuse(_: object) -> None:
    raise ValueError("nothing is deserialized here")


class Connected:
    """A client that is connected to its cluster; `is_alive` until it lost all members or was closed."""

    def __init__(self, client: HazelcastClient, names: Sequence[str]) -> None:
        self._client = client
        self.maps = {name: RawMap(client.get_map(name)) for name in names}

    @property
    def is_alive(self) -> bool:
        """Whether calls make sense; an ended client never comes back."""
        return bool(self._client.lifecycle_service.is_running())

    def members(self) -> frozenset[str]:
        """Which members the client knows of, by their ids."""
        return frozenset(str(member.uuid) for member in self._client.cluster_service.get_members())

    def close(self, seconds: float = 2.0) -> None:
        """Ends it; every open call fails. Waits at most so long."""
        _shut(self._client, seconds)


def connect(members: Sequence[str], cluster_name: str, maps: Sequence[str], seconds: float) -> Connected:
    """Connects to any of these members ("host:port") and opens these maps; raises NoAnswer within so many seconds. Yields."""
    # Its lines hold tracebacks and the cluster's name; what matters is said by the owner.
    logging.getLogger("hazelcast").setLevel(logging.CRITICAL + 1)
    made: list[HazelcastClient] = []
    work = gevent.spawn(_make, _config(members, cluster_name, seconds), maps, made.append)
    try:
        work.join(seconds)
    finally:
        if not isinstance(work.value, Connected):
            if made:
                _shut(made[0], 1.0)
            work.kill(block=False)
    outcome = work.value
    if isinstance(outcome, Connected):
        return outcome
    raise NoAnswer("no member answered" if outcome is None else f"{type(outcome).__name__}: {outcome}")


def _make(config: Config, maps: Sequence[str], is_made: Callable[[HazelcastClient], None]) -> Connected | Exception:
    try:
        return Connected(_HarmlessClient(config, is_made), maps)
    except Exception as why:
        return why


def _shut(client: HazelcastClient, seconds: float) -> None:
    work = gevent.spawn(_shutdown, client)
    work.join(seconds)
    work.kill(block=False)


def _shutdown(client: HazelcastClient) -> None:
    try:
        client.shutdown()
    except Exception:  # it is being thrown away
        return


def _config(members: Sequence[str], cluster_name: str, seconds: float) -> Config:
    config = Config()  # type: ignore[no-untyped-call]
    config.cluster_name = cluster_name
    config.cluster_members = list(members)
    config.cluster_connect_timeout = max(0.1, seconds - 1)
    config.connection_timeout = seconds
    config.retry_initial_backoff = 0.2
    config.retry_max_backoff = 0.5
    config.reconnect_mode = ReconnectMode.OFF
    config.invocation_timeout = 2.0
    config.invocation_retry_pause = 0.2
    config.heartbeat_interval = 2.0
    config.heartbeat_timeout = 10.0
    config.backup_ack_to_client_enabled = False
    return config
