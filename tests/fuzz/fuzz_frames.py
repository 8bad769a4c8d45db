"""Fuzzes the frame decoder: `python tests/fuzz/fuzz_frames.py -atheris_runs=N`. Only ProtocolError comes out, pieces never matter."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["myim_wire"]):
    from myim_wire.errors import ProtocolError
    from myim_wire.frames import FrameDecoder


def decode(data: bytes, step: int) -> list[bytes]:
    """The contents that come before the first error, fed `step` bytes at a time."""
    decoder, contents = FrameDecoder(64), []
    try:
        for at in range(0, len(data), step):
            contents += decoder.feed(data[at : at + step])
            while decoder.has_stopped:
                contents += decoder.feed(b"")
    except ProtocolError:
        pass
    return contents


def one_input(data: bytes) -> None:
    """The same frames whole as byte by byte, none of them empty or over the cap."""
    whole = decode(data, max(len(data), 1))
    assert whole == decode(data, 1) == decode(data, 3)
    assert all(0 < len(content) <= 64 for content in whole)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
