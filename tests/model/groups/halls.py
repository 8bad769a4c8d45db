"""What a center does in a step for members: its room, beginnings of sessions, fetches, changes, the sweep, and links.

What lives here: what myim_server/chat/group_hall.py and group_peers.py do around rooms. What must not: who is given what; that is the code
under test (machines.py).
"""

from __future__ import annotations

from typing import Any

from tests.model.groups.machines import BEHIND, CHANGED, EVENTS, POSTED, ArrivalsMachine, RoomMachine, message
from tests.model.groups.terminals import TerminalTurn
from tests.model.groups.world import LINKS, NOWHERE, Op, Settings, State


class HallTurn(TerminalTurn):
    """The rooms' part of a step."""

    def __init__(self, state: State, settings: Settings, arrivals: ArrivalsMachine, rooms: RoomMachine) -> None:
        super().__init__(state, settings, arrivals)
        self._rooms = rooms

    def room(self, at: int, event: str, *arguments: Any) -> Any:
        """Let the room of a center meet an event, and carry out what it wants."""
        frozen = self.center(at).room
        room, (wanted, found) = self._rooms.run(frozen, event, self.sessions(at), *arguments)
        if room is not frozen:
            self.set_center(at, room=room)
        for kind, *rest in wanted:
            if kind == "send":
                self.give(*rest)
            else:
                self.begin("members", at, NOWHERE, *rest)
        return found

    def is_listening(self, at: int, user: int) -> bool:
        is_here: bool = self.room(at, "is_here", user)
        return is_here

    # ------------------------------------------------------------------ sessions

    def enters(self, rank: int, at: int) -> None:
        """A terminal connects and asks for what there is."""
        self.starts(rank, at)
        self.begin("standing", at, rank, self.terminal(rank).user, 1)

    def leaves(self, rank: int) -> None:
        """A session ends, and its center knows."""
        terminal = self.terminal(rank)
        self.stops(rank)
        if not self.sessions(terminal.place, terminal.user):
            self.room(terminal.place, "left", terminal.user)
        else:
            self.room(terminal.place, "sessions_changed", terminal.user)
        untold = self.center(terminal.place).untold
        if rank in untold:
            self.set_center(terminal.place, untold=tuple(one for one in untold if one != rank))

    def _learn_standing(self, op: Op) -> None:
        """A terminal's beginning: its user is in the room before it is told, so that nothing falls between (G-15)."""
        rank, at, found = op.who, op.center, op.local
        user, stage = op.args
        if found:
            version, number, _, joined = found
            self.room(at, "register", user, version, number, joined)
        if stage == 1:
            self.room(at, "sessions_changed", user)
            if found and self.rules.is_live_before_read:
                self.begin("standing", at, rank, user, 2)
                return
        self.give(rank, ("told", found))

    def _fail_standing(self, op: Op) -> None:
        self.set_center(op.center, untold=tuple(sorted({*self.center(op.center).untold, op.who})))

    # ------------------------------------------------------------------ reads

    def _learn_members(self, op: Op) -> None:
        self.room(op.center, "read_done", op.args[2], op.local)

    def _fail_members(self, op: Op) -> None:
        self.room(op.center, "read_done", op.args[2], None)

    def _learn_describe(self, op: Op) -> None:
        self.give(op.who, ("described", op.local))

    def _fail_describe(self, op: Op) -> None:
        self.give(op.who, ("described", None))

    def _learn_fetch(self, op: Op) -> None:
        serial = op.args[0]
        if not op.local:
            self.give(op.who, ("refused", serial, True))
            return
        up_to, number, rows = op.local
        for row in rows:
            self.give(op.who, message(POSTED, *row))
        self.give(op.who, ("fetched", serial, up_to, number))

    def _fail_fetch(self, op: Op) -> None:
        self.give(op.who, ("refused", op.args[0], False))

    def waits_no_longer(self, at: int) -> None:
        """A center gives out what waited for a push below it that did not come."""
        self.room(at, "waits_no_longer")

    # ------------------------------------------------------------------ the sweep

    def sweeps(self, at: int, is_whole: bool) -> None:
        """A center asks the store for the group's number (G-14); is_whole: and has the answer before anything else happens."""
        for rank in self.center(at).untold:
            self.begin("standing", at, rank, self.terminal(rank).user, 1)
        self.set_center(at, untold=())
        if self.center(at).room is None:
            return
        if is_whole:
            self.run_whole(Op("sweep", at, NOWHERE, (), 0, ()))
        else:
            self.begin("sweep", at, NOWHERE)

    def _learn_sweep(self, op: Op) -> None:
        for _, number in self.room(op.center, "swept", *op.local):
            self.room(op.center, "tell", message(BEHIND, number))

    def looks_round(self, at: int, is_whole: bool) -> None:
        """Who is online here is entered once more, and who has not confirmed all is told (G-14)."""
        users = {user for user, _ in self.sessions(at)}
        if is_whole:
            self.run_whole(Op("round", at, NOWHERE, tuple(sorted(users)), 0, ()))
        elif users:
            self.begin("round", at, NOWHERE, *sorted(users))

    def _learn_round(self, op: Op) -> None:
        for user, standing in op.local:
            sessions = self.sessions(op.center, user)
            if not sessions:
                continue
            version, number, cursor, joined = standing
            self.room(op.center, "register", user, version, number, joined)
            for _, rank in sessions if cursor < number else ():
                self.give(rank, message(BEHIND, number))

    # ------------------------------------------------------------------ changes

    def _learn_join(self, op: Op) -> None:
        if not op.local:
            return
        at, user, event = op.center, op.who, op.args[0]
        version, number, joined = op.local
        if event == "joined" and self.sessions(at, user):
            self.room(at, "changed", version, "", 0)
            self.room(at, "register", user, version, number, joined)
        self._give_news(at, version, event, user)
        self.send(at, ("changed", version, event, user))

    _learn_leave = _learn_join

    def _give_news(self, at: int, version: int, event: str, user: int) -> None:
        """Members here hear of a change, and whom it is about."""
        data = message(CHANGED, version, EVENTS.index(event), user)
        self.room(at, "tell", data)
        if not self.room(at, "is_here", user):
            for _, rank in self.sessions(at, user):
                self.give(rank, data)
        self.room(at, "changed", version, event, user)

    # ------------------------------------------------------------------ links

    def send(self, source: int, what: tuple[Any, ...]) -> None:
        """A center tells the other; what it was told before comes before it."""
        if "link" in self.settings.slow:
            links = list(self.parts[LINKS])
            links[source] += (what,)
            self.parts[LINKS] = tuple(links)
        else:
            self.later(self.arrive, 1 - source, what)

    def delivers(self, source: int) -> None:
        """The next thing a center sent comes in at the other."""
        links = list(self.parts[LINKS])
        what, *rest = links[source]
        links[source] = tuple(rest)
        self.parts[LINKS] = tuple(links)
        self.arrive(1 - source, what)

    def arrive(self, at: int, what: tuple[Any, ...]) -> None:
        """What another center said comes in."""
        kind, version, *rest = what
        if kind == "posted":
            self.room(at, "push", version, *rest)
        else:
            self._give_news(at, version, *rest)
