"""Fuzzes records inside an open connection: `python tests/fuzz/fuzz_records.py -atheris_runs=N`. Only ProtocolError may come out.

The first byte says whether the rest is sealed under the right key (so that what is inside is reached) or comes as it is.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["myim_wire"]):
    from myim_wire.connection import Connection, State
    from myim_wire.errors import ProtocolError
    from myim_wire.messages import PING_ASK
    from tests.wire.fixed import new_connections


def receive(end: Connection, data: bytes) -> None:
    """A breach has to end the hearing."""
    try:
        end.receive_data(data)
    except ProtocolError:
        assert end.state in (State.FAILED, State.CLOSED)


def one_input(data: bytes) -> None:
    """Feed both ends of one session."""
    terminal, center = new_connections()
    center.receive_data(terminal.seal(PING_ASK))
    mode, rest = data[:1], data[1:]
    if mode == b"r":
        receive(center, rest)
        receive(terminal, rest)
    elif rest:
        at = mode[0] % len(rest)
        for piece in filter(None, (rest[:at], rest[at:])):
            receive(center, terminal.seal(piece))
            receive(terminal, center.seal(piece))


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
