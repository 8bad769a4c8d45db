"""For each rule of docs/delivery.md a twin of the machines, the store or the terminal that leaves exactly that rule out, and a world
small enough to show why it is there.

What lives here: the twins, the worlds, and what the search must say about them. What must not: the rules themselves. A rule without a
trace is either not needed or not tested; where one rule covers for another, both are left out together, and docs/delivery.md says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from myim_server.chat import inbox
from myim_server.chat import lane as lane_rules
from myim_server.chat.inbox import BoundLane, Inbox, Returned
from myim_server.chat.inboxes import Inboxes
from myim_server.chat.lane import RECEIVED, STORED, Lane, LaneState, Letter, Settle, Store
from myim_wire.errors import ErrorCode
from tests.model.machines import SENDER_KEY
from tests.model.world import Rules, Settings
from tests.model.worlds import M1_RECEIVED, M2_SETTLED


class SettlesBeforeCommit(Lane):
    """D-1: the sender is told before the store has committed."""

    def _store(self) -> list[lane_rules.Action]:
        return [Settle(self, list(self.queue), STORED), *super()._store()]


class SettlesWhenForwarded(Lane):
    """D-1: the sender is told when the message was passed on, not when its receipt came."""

    def found(self, attempt: int, center: int | None, now: float) -> list[lane_rules.Action]:
        actions = super().found(attempt, center, now)
        return [*actions, Settle(self, list(self.queue), RECEIVED)] if self.state is LaneState.OPEN else actions


class ForgetsSettled(Lane):
    """D-2: a resend of what is settled is not answered."""

    def _take_with_repeats(self, letters: Sequence[Letter], now: float) -> list[lane_rules.Action]:
        return [action for action in super()._take_with_repeats(letters, now) if not isinstance(action, Settle)]


class LaterOnesByThemselves(Lane):
    """D-3: what comes while others travel is looked up by itself; the directory says nobody, so it is stored."""

    def take(self, letters: Sequence[Letter], is_first: bool, now: float) -> list[lane_rules.Action]:
        is_alone = self.state is not LaneState.OPEN or not self.queue
        if is_alone or not self.is_taking or any(letter.time <= self.last_time for letter in letters):
            return super().take(letters, is_first, now)
        self.queue.update({letter.time: letter for letter in letters})
        self.last_time = letters[-1].time
        return [Store(self, self.attempt, list(letters))]

    def stored(self, attempt: int, outcomes: Sequence[tuple[int, ErrorCode | None]], now: float) -> list[lane_rules.Action]:
        return _settle_stored(self, outcomes) or super().stored(attempt, outcomes, now)


class StoresOnlyWhatCameBack(Lane):
    """D-4 at the owner: what is returned is stored, the rest of the attempt goes on."""

    def returned(self, attempt: int, times: Iterable[int], now: float, is_absent: bool = False) -> list[lane_rules.Action]:
        back = [self.queue[time] for time in times if time in self.queue]
        if attempt != self.attempt or self.state is not LaneState.OPEN or not back:
            return super().returned(attempt, times, now)
        return [Store(self, self.attempt, back)]

    def stored(self, attempt: int, outcomes: Sequence[tuple[int, ErrorCode | None]], now: float) -> list[lane_rules.Action]:
        return _settle_stored(self, outcomes) or super().stored(attempt, outcomes, now)


def _settle_stored(lane: Lane, outcomes: Sequence[tuple[int, ErrorCode | None]]) -> list[lane_rules.Action]:
    """Settle stored letters of a lane that is not in STORING, and leave it as it is."""
    if lane.state is LaneState.STORING:
        return []
    done = [time for time, _ in outcomes if time in lane.queue]
    for time in done:
        lane.settled[time] = lane_rules._stored_as(lane.queue.pop(time).body)
    return [Settle(lane, done, STORED)] if done else []


class DoesNotWait(Lane):
    """D-5: starts again while parts of the old attempt are still in flight."""

    def _must_wait(self) -> bool:
        return False


class TakesBehindRefused(Lane):
    """D-6: takes a message although the one before it was refused."""

    def take(self, letters: Sequence[Letter], is_first: bool, now: float) -> list[lane_rules.Action]:
        return super().take(letters, True, now)


class RefusesBelowWhatIsSettled(Lane):
    """D-6: what was refused is no new name any more once one behind it is settled."""

    def _refuse_all(self, code: ErrorCode) -> list[lane_rules.Action]:
        actions = super()._refuse_all(code)
        self.again = frozenset()
        return actions


class StoresSeveralAtOnce(Lane):
    """D-7: begins a second store transaction while the first one runs."""

    def take(self, letters: Sequence[Letter], is_first: bool, now: float) -> list[lane_rules.Action]:
        known = set(self.queue)
        actions = super().take(letters, is_first, now)
        fresh = [letter for letter in letters if letter.time in self.queue and letter.time not in known]
        return [*actions, Store(self, self.attempt, fresh)] if self.state is LaneState.STORING and fresh else actions


class NeverPokes(Lane):
    """D-8: stores, and tells nobody."""

    def stored(self, attempt: int, outcomes: Sequence[tuple[int, ErrorCode | None]], now: float) -> list[lane_rules.Action]:
        actions = super().stored(attempt, outcomes, now)
        self.is_poke_due = False
        return actions


class StaysOpen(Lane):
    """D-9: a new session of the sender finds its old lanes open."""

    def sender_moved(self, now: float) -> list[lane_rules.Action]:
        return []


class FollowsTheUser(Inboxes):
    """D-10: an open lane is carried over to the target's next session at this center."""

    def remove(self, inbox: Inbox) -> list[inbox.Action]:
        lane = inbox.lanes.pop(SENDER_KEY, None)
        actions = super().remove(inbox)
        self._left = lane
        return actions

    def add(self, inbox: Inbox) -> None:
        super().add(inbox)
        lane: BoundLane | None = getattr(self, "_left", None)
        if lane is not None:
            inbox.lanes[SENDER_KEY] = lane
            self.bound[(lane.owner, SENDER_KEY, inbox.user)] = inbox
            self._left = None


