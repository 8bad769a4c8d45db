"""Whatever stands in the maps is ignored and counted; nothing is executed, nobody else's answers suffer."""

import os
from pathlib import Path
from typing import Any

import gevent
import pytest
from hazelcast.client import HazelcastClient

from cluster.directory import Place
from cluster.entries import ONLINE, SERVERS, Entries, Listed, online_key, server_key
from cluster.hazelcast_client import Block, RawMap, Value, block_of, gather
from tests.cluster.hazelcast_member import JAVA, JSON, KEY, PICKLE, STRING, Member, Stranger, centers, foreign, wait_until

USER = 500


class Bomb:
    """Whoever unpickles it makes a directory."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.path,)


def test_a_pickle_bomb_in_either_map_does_not_go_off(member: Member, tmp_path: Path) -> None:
    careless = HazelcastClient(cluster_members=[member.address], cluster_name=member.cluster_name)

    def put(name: str, key: Any, value: Any) -> None:
        careless.get_map(name).blocking().set(key, value)

    with centers(member, 1) as (one,):
        place = one.sits(USER + 1)
        one.settled()
        for name, key in ((ONLINE, online_key(USER)), (SERVERS, server_key(9, "center"))):
            put(name, block_of(key), Bomb(tmp_path / name))
        assert one.directory.find([USER, USER + 1]) == {USER: [], USER + 1: [place]}
        wait_until(lambda: one.counts["directory_entries_ignored"] >= 3)
        one.sits(USER)
        one.settled()
        assert not list(tmp_path.iterdir())
    put(ONLINE, "it is a bomb", Bomb(tmp_path / "gone off"))
    careless.get_map(ONLINE).blocking().get("it is a bomb")  # type: ignore[arg-type]
    assert (tmp_path / "gone off").is_dir()
    for name in (ONLINE, SERVERS):
        careless.get_map(name).blocking().clear()
    careless.shutdown()


VERSION_99 = b"\x63" + Entries(KEY).places(USER, [Listed(Place(1, 1, 1, 1, 1), 1)])[1:]
VALUES = {
    "pickle": foreign(PICKLE, b"cos\nsystem\n(S'true'\ntR."),
    "java": foreign(JAVA, b"\xac\xed\x00\x05sr\x00"),
    "json": foreign(JSON, b"\x00\x00\x00\x02{}"),
    "string": foreign(STRING, b"\x00\x00\x00\x02hi"),
    "unknown type": foreign(12345, b""),
    "empty": Value.of(b""),
    "wrong length": foreign(-12, b"\x7f\xff\xff\xffabc"),
    "another key": Value.of(Entries(b"another cluster's key").places(USER, [Listed(Place(1, 1, 1, 1, 1), 1)])),
    "another user": Value.of(Entries(KEY).places(USER + 1, [Listed(Place(1, 1, 1, 1, 1), 1)])),
    "version 99": Value.of(VERSION_99),
    "ten megabytes": Value.of(bytes(10 << 20)),
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_that_is_none_is_ignored_counted_and_replaced(member: Member, kind: str) -> None:
    stranger = Stranger(member)
    with centers(member, 1, 2) as (one, two):
        stranger.put(ONLINE, online_key(USER), VALUES[kind])
        stranger.put(SERVERS, server_key(2, "center"), VALUES[kind])
        assert two.finds(USER) == []
        assert two.counts["directory_entries_ignored"] >= 1
        assert two.directory.servers() == []
        place = one.sits(USER)
        one.settled()
        assert two.finds(USER) == [place]
        assert one.log.lines == two.log.lines == []
    stranger.close()


def test_strangers_entries_among_the_servers_are_cleared_when_they_are_big_or_many(member: Member) -> None:
    stranger = Stranger(member)
    with centers(member, 1) as (one,):
        stranger.put(SERVERS, b"big", Value.of(bytes(100_000)))
        for number in range(300):
            stranger.put(SERVERS, b"small %d" % number, Value.of(b"x"))
        servers = stranger.connected.maps[SERVERS]
        wait_until(lambda: len(_rows(servers)) <= 202)
        assert b"big" not in {Value(key).data for key, _ in _rows(servers)}
        assert one.directory.is_available
    stranger.close()


def _rows(servers: RawMap) -> list[tuple[Block, Block]]:
    rows: list[tuple[Block, Block]] = gather([servers.read_all()], 5)[0]
    return rows


def test_a_hundred_wrong_writes_a_second_delay_and_lose_nothing(member: Member) -> None:
    """P12: lookups go on meanwhile, and soon after the last wrong write the map equals the truth."""
    users = list(range(600, 660))
    stranger = Stranger(member)
    with centers(member, 1, 2) as (one, two):
        truth = {user: [one.sits(user)] for user in users[:50]} | {user: [] for user in users[50:]}
        one.settled()
        rampage = gevent.spawn(stranger.rampage, users, 4.0)
        asked = right = 0
        while not rampage.ready():
            answer = two.directory.find(users)
            assert answer is not None
            asked += len(users)
            right += sum(answer[user] == truth[user] for user in users)
            assert all(answer[user] in (truth[user], []) for user in users)
            gevent.sleep(0)
        rampage.get()
        assert stranger.writes >= 100
        assert right < asked
        wait_until(lambda: two.directory.find(users) == truth, deadline=5)
        assert one.log.lines == two.log.lines == []
    stranger.close()
