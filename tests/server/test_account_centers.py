"""Accounts across centers: what is done at one is heard at the others within seconds, whether or not they are linked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from myim_server.config_sections import Address, ClusterSection, LinksSection
from myim_server.node import Node
from myim_wire.account_contents import RevokeTerminal
from myim_wire.errors import ErrorCode
from tests.server.account_terminals import PASSWORD, Device, Owner, here
from tests.server.front import links_of
from tests.server.running import config, wait_until

PROMISED_SECONDS = 5.0
NEVER_SECONDS = 5.0  # the longest that may be configured: what comes sooner came over the link


def start(directory: Path, name: str, *peers: Address, is_linked: bool = True, **sections: Any) -> Node:
    """A started node of its own data directory; all share a store and a secret."""
    store = {"url": f"sqlite:///{directory / 'myim.db'}"}
    plain = config(directory / name, store=store, **sections)
    links = LinksSection(listen=Address("127.0.0.1", 0), peers=peers) if is_linked else LinksSection()
    node = Node(plain.model_copy(update={"links": links, "cluster": ClusterSection(secret_file=str(directory / "cluster.secret"))}))
    node.build()
    node.start()
    return node


class Two:
    """A node with both doors, and a center, linked."""

    def __init__(self, directory: Path) -> None:
        tokens = {"poll_seconds": NEVER_SECONDS}
        self.first = start(directory, "first", tokens=tokens)
        host, _, port = self.first.addresses()["links"].rpartition(":")
        self.second = start(directory, "second", Address(host, int(port)), node={"roles": ("center",)}, tokens=tokens)
        wait_until(lambda: all(len(links_of(node).membership.servers()) >= 2 for node in (self.first, self.second)))
        self.laptop, self.phone = Device(self.first, "laptop"), Device(self.first, "phone")

    def online(self) -> tuple[Owner, Owner]:
        """Two terminals of ann, one at each center."""
        one = here(self.first, self.laptop.person("register", "ann"))
        return one, here(self.second, self.phone.person("login", "ann"))

    def stop(self) -> None:
        """Both."""
        self.second.stop()
        self.first.stop()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    made = Two(tmp_path)
    yield made
    made.stop()


def cut_off_within(terminal: Owner, began: float) -> ErrorCode:
    code = terminal.is_cut_off()
    assert time.monotonic() - began < PROMISED_SECONDS
    return code


def test_a_terminal_at_another_center_is_warned_of_a_new_one(two: Two) -> None:
    person = two.laptop.person("register", "ann")
    elsewhere = here(two.second, person)
    began = time.monotonic()
    two.phone.grant("login", "ann")
    assert elsewhere.warning().name == "phone"
    assert time.monotonic() - began < PROMISED_SECONDS


def test_terminals_at_other_centers_are_listed_as_online(two: Two) -> None:
    one, other = two.online()

    def seen_by(terminal: Owner) -> list[bool]:
        return [shown.is_online for shown in terminal.terminals().terminals]

    wait_until(lambda: seen_by(one) == seen_by(other) == [True, True])


@pytest.mark.parametrize("slot", [1, None])
def test_a_terminal_that_is_revoked_at_one_center_is_cut_off_at_the_other(two: Two, slot: int | None) -> None:
    one, other = two.online()
    began = time.monotonic()
    one.terminals(RevokeTerminal(slot))
    assert cut_off_within(other, began) is ErrorCode.TOKEN_REVOKED


def test_a_new_password_cuts_off_terminals_at_all_centers(two: Two) -> None:
    one, other = two.online()
    began = time.monotonic()
    person = two.laptop.person("password", "ann", PASSWORD, "another horse entirely")
    for terminal in (one, other):
        assert cut_off_within(terminal, began) is ErrorCode.TOKEN_REVOKED
    here(two.second, person).close()


def test_a_deleted_account_is_cut_off_at_all_centers(two: Two) -> None:
    one, other = two.online()
    began = time.monotonic()
    assert two.laptop.grant("delete", "ann").user == 0
    for terminal in (one, other):
        assert cut_off_within(terminal, began) is ErrorCode.TOKEN_REVOKED


def test_a_center_that_is_not_linked_to_the_login_center_hears_of_it_by_the_store(tmp_path: Path) -> None:
    login = start(tmp_path, "login", is_linked=False, node={"roles": ("login",)}, login={"servers": ("127.0.0.1:7401",)})
    center = start(tmp_path, "center", is_linked=False, node={"roles": ("center",)}, tokens={"poll_seconds": 0.5})
    try:
        laptop, phone = Device(login, "laptop"), Device(login, "phone")
        first = here(center, laptop.person("register", "ann"))
        began = time.monotonic()
        phone.grant("login", "ann")
        assert first.warning().name == "phone"
        laptop.grant("password", "ann", PASSWORD, "another horse entirely")
        assert cut_off_within(first, began) is ErrorCode.TOKEN_REVOKED
    finally:
        center.stop()
        login.stop()
