"""Fuzzes a link's flights and batches: `python tests/fuzz/fuzz_links.py -atheris_runs=N`. Only ProtocolError may come out.

The first byte says where the rest is heard: at a fresh listener, a fresh dialer, a listener that waits for the proof, or as batches under
TLS or with a MAC (made right if the high bit is set, so that what is in it is reached). Every message of a batch is read as its kind says.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Callable

import atheris

with atheris.instrument_imports(include=["myim_wire"]):
    from cluster.identity import make_identity
    from myim_wire import friend_peer_messages as friends
    from myim_wire import group_peer_messages as groups
    from myim_wire import peer_messages as peers
    from myim_wire.errors import ErrorCode, ProtocolError, RemoteProtocolError
    from myim_wire.link_batches import LAST_OWN_KIND, BatchDecoder, decode_own, encode_own
    from myim_wire.link_handshake import LinkHandshake, Role, Self
    from tests.wire.fixed import fixed

READERS: dict[int, Callable[[bytes], object]] = {
    peers.OPEN: peers.decode_open, peers.FOLLOW: peers.decode_follow, peers.END: peers.decode_lane, peers.RECEIVED: peers.decode_lane,
    peers.RETURNED: peers.decode_lane, peers.POKE: peers.decode_poke, peers.CAME: peers.decode_came, peers.COPY: peers.decode_copy,
    peers.RECEIPTS: peers.decode_receipts, peers.DRAIN: peers.decode_drain, peers.ONCE: peers.decode_once,
    peers.EXPIRED: peers.decode_expired, peers.ASK: lambda message: peers.decode_ask(message[1:]),
    peers.PLACES: lambda message: peers.decode_places(message[1:]),
    groups.POSTED: groups.decode_posted, groups.GROUP_CHANGED: groups.decode_group_changed,
    groups.UNINTERESTED: groups.decode_uninterested, groups.INTERESTED: groups.decode_interested,
    friends.PRESENCE_TOLD: friends.decode_presence_told, friends.PRESENCE_ASK: friends.decode_presence_ask,
    friends.PRESENCE_PLACES: friends.decode_presence_places, friends.FRIEND_TOLD: friends.decode_friend_told,
}  # fmt: skip
WRITERS: dict[int, Callable[[bytes], bytes]] = {
    groups.GROUP_CHANGED: lambda message: groups.encode_group_changed(*groups.decode_group_changed(message)),
    groups.UNINTERESTED: lambda message: groups.encode_uninterested(groups.decode_uninterested(message)),
    groups.INTERESTED: lambda message: groups.encode_interested(groups.decode_interested(message)),
    friends.PRESENCE_TOLD: lambda message: friends.encode_presence_told(friends.decode_presence_told(message)),
    friends.PRESENCE_ASK: lambda message: friends.encode_presence_ask(*friends.decode_presence_ask(message)),
    friends.PRESENCE_PLACES: lambda message: friends.encode_presence_places(*friends.decode_presence_places(message)),
    friends.FRIEND_TOLD: lambda message: friends.encode_friend_told(*friends.decode_friend_told(message)),
}  # fmt: skip
KEY = fixed("link key")
EAST, WEST = make_identity(fixed("east")), make_identity(fixed("west"))


def end(is_dialer: bool) -> LinkHandshake:
    """One end with fixed keys."""
    identity = EAST if is_dialer else WEST
    mine = Self(Role.CENTER, False, identity.seed, identity.certificate, fixed("secret"))
    return LinkHandshake(is_dialer, mine, fixed("nonce"), fixed(f"ephemeral {is_dialer}"))


def waiting_listener() -> LinkHandshake:
    """A listener that has heard the hello."""
    listener = end(False)
    listener.receive(end(True).start()[4:])
    return listener


def batches(data: bytes, key: bytes) -> None:
    """The same messages whole as in pieces (of which those before a fault still come out), none of them empty."""
    whole, pieces = decode(data, key, max(len(data), 1)), decode(data, key, 3)
    assert whole in (pieces, []) and all(pieces)


def decode(data: bytes, key: bytes, step: int) -> list[bytes]:
    """The messages before the first error."""
    decoder, found = BatchDecoder(key), list[bytes]()
    try:
        for at in range(0, len(data), step):
            found += decoder.feed(data[at : at + step])
    except ProtocolError:
        pass
    for message in found:
        if message[0] <= LAST_OWN_KIND:
            read_own(message)
        elif message[0] in READERS:
            read_of_center(message)
    return found


def read_own(message: bytes) -> None:
    """One of the link's own messages, or none."""
    try:
        kind, number = decode_own(message)
    except ProtocolError:
        return
    assert encode_own(kind, number) == message


def read_of_center(message: bytes) -> None:
    """What a center says, read; what is read of groups and friends is written again and has to be the same bytes."""
    try:
        said = READERS[message[0]](message)
    except RemoteProtocolError as error:
        assert error.code == ErrorCode.BAD_FRAME
        return
    if isinstance(said, groups.Posted):
        assert groups.encode_posted(said[:4], *said[4:]) == message
    elif message[0] in WRITERS:
        assert WRITERS[message[0]](message) == message


def one_input(data: bytes) -> None:
    """One input at one place."""
    if not data:
        return
    place, rest = data[0] & 0x7F, data[1:]
    if place in (3, 4):
        if data[0] & 0x80 and rest:
            mac = hashlib.blake2b(bytes(8) + rest, key=KEY, digest_size=16).digest()
            rest = struct.pack(">I", 16 + len(rest)) + mac + rest
        batches(rest, KEY if place == 4 else b"")
        return
    listener = waiting_listener() if place == 2 else end(place == 1)
    try:
        listener.receive(rest)
    except ProtocolError:
        pass


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
