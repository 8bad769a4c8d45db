"""A bug of ours: said to the one whose request met it, under its keys, and to nobody else."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import structlog

from cluster.directory import Server
from cluster.memory_directory import MemoryDirectory
from myim_server.logs import configure_logs
from myim_wire.errors import ErrorCode
from myim_wire.messages import QOS1, Command, decode_error, encode_message
from tests.server.running import make_person, online, start_node, wait_until

PAYLOAD = "what a user wrote"


class Faulty(MemoryDirectory):
    """A directory that raises what it must not, and quotes a user, when it is asked for servers."""

    def servers(self) -> Sequence[Server]:
        raise ZeroDivisionError(PAYLOAD)


@pytest.fixture
def lines() -> Iterator[Callable[[], str]]:
    """The log as a node writes it; called, what came out so far."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with open(reading, "rb", 0) as reader, open(writing, "wb", 0):
        configure_logs("info", "json", lambda: None, writing)
        yield lambda: (reader.read(65536) or b"").decode()
        structlog.reset_defaults()


def test_a_fault_ends_the_session_that_met_it_is_logged_once_and_disturbs_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = start_node(tmp_path, None, Faulty())
    unlucky, witness = online(node, make_person(node, "alice")), online(node, make_person(node, "bob"))
    unlucky.say(encode_message(Command.SERVERS, QOS1, unlucky.person.user, 0, unlucky.name()))
    assert decode_error(unlucky.goodbye().content).code == ErrorCode.INTERNAL
    with pytest.raises(EOFError):
        unlucky.goodbye()
    router = node.router
    assert router is not None
    wait_until(lambda: len(router.parties) == 1)
    assert witness.fetch() == 0
    assert capsys.readouterr().out.count("connection_fault") == 1
    for terminal in (unlucky, witness):
        terminal.close()
    node.stop()


def test_the_line_of_a_fault_names_its_kind_and_place_and_quotes_nobody(tmp_path: Path, lines: Callable[[], str]) -> None:
    node = start_node(tmp_path, None, Faulty())
    unlucky = online(node, make_person(node, "alice"))
    unlucky.say(encode_message(Command.SERVERS, QOS1, unlucky.person.user, 0, unlucky.name()))
    assert unlucky.goodbye().content
    node.stop()
    logged = lines()
    assert "ZeroDivisionError at test_faults.py" in logged
    assert PAYLOAD not in logged
