"""Addresses and numbers as people write them. Addresses are taken apart, and spelled in one way, so that one server has one pin and one
profile.

Text only; nothing here asks a resolver.
"""

from __future__ import annotations

DEFAULT_PORT = 7400
_MOST_DIGITS = 20


def typed_number(word: str, below: int) -> int | None:
    """The number that decimal digits are; None for anything else, and for what is not below `below` (≤ 2⁶⁴), however long it is."""
    if not (word.isascii() and word.isdigit()):
        return None
    digits = word.lstrip("0") or "0"
    if len(digits) > _MOST_DIGITS:  # thousands of them are more than int() takes
        return None
    number = int(digits)
    return number if number < below else None


def split_address(server: str) -> tuple[str, int]:
    """(host, port) of "HOST:PORT", "HOST" or "[V6]:PORT"; ValueError if it is none of these."""
    host, colon, port = server.rpartition(":")
    if not colon or (server.startswith("[") and server.endswith("]")) or (":" in host and not host.startswith("[")):
        host, port = server, str(DEFAULT_PORT)
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{server!r} is not HOST:PORT")
    return host, int(port)


def spelled(server: str) -> str:
    """`server` in its one spelling: "Host", "host:7400" and "host:07400" are one. ValueError if it is no address."""
    host, port = split_address(server)
    host = host.lower()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