class TakesAnything(Inboxes):
    """D-11: takes what follows in a lane that was never opened to the present session."""

    def follow(self, owner: int, sender_key: int, target: int, attempt: int, letters: Sequence[Letter], now: float) -> list[inbox.Action]:
        present = self.of(target)
        if not present:
            return super().follow(owner, sender_key, target, attempt, letters, now)
        lane = present[0].lanes.get(sender_key)
        if lane is None or lane.owner != owner or lane.attempt != attempt:
            lane = present[0].lanes[sender_key] = BoundLane(owner, sender_key, attempt, (), now)
            lane.held = None
            self.bound[(owner, sender_key, target)] = present[0]
        return present[0].follow(owner, sender_key, attempt, letters, now)


class OpensUnread(Inbox):
    """D-12: hands the opening message over without having read the store."""

    def _needs_read(self, lane: BoundLane) -> bool:
        lane_letters, lane.held = lane.held, list(lane.held or ())
        return lane_letters is None


class JoinsRunningRead(Inbox):
    """D-13: a read that is asked for while one runs is taken for answered by it."""

    def want_read(self) -> list[inbox.Action]:
        if self.is_reading:
            self.reading_for = list(self.lanes.values())
            return []
        return super().want_read()


class ReturnsNothing(Inbox):
    """D-15: when the session ends, what was in flight to it is not given back."""

    def close(self) -> list[inbox.Action]:
        super().close()
        return []


class NeverTimesOut(Inbox):
    """D-15: a message may wait for its receipt for ever."""

    def tick(self, now: float) -> list[inbox.Action]:
        return []


class ReturnsOnlyTheLate(Inbox):
    """D-15: only the message that waited too long goes back, and its lane goes on."""

    def tick(self, now: float) -> list[inbox.Action]:
        for lane in self.lanes.values():
            if lane.unconfirmed:
                late = next(iter(lane.unconfirmed))
                del lane.unconfirmed[late]
                return [Returned(lane.owner, lane.sender_key, self.user, lane.attempt, [late])]
        return []


class RemembersTheLast(Inbox):
    """D-14, with Rules.is_page_after_last: a session asks only for what comes after the last row it was handed."""

    def confirmed(self, names: Iterable[tuple[int, int]]) -> list[inbox.Action]:
        self.confirming.difference_update(names)
        return self._read_if_possible()


class Mutation(NamedTuple):
    """A rule left out: its name, what is left out, the world, a part of what the search must say ("" where another rule covers for it)."""

    name: str
    rules: Rules
    world: Settings
    says: str
    played: tuple[str, ...] = ()


def _world(messages: int, *kinds: str, **others: object) -> Settings:
    return Settings(messages=messages, faults=1 if kinds else 0, kinds=frozenset(kinds))._replace(**others)  # type: ignore[arg-type]


_NOBODY: frozenset[str] = frozenset()
_EARLIER, _STUCK, _UNSEEN = "before an earlier one", "not told", "not every message was shown"

