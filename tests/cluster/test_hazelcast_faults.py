"""Members that are away, stopped, strangers or anew: no question waits long, none waits twice, and everything comes back by itself."""

import socket
import time

import gevent
from gevent.server import StreamServer

from cluster.hazelcast_directory import Pace
from tests.cluster.hazelcast_member import PROMPT, QUICK, Center, Member, centers, wait_until

SESSIONS = 5000
IMPATIENT = PROMPT._replace(connect=1.2)


def seconds_of_find(center: Center, user: int = 1) -> float:
    begun = time.monotonic()
    assert center.finds(user) is None
    return time.monotonic() - begun


def test_all_members_gone_and_back_the_map_equals_the_truth_soon(own_member: Member) -> None:
    with centers(own_member, 1, 2, pace=Pace()) as (one, two):
        truth = {user: [one.sits(user)] for user in range(SESSIONS)}
        one.settled()
        own_member.kill()
        wait_until(lambda: not one.directory.is_available and not two.directory.is_available)
        own_member.start()
        back = time.monotonic()
        wait_until(lambda: two.directory.is_available)
        wait_until(lambda: two.directory.find(range(SESSIONS)) == truth, pause=0.2)
        assert time.monotonic() - back < 15
        assert one.log.count("directory_unavailable") == 1
        assert one.log.count("directory_available") == 1


def test_what_is_listed_while_there_is_no_member_is_found_later(own_member: Member) -> None:
    own_member.stop()
    center = Center(own_member, 1, PROMPT)
    center.directory.start()
    place = center.sits(1)
    assert seconds_of_find(center) < 0.05
    wait_until(lambda: center.log.count("directory_unavailable"))
    assert center.published == []
    own_member.start()
    wait_until(lambda: center.finds(1) == [place])
    assert center.published == [(1, place)]
    center.directory.stop()


def test_a_stopped_member_costs_one_question_a_second_and_the_others_nothing(own_member: Member) -> None:
    patient = Pace(look=4.0, sweep=60.0)
    with centers(own_member, 1, pace=patient) as (one,):
        one.sits(1)
        one.settled()
        with own_member.frozen():
            assert 0.5 < seconds_of_find(one) <= 1.0
            for _ in range(100):
                assert seconds_of_find(one) < 0.05
        wait_until(lambda: one.finds(1))


def test_a_member_that_stays_stopped_is_noticed_before_anybody_asks(own_member: Member) -> None:
    with centers(own_member, 1, pace=PROMPT) as (one,):
        with own_member.frozen():
            wait_until(lambda: not one.directory.is_available)
            assert seconds_of_find(one) < 0.05
            wait_until(lambda: one.counts["directory_rebuilds"], deadline=8)
            assert seconds_of_find(one) < 0.05
            assert one.log.count("directory_unavailable") == 1
        wait_until(lambda: one.directory.is_available)


def test_of_many_who_ask_a_stopped_member_at_once_nobody_waits_over_a_second(own_member: Member) -> None:
    with centers(own_member, 1, pace=Pace(look=4.0, sweep=60.0)) as (one,):
        with own_member.frozen():
            waits = [gevent.spawn(seconds_of_find, one, user) for user in range(50)]
            assert max(wait.get(timeout=5) for wait in waits) <= 1.0


def test_where_only_questions_fail_they_are_tried_ever_more_seldom(member: Member) -> None:
    with centers(member, 1, pace=QUICK._replace(find=0.0)) as (one,):
        end = time.monotonic() + 2
        while time.monotonic() < end:
            assert one.finds(1) is None
            gevent.sleep(0)
        assert 2 <= one.counts["directory_failures"] <= 5
        assert one.counts["directory_unanswered"] > 100
        assert one.log.count("directory_unavailable") == 1


def test_another_cluster_name_is_no_directory_and_one_alarm(member: Member) -> None:
    center = Center(member, 1, IMPATIENT, cluster_name="somebody-elses")
    center.directory.start()
    center.sits(1)
    wait_until(lambda: center.counts["directory_failures"] >= 2, deadline=20)
    assert seconds_of_find(center) < 0.05
    assert center.log.count("directory_unavailable") == 1
    assert "somebody-elses" not in str(center.log.lines)
    center.directory.stop()


def answer_nothing(connection: socket.socket, _: object) -> None:
    connection.recv(1)
    gevent.sleep(0)
    connection.recv(1 << 20)
    connection.recv(1 << 20)


def answer_wrongly(connection: socket.socket, _: object) -> None:
    connection.recv(1 << 16)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 1000)


def test_whoever_else_answers_on_that_port_is_no_directory(member: Member) -> None:
    for stranger in (answer_nothing, answer_wrongly):
        server = StreamServer(("127.0.0.1", 0), stranger)
        server.start()
        center = Center(member, 1, IMPATIENT, members=[f"127.0.0.1:{server.server_port}"])
        center.directory.start()
        wait_until(lambda center=center: center.counts["directory_failures"] >= 2, deadline=20)  # type: ignore[misc]
        assert seconds_of_find(center) < 0.05
        assert center.log.count("directory_unavailable") == 1
        center.directory.stop()
        server.stop()


def test_a_cluster_that_came_back_with_other_partitions_and_another_number_of_members_serves_on(own_member: Member) -> None:
    with centers(own_member, 1, 2, pace=PROMPT) as (one, two):
        place = one.sits(1)
        one.settled()
        own_member.kill()
        wait_until(lambda: not one.directory.is_available)
        own_member.start(JAVA_TOOL_OPTIONS="-Dhazelcast.partition.count=11")
        wait_until(lambda: two.finds(1) == [place])
    own_member.stop()


def test_after_its_end_a_directory_says_nothing_and_harms_nobody(member: Member) -> None:
    with centers(member, 1) as (one,):
        one.sits(1)
        one.settled()
        one.directory.stop()
        assert one.finds(1) is None
        one.sits(2)
        one.directory.remove(1, one.sits(1))
        one.directory.stop()
        one.directory.start()
        assert one.finds(2) is None
