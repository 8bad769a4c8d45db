"""The screen of a started node: what it says to dial can be dialled."""

import pytest

from myim_server.config import load_config
from myim_server.welcome import welcome

TOLD = {"MYIM_CENTER__ADVERTISE": "chat.example.org:7401"}


def screen(bound: str, **login: str) -> str:
    """The screen of a node whose login center is bound there."""
    config = load_config(None, TOLD | {f"MYIM_LOGIN__{key.upper()}": value for key, value in login.items()})
    return welcome(config, {"login": bound, "center": "127.0.0.1:7401"}, bytes(32))


def test_the_default_needs_no_server_option() -> None:
    shown = screen("127.0.0.1:7400")
    assert "--server" not in shown
    assert "Only this machine can connect" in shown


@pytest.mark.parametrize(
    ("listen", "bound", "dialled"),
    [
        ("0.0.0.0:7500", "0.0.0.0:7500", "127.0.0.1:7500"),
        ("[::]:7500", "[::]:7500", "[::1]:7500"),
        ("127.0.0.1:7500", "127.0.0.1:7500", "127.0.0.1:7500"),
        ("[::1]:7400", "[::1]:7400", "[::1]:7400"),
    ],
)
def test_what_it_says_to_dial_is_an_address_that_answers(listen: str, bound: str, dialled: str) -> None:
    shown = screen(bound, listen=listen)
    assert f"myim --server {dialled} register alice" in shown
    assert "--server 0.0.0.0" not in shown and "--server [::]" not in shown


def test_a_door_that_is_open_to_all_says_how_others_find_it() -> None:
    shown = screen("0.0.0.0:7400", listen="0.0.0.0:7400")
    assert "From other machines: --server and this machine's name" in shown
    assert "Only this machine" not in shown


def test_what_is_advertised_is_what_it_says_to_dial() -> None:
    shown = screen("0.0.0.0:7400", listen="0.0.0.0:7400", advertise="chat.example.org:7400")
    assert "myim --server chat.example.org:7400 chat bob" in shown
    assert "From other machines" not in shown
    assert "Only this machine" not in screen("127.0.0.1:7400", advertise="chat.example.org:7400")


def test_an_endpoint_shows_its_doors_its_centers_and_how_it_is_admitted() -> None:
    pin = "0a" * 32
    config = load_config(None, {"MYIM_NODE__ROLES": "endpoint", "MYIM_ENDPOINT__CENTERS": f"10.0.0.1:7402#{pin}"})
    shown = welcome(config, {"endpoint": "127.0.0.1:7411", "endpoint_login": "127.0.0.1:7410"}, b"", "0b" * 32)
    for told in ("127.0.0.1:7411", "127.0.0.1:7410", "10.0.0.1:7402", f"admit-endpoint {'0b' * 32} --name"):
        assert told in shown
    assert "sqlite" not in shown


def test_a_node_with_links_shows_what_endpoints_are_configured_with() -> None:
    shown = welcome(load_config(None, {}), {"center": "127.0.0.1:7401", "links": "127.0.0.1:7402"}, b"", "0b" * 32)
    assert f"127.0.0.1:7402#{'0b' * 32}" in shown
