"""The load: pairs of users, QoS 1 with receipt, a fixed number of messages in flight per pair, over the real wire.

What lives here: the closed loop (epoll, no greenlets, one record per connection and turn) and its figures. What must not: starting
servers, choosing repeats (core). It runs in a process of its own, on the other core, and drives floor and center with the same code.

    python -m bench.driver --port 7401 --accounts FILE --pairs 200 --window 8 --seconds 3 --pid SERVER_PID     one line of JSON
"""

from __future__ import annotations

import argparse
import gc
import json
import select
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from struct import Struct

from bench.line import Account, Address, Line, open_lines, read_accounts
from bench.processes import cpu_seconds
from myim_wire.messages import FIRST, PING_ANSWER, QOS1, QOS_MASK, REPLY, Command, Message, decode_messages, encode_message

BODY_BYTES = 100
SENT = Struct(">BBBQQQ").pack  # the head of one message of SENT_BYTES, length field included
SENT_BYTES = 27 + BODY_BYTES
SETTLED = Struct(">BBB8x8x8xB")
GIVEN = Struct(f">HBBQ8xQ{BODY_BYTES + 24}x")
GIVEN_LENGTH = (GIVEN.size & 0x7F | 0x80) << 8 | GIVEN.size >> 7
STALLED_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run saw: rates in messages/s, latencies in µs, CPU in µs of the servers per settled message, all and each."""

    settled: int
    seconds: float
    messages_per_second: float
    p50_us: float
    p99_us: float
    server_cpu_us: float
    driver_cpu_us: float
    messages_per_record: float
    stored: int
    each_cpu_us: tuple[float, ...]


class Sender:
    """The sending end of a pair: keeps `window` messages unsettled."""

    def __init__(self, line: Line, target: int, window: int) -> None:
        self.line, self.target, self.window = line, target, window
        self.sent: deque[list[float]] = deque()  # [how many, when], oldest first
        self.latencies: list[tuple[float, int]] = []
        self.settled = self.stored = self.records = 0
        self.is_open = True
        self.body = bytes(BODY_BYTES)

    def start(self) -> None:
        """Fill the window for the first time."""
        self._send(self.window, FIRST)
        self.line.flush()

    def take(self, plaintext: bytes) -> None:
        """Count one record's settlements, and send as many messages again."""
        count = self._take_settlings(plaintext) or self._take_slowly(decode_messages(plaintext))
        if not count:
            return
        self.records += 1
        self.settled += count
        self._time(count)
        if self.is_open:
            self._send(count, 0 if self.sent else FIRST)

    def _take_settlings(self, plaintext: bytes) -> int:
        """How many settlements, if the record holds nothing else; 0 otherwise, and nothing was counted."""
        count, rest = divmod(len(plaintext), SETTLED.size)
        if rest:
            return 0
        stored = 0
        for length, command, flags, settling in SETTLED.iter_unpack(plaintext):
            if length != SETTLED.size or command != Command.USER_MESSAGE or flags & ~QOS_MASK != REPLY:
                return 0
            stored += settling == 2
        self.stored += stored
        return count

    def _take_slowly(self, messages: list[Message]) -> int:
        count = 0
        for message in messages:
            if message.command == Command.PING:
                if message.flags & QOS1:
                    self.line.out.append(PING_ANSWER)
            elif message.command == Command.USER_MESSAGE and message.flags & ~QOS_MASK == REPLY:
                count += 1
                self.stored += message.content == b"\x02"
            elif message.command == Command.RECEIPT:
                self.line.out.append(encode_message(Command.RECEIPT, REPLY, message.user, message.target, message.time))
            elif message.command not in (Command.SERVERS, Command.GROUP):  # the list of servers, and of the groups it is in
                raise ValueError(f"a sender was told {message}")
        return count

    def _time(self, count: int) -> None:
        now = time.perf_counter()
        while count:
            oldest = self.sent[0]
            part = min(count, int(oldest[0]))
            self.latencies.append((now - oldest[1], part))
            oldest[0] -= part
            count -= part
            if not oldest[0]:
                self.sent.popleft()

    def _send(self, count: int, first: int) -> None:
        line, user, target, body = self.line, self.line.account.user, self.target, self.body
        stamp = line.name()
        out = line.out
        out += (SENT(SENT_BYTES, Command.USER_MESSAGE, QOS1 | first, user, target, stamp), body)
        for _ in range(count - 1):
            stamp += 64
            out += (SENT(SENT_BYTES, Command.USER_MESSAGE, QOS1, user, target, stamp), body)
        line.last_time = stamp
        self.sent.append([count, time.perf_counter()])


class Receiver:
    """The receiving end: confirms every message of a record by one RECEIPT."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.taken = 0

    def take(self, plaintext: bytes) -> None:
        """Confirm one record's messages."""
        pairs: list[int] = []
        if len(plaintext) % GIVEN.size == 0:
            for length, command, flags, user, named in GIVEN.iter_unpack(plaintext):
                if length != GIVEN_LENGTH or command != Command.USER_MESSAGE or flags & 3 != QOS1:
                    raise ValueError("a receiver was given something else than messages")
                pairs += (user, named)
        else:
            for message in decode_messages(plaintext):
                if message.command == Command.USER_MESSAGE and message.flags & QOS1:
                    pairs += (message.user, message.time)
                elif message.command == Command.PING and message.flags & QOS1:
                    self.line.out.append(PING_ANSWER)
        if pairs:
            self.taken += len(pairs) // 2
            content = b"\x01" + Struct(f">{len(pairs)}Q").pack(*pairs)
            self.line.out.append(encode_message(Command.RECEIPT, 0, self.line.account.user, 0, 0, content))


