"""Twins of the rules, each without exactly one: transactions in more parts or with less care; rooms, lanes and arrivals that forget.

What lives here: what is done where a rule of docs/groups.md is not kept. What must not: worlds, and what must come of it (mutations.py).
"""

from __future__ import annotations

from typing import Any

from myim_client.group_arrivals import GroupArrivals, _Group
from myim_server.chat.post_lane import PostLane, Taken
from myim_server.chat.rooms import Push, Room, Rooms
from myim_wire.group_contents import Standing
from tests.model.groups import transactions as rule
from tests.model.groups.world import Membership, Op, Store

Result = tuple[Store, tuple[Any, ...]]

# ---------------------------------------------------------------------- posts


def read_number(store: Store, op: Op) -> Result:
    """G-1: the number is read without a lock."""
    return store, (store.number,)


def post_with_number(store: Store, op: Op) -> Result:
    name, number = op.args[0][1], op.local[0] + 1
    return rule.inserted(store, number, name, rule.count_of(store)), ((number, store.version, 0),)


def take_number(store: Store, op: Op) -> Result:
    """G-1: the number is taken in a transaction of its own, as from a sequence."""
    return store._replace(number=store.number + 1), (store.number,)


def post_with_taken_number(store: Store, op: Op) -> Result:
    after, outcomes = post_with_number(store, op)
    return after._replace(number=store.number), outcomes


def read_count(store: Store, op: Op) -> Result:
    """G-2: how many members there are is read before the lock."""
    return store, (rule.count_of(store),)


def post_with_count(store: Store, op: Op) -> Result:
    name, number = op.args[0][1], store.number + 1
    return rule.inserted(store, number, name, op.local[0]), ((number, store.version, 0),)


def join_with_number(store: Store, op: Op) -> Result:
    """G-2: who joins does not lock the group's row; since is where it truly began."""
    number = op.local[0]
    store = rule.with_member(store, op.who, Membership(number, number, number))._replace(version=store.version + 1)
    return store, (store.version, number, number)


def post_unnamed(store: Store, op: Op) -> Result:
    """G-3: a repeat is not known."""
    return _post_as(store, op, lambda known, name: 0)


def post_named_by_rows(store: Store, op: Op) -> Result:
    """G-3: a name is forgotten with its row."""
    return _post_as(store, op, lambda known, name: next((row.number for row in known.rows if row.post == name), 0))


def _post_as(store: Store, op: Op, number_of: Any) -> Result:
    outcomes: list[tuple[int, ...]] = []
    for _, name, *_ in op.args:
        known = number_of(store, name)
        if not known:
            store = rule.inserted(store, store.number + 1, name, rule.count_of(store))
        outcomes.append((known or store.number, store.version, int(bool(known))))
    return store, tuple(outcomes)


def post_for_members_only(store: Store, op: Op) -> Result:
    """G-3: who is no member is refused before it is asked whether the post is a repeat."""
    if store.members[op.args[0][0]] is None:
        return store, ((),) * len(op.args)
    return rule.post(store, op)


def check_member(store: Store, op: Op) -> Result:
    """G-10: whether the poster is a member is asked before the transaction."""
    return store, (store.members[op.args[0][0]] is not None,)


def post_unchecked(store: Store, op: Op) -> Result:
    return _post_as(store, op, rule.number_of) if op.local[0] else (store, ((),) * len(op.args))


# ---------------------------------------------------------------------- members


def join_seeing_all(store: Store, op: Op) -> Result:
    """G-4: what was said before may be fetched."""
    return _join_with(store, op, store.number, 0)


def join_having_nothing(store: Store, op: Op) -> Result:
    """G-4: the cursor begins at 0."""
    return _join_with(store, op, 0, store.number)


def _join_with(store: Store, op: Op, cursor: int, joined: int) -> Result:
    store = rule.with_member(store, op.who, Membership(cursor, joined, store.number))._replace(version=store.version + 1)
    return store, (store.version, store.number, joined)


def join_again(store: Store, op: Op) -> Result:
    """G-10: who is a member joins once more; the membership it is in goes on."""
    member = store.members[op.who]
    since = store.number if member is None else member.since
    store = rule.with_member(store, op.who, Membership(store.number, store.number, since))._replace(version=store.version + 1)
    return store, (store.version, store.number, store.number)


def leave_and_be_waited_for(store: Store, op: Op) -> Result:
    """G-7: rows go on waiting for who is gone."""
    if store.members[op.who] is None:
        return store, ()
    store = rule.off_the_list(store, op.who)
    return store, (store.version, store.number, 0)


