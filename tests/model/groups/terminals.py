"""What a terminal does in a step: what it reads, asks, shows and confirms.

What lives here: what myim_client/group_courier.py does around group_arrivals, the application, and the profile's file. What must not: which
number may be shown or confirmed; that is the code under test (machines.py).
"""

from __future__ import annotations

from typing import Any

from tests.model.groups.machines import BEHIND, POSTED, ArrivalsMachine, fetch_of, is_member, renumbered
from tests.model.groups.promises import check_shown
from tests.model.groups.turn import Turn
from tests.model.groups.world import NOWHERE, OPS, SHOWN, TERMINALS, Op, Settings, State, bit


class TerminalTurn(Turn):
    """The terminals' part of a step."""

    def __init__(self, state: State, settings: Settings, arrivals: ArrivalsMachine) -> None:
        super().__init__(state, settings)
        self._arrivals = arrivals

    def arrivals(self, rank: int, event: str, *arguments: Any) -> Any:
        """Let a terminal's arrivals meet an event; gives what is wanted."""
        terminal = self.terminal(rank)
        frozen, wanted = self._arrivals.run(terminal.arrivals, event, *arguments)
        if frozen is not terminal.arrivals:
            self.set_terminal(rank, terminal._replace(arrivals=frozen))
        return wanted

    def tidy(self) -> None:
        has_new_ops = self.parts[OPS] is not self.before[OPS]
        for rank, terminal in enumerate(self.parts[TERMINALS]):
            if (has_new_ops or terminal is not self.before[TERMINALS][rank]) and fetch_of(terminal.arrivals) is not None:
                self._renumber(rank)

    # ------------------------------------------------------------------ what comes

    def give(self, rank: int, one: Any) -> None:
        """Something is sent to a terminal; what is sent to one that is gone is lost."""
        terminal = self.terminal(rank)
        if terminal.place < 0:
            return
        if "downlink" in self.settings.slow:
            self.set_terminal(rank, terminal._replace(downlink=(*terminal.downlink, one)))
        else:
            self.later(self._read, rank, one)

    def reads(self, rank: int) -> None:
        """It reads the next thing its center sent."""
        terminal = self.terminal(rank)
        self.set_terminal(rank, terminal._replace(downlink=terminal.downlink[1:]))
        self._read(rank, terminal.downlink[0])

    def _read(self, rank: int, one: Any) -> None:
        if self.terminal(rank).place < 0:
            return
        if isinstance(one, bytes):
            self._read_message(rank, one)
        elif one[0] == "told":
            self._hand(rank, self.arrivals(rank, "told", one[1], True))
        elif one[0] == "described":
            self._described(rank, one[1])
        elif one[0] == "fetched":
            self._hand(rank, self.arrivals(rank, "fetched", *one[1:]))
        else:
            _, serial, is_gone = one
            self.arrivals(rank, "refused", serial)
            if is_gone:
                self._inquire(rank)
        self._follow(rank)

    def _read_message(self, rank: int, data: bytes) -> None:
        kind, one, two, three = data
        terminal = self.terminal(rank)
        if kind not in (POSTED, BEHIND):
            if three == terminal.user:  # whom the change is about
                self._inquire(rank)
        elif not is_member(terminal.arrivals):
            self._inquire(rank)
        elif kind == BEHIND:
            self.arrivals(rank, "behind", one)
        else:
            self._hand(rank, self.arrivals(rank, "arrived", one, two))

    def _described(self, rank: int, standing: tuple[int, ...] | None) -> None:
        terminal = self.terminal(rank)
        if standing is None:
            self.set_terminal(rank, terminal._replace(is_asking=True))
        elif standing[0] >= terminal.described:
            self.set_terminal(rank, terminal._replace(described=standing[0]))
            self._hand(rank, self.arrivals(rank, "told", standing if len(standing) > 1 else (), False))

    # ------------------------------------------------------------------ what is asked and confirmed

    def _inquire(self, rank: int) -> None:
        """Ask what the group is; if that is asked already, once more when it is answered."""
        terminal = self.terminal(rank)
        if any(op.kind == "describe" and op.who == rank for op in self.parts[OPS]):
            self.set_terminal(rank, terminal._replace(is_asking=True))
        else:
            self.begin("describe", terminal.place, rank, terminal.user)

    def asks_again(self, rank: int) -> None:
        """Some time after it could not be told what the group is."""
        self.set_terminal(rank, self.terminal(rank)._replace(is_asking=False))
        self._inquire(rank)

    def _follow(self, rank: int, is_later: bool = False) -> None:
        """Ask for what is to be fetched, and confirm what is to be confirmed."""
        terminal = self.terminal(rank)
        for serial, after in self.arrivals(rank, "fetches", is_later):
            self.begin("fetch", terminal.place, rank, serial, after, self.settings.page, terminal.user)
        if "confirm" not in self.settings.slow:
            self.confirms(rank)

    def fetches_later(self, rank: int) -> None:
        """The time is over that it lets pass before it fetches again."""
        self._follow(rank, is_later=True)

    def confirms(self, rank: int) -> None:
        """What was gathered is sent, and is added to what its center has to write."""
        terminal = self.terminal(rank)
        if terminal.place < 0:
            return
        number = self.arrivals(rank, "confirmations")
        if number and self.is_listening(terminal.place, terminal.user):
            self.claim(terminal.place, terminal.user, number)

    def is_listening(self, at: int, user: int) -> bool:
        """Whether a center takes the user's confirmation."""
        raise AssertionError(f"{at} has no rooms for {user}")

    def claim(self, at: int, user: int, number: int) -> None:
        """The newest confirmation of a member is what is written."""
        for op in self.parts[OPS]:
            if (op.kind, op.center, op.who, op.phase) == ("claim", at, user, 0) and at >= 0:
                if op.args[0] < number:
                    self.drop(op)
                    self.add(op._replace(args=(number,)))
                return
        if "claim" in self.settings.slow:
            self.add(Op("claim", at, user, (number,), 0, ()))
        else:
            self.later(self.run_whole, Op("claim", at, user, (number,), 0, ()))

    # ------------------------------------------------------------------ the application

    def _hand(self, rank: int, handed: tuple[tuple[int, int], ...]) -> None:
        if not handed:
            return
        terminal = self.terminal(rank)
        self.set_terminal(rank, terminal._replace(inbox=terminal.inbox + handed))
        if "application" not in self.settings.slow:
            for _ in handed:
                self.later(self.shows, rank)

    def shows(self, rank: int) -> None:
        """The application's transaction: it has the next, and the position is kept with it (G-18)."""
        terminal = self.terminal(rank)
        number, post = terminal.inbox[0]
        if number < 0:  # shown, and the position was left for later
            self._keep(rank, -number)
            return
        check_shown(self.store, terminal.user, number, post, terminal.last)
        shown = list(self.parts[SHOWN])
        shown[terminal.user] |= bit(number)
        self.parts[SHOWN] = tuple(shown)
        self.set_terminal(rank, terminal._replace(last=number))
        if self.rules.is_position_kept_with_showing:
            self._keep(rank, number)
        else:
            self.set_terminal(rank, terminal._replace(last=number, inbox=((-number, post), *terminal.inbox[1:])))
            if "application" not in self.settings.slow:
                self.later(self.shows, rank)

    def _keep(self, rank: int, number: int) -> None:
        moves = self.arrivals(rank, "plan", number)
        terminal = self.terminal(rank)
        kept = max([terminal.kept, *(move.position for move in moves)])
        self.set_terminal(rank, terminal._replace(kept=kept, inbox=terminal.inbox[1:]))
        self.arrivals(rank, "moved", moves)
        if self.terminal(rank).place >= 0:
            self._follow(rank)

    # ------------------------------------------------------------------ sessions

    def starts(self, rank: int, center: int) -> None:
        """A terminal has a new session."""
        self.set_terminal(rank, self.terminal(rank)._replace(place=center, downlink=(), described=0, is_asking=False))
        self.arrivals(rank, "restart")

    def stops(self, rank: int) -> None:
        """Its session is over; nobody waits for what it asked."""
        self.set_terminal(rank, self.terminal(rank)._replace(place=NOWHERE, downlink=()))
        self.parts[OPS] = tuple(op for op in self.parts[OPS] if op.who != rank or op.kind not in ("fetch", "standing", "describe"))

    def forgets(self, rank: int, kept: int, last: int) -> None:
        """Its process starts anew, with what is in its file; kept -1: with another file."""
        terminal = self.terminal(rank)
        fresh = self._arrivals.fresh(kept, kept >= 0 and is_member(terminal.arrivals))
        self.set_terminal(rank, terminal._replace(arrivals=fresh, kept=kept, last=last, inbox=()))

    def _renumber(self, rank: int) -> None:
        """Serials are only compared for being the same: call them 1, 2, … in their order."""
        terminal = self.terminal(rank)
        fetches = [op for op in self.parts[OPS] if op.kind == "fetch" and op.who == rank]
        in_words = [one[1] for one in terminal.downlink if one[0] in ("fetched", "refused")]
        named = {fetch_of(terminal.arrivals), *(op.args[0] for op in fetches), *in_words} - {0, None}
        serials = {serial: place for place, serial in enumerate(sorted(named), 1)}
        frozen = renumbered(terminal.arrivals, serials)
        if frozen == terminal.arrivals:
            return
        downlink = tuple((one[0], serials[one[1]], *one[2:]) if one[0] in ("fetched", "refused") else one for one in terminal.downlink)
        self.set_terminal(rank, terminal._replace(arrivals=frozen, downlink=downlink))
        for op in fetches:
            self.drop(op)
        for op in fetches:
            self.add(op._replace(args=(serials[op.args[0]], *op.args[1:])))
