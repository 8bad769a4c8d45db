"""The load of the group bench: members of groups that post, receive, confirm and fetch what they missed, over the real wire.

What lives here: one terminal as the SDK behaves (docs/groups.md, G-16 to G-19), cheaper, and the loop that drives thousands of them. What
must not: starting servers, rows made straight in the store, figures. A post's name is the time it was sent at, so whoever gets it knows
how long it took: all run on one machine's clock.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from struct import Struct

from bench.line import Account, Address, Line, enter
from myim_wire.bodies import CONFIRMED_GROUPS, decode_error, encode_pairs, split_group_content
from myim_wire.group_contents import GroupBehind, GroupFetched, GroupsTold, decode_group_push, encode_group_fetch
from myim_wire.messages import ERROR, FIRST, PING_ANSWER, QOS1, REPLY, Command, Message, decode_messages, encode_message

BODY_BYTES = 100
BODY = bytes(BODY_BYTES)
SENT_BYTES = 27 + BODY_BYTES
SENT = Struct(">BBBQQQ").pack
GIVEN_BYTES = 28 + 36 + BODY_BYTES + 24
GIVEN = Struct(">HBxQQQ10xQ").unpack_from  # length, command, user, group, time, number of a post as a center gives it
TIMES = Struct(f">20xQ{GIVEN_BYTES - 28}x").iter_unpack
GATHER_SECONDS = 0.2
STALLED_SECONDS = 30.0
AT_ONCE = 32


class Shared:
    """What all terminals of a loop count together, and who has to confirm when."""

    def __init__(self) -> None:
        self.posted = 0  # settled
        self.delivered = 0  # numbers passed, each once for each member
        self.fetches = 0
        self.due: deque[tuple[float, Terminal]] = deque()
        self.posts: list[int] = []  # how long each took to be settled, µs
        self.deliveries: list[int] = []  # how long those took that were looked at, µs


class Terminal:
    """A member of some groups; one that has `targets` posts to them in turn, `window` posts in flight."""

    __slots__ = (
        "line", "shared", "is_sampled", "is_told", "is_open", "positions", "known", "early", "fetching", "owed", "targets", "window",
        "in_flight", "_turn", "_only",
    )  # fmt: skip

    def __init__(self, line: Line, shared: Shared, is_sampled: bool) -> None:
        self.line, self.shared, self.is_sampled = line, shared, is_sampled
        self.is_told = self.is_open = False
        self.positions: dict[int, int] = {}
        self.known: dict[int, int] = {}
        self.early: dict[int, set[int]] = {}  # of groups a fetch is under way for, what came meanwhile
        self.owed: dict[int, int] = {}
        self.targets: Sequence[int] = ()
        self.window = 0
        self.in_flight: dict[int, int] = {}
        self._turn = 0
        self._only = 0  # the group of one who is in no other

    # ------------------------------------------------------------------ posting

    def start(self, targets: Sequence[int], window: int) -> None:
        """Post until `is_open` is taken back."""
        self.targets, self.window, self.is_open = targets, window, True
        self.in_flight = dict.fromkeys(targets, 0)
        self._post(window)
        self.line.flush()

    def _post(self, count: int) -> None:
        line, targets, in_flight = self.line, self.targets, self.in_flight
        user = line.account.user
        for _ in range(count):
            group = targets[self._turn % len(targets)]
            self._turn += 1
            first = 0 if in_flight[group] else FIRST
            in_flight[group] += 1
            line.out += (SENT(SENT_BYTES, Command.GROUP_MESSAGE, QOS1 | first, user, group, line.name()), BODY)

    def _settled(self, message: Message) -> None:
        if message.flags & ERROR:
            raise ValueError(f"a post was refused: {decode_error(message.content)}")
        self.in_flight[message.target] -= 1
        self.shared.posted += 1
        self.shared.posts.append(time.time_ns() // 1000 - message.time)
        if self.is_open:
            self._post(1)

    # ------------------------------------------------------------------ receiving

    def take(self, plaintext: bytes) -> None:
        """One record."""
        count, rest = divmod(len(plaintext), GIVEN_BYTES)
        if rest or not self._only or not self._take_run(plaintext, count):
            for message in decode_messages(plaintext):
                self._take_one(message)

    def _take_run(self, plaintext: bytes, count: int) -> bool:
        """Whether the record is nothing but the next posts of the only group; if not, nothing was done."""
        _, command, _, group, _, first = GIVEN(plaintext)
        _, final_command, _, _, _, last = GIVEN(plaintext, len(plaintext) - GIVEN_BYTES)
        position = self.positions[group] if group == self._only else -1
        is_run = first == position + 1 and last - first + 1 == count and not self.early
        if not is_run or command != Command.GROUP_MESSAGE or final_command != Command.GROUP_MESSAGE:
            return False
        if self.is_sampled:
            now = time.time_ns() // 1000
            self.shared.deliveries += [now - sent for (sent,) in TIMES(plaintext)]
        self._move(group, last)
        return True

    def _take_one(self, message: Message) -> None:
        command, flags = message.command, message.flags
        if command == Command.GROUP_MESSAGE:
            if flags & REPLY:
                self._settled(message)
            else:
                self._given(message)
        elif command == Command.OFFLINE_FETCH and message.target and not flags & ERROR:
            self._fetched(message.target, GroupFetched.decode(message.content))
        elif command == Command.GROUP and not flags & REPLY:
            self._pushed(message)
        elif command == Command.PING:
            if flags & QOS1:
                self.line.out.append(PING_ANSWER)
        elif flags & ERROR:
            raise ValueError(f"a member was told {decode_error(message.content)}")

    def _pushed(self, message: Message) -> None:
        push = decode_group_push(message.content)
        if isinstance(push, GroupsTold):
            for standing in push.groups:
                self.positions[standing.group] = max(standing.joined, standing.cursor)
                self._heard(standing.group, standing.number)
            self._only = next(iter(self.positions)) if len(self.positions) == 1 else 0
            self.is_told = self.is_told or push.is_last
        elif isinstance(push, GroupBehind):
            self._heard(push.group, push.number)

    def _given(self, message: Message) -> None:
        group, number = message.target, split_group_content(message.content)[0]
        if self.is_sampled:
            self.shared.deliveries.append(time.time_ns() // 1000 - message.time)
        if number == self.positions[group] + 1:
            self._move(group, number)
            self._take_early(group)
        elif number > self.positions[group]:
            if group in self.early:
                self.early[group].add(number)
            self._heard(group, number)

    def _take_early(self, group: int) -> None:
        early = self.early.get(group)
        while early and self.positions[group] + 1 in early:
            self._move(group, self.positions[group] + 1)

    def _move(self, group: int, number: int) -> None:
        self.shared.delivered += number - self.positions[group]
        self.positions[group] = number
        if not self.owed:
            self.shared.due.append((time.perf_counter() + GATHER_SECONDS, self))
        self.owed[group] = number

    def confirm(self) -> None:
        """All that came since the last time (G-18)."""
        content = encode_pairs(CONFIRMED_GROUPS, self.owed.items())
        self.owed = {}
        self.line.out.append(encode_message(Command.RECEIPT, 0, self.line.account.user, 0, 0, content))
        self.line.flush()

    # ------------------------------------------------------------------ fetching

    def _heard(self, group: int, number: int) -> None:
        """The group's number is at least this."""
        self.known[group] = max(self.known.get(group, 0), number)
        if self.known[group] > self.positions[group] and group not in self.early:
            self.early[group] = set()
            self.shared.fetches += 1
            self.line.queue(Command.OFFLINE_FETCH, QOS1, group, encode_group_fetch(self.positions[group]))

    def _fetched(self, group: int, end: GroupFetched) -> None:
        if end.up_to > self.positions[group]:
            self._move(group, end.up_to)
        self._take_early(group)
        del self.early[group]
        self._heard(group, end.number)


