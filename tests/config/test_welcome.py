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