class Loop:
    """All pairs of one run on one epoll."""

    def __init__(self, senders: list[Sender], receivers: list[Receiver]) -> None:
        self.senders, self.receivers = senders, receivers
        self.ends: dict[int, Sender | Receiver] = {sender.line.socket.fileno(): sender for sender in senders}
        self.ends.update((receiver.line.socket.fileno(), receiver) for receiver in receivers)
        self.poll = select.epoll()
        for descriptor in self.ends:
            self.poll.register(descriptor, select.EPOLLIN)

    def run(self, seconds: float) -> None:
        """Drive all pairs for so long; TimeoutError when nothing comes for 20 s while something is due."""
        ends, poll = self.ends, self.poll.poll
        now = time.perf_counter()
        until, silent_since = now + seconds, now
        while (now := time.perf_counter()) < until:
            events = poll(until - now)
            if events:
                silent_since = now
            elif now - silent_since > STALLED_SECONDS:
                raise TimeoutError("nothing came for 20 s")
            for descriptor, _ in events:
                end = ends[descriptor]
                for plaintext in end.line.receive():
                    end.take(plaintext)
                end.line.flush()

    def drain(self) -> None:
        """Send nothing new, and drive until all that was sent is settled."""
        for sender in self.senders:
            sender.is_open = False
        until = time.perf_counter() + STALLED_SECONDS
        while any(sender.sent for sender in self.senders):
            if time.perf_counter() > until:
                raise TimeoutError("messages stayed unsettled for 20 s")
            self.run(0.02)

    def empty(self) -> None:
        """Drive until the receivers have had as many messages as were settled, so that nothing waits for them in the store."""
        until = time.perf_counter() + STALLED_SECONDS
        while sum(receiver.taken for receiver in self.receivers) < self.settled():
            if time.perf_counter() > until:
                raise TimeoutError("stored messages did not come for 20 s")
            self.run(0.02)

    def settled(self) -> int:
        """Messages settled since the start."""
        return sum(sender.settled for sender in self.senders)


def percentile(weighted: list[tuple[float, int]], share: float) -> float:
    """The value below which `share` of the weight lies; 0 for nothing."""
    left = share * sum(weight for _, weight in weighted)
    for value, weight in sorted(weighted):
        left -= weight
        if left <= 0:
            return value
    return 0.0


def measure(loop: Loop, server_pids: Sequence[int], warm_seconds: float, seconds: float) -> Figures:
    """Warm up, then measure for `seconds`; the CPU of all these processes is charged."""
    for sender in loop.senders:
        sender.start()
    loop.run(warm_seconds)
    for sender in loop.senders:
        sender.latencies.clear()
        sender.records = sender.stored = 0
    before, own, start = loop.settled(), time.process_time(), time.perf_counter()
    used = [cpu_seconds(pid) for pid in server_pids]
    loop.run(seconds)
    took, own = time.perf_counter() - start, time.process_time() - own
    used = [cpu_seconds(pid) - earlier for pid, earlier in zip(server_pids, used, strict=True)]
    settled = loop.settled() - before
    each = 1e6 / max(settled, 1)
    latencies = [pair for sender in loop.senders for pair in sender.latencies]
    return Figures(
        settled,
        round(took, 3),
        round(settled / took, 1),
        round(percentile(latencies, 0.5) * 1e6, 1),
        round(percentile(latencies, 0.99) * 1e6, 1),
        round(sum(used) * each, 3),
        round(own * each, 3),
        round(settled / max(sum(sender.records for sender in loop.senders), 1), 2),
        sum(sender.stored for sender in loop.senders),
        tuple(round(one * each, 3) for one in used),
    )


def run_pairs(address: Address, accounts: list[Account], window: int, server_pid: int, warm_seconds: float, seconds: float) -> Figures:
    """Connect an even number of accounts, the first half writing to the second, measure, and drop the connections."""
    return run_between((address, address), accounts, window, [server_pid], warm_seconds, seconds)


def run_between(
    addresses: tuple[Address, Address], accounts: list[Account], window: int, pids: Sequence[int], warm_seconds: float, seconds: float
) -> Figures:
    """As `run_pairs`, senders connecting to the first address and targets to the second."""
    half = len(accounts) // 2
    sending, taking = open_lines(addresses[0], accounts[:half]), open_lines(addresses[1], accounts[half:])
    senders = [Sender(line, other.account.user, window) for line, other in zip(sending, taking, strict=True)]
    loop = Loop(senders, [Receiver(line) for line in taking])
    figures = measure(loop, pids, warm_seconds, seconds)
    loop.drain()  # what is left unsettled, or stored, would come to the same users in their next run
    loop.empty()
    for line in sending + taking:
        line.socket.close()
    return figures


def main() -> None:
    """One run, its figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--accounts", type=Path, required=True)
    parser.add_argument("--pid", type=int, required=True, help="the server's process, whose CPU is charged")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--window", type=int, default=1)
    parser.add_argument("--warm", type=float, default=0.5, help="seconds")
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    gc.disable()  # nothing here makes cycles; a collection would show up as the server's latency
    accounts = read_accounts(options.accounts)[: 2 * options.pairs]
    figures = run_pairs((options.host, options.port), accounts, options.window, options.pid, options.warm, options.seconds)
    print(json.dumps(asdict(figures)))


if __name__ == "__main__":
    main()