def leave_everything(store: Store, op: Op) -> Result:
    """G-7: rows that it had confirmed wait for one less, too."""
    if store.members[op.who] is None:
        return store, ()
    store = rule.waiting_for_fewer(rule.off_the_list(store, op.who), 0)
    return store, (store.version, store.number, 0)


def leave_the_list(store: Store, op: Op) -> Result:
    """G-7: in one transaction it goes, and in another rows wait for one less."""
    member = store.members[op.who]
    if member is None:
        return store, ()
    store = rule.off_the_list(store, op.who)
    return store, (store.version, store.number, member.cursor)


def then_wait_for_fewer(store: Store, op: Op) -> Result:
    if not op.local:
        return store, ()
    return rule.waiting_for_fewer(store, op.local[2]), (*op.local[:2], 0)


def read_cursor(store: Store, op: Op) -> Result:
    """G-6, G-7: a cursor is read without a lock."""
    member = store.members[op.who]
    return store, () if member is None else (member.cursor,)


def leave_with_cursor(store: Store, op: Op) -> Result:
    if not op.local or store.members[op.who] is None:
        return store, ()
    store = rule.waiting_for_fewer(rule.off_the_list(store, op.who), op.local[0])
    return store, (store.version, store.number, 0)


# ---------------------------------------------------------------------- cursors


def claim_anything_lower(store: Store, op: Op) -> Result:
    """G-5: a cursor falls."""
    return _claim_with(store, op, lambda member, number: number <= store.number and number != member.cursor)


def claim_anything_higher(store: Store, op: Op) -> Result:
    """G-5: a cursor rises above the group's number."""
    return _claim_with(store, op, lambda member, number: number > member.cursor)


def _claim_with(store: Store, op: Op, may: Any) -> Result:
    member, number = store.members[op.who], op.args[0]
    if member is None or not may(member, number):
        return store, ()
    return rule.counted(rule.with_member(store, op.who, member._replace(cursor=number)), member.cursor, number), ()


def claim_counting_always(store: Store, op: Op) -> Result:
    """G-6: what moves nothing counts all the same."""
    member, number = store.members[op.who], op.args[0]
    if member is None or number > store.number:
        return store, ()
    if number > member.cursor:
        return rule.claim(store, op)
    return rule.counted(store, 0, number), ()


def claim_moving_only(store: Store, op: Op) -> Result:
    """G-6: the cursor moves in one transaction, and rows are counted in another."""
    member, number = store.members[op.who], op.args[0]
    if member is None or not member.cursor < number <= store.number:
        return store, ()
    return rule.with_member(store, op.who, member._replace(cursor=number)), (member.cursor,)


def then_count(store: Store, op: Op) -> Result:
    return (rule.counted(store, op.local[0], op.args[0]) if op.local else store), ()


def claim_from_cursor(store: Store, op: Op) -> Result:
    """G-6 with read_cursor: another claim may have moved it meanwhile. G-10: and it may be gone from the list."""
    if not op.local or not op.local[0] < op.args[0] <= store.number:
        return store, ()
    member = store.members[op.who]
    if member is not None:
        store = rule.with_member(store, op.who, member._replace(cursor=op.args[0]))
    return rule.counted(store, op.local[0], op.args[0]), ()


# ---------------------------------------------------------------------- reads and the janitor


def decide_by_members(store: Store, op: Op) -> Result:
    """G-8: a row goes when as many have it as the group has members now."""
    return store, tuple(rule.head(store, lambda row: row.sent >= rule.count_of(store)))


def fetch_rows_at_once(store: Store, op: Op) -> Result:
    """G-9: the rows first …"""
    member = store.members[op.args[3]]
    if member is None:
        return store, ()
    return store, rule.page(store, max(op.args[1], member.joined), store.number, store.number, op.args[2])


def fetch_number_after(store: Store, op: Op) -> Result:
    """… and the number after them."""
    return store, (store.number, store.number, op.local[2]) if op.local else ()


def fetch_rows_without_end(store: Store, op: Op) -> Result:
    """G-9: what was committed after the number was read is given too."""
    if not op.local:
        return store, ()
    joined, number = op.local
    _, _, rows = rule.page(store, max(op.args[1], joined), store.number, number, op.args[2])
    return store, (number, number, rows)


def fetch_rows_alone(store: Store, op: Op) -> Result:
    """G-9: it is not said up to where that is all."""
    after, outcome = rule.fetch_rows(store, op)
    if not outcome:
        return after, ()
    _, number, rows = outcome
    return after, (rows[-1][0] if rows else op.args[1], number, rows)


