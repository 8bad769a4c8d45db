"""What centers say about friends, and what is asked of them without the application: one client's duties of [P-7.10], [P-7.15].

It joins `friend_copy` to the file, to the questions of the session and to the events. What must not be here: how a copy becomes the list
(`friend_copy`), sockets, threads. Everything runs under the profile's lock.

Pushes about the list are hints, and nothing follows from one but a sync. Who is online is asked after the first sync of a session and
whenever there are other friends, or others may be seen; after that pushes tell. A push may be lost, so both are asked again every quarter
of an hour, and who is online sooner where not all could be said. Who is online stays in memory: without a session nothing is known.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

from myim_client.errors import RequestRefused
from myim_client.events import Event, FriendAccepted, FriendListChanged, FriendRequested, PresenceChanged
from myim_client.friend_copy import FriendCopy, Next, Syncing
from myim_client.friend_tables import FriendTables
from myim_client.profile import Profile
from myim_client.questions import Answer, Question
from myim_client.sending import RETRIED
from myim_wire import presence_contents as told
from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.friend_contents import Changed, FriendPage, Synced, decode_friend_push
from myim_wire.friend_requests import Block, FriendChangeRequest, FriendRequest, ProfileRequest, Sync, Unblock
from myim_wire.messages import Command
from myim_wire.presence_contents import AskOnline, OnlinePage, SetPresence

SPREAD_SECONDS = 1.0  # all friends of one user hear of its new profile at once, and must not all ask at once
RETRY_SECONDS = 5.0
GIVEN_UP_SECONDS = 60.0
REFRESH_SECONDS = 900.0  # as long as a lost push is not noticed

Asked = FriendRequest | FriendChangeRequest | ProfileRequest
Ask = Callable[[Command, int, bytes, Answer], None]


class FriendPresence(NamedTuple):
    """How a friend is seen, and its status text; "unknown": nobody can say just now."""

    state: Literal["online", "away", "busy", "offline", "unknown"]
    text: str = ""


UNKNOWN = FriendPresence("unknown")
OFFLINE = FriendPresence("offline")


class FriendCourier:
    """One client's friends, over any number of sessions.

    `ask` puts a request to a target, `note` hands the application an event that may be dropped, `learn` hears (user, name).
    """

    def __init__(
        self, profile: Profile, ask: Ask, note: Callable[[Event], None], learn: Callable[[int, str], None], chance: Callable[[], float]
    ) -> None:  # fmt: skip
        self.ignored = 0
        self._ask = ask
        self._note = note
        self._learn = learn
        self._chance = chance
        self._tables = FriendTables(profile)
        self._kept = self._tables.copy()
        self._syncing = Syncing(self._kept)
        self._shown = self._syncing.copy  # not what is kept, where that is damaged
        self.own = self._tables.presence()
        self._seen: dict[int, FriendPresence] = {}  # who is not in it is unknown
        self._told: dict[int, FriendPresence] = {}  # what the application was told last; who is not in it is offline
        self._waiting: list[tuple[int, Question, bytes]] = []  # changes whose list is not here yet
        self._fresher: set[int] = set()  # pushes that came while FRIENDS_ONLINE was asked: its answer may be older
        self._heard_version = 0
        self._now = 0.0
        self._is_syncing = self._is_asking = False
        self._is_complete = True  # all that was said of who is online, this time
        self._sync_at: float | None = None
        self._look_at: float | None = None
        self._show_at: float | None = None

    @property
    def copy(self) -> FriendCopy:
        """The friend list, as it was when it was proved last."""
        return self._syncing.copy

    def presence(self, user: int) -> FriendPresence:
        """How a friend is seen."""
        return self._seen.get(user, UNKNOWN)

    # the application's side

    def request(self, command: Command, asked: Asked) -> Question:
        """Ask something about friends or profiles; a change is answered when its list is here too."""
        question = Question()

        def answer(content: bytes, error: Exception | None) -> None:
            if error is None and isinstance(asked, FriendChangeRequest):
                if isinstance(asked, Block | Unblock):
                    self._look_at = self._now
                self._changed(Changed.decode(content), question, content)
            else:
                question.answer(content, error)

        self._ask(command, 0, asked.encode(), answer)
        return question

    def keep_presence(self, presence: SetPresence) -> None:
        """How this terminal is to be seen from now on, in later sessions too."""
        self._tables.keep_presence(presence)
        self.own = presence

    def show_presence(self) -> Question:
        """Say how this terminal is to be seen."""
        question = Question()
        self._show(self.own, question)
        return question

    def _show(self, presence: SetPresence, question: Question) -> None:
        self._ask(Command.PRESENCE, 0, presence.encode(), functools.partial(self._presence_shown, presence, question))

    # the session's side

    def restart(self, now: float) -> None:
        """A new session, before anything else is asked in it: say what must be known before one is seen [P-7.10]."""
        self._now = now
        self._is_syncing = self._is_asking = False
        self._sync_at, self._look_at, self._show_at = now, now, None
        self._heard_version = 0
        if self.own != SetPresence("online"):
            self.show_presence()

    def ended(self) -> None:
        """The session is over: nothing is known of who is online."""
        self._seen.clear()
        self._release()

    def at(self, now: float) -> None:
        """It is `now` (monotonic seconds)."""
        self._now = now

    def ask_due(self, now: float) -> None:
        """Ask for what is to be known now."""
        self._now = now
        if self._sync_at is not None and self._sync_at <= now and not self._is_syncing:
            self._is_syncing = True
            self._sync_at = None
            self._proceed(self._syncing.begin())
        if self._look_at is not None and self._look_at <= now and not (self._is_syncing or self._is_asking):
            self._look_at = None
            if self.copy.friends:
                self._is_complete = True
                self._look(0)
        if self._show_at is not None and self._show_at <= now:
            self._show_at = None
            self.show_presence()

    def deadline(self, now: float) -> float | None:
        """When (monotonic seconds) there may be something to do though nothing came; None: not by itself."""
        return min((at for at in (self._sync_at, self._look_at, self._show_at) if at is not None and at > now), default=None)

    def pushed(self, content: bytes) -> None:
        """A push about friends came [P-7.15]; one of a kind not known here is ignored."""
        try:
            push = decode_friend_push(content)
        except RemoteProtocolError as error:
            if error.field != "event":
                raise
            self.ignored += 1
            return
        if push.event == "asked":
            self._note(FriendRequested(push.user, push.words))
        elif push.event == "accepted":
            self._note(FriendAccepted(push.user))
        self._heard(push.version, SPREAD_SECONDS * self._chance() if push.event == "list" else 0.0)

    def presence_pushed(self, content: bytes) -> None:
        """Friends came, went or changed."""
        for user, state, text in told.PresenceChanged.decode(content).changes:
            if user in self.copy.friends:
                if self._is_asking:
                    self._fresher.add(user)
                self._see(user, FriendPresence(state, text))

    # what follows from what came

    def _heard(self, version: int, delay: float) -> None:
        """The list is at this version: sync after `delay` seconds, if the copy is not."""
        if version > self.copy.version:
            self._heard_version = max(self._heard_version, version)
            at = self._now + delay
            self._sync_at = at if self._sync_at is None else min(at, self._sync_at)

    def _changed(self, changed: Changed, question: Question, content: bytes) -> None:
        if changed.version <= self.copy.version:
            question.answer(content)
        else:
            self._waiting.append((changed.version, question, content))
            self._heard(changed.version, 0.0)

    def _proceed(self, question: Next) -> None:
        if question is None:
            self._synced()
        else:
            self._ask(Command.FRIENDS, 0, question.encode(), functools.partial(self._answered, isinstance(question, Sync)))

    def _answered(self, is_sync: bool, content: bytes, error: Exception | None) -> None:
        if error is None:
            taken = self._syncing.synced(Synced.decode(content)) if is_sync else self._syncing.paged(FriendPage.decode(content))
            self._proceed(taken)
            return
        self._is_syncing = False
        if isinstance(error, RequestRefused):
            # a group that is gone is refused too: the list is another by now
            self._sync_at = self._now + max(RETRY_SECONDS, error.retry_ms / 1000.0)
        self._release()

    def _synced(self) -> None:
        self._is_syncing = False
        new = self.copy
        if new != self._kept:
            self._tables.keep_copy(self._kept, new)
            self._kept = new
        old, self._shown = self._shown, new
        if new.root != old.root:
            self._take_up(old, new)
        if self._syncing.is_failed:
            self._sync_at = self._now + GIVEN_UP_SECONDS
        elif self._heard_version > new.version:
            self._sync_at = self._now + RETRY_SECONDS if self._sync_at is None else self._sync_at
        else:
            self._sync_at = self._now + self._about(REFRESH_SECONDS)
        self._release(None if self._syncing.is_failed else new.version)

    def _take_up(self, old: FriendCopy, new: FriendCopy) -> None:
        for user, friend in new.friends.items():
            if user not in old.friends or old.friends[user].name != friend.name:
                self._learn(user, friend.name)
        for user in old.friends.keys() - new.friends.keys():
            self._seen.pop(user, None)
            self._told.pop(user, None)
        if new.friends.keys() != old.friends.keys():
            self._look_at = self._now
        self._note(FriendListChanged(new.version))

    def _release(self, version: int | None = None) -> None:
        """Answer those who wait for this version of the list; None: all, because it will not be here soon."""
        waiting, self._waiting = self._waiting, []
        for wanted, question, content in waiting:
            if version is None or wanted <= version:
                question.answer(content)
            else:
                self._waiting.append((wanted, question, content))

    def _look(self, after: int) -> None:
        self._is_asking = True
        self._ask(Command.FRIENDS_ONLINE, 0, AskOnline(after).encode(), functools.partial(self._looked, after))

    def _looked(self, after: int, content: bytes, error: Exception | None) -> None:
        if error is not None:
            self._is_asking = False
            self._fresher.clear()
            if isinstance(error, RequestRefused):
                again = RETRY_SECONDS if error.code in RETRIED else GIVEN_UP_SECONDS
                self._look_at = self._now + max(again, error.retry_ms / 1000.0)
            return
        page = OnlinePage.decode(content)
        if page.is_more and page.up_to <= after:
            raise RemoteProtocolError(ErrorCode.BAD_COMMAND, "the next page would be this one", field="up_to")
        self._is_complete &= page.is_complete
        online = {one.user: FriendPresence(one.state, one.text) for one in page.online}
        missing = OFFLINE if page.is_complete else UNKNOWN
        for user in self.copy.friends:
            if user > after and (not page.is_more or user <= page.up_to) and user not in self._fresher:
                self._see(user, online.get(user, missing))
        if page.is_more:
            self._look(page.up_to)
        else:
            self._is_asking = False
            self._fresher.clear()
            if self._look_at is None:
                self._look_at = self._now + self._about(REFRESH_SECONDS if self._is_complete else GIVEN_UP_SECONDS)

    def _about(self, seconds: float) -> float:
        """So long, or a quarter less or more: those who came at once are not to ask at once for ever."""
        return seconds * (0.75 + self._chance() / 2)

    def _see(self, user: int, presence: FriendPresence) -> None:
        self._seen[user] = presence
        if self._told.get(user, OFFLINE) != presence:
            self._told[user] = presence
            self._note(PresenceChanged(user, presence.state, presence.text))

    def _presence_shown(self, shown: SetPresence, question: Question, content: bytes, error: Exception | None) -> None:
        question.answer(content, error)
        if not isinstance(error, RequestRefused):
            return
        if error.code == ErrorCode.BAD_COMMAND and shown.text:
            self._show(SetPresence(shown.state), Question())  # who wants to hide is not to be seen because of words
        else:
            self._show_at = self._now + max(RETRY_SECONDS, error.retry_ms / 1000.0)
