"""Addresses as the configuration writes them: host and port, and a center that is known by its key.

What must not live here: which setting is one (`config_sections`), whether anybody answers there.
"""

import ipaddress
import socket
from dataclasses import dataclass

FINGERPRINT_DIGITS = 64


@dataclass(frozen=True)
class Address:
    """Where to listen, or what to tell others to dial: a host name or literal (IPv6 with its scope, without brackets) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_wildcard(self) -> bool:
        """Whether it means every address of this machine: good to listen at, and nothing that anybody else could dial."""
        try:
            return socket.inet_aton(self.host) == bytes(4)  # "0" is one, too
        except (OSError, UnicodeError):
            pass
        try:
            address = ipaddress.IPv6Address(self.host)
        except ValueError:
            return False
        return address.is_unspecified or (address.ipv4_mapped is not None and address.ipv4_mapped.is_unspecified)


def parse_address(value: object) -> Address:
    """`host:port` or `[v6]:port` to an Address. Raises ValueError that says what is wrong."""
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise ValueError("must be host:port, in quotes")
    host, colon, port_text = value.rpartition(":")
    if not colon or not host:
        raise ValueError(f"must be host:port, not {value!r}")
    if not port_text.isascii() or not port_text.isdecimal():
        raise ValueError(f"port {port_text!r} is not a number")
    if len(port_text) > 5 or not 0 <= int(port_text) <= 65535:
        raise ValueError(f"port {port_text:.20} is not between 1 and 65535")
    return Address(_parse_host(host), int(port_text))


def _parse_host(host: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            raise ValueError(f"{host} is not an IPv6 address") from None
        return host[1:-1]
    if ":" in host:
        raise ValueError(f"an IPv6 address needs brackets: [{host}]")
    if len(host) > 255 or any(character.isspace() or character in "/@[]%" or not character.isprintable() for character in host):
        raise ValueError(f"{host[:60]!r} is not a host")
    return host


@dataclass(frozen=True)
class PinnedCenter:
    """A center's link door, and the SHA-256 of its public key (64 hex digits): only the holder of that key is spoken to."""

    address: Address
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.address}#{self.fingerprint}"


def parse_pinned_center(value: object) -> PinnedCenter:
    """`host:port#FINGERPRINT` to a PinnedCenter. Raises ValueError that says what is wrong."""
    if isinstance(value, PinnedCenter):
        return value
    if not isinstance(value, str) or "#" not in value:
        raise ValueError("must be host:port#FINGERPRINT, in quotes; `admin node-key` at the center prints its fingerprint")
    address, _, fingerprint = value.partition("#")
    if len(fingerprint) != FINGERPRINT_DIGITS or not set(fingerprint.lower()) <= set("0123456789abcdef"):
        raise ValueError(f"the fingerprint after # must be {FINGERPRINT_DIGITS} hex digits, as `admin node-key` at the center prints it")
    return PinnedCenter(parse_address(address), fingerprint.lower())