# ---------------------------------------------------------------------- centers


class TakesBehindRefused(PostLane):
    """G-11: a post is taken although the one before it was refused."""

    def take(self, post: Taken, is_first: bool) -> bool:
        return super().take(post, True)


class RefusesAlone(PostLane):
    """G-11: what waits behind a refused post goes on."""

    def refused(self, post: Taken) -> list[int]:
        if not self.is_due(post):
            return []
        del self.owned[post.time]
        return [post.time]


class GivesToWhomItKnows(Rooms):
    """G-13: a push goes to those who were in the room, whatever its version."""

    def push(self, push: Push) -> None:
        room = self._rooms.get(push.group)
        if room is not None:
            self._give(room, push)


class GivesTheWhole(Rooms):
    """G-4: a push is given to those, too, who joined after it was posted."""

    def _give(self, room: Room, push: Push) -> None:
        here, room.here = room.here, dict.fromkeys(room.here, 0)
        latest, room.latest_joined = room.latest_joined, 0
        super()._give(room, push)
        room.here, room.latest_joined = here, latest


class BelievesOldNews(Rooms):
    """G-13: who is said to have left is let go, though the room knows of a later version."""

    def changed(self, group: int, version: int, event: str, user: int) -> None:
        room = self._rooms.get(group)
        if room is not None and event in ("left", "removed") and user in room.here:
            self._remove(room, user)
        super().changed(group, version, event, user)


# ---------------------------------------------------------------------- terminals


class ShowsWithGaps(GroupArrivals[Any]):
    """G-16: what comes is shown, though what comes before it is missing."""

    def arrived(self, name: int, number: int, item: Any, size: int, now: float) -> list[Any]:
        group = self._groups[name]
        group.reached = max(group.reached, number - 1)
        return super().arrived(name, number, item, size, now)


class ForgetsWhatItSought(GroupArrivals[Any]):
    """G-16: a fetch that was refused is made again for what was heard since it was asked for, and for no more."""

    def refused(self, name: int, serial: int, retry_ms: int, now: float) -> None:
        group = self._groups[name]
        heard_since = group.known
        super().refused(name, serial, retry_ms, now)
        group.known = max(heard_since, group.reached + 1)


class BelievesTheEnd(GroupArrivals[Any]):
    """G-17: a fetch's end moves the position, though what came with it is not shown yet."""

    def fetched(self, name: int, serial: int, up_to: int, number: int, now: float) -> list[Any]:
        handed = super().fetched(name, serial, up_to, number, now)
        group = self._groups[name]
        self._move(name, group, group.reached)
        return handed


class ConfirmsWhatItHands(GroupArrivals[Any]):
    """G-18: what the application is given is confirmed, before it is done with it."""

    def arrived(self, name: int, number: int, item: Any, size: int, now: float) -> list[Any]:
        handed = super().arrived(name, number, item, size, now)
        if handed:
            self._confirm[name] = self._groups[name].reached
        return handed


class ConfirmsOnce(GroupArrivals[Any]):
    """G-18: a confirmation that was lost is not repeated."""

    def told(self, standing: Standing) -> None:
        before = dict(self._confirm)
        super().told(standing)
        if self.position(standing.group) > standing.joined:
            self._confirm = before

    def behind(self, name: int, number: int) -> None:
        before = dict(self._confirm)
        super().behind(name, number)
        self._confirm = before


class FallsBack(GroupArrivals[Any]):
    """G-19: it goes back to the member's cursor when it is told of one below its position."""

    def told(self, standing: Standing) -> None:
        group = self._groups.get(standing.group)
        if group is not None and not group.waiting and standing.cursor < group.position:
            group.position = group.reached = group.known = standing.cursor
        super().told(standing)


class BeginsAtTheEnd(GroupArrivals[Any]):
    """G-19: who knows no position begins at the group's number."""

    def told(self, standing: Standing) -> None:
        if standing.group not in self._groups:
            standing = Standing(standing.group, standing.version, standing.number, standing.number, standing.joined)
        super().told(standing)


class BeginsAtTheBeginning(GroupArrivals[Any]):
    """G-19: who knows no position begins where the membership began."""

    def told(self, standing: Standing) -> None:
        if standing.group not in self._groups:
            self._groups[standing.group] = _Group(standing.joined, True)
        super().told(standing)


class StaysBelowJoined(GroupArrivals[Any]):
    """G-19: a new membership does not raise the position."""

    def _rise(self, name: int, group: Any, joined: int) -> None:
        return


