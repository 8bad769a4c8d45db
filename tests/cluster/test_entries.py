"""What stands in the shared maps is believed only whole, in its place, and from one of us."""

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.directory import Place, Server
from cluster.entries import MAX_ENTRY_BYTES, MAX_PLACES, Entries, EntryRefused, Lease, Listed, ListedServer, online_key, server_key

KEY = b"sixteen or more bytes"
entries = Entries(KEY)
u64 = st.integers(0, (1 << 64) - 1)
listed = st.builds(Listed, st.builds(Place, u64, u64, st.integers(0, 255), u64, u64), u64)
i32 = st.integers(-(1 << 31), (1 << 31) - 1)
text = st.text(max_size=63)
servers = st.builds(Server, u64, text.filter(bool), text, st.integers(0, 65535), i32, i32, st.booleans(), text, u64)


@given(u64, st.lists(listed, max_size=MAX_PLACES))
def test_places_come_back_as_they_were(user: int, places: list[Listed]) -> None:
    value = entries.places(user, places)
    assert entries.read_places(user, value) == places
    assert len(value) <= MAX_ENTRY_BYTES


@given(servers, u64)
def test_a_server_comes_back_as_it_was(server: Server, life: int) -> None:
    assert entries.read_server(server_key(server.node, server.role), entries.server(server, life)) == ListedServer(server, life)


@given(st.builds(Lease, u64, u64, u64))
def test_a_lease_comes_back_as_it_was(lease: Lease) -> None:
    assert entries.read_server(server_key(lease.node, ""), entries.lease(lease)) == lease


def test_of_too_many_places_the_newest_stay() -> None:
    many = [Listed(Place(1, 1, slot, 1, 1), 1) for slot in range(MAX_PLACES + 3)]
    assert entries.read_places(1, entries.places(1, many)) == many[3:]


ONE = entries.places(7, [Listed(Place(1, 2, 3, 4, 5), 6)])
LEASE = entries.lease(Lease(7, 8, 9))


def test_one_bit_makes_it_nobodys() -> None:
    for bit in range(len(ONE) * 8):
        changed = bytearray(ONE)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(EntryRefused):
            entries.read_places(7, bytes(changed))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_and_nothing_else_happens(data: bytes) -> None:
    for cut in (data, ONE[:len(data)] if len(data) < len(ONE) else data, ONE + data + b"x"):
        with pytest.raises(EntryRefused):
            entries.read_places(7, cut)
        with pytest.raises(EntryRefused):
            entries.read_server(data, cut)


def test_an_entry_counts_for_its_own_user_map_and_cluster_only() -> None:
    with pytest.raises(EntryRefused):
        entries.read_places(8, ONE)
    with pytest.raises(EntryRefused):
        entries.read_server(online_key(7), ONE)
    with pytest.raises(EntryRefused):
        entries.read_places(7, LEASE)
    with pytest.raises(EntryRefused):
        Entries(KEY + b"!").read_places(7, ONE)


def proven(name: str, key: bytes, body: bytes) -> bytes:
    """What a node of another version of this cluster may write."""
    return body + blake2b(len(key).to_bytes(2, "big") + key + body, key=KEY, digest_size=16, person=name.encode()).digest()


@pytest.mark.parametrize("body", [b"\x63" + ONE[1:-16], b"\x01\x02" + ONE[2:-16], ONE[:-16] + b"\0", ONE[:-17], b"\x01\x00\x00"])
def test_another_version_or_length_is_refused_even_from_one_of_us(body: bytes) -> None:
    with pytest.raises(EntryRefused):
        entries.read_places(7, proven("online", online_key(7), body))


@pytest.mark.parametrize("body", [b"\x63" + LEASE[1:-16], b"\x01\x03" + LEASE[2:-16], LEASE[:-17], b"\x01\x02" + bytes(27),
                                  b"\x01\x02" + bytes(27) + b"\x01\xff\x00\x00", b"\x01\x02" + bytes(27) + b"\x09abc"])
def test_another_kind_of_server_entry_is_refused_even_from_one_of_us(body: bytes) -> None:
    with pytest.raises(EntryRefused):
        entries.read_server(server_key(7, ""), proven("servers", server_key(7, ""), body))


@pytest.mark.parametrize("server", [
    Server(1, "center", "h" * 256, 1, 1, 1, False), Server(1, "", "h", 1, 1, 1, False), Server(1, "center", "h", 70000, 1, 1, False),
    Server(1, "center", "h", 1, 1 << 40, 1, False)])
def test_a_server_that_cannot_be_written_is_our_own_fault(server: Server) -> None:
    with pytest.raises(ValueError):
        entries.server(server, 1)


@pytest.mark.parametrize("key", [b"short", b"x" * 65])
def test_a_key_of_another_length_is_our_own_fault(key: bytes) -> None:
    with pytest.raises(ValueError):
        Entries(key)
