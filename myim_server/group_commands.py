"""What terminals say to groups: posts, confirmations, fetches, requests; whether it is allowed now, and how it is answered.

What lives here: the checks on the form and the amount of it, and the lanes of what a session posts. What must not: who may do what in a
group (`chat.group_rules`, and the store inside its transaction), sockets, SQL, rules of order (`chat.post_lane`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from myim_server.batches import Batch
from myim_server.chat.confirmations import Confirmations
from myim_server.chat.group_desk import GroupDesk
from myim_server.chat.group_hall import GroupHall, Handed
from myim_server.chat.post_lane import PostLane, Taken
from myim_server.chat.posting import Outgoing, Postings, Sender
from myim_server.metrics import Metrics
from myim_server.numbering import Numbering
from myim_server.pace import Budgets, Limits
from myim_server.refusals import RequestRefused, SessionRefused
from myim_server.requests import Requests, Talk
from myim_wire.bodies import encode_numbered_settling
from myim_wire.errors import ErrorCode
from myim_wire.group_contents import GroupFetched, decode_group_fetch
from myim_wire.group_requests import Create, Invite, decode_group_request
from myim_wire.messages import FIRST, MAX_BODY_BYTES, REPLY, Command, Message, encode_error, encode_message

_SPEAKERS_AT_ONCE = 64
_MOST_FETCHES = 4  # of one session at a time: each answer is a page of up to 32 KiB
_MOST_REQUESTS = 64  # of one session at a time: each has a greenlet, and waits for the store
_USERS_OF_A_REQUEST = 20  # in a list: so many cost as much as one request more
_RETRY_MS = {
    ErrorCode.STORE_UNAVAILABLE: 1000,
    ErrorCode.SLOW_DOWN: 500,
    ErrorCode.BUSY: 500,
    ErrorCode.OUT_OF_ORDER: 0,
    ErrorCode.RECIPIENT_FULL: 10_000,
}


class Speakers(Protocol):
    """Who may post without a number (may block): the group's version for each (group, user) that may at `now`, µs since 1970."""

    def speakers(self, asked: Sequence[tuple[int, int]], now: int) -> Sequence[int | None]: ...


class GroupParts(NamedTuple):
    """The parts of a center that know groups."""

    postings: Postings
    confirmations: Confirmations
    hall: GroupHall
    desk: GroupDesk
    speakers: Speakers


class Poster:
    """What one session posts: its lanes by group, those that may own something; how many of its fetches and requests are unanswered."""

    __slots__ = ("sender", "lanes", "busy", "fetches", "requests")

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self.lanes: dict[int, PostLane] = {}
        self.busy: dict[PostLane, None] = {}
        self.fetches = 0
        self.requests = 0