class Loop:
    """All terminals of one load on one epoll."""

    def __init__(self, sampled_of: int = 1) -> None:
        """sampled_of: of how many terminals one notes how long deliveries took."""
        self.shared = Shared()
        self.terminals: list[Terminal] = []
        self._sampled_of = sampled_of
        self._poll = select.epoll()
        self._by_descriptor: dict[int, Terminal] = {}

    def open(self, address: Address, accounts: Sequence[Account]) -> list[Terminal]:
        """Log these in, each through being told its groups."""
        opened = []
        for start in range(0, len(accounts), AT_ONCE):
            some = [self._adopt(line) for line in enter(address, accounts[start : start + AT_ONCE])]
            self.until(lambda some=some: all(one.is_told for one in some), "the groups of a session")  # type: ignore[misc]
            opened += some
        return opened

    def _adopt(self, line: Line) -> Terminal:
        terminal = Terminal(line, self.shared, len(self.terminals) % self._sampled_of == 0)
        self.terminals.append(terminal)
        line.socket.setblocking(False)
        self._by_descriptor[line.socket.fileno()] = terminal
        self._poll.register(line.socket.fileno(), select.EPOLLIN)
        line.queue(Command.OFFLINE_FETCH, QOS1)
        line.flush()
        return terminal

    def run(self, seconds: float) -> None:
        """Drive all for so long; TimeoutError when nothing comes for 30 s while something is due."""
        now = time.perf_counter()
        until, silent_since = now + seconds, now
        due = self.shared.due
        while (now := time.perf_counter()) < until:
            while due and due[0][0] <= now:
                due.popleft()[1].confirm()
            wake = min(until, due[0][0]) if due else until
            events = self._poll.poll(max(0.0, wake - now))
            if events:
                silent_since = now
            elif now - silent_since > STALLED_SECONDS:
                raise TimeoutError(f"nothing came for {STALLED_SECONDS:.0f} s")
            for descriptor, _ in events:
                terminal = self._by_descriptor[descriptor]
                for plaintext in terminal.line.receive():
                    terminal.take(plaintext)
                terminal.line.flush()

    def until(self, condition: Callable[[], bool], what: str, seconds: float = STALLED_SECONDS) -> None:
        """Drive all until it holds; TimeoutError."""
        deadline = time.perf_counter() + seconds
        while not condition():
            if time.perf_counter() > deadline:
                raise TimeoutError(f"{what}: not within {seconds} s")
            self.run(0.02)

    def drain(self) -> None:
        """Post nothing more, until all is settled and has been received and confirmed by everybody (which the store may do later)."""
        for terminal in self.terminals:
            terminal.is_open = False
        self.until(lambda: not any(any(one.in_flight.values()) for one in self.terminals), "the settling of posts")
        numbers: dict[int, int] = {}

        def is_there() -> bool:
            for terminal in self.terminals:
                for group, position in terminal.positions.items():
                    numbers[group] = max(numbers.get(group, 0), position)
            return all(position == numbers[group] for one in self.terminals for group, position in one.positions.items())

        self.until(lambda: is_there() and not self.shared.due, "posts on their way to members")

    def close(self) -> None:
        """Drop all connections."""
        for terminal in self.terminals:
            self._poll.unregister(terminal.line.socket.fileno())
            terminal.line.socket.close()
        self.terminals.clear()
        self._by_descriptor.clear()


def percentile(values: Iterable[int], share: float) -> float:
    """The value below which `share` of them lie; 0 for nothing."""
    ordered = sorted(values)
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * share))]) if ordered else 0.0
