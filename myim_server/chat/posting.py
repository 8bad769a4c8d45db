"""Posts on their way: into the store in batches, their numbers to the senders, themselves to the members, here and at other centers.

What lives here: the posting center's half of docs/groups.md (G-11 to G-13) but for the rule of order, which is `post_lane`'s. What must
not: SQL, sockets, clocks, who may post (the store says, inside the transaction). One batch at a time: posts of any groups share one commit,
and the order in which they were taken is the order in which they are numbered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import gevent

from myim_server.batches import Batch
from myim_server.chat.post_lane import PostLane, Taken
from myim_server.chat.rooms import Push
from myim_server.metrics import Metrics
from myim_server.refusals import RequestRefused
from myim_server.store.group_values import Post, Posted, PostRefused
from myim_wire.errors import ErrorCode
from myim_wire.group_peer_messages import Post as PeerPost
from myim_wire.messages import QOS1, encode_group_delivery

_BODY_BYTES_OF_A_ROW = 2048
_GROUPS_AT_ONCE = 8  # a commit may hold posts of hundreds of large ones; then others have their turn
_CODES = {
    PostRefused.NOT_MEMBER: ErrorCode.NOT_MEMBER,
    PostRefused.MUTED: ErrorCode.MUTED,
    PostRefused.CONFLICT: ErrorCode.ID_CONFLICT,
    PostRefused.FULL: ErrorCode.RECIPIENT_FULL,
}

Sender = tuple[int, int, int, int]  # user, slot, generation, number of a session


class Outgoing(NamedTuple):
    """A post of a session, on its way into the store."""

    lane: PostLane
    sender: Sender
    post: Taken
    answer: Callable[[PostLane, int, int], None]  # (lane, time, number)
    refuse: Callable[[PostLane, Sequence[int], ErrorCode], None]


class PostTable(Protocol):
    """What is asked of the store (may block)."""

    def post(self, posts: Sequence[Post]) -> Sequence[Posted | PostRefused]: ...


class Audience(Protocol):
    """The members who are online here."""

    def __contains__(self, group: object) -> bool: ...
    def push(self, push: Push) -> None: ...


class Postings:
    """Takes posts from sessions of this center."""

    def __init__(
        self, node_id: int, table: PostTable, audience: Audience, spawn: Callable[..., Any], batch: tuple[int, float], metrics: Metrics
    ) -> None:
        """batch = (most rows that are committed together, seconds the first waits for company)."""
        self._node_id = node_id
        self._table = table
        self._audience = audience
        self._metrics = metrics
        self._waiting: dict[int, Outgoing] = {}
        self._submitted = 0
        self._batch: Batch[Outgoing, Posted | PostRefused | None] = Batch(
            self._flush, batch[0], batch[1], spawn, weigh=lambda one: 1 + len(one.post.body) // _BODY_BYTES_OF_A_ROW, bound=1 << 17
        )

    on_fan: Callable[[Sender, int, int, Sequence[PeerPost]], None] = staticmethod(lambda sender, group, version, posts: None)

    def submit(self, outgoing: Outgoing) -> None:
        """Store it, tell its sender the number, give it to the members; does not yield."""
        self._submitted = place = self._submitted + 1
        self._waiting[place] = outgoing
        self._batch.submit_later(outgoing, lambda outcome: self._done(place, outgoing, outcome))

    def tick(self, now: float, seconds: float) -> None:
        """Refuse what the store has not taken in so many seconds (P3); it may be stored all the same, and a repeat is told its number."""
        for place, outgoing in list(self._waiting.items()):
            if outgoing.post.arrived + seconds > now:
                return
            del self._waiting[place]
            self._refuse(outgoing, ErrorCode.STORE_UNAVAILABLE)

    @property
    def unanswered(self) -> int:
        """Posts that wait for the store."""
        return len(self._waiting)

    # ------------------------------------------------------------------ into the store

    def _flush(self, items: list[Outgoing]) -> list[Posted | PostRefused | None]:
        due = [item.lane.is_due(item.post) for item in items]
        posts = [_row(item, self._node_id) for item, is_due in zip(items, due, strict=True) if is_due]
        if not posts:
            return [None] * len(items)
        outcomes = iter(self._table.post(posts))
        self._metrics.batch_rows.observe(len(posts))
        told = [next(outcomes) if is_due else None for is_due in due]
        self._fan_out([(item, outcome) for item, outcome in zip(items, told, strict=True) if isinstance(outcome, Posted)])
        return told

    def _done(self, place: int, outgoing: Outgoing, outcome: Posted | PostRefused | Exception | None) -> None:
        self._waiting.pop(place, None)
        if isinstance(outcome, Posted):
            if outgoing.lane.answered(outgoing.post):
                outgoing.answer(outgoing.lane, outgoing.post.time, outcome.number)
        elif isinstance(outcome, PostRefused):
            self._refuse(outgoing, _CODES[outcome])
        elif isinstance(outcome, Exception):
            self._refuse(outgoing, outcome.code if isinstance(outcome, RequestRefused) else ErrorCode.INTERNAL)
            if not isinstance(outcome, RequestRefused):
                raise outcome  # a bug of ours: the batch logs it

    def _refuse(self, outgoing: Outgoing, code: ErrorCode) -> None:
        times = outgoing.lane.refused(outgoing.post)
        if times:
            outgoing.refuse(outgoing.lane, times, code)

    # ------------------------------------------------------------------ to the members

    def _fan_out(self, stored: Sequence[tuple[Outgoing, Posted]]) -> None:
        """What was numbered just now, group by group and ascending; a repeat was given before, or is swept up (G-14). May yield."""
        groups: dict[int, list[tuple[Outgoing, Posted]]] = {}
        for one in stored:
            if not one[1].is_repeat:
                groups.setdefault(one[0].lane.group, []).append(one)
        for place, (group, of_group) in enumerate(groups.items(), 1):
            if place % _GROUPS_AT_ONCE == 0:
                gevent.sleep(0)
            self._metrics.group_posts += len(of_group)
            if group in self._audience:
                parts = [(posted.number, self._encode(outgoing, posted.number)) for outgoing, posted in of_group]
                self._audience.push(Push(group, of_group[-1][1].version, parts))
            self._tell_others(group, of_group)

    def _tell_others(self, group: int, of_group: Sequence[tuple[Outgoing, Posted]]) -> None:
        """Posts in a row of one sender travel together."""
        start, count = 0, len(of_group)
        for end in range(1, count + 1):
            if end == count or of_group[end][0].sender != of_group[start][0].sender:
                run = of_group[start:end]
                posts = [_peer_post(outgoing.post, posted.number) for outgoing, posted in run]
                self.on_fan(run[0][0].sender, group, run[-1][1].version, posts)
                start = end

    def _encode(self, outgoing: Outgoing, number: int) -> bytes:
        post, node = outgoing.post, self._node_id
        trailer = (node, post.message_id, node)
        return encode_group_delivery(
            QOS1, outgoing.sender[0], outgoing.lane.group, post.time, number, post.accepted, post.body, trailer
        )

    # ------------------------------------------------------------------ QoS 0

    def give_once(self, sender: Sender, group: int, version: int, post: Taken) -> None:
        """A QoS 0 message to the members that are online now: no number, never stored."""
        trailer = (self._node_id, post.message_id, self._node_id)
        data = encode_group_delivery(0, sender[0], group, post.time, 0, post.accepted, post.body, trailer)
        self._audience.push(Push(group, version, [(0, data)]))
        self.on_fan(sender, group, version, [_peer_post(post, 0)])


def _row(item: Outgoing, node_id: int) -> Post:
    post = item.post
    return Post(item.lane.group, item.sender[0], post.time, post.body, node_id, post.message_id, post.accepted)


def _peer_post(post: Taken, number: int) -> PeerPost:
    return PeerPost(number, post.accepted, post.time, post.message_id, post.body)
