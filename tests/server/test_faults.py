"""A bug of ours: said to the one whose request met it, under its keys, and to nobody else."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from cluster.directory import Server
from cluster.memory_directory import MemoryDirectory
from myim_wire.errors import ErrorCode
from myim_wire.messages import QOS1, Command, decode_error, encode_message
from tests.server.running import make_person, online, start_node, wait_until


class Faulty(MemoryDirectory):
    """A directory that raises what it must not when it is asked for servers."""

    def servers(self) -> Sequence[Server]:
        raise ZeroDivisionError("a bug")


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
