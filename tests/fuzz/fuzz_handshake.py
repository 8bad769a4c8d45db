"""Fuzzes every flight of both handshakes: `python tests/fuzz/fuzz_handshake.py -atheris_runs=N`. Only ProtocolError may come out.

The first byte picks the flight; with its high bit the rest is sealed under the right key, so that the flight itself is reached.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import atheris

with atheris.instrument_imports(include=["myim_wire"]):
    from myim_wire.center_handshake import accept, parse_connect
    from myim_wire.errors import ProtocolError
    from myim_wire.login_handshake import LoginClient, LoginServer
    from myim_wire.tokens import open_ticket
    from tests.wire.fixed import CREDENTIALS, SESSION_KEY, TERMINAL_PUBLIC, TICKET_KEY, LoginRun, fixed, new_center_client

End = LoginClient | LoginServer


def hello_sent() -> tuple[End, End]:
    """(receiver, sender) before flight 2."""
    run = LoginRun()
    run.client.hello()
    return run.client, run.server


def terminal_sent() -> tuple[End, End]:
    """(receiver, sender) before flight 4, with the keys of both ends."""
    run = LoginRun().hellos()
    run.server.receive(run.client.present_terminal()[4:])
    return run.client, run.server


def servers_asked() -> tuple[End, End]:
    """(receiver, sender) before flight 4'."""
    run = LoginRun().hellos()
    run.client.ask_servers()
    return run.client, run.server


def credentials_sent() -> tuple[End, End]:
    """(receiver, sender) before flight 6."""
    run = LoginRun().certified()
    run.client.credentials("login", *CREDENTIALS[1:])
    return run.client, run.server


def started() -> tuple[End, End]:
    """(receiver, sender) before flight 1."""
    run = LoginRun()
    return run.server, run.client


def greeted() -> tuple[End, End]:
    """(receiver, sender) before flight 3."""
    run = LoginRun().hellos()
    return run.server, run.client


def certified() -> tuple[End, End]:
    """(receiver, sender) before flight 5."""
    run = LoginRun().certified()
    return run.server, run.client


MOMENTS: tuple[Callable[[], tuple[End, End]], ...] = (
    started, hello_sent, greeted, terminal_sent, certified, credentials_sent, servers_asked,
)  # fmt: skip


def center_flight(flight: bytes) -> None:
    """As a CONNECT with and without a good token, as an ACCEPT, as a token."""
    for attempt in (
        lambda: accept(parse_connect(flight), SESSION_KEY, TERMINAL_PUBLIC, fixed("n"), fixed("e")),
        lambda: new_center_client().accept(flight),
        lambda: open_ticket(flight, TICKET_KEY),
    ):
        try:
            attempt()
        except ProtocolError:
            continue


def one_input(data: bytes) -> None:
    """One flight at one moment."""
    if not data:
        return
    moment, flight = data[0] & 0x7F, data[1:]
    if moment >= len(MOMENTS):
        center_flight(flight)
        return
    receiver, sender = MOMENTS[moment]()
    is_sealed = data[0] & 0x80 and moment > 1 and len(flight) < 4000
    try:
        receiver.receive(sender._sealing.seal(flight)[4:] if is_sealed else flight)
    except ProtocolError:
        pass


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
