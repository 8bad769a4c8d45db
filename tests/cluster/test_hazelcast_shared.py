"""Several centers share the maps: nobody loses another's entries, the dead lose theirs, and what was missed is mended."""

import time

import gevent

from cluster.directory import Place, Server
from cluster.entries import ONLINE, SERVERS, online_key, server_key
from cluster.hazelcast_client import Value, answered, gather
from tests.cluster.hazelcast_member import Member, Stranger, centers, dying_center, wait_until


def test_a_session_is_found_from_another_center_once_its_own_was_told_so(member: Member) -> None:
    with centers(member, 1, 2) as (one, two):
        place = one.sits(100)
        wait_until(lambda: one.published)
        assert one.published == [(100, place)]
        assert two.finds(100) == [place]


def test_a_center_that_came_a_moment_ago_is_believed_at_once(member: Member) -> None:
    with centers(member, 1) as (old,):
        for number in range(5):
            with centers(member, 20 + number) as (young,):
                place = young.sits(101)
                wait_until(lambda young=young: young.published)  # type: ignore[misc]
                assert old.finds(101) == [place]


def test_centers_that_list_terminals_of_one_user_at_once_lose_none(member: Member) -> None:
    users = range(200, 260)
    with centers(member, 1, 2, 3, 4) as all_centers:
        for user in users:
            for slot, center in enumerate(all_centers):
                center.sits(user, slot)
        for center in all_centers:
            center.settled()
        answer = all_centers[0].directory.find(users)
        assert answer is not None
        assert {user: sorted(place.slot for place in answer[user]) for user in users} == {user: [0, 1, 2, 3] for user in users}
        assert all(len(center.published) == len(users) for center in all_centers)


def test_a_session_that_moved_is_found_where_it_is_however_the_two_writes_race(member: Member) -> None:
    users = range(300, 340)
    with centers(member, 1, 2) as (old, new):
        for number in range(1, 6):
            left = [old.sits(user, number=2 * number) for user in users]
            old.settled()
            arrived = {}
            for user, place in zip(users, left, strict=True):
                arrived[user] = [new.sits(user, number=2 * number + 1)]
                old.directory.remove(user, place)
            old.settled()
            new.settled()
            assert old.directory.find(users) == arrived
            for user, places in arrived.items():
                new.directory.remove(user, places[0])
            new.settled()
            old, new = new, old


def test_without_comparison_a_session_that_moved_is_lost(member: Member) -> None:
    with centers(member, 1, compare_on_remove=False) as (careless,), centers(member, 2) as (new,):
        place = careless.sits(350)
        careless.settled()
        new.sits(350, number=2)
        new.settled()
        careless.directory.remove(350, place)
        wait_until(lambda: new.finds(350) == [])


def test_the_sessions_and_servers_of_a_center_that_died_end_by_themselves(member: Member) -> None:
    with centers(member, 1) as (alive,), centers(member, 2, check_lease=False) as (believing,):
        with dying_center(member, 60, 400, 401, 402) as process:
            place = Place(60, 60, 0, 1, 1)
            assert alive.finds(400) == [place]
            wait_until(lambda: [server.node for server in alive.directory.servers()] == [60])
            alive.sits(400, slot=1)
            alive.settled()
            process.kill()
            process.wait()
            assert place in (alive.finds(400) or [])
            wait_until(lambda: alive.finds(401) == [])
            assert alive.finds(400) == [Place(1, 1, 1, 1, 1)]
            assert alive.directory.servers() == []
            assert believing.finds(402) == [place]
            wait_until(lambda: believing.finds(401) == [])  # the other one took it out


def test_while_a_center_beats_its_sessions_stay(member: Member) -> None:
    with centers(member, 1, 2) as (one, two):
        place = one.sits(410)
        one.settled()
        end = time.monotonic() + 2.5  # twelve looks
        while time.monotonic() < end:
            assert two.finds(410) == [place]
            gevent.sleep(0)


def test_a_center_that_stops_takes_its_entries_with_it(member: Member) -> None:
    with centers(member, 2) as (stays,):
        with centers(member, 1) as (leaves,):
            leaves.sits(420)
            leaves.directory.publish_server(Server(1, "center", "h", 1, 1, 1, False))
            leaves.settled()
            wait_until(lambda: len(stays.directory.servers()) == 1)
        assert stays.finds(420) == []
        wait_until(lambda: stays.directory.servers() == [])


def test_servers_are_heard_of_and_renewed(member: Member) -> None:
    with centers(member, 1, 2) as (one, two):
        server = Server(1, "center", "127.0.0.1", 7000, 5, 10, False, "127.0.0.1:7100", 77)
        one.directory.publish_server(server)
        wait_until(lambda: list(two.directory.servers()) == [server])
        one.directory.publish_server(server._replace(load=90, is_draining=True))
        wait_until(lambda: list(two.directory.servers()) == [server._replace(load=90, is_draining=True)])


def test_what_somebody_removed_or_overwrote_is_back_after_a_sweep(member: Member) -> None:
    with centers(member, 1, 2) as (one, two):
        place = one.sits(430)
        one.directory.publish_server(Server(1, "center", "h", 1, 1, 1, False))
        one.settled()
        stranger = Stranger(member)
        answered(gather([stranger.connected.maps[ONLINE].delete(online_key(430))], 5))
        for key in (server_key(1, ""), server_key(1, "center")):
            stranger.put(SERVERS, key, Value.of(b"x" * 40))
        wait_until(lambda: two.finds(430) == [place])
        wait_until(lambda: len(two.directory.servers()) == 1)
        stranger.put(ONLINE, online_key(430), Value.of(b"x" * 40))
        wait_until(lambda: two.finds(430) == [place])
        assert one.counts["directory_mended"] >= 1
        stranger.close()


def test_an_old_entry_that_came_back_after_its_session_ended_is_swept_away(member: Member) -> None:
    with centers(member, 1) as (one,):
        stranger = Stranger(member)
        place = one.sits(440)
        one.settled()
        old = stranger.value(440)
        assert old is not None
        one.directory.remove(440, place)
        one.settled()
        assert stranger.value(440) is None
        stranger.put(ONLINE, online_key(440), Value.of(old))
        wait_until(lambda: stranger.value(440) is None)
        stranger.close()


def test_listing_and_taking_back_return_at_once_with_or_without_members(member: Member) -> None:
    with centers(member, 1) as (one,):
        begun = time.monotonic()
        for user in range(10_000, 11_000):
            one.directory.remove(user, one.sits(user))
        assert time.monotonic() - begun < 0.25
