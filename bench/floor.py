"""The floor: the least a gevent server can do that still speaks MyIM's frames, records and messages.

What lives here: a StreamServer in a Pool, one greenlet per connection, AES-GCM records, sends coalesced per turn of the hub, routing
by a dict. What must not: handshake, store, lanes, limits, anything that makes it safe. It exists to be divided by (`bench/core.py`),
so all of it is tuned, and nothing of the server or the wire is imported: a slow library must not slow its own yardstick.
Keys come from a file of JSON lines {user, t2c: [key, iv], c2t: [key, iv]} in hex; a connection's first frame is its user id, in the
clear. `python -m bench.floor KEYS [PORT]` prints the port it listens on and serves until killed.
"""
from __future__ import annotations

import gc
import json
import socket as sockets
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path
from struct import Struct
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from gevent import get_hub, getcurrent
from gevent.pool import Pool
from gevent.server import StreamServer

SERVER_ID, USER_MESSAGE, RECEIPT, OFFLINE_FETCH = 1, 0x02, 0x07, 0x0A
HEAD = Struct(">BBQQQ").unpack_from  # command, flags, user, target, time
PAIRS = Struct(">QQ").iter_unpack
SETTLED = Struct(">BBBQQQB").pack  # the whole reply: length 28, command, flags, user, target, time, "received"
COUNTED = Struct(">BBBQQQI").pack  # the whole answer to OFFLINE_FETCH
TRAILER = Struct(">QQQ").pack
LENGTH = Struct(">I").pack


def forwarded_length(rest: int) -> bytes:
    """The length field (varint) of a message whose other bytes, trailer included, are `rest`."""
    size = 1 if rest < 127 else 2 if rest < 16_382 else 3
    return bytes((rest + size) >> 7 * place & 127 | (128 if place < size - 1 else 0) for place in range(size))


FORWARDED = [forwarded_length(rest + 24) for rest in range(65_536)]  # by the bytes that came after the length field


class Peer:
    """One connection's outgoing half."""
    __slots__ = ("encrypt", "iv", "out", "send", "sequence")

    def __init__(self, socket: Any, key: bytes, iv: bytes) -> None:
        self.send, self.encrypt, self.iv, self.sequence = socket._sock.send, AESGCM(key).encrypt, int.from_bytes(iv, "big"), 0
        self.out: list[bytes] = []

    def flush(self) -> None:
        """Everything ready goes as one record in one send (several only above a record's cap)."""
        plaintext, self.out = b"".join(self.out), []
        assert len(plaintext) <= 65_520, "the bench's windows never fill a record"
        length = LENGTH(len(plaintext) + 16)
        frame = length + self.encrypt((self.iv ^ self.sequence).to_bytes(12, "big"), plaintext, length)
        self.sequence += 1
        with suppress(ConnectionError):  # its reader ends the connection
            assert self.send(frame) == len(frame), "the bench's windows never fill a socket's buffer"


class Floor(StreamServer):
    """Routes QoS 1 messages between the users of one key file; `dirty` are the peers that have something to send this turn."""

    def __init__(self, listener: tuple[str, int], keys: dict[int, list[bytes]]) -> None:
        super().__init__(listener, self.serve, spawn=Pool(20_000), backlog=4096)
        self.keys, self.peers, self.dirty = keys, dict[int, Peer](), list[Peer]()
        self.space = memoryview(bytearray(65_536))  # one for all: to allocate 64 KiB for each read costs more than the read
        self.next_id, self.run_callback = count(1).__next__, get_hub().loop.run_callback

    def flush(self) -> None:
        """Runs once per turn of the hub, after every readable connection was read."""
        dirty, self.dirty = self.dirty, []
        for peer in dirty:
            peer.flush()

    def serve(self, socket: Any, address: object) -> None:
        """One connection's life: user id, then records until it ends."""
        socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        buffer = socket.recv(12)
        user = int.from_bytes(buffer[4:], "big")
        key, iv_bytes, own_key, own_iv = self.keys[user]
        decrypt, iv, sequence = AESGCM(key).decrypt, int.from_bytes(iv_bytes, "big"), 0
        peer = self.peers[user] = Peer(socket, own_key, own_iv)
        recv_into, handle, buffer, space = socket._sock.recv_into, self.take, b"", self.space
        # A watcher that stays started wakes this greenlet when bytes are there: no read that finds nothing, no waiter per read.
        watcher, wait = get_hub().loop.io(socket.fileno(), 1), get_hub().switch
        watcher.start(getcurrent().switch)
        with suppress(ConnectionError):
            while True:
                wait()
                if not (data := bytes(space[: recv_into(space)])):
                    break
                buffer = buffer + data if buffer else data
                while len(buffer) >= 4 and len(buffer) >= (end := 4 + int.from_bytes(buffer[:4], "big")):
                    handle(user, peer, decrypt((iv ^ sequence).to_bytes(12, "big"), buffer[4:end], buffer[:4]))
                    sequence += 1
                    buffer = buffer[end:]
        watcher.close()

    def take(self, user: int, peer: Peer, plaintext: bytes) -> None:
        """Route every message of one record."""
        position, end, peers, next_id = 0, len(plaintext), self.peers, self.next_id
        last, out, theirs = -1, peer.out, peer  # a record's messages mostly go one way: look a target up when it changes
        while position < end:
            start, total = position + 1, plaintext[position]
            if total > 127:
                total, start = total & 127 | (plaintext[start] & 127) << 7, start + 1
                if plaintext[start - 1] > 127:
                    total, start = total | plaintext[start] << 14, start + 1
            position += total
            command, _flags, _user, target, time = HEAD(plaintext, start)
            if command == USER_MESSAGE:
                if target != last:
                    last, theirs = target, peers[target]
                    out = self.mark(theirs)
                out += FORWARDED[position - start], plaintext[start:position], TRAILER(SERVER_ID, next_id(), SERVER_ID)
            elif command == RECEIPT:
                last = -1
                for sender, named in PAIRS(plaintext[start + 27 : position]):
                    if sender != last:
                        last, out = sender, self.mark(peers[sender])
                    out.append(SETTLED(28, USER_MESSAGE, 0x40, sender, user, named, 1))
                last = -1
            elif command == OFFLINE_FETCH:
                self.mark(peer).append(COUNTED(31, OFFLINE_FETCH, 0x40, user, 0, time, 0))

    def mark(self, peer: Peer) -> list[bytes]:
        """The list to add to; its owner is flushed at the end of this turn of the hub."""
        if not peer.out:
            if not self.dirty:
                self.run_callback(self.flush)
            self.dirty.append(peer)
        return peer.out


def main() -> None:
    """Serve until killed."""
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    keys = {row["user"]: [bytes.fromhex(part) for part in row["t2c"] + row["c2t"]] for row in rows}
    floor = Floor(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0), keys)
    floor.start()
    print(floor.server_port, flush=True)
    gc.freeze()
    gc.disable()  # nothing here makes cycles
    floor.serve_forever()


if __name__ == "__main__":
    main()
