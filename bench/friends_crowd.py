"""The load of the presence benches: terminals of users with friends, who come, say how they want to be seen, and hear of each other.

What lives here: one terminal and the loop that drives thousands of them. What must not: starting servers, figures, who is whose friend.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Sequence

from bench.line import Account, Address, Line, enter
from myim_wire.messages import ERROR, PING_ANSWER, QOS1, REPLY, Command, Message, decode_error, decode_messages
from myim_wire.presence_contents import AskOnline, OnlinePage, PresenceChanged, SetPresence, SettableState

AT_ONCE = 32
STALLED_SECONDS = 30.0


class Terminal:
    """A terminal of somebody who has friends. `seen`: the text of each friend that is online, as far as it was told."""

    __slots__ = ("line", "seen", "pushes", "changes", "is_told")

    def __init__(self, line: Line) -> None:
        self.line = line
        self.seen: dict[int, str] = {}
        self.pushes = self.changes = 0
        self.is_told = False  # who is online

    def say(self, state: SettableState, text: str) -> None:
        """How it wants to be seen."""
        self.line.queue(Command.PRESENCE, QOS1, 0, SetPresence(state, text).encode())
        self.line.flush()

    def take(self, message: Message) -> None:
        """One that came."""
        command, flags = message.command, message.flags
        if flags & ERROR:
            raise ValueError(f"a terminal was told {decode_error(message.content)}")
        if command == Command.PRESENCE and not flags & REPLY:
            changes = PresenceChanged.decode(message.content).changes
            self.pushes += 1
            self.changes += len(changes)
            for user, state, text in changes:
                if state == "offline":
                    self.seen.pop(user, None)
                else:
                    self.seen[user] = text
        elif command == Command.FRIENDS_ONLINE:
            page = OnlinePage.decode(message.content)
            if not page.is_complete:
                raise ValueError("nobody knows who is online")
            self.seen.update((one.user, one.text) for one in page.online)
            self.is_told = not page.is_more
            if page.is_more:
                self.line.queue(Command.FRIENDS_ONLINE, QOS1, 0, AskOnline(page.up_to).encode())
        elif command == Command.PING and flags & QOS1:
            self.line.out.append(PING_ANSWER)


class Crowd:
    """All terminals of one load on one epoll."""

    def __init__(self) -> None:
        self.terminals: list[Terminal] = []
        self._poll = select.epoll()
        self._by_descriptor: dict[int, Terminal] = {}

    def open(self, address: Address, accounts: Sequence[Account]) -> list[Terminal]:
        """Log these in, each through being told who of its friends is online."""
        opened = []
        for start in range(0, len(accounts), AT_ONCE):
            some = [self._adopt(line) for line in enter(address, accounts[start : start + AT_ONCE])]
            self.until(lambda some=some: all(one.is_told for one in some), "who is online")  # type: ignore[misc]
            opened += some
        return opened

    def _adopt(self, line: Line) -> Terminal:
        terminal = Terminal(line)
        self.terminals.append(terminal)
        line.socket.setblocking(False)
        self._by_descriptor[line.socket.fileno()] = terminal
        self._poll.register(line.socket.fileno(), select.EPOLLIN)
        line.queue(Command.OFFLINE_FETCH, QOS1)
        line.queue(Command.FRIENDS_ONLINE, QOS1, 0, AskOnline().encode())
        line.flush()
        return terminal

    def run(self, seconds: float) -> None:
        """Take what comes for so long."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            for descriptor, _ in self._poll.poll(left):
                terminal = self._by_descriptor[descriptor]
                for plaintext in terminal.line.receive():
                    for message in decode_messages(plaintext):
                        terminal.take(message)
                terminal.line.flush()

    def until(self, condition: Callable[[], bool], what: str, seconds: float = STALLED_SECONDS) -> None:
        """Take what comes until it holds; TimeoutError."""
        deadline = time.perf_counter() + seconds
        while not condition():
            if time.perf_counter() > deadline:
                raise TimeoutError(f"{what}: not within {seconds} s")
            self.run(0.01)

    def close(self) -> None:
        """Drop all connections."""
        for terminal in self.terminals:
            self._poll.unregister(terminal.line.socket.fileno())
            terminal.line.socket.close()
        self.terminals.clear()
        self._by_descriptor.clear()
