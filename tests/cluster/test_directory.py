"""What every directory does, whoever keeps it. Another directory joins by one more maker in DIRECTORIES."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from cluster.directory import Directory, Place, Server
from cluster.hazelcast_directory import HazelcastDirectory
from cluster.memory_directory import MemoryDirectory
from tests.cluster.hazelcast_member import Stranger, centers, wait_until

Ask = pytest.FixtureRequest


@contextmanager
def in_memory(_: Ask) -> Iterator[Directory]:
    yield MemoryDirectory()


@contextmanager
def in_hazelcast(request: Ask) -> Iterator[Directory]:
    member = request.getfixturevalue("member")
    others = Stranger(member)
    others.clear()  # what other tests' dead left
    others.close()
    with centers(member, 10) as (center,):
        yield center.directory


DIRECTORIES: dict[str, Callable[[Ask], AbstractContextManager[Directory]]] = {"memory": in_memory, "hazelcast": in_hazelcast}


@pytest.fixture(params=DIRECTORIES)
def directory(request: pytest.FixtureRequest) -> Iterator[Directory]:
    with DIRECTORIES[request.param](request) as made:
        yield made


def place(slot: int = 0, number: int = 1, generation: int = 1, center: int = 10) -> Place:
    return Place(center, center, slot, generation, number)


def found(directory: Directory, user: int) -> list[Place]:
    """What it says once everything it was told is in."""
    if isinstance(directory, HazelcastDirectory):
        wait_until(lambda: not directory.waiting)
    answer = directory.find([user])
    assert answer is not None
    return list(answer[user])


def test_nobody_is_online_before_somebody_is_listed(directory: Directory) -> None:
    assert found(directory, 1) == []
    directory.publish(1, place())
    assert found(directory, 1) == [place()]
    assert found(directory, 2) == []


def test_the_terminals_of_a_user_are_listed_newest_entry_first(directory: Directory) -> None:
    for slot in (3, 1, 2):
        directory.publish(1, place(slot))
    assert [one.slot for one in found(directory, 1)] == [2, 1, 3]
    directory.publish(1, place(3, number=2))
    assert [one.slot for one in found(directory, 1)] == [3, 2, 1]


@pytest.mark.parametrize("newer", [place(number=6, center=11), place(number=1, generation=2, center=11)])
def test_a_newer_incarnation_of_a_terminal_replaces_the_older(directory: Directory, newer: Place) -> None:
    directory.publish(1, place(number=5))
    directory.publish(1, newer)
    assert found(directory, 1) == [newer]


@pytest.mark.parametrize("older", [place(number=4, center=11), place(number=9, generation=1, center=11)])
def test_an_older_incarnation_changes_nothing(directory: Directory, older: Place) -> None:
    present = place(number=5, generation=2)
    directory.publish(1, present)
    directory.publish(1, older)
    assert found(directory, 1) == [present]


def test_only_exactly_what_was_listed_is_taken_back(directory: Directory) -> None:
    old, new, other = place(number=1), place(number=2, center=11), place(1)
    for one in (old, new, other):
        directory.publish(1, one)
    directory.remove(1, old)
    assert set(found(directory, 1)) == {new, other}
    directory.remove(1, new)
    assert found(directory, 1) == [other]
    directory.remove(1, other)
    assert found(directory, 1) == []


def test_taking_back_what_is_not_there_is_harmless(directory: Directory) -> None:
    directory.remove(1, place())
    directory.publish(1, place())
    directory.remove(2, place())
    directory.remove(1, place(1))
    assert found(directory, 1) == [place()]


def test_after_it_was_taken_back_a_terminal_may_be_listed_again(directory: Directory) -> None:
    directory.publish(1, place(number=1))
    directory.remove(1, place(number=1))
    directory.publish(1, place(number=2))
    assert found(directory, 1) == [place(number=2)]


def test_ids_of_sixty_four_bits_are_kept(directory: Directory) -> None:
    user, far = (1 << 64) - 1, Place((1 << 64) - 1, (1 << 63) + 5, 63, (1 << 32) - 1, (1 << 64) - 1)
    directory.publish(user, far)
    assert list(found(directory, user)) == [far]


def server(node: int, priority: int = 10, load: int = 0, is_draining: bool = False, role: str = "center") -> Server:
    return Server(node, role, "127.0.0.1", 7000 + node, priority, load, is_draining)


def test_servers_come_best_first(directory: Directory) -> None:
    listed = [server(1, 20), server(2, load=50), server(3, load=10), server(4, 1, is_draining=True), server(5, 5, 99)]
    for one in listed:
        directory.publish_server(one)
    assert [one.node for one in directory.servers()] == [5, 3, 2, 1, 4]


def test_a_server_that_is_listed_again_is_renewed_and_its_roles_are_apart(directory: Directory) -> None:
    directory.publish_server(server(1, load=10))
    directory.publish_server(server(1, load=90))
    directory.publish_server(server(1, 30, role="endpoint"))
    assert list(directory.servers()) == [server(1, load=90), server(1, 30, role="endpoint")]