class GroupCommands:
    """Takes what terminals say to groups."""

    def __init__(
        self,
        parts: GroupParts,
        numbering: Numbering,
        limits: tuple[Limits, Budgets],
        requests: Requests,
        spawn: Callable[..., Any],
        metrics: Metrics,
    ) -> None:
        """limits = (of one terminal, of one user's requests that invite)."""
        self._parts = parts
        self._numbering = numbering
        self._limits, self._invites = limits
        self._requests = requests
        self._speakers: Batch[tuple[int, int, int], int | None] = Batch(self._read_speakers, _SPEAKERS_AT_ONCE, 0.0, spawn)
        self._metrics = metrics
        self._talks: dict[int, Talk] = {}  # of those that have posted, by terminal

    def begin(self, talk: Talk) -> None:
        """A terminal has asked for what is stored, for the first time, and is delivered to."""
        self._parts.hall.begin(talk.party)

    def end(self, talk: Talk) -> None:
        """A session ended."""
        key = talk.party.session.key
        if self._talks.get(key) is talk:
            del self._talks[key]

    def _poster(self, talk: Talk) -> Poster:
        poster: Poster | None = talk.poster
        if poster is None:
            session = talk.party.session
            poster = talk.poster = Poster((session.user, session.slot, *session.incarnation))
            self._talks[session.key] = talk
        return poster

    # ------------------------------------------------------------------ posts

    def post(self, talk: Talk, message: Message, now: float) -> None:
        """A GROUP_MESSAGE [P-7.8]."""
        session = talk.party.session
        fault = _fault_of(message, session.user, session.slot)
        if fault is not None:
            self._refuse_behind(talk, message)
            raise fault
        if not message.flags & 3:
            self._post_once(talk, message, now)
            return
        poster = self._poster(talk)
        lane = poster.lanes.get(message.target) or self._new_lane(poster, session.key, message.target)
        repeat = lane.repeats(message.time, message.content)
        if repeat is not None:  # it is on its way, and gets one answer [P-8.1]
            if not repeat:
                raise RequestRefused(ErrorCode.ID_CONFLICT, "another post has this name", field="time")
            lane.is_taking = lane.is_taking or bool(message.flags & FIRST)
            return
        if talk.pace.is_sending_too_fast(1, now) or self._is_too_much(talk, poster, len(message.content)):
            self._refuse_all_behind(talk, lane, message, ErrorCode.SLOW_DOWN)
            return
        message_id, accepted = self._numbering.take(1)
        taken = Taken(message.time, message.content, message_id, accepted, now)
        if not lane.take(taken, bool(message.flags & FIRST)):
            self._refuse_post(lane, [message.time], ErrorCode.OUT_OF_ORDER)
            return
        poster.busy[lane] = None
        self._parts.postings.submit(Outgoing(lane, poster.sender, taken, self._settle, self._refuse_post))

    def _is_too_much(self, talk: Talk, poster: Poster, size: int) -> bool:
        """Whether too much would be unsettled with this; SessionRefused as for any flood. A walk over a thousand lanes would cost 30 µs."""
        if len(poster.busy) > 1:
            poster.busy = {lane: None for lane in poster.busy if lane.owned}
        owned = sum(len(lane.owned) for lane in poster.busy)
        if owned < self._limits.few:
            return False
        size += sum(lane.size for lane in poster.busy)
        return (owned >= self._limits.unsettled or size > self._limits.unsettled_bytes) and talk.pace.slow_down()

    def _new_lane(self, poster: Poster, key: int, group: int) -> PostLane:
        if len(poster.lanes) >= self._limits.lanes:
            idle = next((group for group, lane in poster.lanes.items() if not lane.owned), None)
            if idle is None:
                raise SessionRefused(ErrorCode.SLOW_DOWN, "too many groups at once")
            del poster.lanes[idle]
        lane = poster.lanes[group] = PostLane(key, group)
        return lane

    def _refuse_behind(self, talk: Talk, message: Message) -> None:
        """What is refused for its form is refused like anything in a lane: with all behind it [P-8.4]."""
        lane = None if talk.poster is None else talk.poster.lanes.get(message.target)
        if lane is not None and message.flags & 3:
            lane.is_taking = False

    def _refuse_all_behind(self, talk: Talk, lane: PostLane, message: Message, code: ErrorCode) -> None:
        lane.is_taking = False
        self._refuse_post(lane, [message.time], code)

    def _settle(self, lane: PostLane, time: int, number: int) -> None:
        """It is committed under this number (G-12)."""
        talk = self._talks.get(lane.key)
        if talk is not None and talk.poster.lanes.get(lane.group) is lane:
            content = encode_numbered_settling(number)
            talk.party.session.send(encode_message(Command.GROUP_MESSAGE, REPLY, lane.key >> 6, lane.group, time, content))

    def _refuse_post(self, lane: PostLane, times: Sequence[int], code: ErrorCode) -> None:
        """The first is refused for this reason, and those behind it because of it."""
        talk = self._talks.get(lane.key)
        self._metrics.refused[code.name] += 1
        self._metrics.refused[ErrorCode.OUT_OF_ORDER.name] += len(times) - 1
        if talk is None or talk.poster.lanes.get(lane.group) is not lane:
            return
        for position, time in enumerate(times):
            why = code if position == 0 else ErrorCode.OUT_OF_ORDER
            talk.party.session.send(
                encode_error(
                    Command.GROUP_MESSAGE, lane.key >> 6, lane.group, time, why, why.name.lower(), retry_ms=_RETRY_MS.get(why)
                )
            )

    def _post_once(self, talk: Talk, message: Message, now: float) -> None:
        self._metrics.qos0_accepted += 1
        if talk.pace.is_sending_too_fast(1, now):  # QoS 0 is never answered [P-8.1]
            self._metrics.qos0_dropped += 1
            return
        message_id, accepted = self._numbering.take(1)
        post = Taken(message.time, message.content, message_id, accepted, now)
        session = talk.party.session
        sender = (session.user, session.slot, *session.incarnation)

        def give(version: int | Exception | None) -> None:
            if isinstance(version, int) and self._may_reach_all(talk, message.target, now):
                self._parts.postings.give_once(sender, message.target, version, post)
            else:
                self._metrics.qos0_dropped += 1

        self._speakers.submit_later((message.target, session.user, accepted), give)

    def _may_reach_all(self, talk: Talk, group: int, now: float) -> bool:
        """What is never settled is held back by nothing else: it counts as many messages as it is given to here."""
        try:
            return not talk.pace.is_sending_too_fast(max(0, self._parts.hall.rooms.size(group) - 1), now)
        except SessionRefused as refusal:
            talk.party.session.goodbye(refusal.code, refusal.text)
            return False

    def _read_speakers(self, asked: Sequence[tuple[int, int, int]]) -> Sequence[int | None]:
        return self._parts.speakers.speakers([one[:2] for one in asked], max(one[2] for one in asked))

    # ------------------------------------------------------------------ confirmations, fetches, requests

    def confirm(self, talk: Talk, pairs: Sequence[tuple[int, int]]) -> None:
        """RECEIPT kind 2: all up to number, of each (group, number); for a group the user is not known to be in it is ignored."""
        user, rooms = talk.party.session.user, self._parts.hall.rooms
        known = [pair for pair in pairs if rooms.is_here(pair[0], user)]
        self._metrics.receipts_ignored += len(pairs) - len(known)
        if known:
            self._parts.confirmations.add(user, known)

    def fetch(self, talk: Talk, message: Message, now: float) -> None:
        """OFFLINE_FETCH of a group [P-7.8]."""
        self._requests.check(talk, message, now, is_empty=False, has_target=True)
        after = decode_group_fetch(message.content)
        poster = self._poster(talk)
        if poster.fetches >= _MOST_FETCHES:
            raise RequestRefused(ErrorCode.SLOW_DOWN, "earlier fetches are not answered yet", retry_ms=1000)
        poster.fetches += 1

        def done(handed: Handed | Exception | None) -> None:
            poster.fetches -= 1
            if handed is None:
                self._requests.refuse(talk, message, RequestRefused(ErrorCode.NOT_MEMBER, "not a member of this group"))
            elif isinstance(handed, RequestRefused):
                self._requests.refuse(talk, message, handed)
            elif isinstance(handed, Exception):
                talk.party.session.goodbye(ErrorCode.INTERNAL, "a fault of the server")
                raise handed  # a bug of ours: the batch logs it
            else:
                self._requests.answer(talk, message, GroupFetched(handed.up_to, handed.number).encode())

        self._parts.hall.fetch(talk.party, message.target, after, done)

    def request(self, talk: Talk, message: Message, now: float) -> None:
        """GROUP [P-7.7]."""
        self._requests.check(talk, message, now, is_empty=False, has_target=True)
        asked = decode_group_request(message.content)
        listed = len(asked.users) if isinstance(asked, Invite) else len(asked.invited) if isinstance(asked, Create) else 0
        poster, user, desk = self._poster(talk), talk.party.session.user, self._parts.desk
        is_too_much = listed >= _USERS_OF_A_REQUEST and talk.pace.is_asking_too_much(now, listed // _USERS_OF_A_REQUEST)
        if is_too_much or poster.requests >= _MOST_REQUESTS:
            raise RequestRefused(ErrorCode.SLOW_DOWN, "too many requests", retry_ms=1000)
        if listed:
            self._invites.require(user, now)
        poster.requests += 1

        def ask() -> bytes:
            try:
                return desk.answer(user, message.time, message.target, asked)
            finally:
                poster.requests -= 1

        self._requests.later(talk, message, ask)


def _fault_of(message: Message, user: int, slot: int) -> RequestRefused | None:
    """What is wrong with the form of a post, if anything is [P-3.5], [P-3.6], [P-3.7], [P-7.8]."""
    if message.user != user:
        return RequestRefused(ErrorCode.BAD_COMMAND, "user is not the logged-in user", field="user")
    if message.time & 63 != slot:
        return RequestRefused(ErrorCode.BAD_TIME, "the time holds another slot", field="time")
    if message.target == 0:
        return RequestRefused(ErrorCode.BAD_COMMAND, "a post goes to a group", field="target")
    if len(message.content) > MAX_BODY_BYTES:
        return RequestRefused(ErrorCode.TOO_LARGE, f"a body has at most {MAX_BODY_BYTES} bytes", field="content")
    return None
