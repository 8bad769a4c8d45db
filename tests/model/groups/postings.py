"""What authors and their centers do in a step: posts on their way into the store, their numbers back, themselves to the members.

What lives here: what myim_server/chat/posting.py and group_commands.py do around lanes; the sender's half of [P-8.2] and [P-8.4]; the crash
of a center. What must not: what is taken and refused in which order; that is the code under test (machines.py).
"""

from __future__ import annotations

from typing import Any

from tests.model.groups.halls import HallTurn
from tests.model.groups.machines import ArrivalsMachine, LaneMachine, RoomMachine
from tests.model.groups.promises import check_settled
from tests.model.groups.turn import Center, Item, Lane
from tests.model.groups.world import (
    AGAIN,
    AUTHORS,
    CENTERS,
    LINKS,
    NOWHERE,
    NUMBERED,
    OPS,
    REFUSED,
    SENT,
    TERMINALS,
    UNHEARD,
    UNSENT,
    Op,
    Settings,
    State,
    author_of,
    post_of,
)


class PostingTurn(HallTurn):
    """The posts' part of a step, which makes it whole."""

    def __init__(self, state: State, settings: Settings, arrivals: ArrivalsMachine, rooms: RoomMachine, lanes: LaneMachine) -> None:
        super().__init__(state, settings, arrivals, rooms)
        self._lanes = lanes

    # ------------------------------------------------------------------ authors

    def outcomes(self, user: int) -> tuple[int, ...]:
        outcomes: tuple[int, ...] = self.parts[AUTHORS][user]
        return outcomes

    def _set_outcome(self, post: int, outcome: int) -> None:
        user, place = author_of(post), (post - 1) % 4
        outcomes = self.outcomes(user)
        if outcomes[place] < REFUSED:
            authors = self.parts[AUTHORS]
            self.parts[AUTHORS] = (*authors[:user], (*outcomes[:place], outcome, *outcomes[place + 1 :]), *authors[user + 1 :])

    def _answer(self, post: int, outcome: int) -> None:
        """A center says what became of a post."""
        if outcome >= REFUSED:
            check_settled(self.store, post, max(0, outcome - NUMBERED))
        self._set_outcome(post, outcome + UNHEARD if "answer" in self.settings.slow else outcome)

    def hears(self, user: int) -> None:
        """A sender reads the answers that are on their way."""
        authors = self.parts[AUTHORS]
        heard = tuple(outcome % UNHEARD for outcome in self.outcomes(user))
        self.parts[AUTHORS] = (*authors[:user], heard, *authors[user + 1 :])

    def _is_over(self, user: int) -> None:
        """The answers that were on their way to a sender are lost."""
        authors = self.parts[AUTHORS]
        unheard = tuple(SENT if outcome >= UNHEARD else outcome for outcome in self.outcomes(user))
        self.parts[AUTHORS] = (*authors[:user], unheard, *authors[user + 1 :])

    def posts(self, rank: int) -> None:
        """A terminal sends its user's next post."""
        self._send(rank, self.outcomes(self.terminal(rank).user).index(UNSENT))

    def sends_again(self, rank: int, outcomes: tuple[int, ...] = (AGAIN,)) -> None:
        """It sends again what is not settled, in its order."""
        user = self.terminal(rank).user
        for place, outcome in enumerate(self.outcomes(user)):
            if outcome in outcomes:
                self._send(rank, place)

    def _send(self, rank: int, place: int) -> None:
        terminal = self.terminal(rank)
        outcomes = self.outcomes(terminal.user)
        is_first = all(REFUSED <= outcome < UNHEARD for outcome in outcomes[:place])
        post = post_of(terminal.user, place + 1)
        self._set_outcome(post, SENT)
        self._take(terminal.place, rank, post, is_first)

    def connects(self, rank: int, at: int) -> None:
        """A terminal has a new session, and sends again what is not settled [P-8.2]."""
        self.enters(rank, at)
        terminal = self.terminal(rank)
        if rank == self.speaker(terminal.user) and self.settings.posts[terminal.user]:
            center = self.center(at)
            taken = {lane.name for lane in center.lanes} | {item[3] for item in self._items(at)}
            name = next(name for name in range(9) if name not in taken)
            self.set_center(at, lanes=(*center.lanes, Lane(name, rank, True, self._lanes.fresh())))
            self.sends_again(rank, (SENT, AGAIN))

    def speaker(self, user: int) -> int:
        """The terminal from which a user posts."""
        return next(rank for rank, one in enumerate(self.parts[TERMINALS]) if one.user == user)

    def breaks(self, rank: int) -> None:
        """A connection ends."""
        at = self.terminal(rank).place
        lanes = (lane._replace(is_current=False) if lane.terminal == rank else lane for lane in self.center(at).lanes)
        self.set_center(at, lanes=tuple(lanes))
        if rank == self.speaker(self.terminal(rank).user):
            self._is_over(self.terminal(rank).user)
        self.leaves(rank)

    # ------------------------------------------------------------------ lanes

    def _items(self, at: int) -> list[Item]:
        """All posts that a center has in hand."""
        asked = [item for op in self.parts[OPS] if op.kind == "post" and op.center == at for item in op.args]
        return [*self.center(at).waiting, *asked]

    def _lane(self, at: int, name: int, event: str, *arguments: Any) -> Any:
        """Let a lane meet an event; False if it is gone."""
        lanes = self.center(at).lanes
        for place, lane in enumerate(lanes):
            if lane.name == name:
                frozen, wanted = self._lanes.run(lane.frozen, event, *arguments)
                self.set_center(at, lanes=(*lanes[:place], lane._replace(frozen=frozen), *lanes[place + 1 :]))
                return wanted
        return False

    def _take(self, at: int, rank: int, post: int, is_first: bool) -> None:
        lane = next(lane for lane in self.center(at).lanes if lane.terminal == rank and lane.is_current)
        used = {item[2] for item in self._items(at) if item[1] == post}
        attempt = next(number for number in range(9) if number not in used)
        is_taken = self._lane(at, lane.name, "take", post, attempt, is_first)
        if is_taken is None:
            return
        if not is_taken:
            self.later(self._answer, post, AGAIN)
            return
        item = (author_of(post), post, attempt, lane.name)
        self.set_center(at, waiting=(*self.center(at).waiting, item))
        if not self.rules.is_settled_after_commit:
            self._answer(post, NUMBERED + self.store.number + 1)
        if "post" not in self.settings.slow:
            self.later(self.commits, at)

    def commits(self, at: int) -> None:
        """All that waits at a center goes into the store."""
        items = self.take_waiting(at)
        if items:
            self.begin("post", at, NOWHERE, *items)

    def take_waiting(self, at: int, most: int = 9) -> tuple[Item, ...]:
        """What waits and is still due, at most so many; it waits no longer."""
        most = most if self.rules.is_one_batch_at_a_time else 1
        waiting = self.center(at).waiting
        self.set_center(at, waiting=waiting[most:])
        waiting = waiting[:most]
        return tuple(item for item in waiting if self._lane(at, item[3], "is_due", item[1], item[2]))

    def _learn_post(self, op: Op) -> None:
        fresh = [(item, outcome) for item, outcome in zip(op.args, op.local, strict=True) if outcome and not outcome[2]]
        if fresh:
            version = fresh[-1][1][1]
            self.room(op.center, "push", version, tuple((outcome[0], item[1]) for item, outcome in fresh))
            for user in dict.fromkeys(item[0] for item, _ in fresh):
                posts = tuple((outcome[0], item[1]) for item, outcome in fresh if item[0] == user)
                self.send(op.center, ("posted", version, posts))
        for item, outcome in zip(op.args, op.local, strict=True):
            if not outcome:
                self.refuse(op.center, item, REFUSED)
            elif self._lane(op.center, item[3], "answered", item[1], item[2]) and self._is_current(op.center, item[3]):
                self._answer(item[1], NUMBERED + outcome[0])

    def _fail_post(self, op: Op) -> None:
        for item in op.args:
            self.refuse(op.center, item, AGAIN)

    def refuse(self, at: int, item: Item, outcome: int) -> None:
        """It is refused, and what is behind it has to come again."""
        refused = self._lane(at, item[3], "refused", item[1], item[2]) or ()
        for place, post in enumerate(refused if self._is_current(at, item[3]) else ()):
            self._answer(post, AGAIN if place else outcome)

    def _is_current(self, at: int, name: int) -> bool:
        return any(lane.name == name and lane.is_current for lane in self.center(at).lanes)

    # ------------------------------------------------------------------ crashes

    def crashes(self, at: int, is_late: bool) -> None:
        """All that a center remembers is gone, and what it sent or was sent. is_late: what it asked of the store may still happen."""
        for rank, terminal in enumerate(self.parts[TERMINALS]):
            if terminal.place == at:
                self.stops(rank)
                if rank == self.speaker(terminal.user):
                    self._is_over(terminal.user)
        for op in self.parts[OPS]:
            if op.center == at:
                if is_late and op.phase == 0 and op.kind in ("post", "claim"):
                    self.orphan(op)
                else:
                    self.drop(op)
        if is_late and (waiting := self.take_waiting(at)):
            self.add(Op("post", NOWHERE, NOWHERE, waiting, 0, ()))
        centers = list(self.parts[CENTERS])
        centers[at] = Center()
        self.parts[CENTERS] = tuple(centers)
        self.parts[LINKS] = ((), ())

    def tidy(self) -> None:
        """Lanes without a session and without anything owned are gone, too."""
        super().tidy()
        for at, center in enumerate(self.parts[CENTERS]):
            if any(not lane.is_current and not lane.frozen[1] for lane in center.lanes):
                self.set_center(at, lanes=tuple(lane for lane in center.lanes if lane.is_current or lane.frozen[1]))