MUTATIONS = [
    Mutation("D-1 settles before the commit", Rules(lane=SettlesBeforeCommit), _world(1), "settled as stored"),
    Mutation("D-1 settles when forwarded", Rules(lane=SettlesWhenForwarded), _world(1), "settled as received"),
    Mutation("D-2 does not answer resends", Rules(lane=ForgetsSettled), _world(1, "sender breaks", directory="right"), _STUCK),
    Mutation("D-3 later messages go by themselves", Rules(lane=LaterOnesByThemselves), _world(2, "target breaks"), _EARLIER),
    Mutation("D-4 stores only what came back", Rules(lane=StoresOnlyWhatCameBack), _world(2, "target breaks"), _EARLIER),
    Mutation("D-6 takes what comes behind a refused one", Rules(lane=TakesBehindRefused), _world(2, "insert fails"), "refused for good"),
    Mutation(
        "D-6 refuses what was refused before, below what is settled",
        Rules(lane=RefusesBelowWhatIsSettled),
        _world(2, "owner gives up", faults=2),
        "refused for good: BAD_TIME",
        M2_SETTLED,
    ),
    Mutation("D-7 several transactions at once", Rules(lane=StoresSeveralAtOnce), _world(2), _EARLIER),
    Mutation("D-8 never pokes, D-18 no sweep", Rules(lane=NeverPokes, is_swept=False), _world(1, directory="right"), _UNSEEN),
    Mutation(
        "D-9 stays open for a new session of the sender",
        Rules(lane=StaysOpen),
        _world(3, "sender breaks", directory="fault", faults=3),
        _EARLIER,
        M1_RECEIVED,
    ),
    Mutation("D-10 a lane follows the user", Rules(inboxes=FollowsTheUser), _world(2, "target breaks"), _EARLIER),
    Mutation("D-11 takes anything", Rules(inboxes=TakesAnything), _world(2, "target breaks"), _EARLIER),
    Mutation("D-12 opens unread", Rules(inbox=OpensUnread), _world(2), _EARLIER),
    Mutation("D-13 joins the running read", Rules(inbox=JoinsRunningRead), _world(2), _EARLIER),
    Mutation(
        "D-14 reads after the last", Rules(is_page_after_last=True, inbox=RemembersTheLast), _world(1, foreign=True), "goes round for ever"
    ),
    Mutation(
        "D-15 the end of a session returns nothing", Rules(inbox=ReturnsNothing), _world(1, "target breaks", patience=_NOBODY), _STUCK
    ),
    Mutation(
        "D-15 never times out",
        Rules(inbox=NeverTimesOut),
        _world(1, "target breaks", is_target_noticed=False, patience=frozenset({"inbox"}), directory="right"),
        _STUCK,
    ),
    Mutation(
        "D-16 listed after the first read, D-18 no sweep",
        Rules(is_listed_before_read=False, is_swept=False),
        _world(1, directory="right"),
        _UNSEEN,
    ),
    Mutation("D-17 two transactions", Rules(is_deletion_one_transaction=False), _world(1, "crash"), "receipt"),
    Mutation("D-18 no sweep", Rules(is_swept=False), _world(1), _UNSEEN),
    Mutation("D-19 accepted by the clock", Rules(is_accepted_rising=False), _world(2), _EARLIER),
    Mutation("P-8.2 nothing is sent again", Rules(is_resent=False), _world(1, "sender breaks"), _STUCK),
    Mutation("P-8.2 sent again in any order", Rules(is_resent_in_order=False), _world(3, "sender breaks"), "refused for good"),
    Mutation("P-8.3 shown names are forgotten", Rules(is_seen_remembered=False), _world(1, "target breaks"), "twice"),
    Mutation("P-8.4 everything is flagged first", Rules(is_first_exact=False), _world(2, "insert fails"), "refused for good"),
]

COVERED = [
    Mutation("D-5 does not wait, but D-11 takes nothing unopened", Rules(lane=DoesNotWait), _world(2, "cut"), ""),
    Mutation("D-5 does not wait, but D-15 returned all", Rules(lane=DoesNotWait), _world(2, "target waits too long"), ""),
    Mutation("D-16 listed after the first read, but D-18 sweeps", Rules(is_listed_before_read=False), _world(1, directory="right"), ""),
    Mutation("D-18 no sweep, but D-8 pokes and D-16 lists in time", Rules(is_swept=False), _world(1, directory="right"), ""),
    Mutation(
        "D-5 does not wait, but D-11 takes nothing of an old attempt",
        Rules(lane=DoesNotWait),
        _world(2, "target breaks", directory="right"),
        "",
    ),
    Mutation("D-8 never pokes, but D-18 sweeps", Rules(lane=NeverPokes), _world(1), ""),
    Mutation(
        "D-15 returns only the late one, but D-4 waits for the others",
        Rules(inbox=ReturnsOnlyTheLate),
        _world(2, "target waits too long"),
        "",
    ),
    Mutation(
        "D-15 never times out, but the owner does",
        Rules(inbox=NeverTimesOut),
        _world(1, "target breaks", is_target_noticed=False, directory="right"),
        "",
    ),
    Mutation("D-20 names are not unique, but P-8.3 shows them once", Rules(is_name_unique=False), _world(1, "insert fails"), ""),
    Mutation(
        "D-2 answers do not follow the sender, but it sends again",
        Rules(is_answer_forwarded=False),
        _world(1, "sender breaks", directory="right"),
        "",
    ),
]
