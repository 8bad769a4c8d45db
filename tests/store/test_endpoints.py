"""The contract of admitted endpoints, and the operator's commands on them."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from click.testing import CliRunner

from myim_server.admin_endpoints import commands
from myim_server.store.endpoints import EndpointRow, NameInUse, node_of
from myim_server.store.engine import Store


def fingerprint(number: int) -> str:
    return hashlib.sha256(bytes([number])).hexdigest()


def test_an_admitted_endpoint_is_listed_by_its_name(store: Store) -> None:
    row = store.endpoints.admit(fingerprint(1), "west", 5)
    store.endpoints.admit(fingerprint(2), "east", 6)
    assert row == EndpointRow(int.from_bytes(bytes.fromhex(fingerprint(1))[:8], "big") >> 1, fingerprint(1), "west", 5, None)
    assert [one.name for one in store.endpoints.all()] == ["east", "west"]


def test_a_revoked_endpoint_stays_in_the_list_until_it_is_admitted_again(store: Store) -> None:
    node = store.endpoints.admit(fingerprint(1), "west", 5).node
    assert [store.endpoints.revoke(node, 7), store.endpoints.revoke(node, 8), store.endpoints.revoke(99, 8)] == [True, False, False]
    assert store.endpoints.all()[0].revoked == 7
    store.endpoints.admit(fingerprint(1), "west", 9)
    assert store.endpoints.all() == [EndpointRow(node, fingerprint(1), "west", 9, None)]


def test_two_endpoints_that_may_link_never_have_one_name(store: Store) -> None:
    node = store.endpoints.admit(fingerprint(1), "west", 5).node
    with pytest.raises(NameInUse):
        store.endpoints.admit(fingerprint(2), "west", 6)
    store.endpoints.revoke(node, 7)
    store.endpoints.admit(fingerprint(2), "west", 8)
    assert [row.fingerprint for row in store.endpoints.all()] == [fingerprint(2)]


def test_an_endpoint_may_be_renamed(store: Store) -> None:
    store.endpoints.admit(fingerprint(1), "west", 5)
    store.endpoints.admit(fingerprint(1), "south", 6)
    assert [row.name for row in store.endpoints.all()] == ["south"]


class _Place(NamedTuple):
    store: Store


Run = Callable[..., str]


@pytest.fixture
def run(store: Store) -> Run:
    """Run a command on the store; its output, after its exit code was checked."""

    @contextmanager
    def opened(path: Path | None) -> Iterator[_Place]:
        yield _Place(store)

    group = click.Group(commands=commands(opened, click.option("--config", "path", default=None)))

    def command(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(group, arguments)
        assert result.exit_code == code, result.output
        return result.output

    return command


def test_an_operator_admits_an_endpoint_by_the_fingerprint_it_shows(run: Run) -> None:
    shown = ":".join(fingerprint(1)[place : place + 2].upper() for place in range(0, 64, 2))
    assert str(node_of(fingerprint(1))) in run("admit-endpoint", shown, "--name", "west")
    listed = json.loads(run("endpoints"))
    assert (listed["name"], listed["fingerprint"], listed["revoked"]) == ("west", fingerprint(1), None)


@pytest.mark.parametrize("which", [str(node_of(fingerprint(1))), "west", fingerprint(1)])
def test_an_operator_revokes_an_endpoint_by_node_name_or_fingerprint(run: Run, which: str) -> None:
    run("admit-endpoint", fingerprint(1), "--name", "west")
    assert run("revoke-endpoint", which) == "revoked\n"
    assert run("revoke-endpoint", which) == "was revoked already\n"


def test_what_is_no_fingerprint_or_no_name_is_a_wrong_argument(run: Run) -> None:
    for wrong in ("", "abc", fingerprint(1)[1:], "g" * 64):
        run("admit-endpoint", wrong, "--name", "west", code=2)
    for wrong in ("", " west", "12", "w" * 64, "w\x1b[0m"):
        run("admit-endpoint", fingerprint(1), "--name", wrong, code=2)


def test_what_cannot_be_done_to_an_endpoint_says_why(run: Run) -> None:
    run("admit-endpoint", fingerprint(1), "--name", "west")
    assert "another endpoint is called west" in run("admit-endpoint", fingerprint(2), "--name", "west", code=1)
    assert "no such endpoint" in run("revoke-endpoint", "east", code=1)
