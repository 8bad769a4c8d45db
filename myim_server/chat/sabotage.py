"""Delivery rules with one mechanism broken on purpose, to prove that the chaos run notices.

What lives here: twins of the state machines that each leave one rule out, and the list of all names, the store's too. What must not:
anything a node uses unless MYIM_CHAOS=1 and MYIM_SABOTAGE name it; the node says so in its log, loudly. A check that stays green under
these proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from myim_server.chat import inbox
from myim_server.chat import lane as lane_rules
from myim_server.chat.inboxes import Inboxes
from myim_server.chat.lane import STORED, Action, Forward, Lane, LaneState, Letter, Settle, Store
from myim_server.chat.lanes import Lanes
from myim_server.store.group_sabotage import TWINS
from myim_wire.errors import ErrorCode


class SettlesBeforeCommit(Lane):
    """Tells the sender *stored* when the store is asked, not when it has committed (rule D-1)."""

    def _store(self) -> list[Action]:
        return [Settle(self, list(self.queue), STORED), *super()._store()]


class NoLane(Lane):
    """Lets each message go its own way: what comes back is stored while the others travel on (rules D-3 to D-5)."""

    def take(self, letters: Sequence[Letter], is_first: bool, now: float) -> list[Action]:
        """Half of what follows in an open lane is stored while the rest travels on."""
        actions: list[Action] = []
        for action in super().take(letters, is_first, now):
            if isinstance(action, Forward) and not action.is_opening:
                apart = [letter for letter in action.letters if letter.time >> 6 & 1]
                rest = [letter for letter in action.letters if not letter.time >> 6 & 1]
                actions += [Store(self, self.attempt, apart)] if apart else []
                actions += [action._replace(letters=rest)] if rest else []
            else:
                actions.append(action)
        return actions

    def returned(self, attempt: int, times: Iterable[int], now: float, is_absent: bool = False) -> list[Action]:
        """Store just these, and stay open."""
        back = [self.queue[time] for time in times if time in self.queue]
        return [Store(self, self.attempt, back)] if back else []

    def stored(self, attempt: int, outcomes: Sequence[tuple[int, ErrorCode | None]], now: float) -> list[Action]:
        """Settle them, whatever the lane is doing."""
        if self.state is LaneState.STORING:
            return super().stored(attempt, outcomes, now)
        done = [time for time, code in outcomes if code is None and self.queue.pop(time, None) is not None]
        return [Settle(self, done, STORED)] if done else []

    def store_failed(self, attempt: int, now: float, code: ErrorCode = ErrorCode.STORE_UNAVAILABLE) -> list[Action]:
        """Refuse everything, as ever."""
        if self.state is not LaneState.STORING:
            self.state, self.attempt = LaneState.STORING, attempt
        return super().store_failed(attempt, now, code)


class AnySession(Inboxes):
    """Hands letters to whatever session the target has, opened to it or not, without reading the store first (rules D-11, D-12)."""

    def follow(
        self, owner: int, sender_key: int, target: int, attempt: int, letters: Sequence[Letter], now: float
    ) -> list[inbox.Action]:
        """No questions asked."""
        bound = self.bound.get((owner, sender_key, target))
        present = self.of(target)
        if (bound is None or sender_key not in bound.lanes) and present:
            opened = self.open(owner, sender_key, target, attempt, letters, now)
            lane = self.bound[(owner, sender_key, target)].lanes[sender_key]
            return opened + self.bound[(owner, sender_key, target)]._release([lane], now)
        return super().follow(owner, sender_key, target, attempt, letters, now)


class SabotagedLanes(Lanes):
    """Lanes of another kind."""

    def __init__(self, patience: lane_rules.Patience, kind: type[Lane]) -> None:
        super().__init__(patience)
        self._kind = kind

    def lane(self, user: int, slot: int, target: int) -> Lane:
        """The lane, of the broken kind."""
        known = self.get(user, slot, target)
        if known is not None:
            return known
        made = super().lane(user, slot, target)
        broken = self.of_terminal(user, slot)[target] = self._kind(user, slot, target, self.patience, made.attempt)
        return broken


NAMES = ("", "settle_before_commit", "no_lane", "no_dedupe", *TWINS)
LATE_SECONDS = 0.5  # how long a commit lags behind its settling, so that a kill falls between


def asked_for(environment: Mapping[str, str]) -> str:
    """The name of the rule to leave out, or ""; ValueError for a name that is none."""
    name = environment.get("MYIM_SABOTAGE", "") if environment.get("MYIM_CHAOS") == "1" else ""
    if name not in NAMES:
        raise ValueError(f"MYIM_SABOTAGE={name} is not known")
    return name


def parts(name: str, patience: lane_rules.Patience) -> tuple[Lanes, Inboxes]:
    """The tables of lanes and inboxes, with the named rule left out (none of theirs, if it is the terminal's or the store's)."""
    if name == "settle_before_commit":
        return SabotagedLanes(patience, SettlesBeforeCommit), Inboxes()
    if name == "no_lane":
        return SabotagedLanes(patience, NoLane), AnySession()
    return Lanes(patience), Inboxes()
