"""What centers say about groups, and what is asked of them without the application: one client's duties of [P-7.7] to [P-7.9].

It joins `group_arrivals` to the file, to the questions of the session and to the events. What must not be here: which number may be
shown or confirmed (`group_arrivals`), sockets, threads. Everything runs under the profile's lock.

Pushes about changes are hints and may come in any order, so nothing follows from one but an inquiry: the group's state, as the center
describes it, is the truth. Only a dissolved group stays dissolved.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from myim_client.arrivals import MAX_WAITING_UNPROMISED
from myim_client.errors import RequestRefused
from myim_client.events import DurableEvent, Event, GroupChangeArrived, GroupLeft, GroupMessageArrived, GroupsDone
from myim_client.group_arrivals import Fetch, GroupArrivals, Move
from myim_client.group_tables import MEMBER_ROLES, GroupTables
from myim_client.inbox import Inbox
from myim_client.profile import Profile
from myim_client.questions import Answer, Question
from myim_client.sending import RETRIED
from myim_wire.bodies import CONFIRMED_GROUPS, MAX_PAIRS, encode_pairs, split_group_content
from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.group_contents import (
    GroupChanged,
    GroupFetched,
    GroupPage,
    GroupState,
    GroupsTold,
    Standing,
    decode_group_push,
    encode_group_fetch,
)
from myim_wire.group_requests import Describe, GroupRequest, ListGroups, ListMembers, ListPending
from myim_wire.messages import Command, Message, encode_message

MAX_INQUIRIES = 4
SPREAD_SECONDS = 2.0  # all members hear of a change at once, and must not all ask at once
RETRY_SECONDS = 5.0
ALL_GROUPS = 0
GONE = (ErrorCode.NOT_MEMBER, ErrorCode.NOT_ALLOWED)
_SHOWABLE = 1 << 63  # SQLite's integers end here, and no group will ever have so many posts

Ask = Callable[[Command, int, bytes, Answer], None]
Tell = Callable[[Event], None]


class GroupCourier:
    """One client's groups, over any number of sessions.

    `ask` puts a request to a target; `tell` hands an event to the application, `note` one that may be dropped.
    """

    def __init__(self, profile: Profile, inbox: Inbox, ask: Ask, tell: Tell, note: Tell, chance: Callable[[], float]) -> None:
        self.ignored = 0
        self.dropped = 0
        self._inbox = inbox
        self._ask = ask
        self._tell = tell
        self._note = note
        self._chance = chance
        self._tables = GroupTables(profile)
        self.arrivals: GroupArrivals[GroupMessageArrived] = GroupArrivals(self._tables.positions(), self._tables.shown())
        self._states = self._tables.states()
        self._versions: dict[int, int] = {}  # of the states described in this session; answers may overtake each other
        self._inquiries: dict[int, float] = {}  # group -> when to ask what it is
        self._inquiring = 0
        self._is_stale = False
        self._is_done_told = False
        self._now = 0.0

    def known(self) -> list[GroupState]:
        """The user's groups, invitations and requests as last described, by id; `cursor` is this terminal's position."""
        return [replace(self._states[group], cursor=self.arrivals.position(group)) for group in sorted(self._states)]

    # the application's side; all within a transaction of the profile

    def keep_shown(self, events: Iterable[DurableEvent]) -> Sequence[Move]:
        """The application has these: keep the positions with the present transaction; once it is flushed, `shown` takes what this gives."""
        done = [(event.group, event.number) for event in events if isinstance(event, GroupMessageArrived) and event.number]
        moves = self.arrivals.plan(done) if done else ()
        self._tables.keep_moves(moves)
        return moves

    def shown(self, moves: Sequence[Move]) -> None:
        """The positions are in the file, flushed."""
        self.arrivals.moved(moves)

    def request(self, group: int, asked: GroupRequest) -> Question:
        """Ask something of a group [P-7.7]; what the answer tells of groups is taken up whether or not somebody still waits for it."""
        question = Question()

        def answer(content: bytes, error: Exception | None) -> None:
            if error is None and isinstance(asked, ListGroups):
                self._take_page(content)
            elif error is None and not isinstance(asked, ListMembers | ListPending):
                self._take_state(GroupState.decode(content))
            question.answer(content, error)
            self._follow()

        self._ask(Command.GROUP, group, asked.encode(), answer)
        return question

    # the session's side

    def restart(self, now: float) -> None:
        """A new session."""
        self._now = now
        self.arrivals.restart()
        self._versions.clear()
        self._inquiries.clear()
        self._inquiring = 0
        self._is_stale = self._is_done_told = False

    def ask_due(self, now: float) -> None:
        """Ask for what is to be fetched and known now."""
        for fetch in self.arrivals.fetches(now):
            self._ask(Command.OFFLINE_FETCH, fetch.group, encode_group_fetch(fetch.after), functools.partial(self._fetched, fetch))
        for group in [group for group, at in self._inquiries.items() if at <= now][: MAX_INQUIRIES - self._inquiring]:
            del self._inquiries[group]
            self._inquire_after(group, 0)

    def confirmations(self, own: int, now: float, is_at_once: bool) -> list[bytes]:
        """The RECEIPTs to send now, encoded [P-7.2]."""
        pairs = self.arrivals.confirmations(now, is_at_once)
        parts = [pairs[start : start + MAX_PAIRS] for start in range(0, len(pairs), MAX_PAIRS)]
        return [encode_message(Command.RECEIPT, 0, own, 0, 0, encode_pairs(CONFIRMED_GROUPS, part)) for part in parts]

    def deadline(self, now: float) -> float | None:
        """When (monotonic seconds) there may be something to do though nothing came; None: not by itself."""
        times = [] if self._inquiring >= MAX_INQUIRIES else [at for at in self._inquiries.values() if at > now]
        arrivals = self.arrivals.deadline(now)
        return min(times if arrivals is None else [*times, arrivals], default=None)

    def arrived(self, message: Message, own: int, now: float) -> None:
        """A message to a group came, pushed or fetched [P-7.8]."""
        self._now = now
        group = message.target
        number, accepted, body, entered, message_id, _ = split_group_content(message.content)
        event = GroupMessageArrived(
            group, _checked(number), message.user, message.time, accepted, body, message.user == own, entered, message_id
        )
        if not number:
            if len(self._inbox) >= MAX_WAITING_UNPROMISED:
                self.dropped += 1
            else:
                self._tell(event)
        elif self.arrivals.is_member(group):
            self._hand(self.arrivals.arrived(group, number, event, len(body), now))
        else:
            self._inquire(group, now)

    def pushed(self, message: Message, own: int, now: float) -> None:
        """A push about groups came [P-7.9]; one of a kind not known here is ignored."""
        self._now = now
        try:
            push = decode_group_push(message.content)
        except RemoteProtocolError as error:
            if error.field != "event":
                raise
            self.ignored += 1
            return
        if isinstance(push, GroupsTold):
            self._told(push, now)
        elif isinstance(push, GroupChanged):
            self._changed(push, own, now)
        elif self.arrivals.is_member(push.group):
            self.arrivals.behind(push.group, _checked(push.number))
        else:
            self._inquire(push.group, now)
        self._follow()

    # what follows from what came

    def _hand(self, events: Iterable[GroupMessageArrived]) -> None:
        for event in events:
            self._tell(event)
        self._follow()

    def _follow(self) -> None:
        """Keep what moved by itself; tell once that all there was has been handed out."""
        moved = self.arrivals.take_moved()
        if moved:
            self._tables.keep_positions_later(moved)
        if not self._is_done_told and self.arrivals.is_caught_up:
            self._is_done_told = True
            self._note(GroupsDone())

    def _told(self, push: GroupsTold, now: float) -> None:
        for standing in push.groups:
            self._take_standing(standing)
            state = self._states.get(standing.group)
            self._is_stale |= state is None or state.version != standing.version or state.role not in MEMBER_ROLES
        if push.is_last:
            for group in self.arrivals.all_told():
                self._left(group, True)
            if self._is_stale:
                self._is_stale = False
                self._inquire(ALL_GROUPS, now)

    def _changed(self, push: GroupChanged, own: int, now: float) -> None:
        self._note(GroupChangeArrived(push.event, push.group, push.version, push.actor, push.user))
        if push.event == "dissolved":
            self._left(push.group, self.arrivals.left(push.group))
        elif push.user == own:
            self._inquire(push.group, now)
        elif push.event == "changed" and push.group in self._states:
            self._inquire(push.group, now + SPREAD_SECONDS * self._chance())

    def _fetched(self, fetch: Fetch, content: bytes, error: Exception | None) -> None:
        if error is None:
            end = GroupFetched.decode(content)
            self._hand(self.arrivals.fetched(fetch.group, fetch.serial, _checked(end.up_to), _checked(end.number), self._now))
        elif isinstance(error, RequestRefused):
            self.arrivals.refused(fetch.group, fetch.serial, error.retry_ms, self._now)
            if error.code in GONE:
                self._inquire(fetch.group, self._now)

    def _inquire(self, group: int, at: float) -> None:
        self._inquiries[group] = min(at, self._inquiries.get(group, at))

    def _inquire_after(self, group: int, after: int) -> None:
        self._inquiring += 1
        asked = Describe() if group else ListGroups(after)
        self._ask(Command.GROUP, group, asked.encode(), functools.partial(self._inquired, group))

    def _inquired(self, group: int, content: bytes, error: Exception | None) -> None:
        self._inquiring -= 1
        if error is None and group:
            self._take_state(GroupState.decode(content))
        elif error is None:
            page = self._take_page(content)
            if page.is_more and page.groups:
                self._inquire_after(ALL_GROUPS, page.groups[-1].group)
        elif isinstance(error, RequestRefused) and error.code in GONE and group:
            self._left(group, self.arrivals.left(group))
        elif isinstance(error, RequestRefused) and error.code in RETRIED:
            self._inquire(group, self._now + max(RETRY_SECONDS, error.retry_ms / 1000.0))
        self._follow()

    def _take_page(self, content: bytes) -> GroupPage:
        page = GroupPage.decode(content)
        for state in page.groups:
            self._take_state(state)
        return page

    def _take_state(self, state: GroupState) -> None:
        """What a center describes: a membership like a standing, or that there is none."""
        if state.version < self._versions.get(state.group, 0):
            return
        self._versions[state.group] = state.version
        if state.role in MEMBER_ROLES:
            self._take_standing(Standing(state.group, state.version, state.number, state.cursor, state.joined))
        elif self.arrivals.left(state.group):
            self._note(GroupLeft(state.group))
        known = self._states.pop(state.group, None)
        if state.role != "none":
            self._states[state.group] = state
        if known is not None or state.role != "none":
            self._tables.keep_state_later(state)

    def _take_standing(self, standing: Standing) -> None:
        for number in (standing.number, standing.cursor, standing.joined):
            _checked(number)
        self.arrivals.told(standing)

    def _left(self, group: int, is_news: bool) -> None:
        if is_news:
            self._note(GroupLeft(group))
        state = self._states.pop(group, None)
        if state is not None:
            self._tables.keep_state_later(replace(state, role="none"))


def _checked(number: int) -> int:
    if number >= _SHOWABLE:
        raise RemoteProtocolError(ErrorCode.BAD_COMMAND, f"a group's number of {number}", field="number")
    return number
