"""Where other centers' users are: a small cache before the directory, and the linked peers where the directory cannot say.

What lives here: which question is asked of whom, how long an answer is believed, and what an answer may say. What must not: rules of
delivery, the directory's own connections, links. Nobody waits for longer than a second: users are asked for in batches, a batch does not
wait for long behind one that hangs, and where the directory is mute the linked centers are asked while it may still come to itself.

Every answer is a hint. What centers claim unasked is never taken into the cache: it only makes an old answer worth asking anew, else a
center could put words into the mouth of the directory, by which claims are judged.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import gevent
import structlog

from cluster.directory import Directory, Place
from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.peer_messages import MAX_TOLD, decode_ask, decode_places, encode_ask, encode_places

FRESH_SECONDS = 30.0
FRESH_FROM_PEERS_SECONDS = 5.0
NOBODY_SECONDS = 1.0  # who came online just now is soon found, even if nobody said so
DIRECTORY_SECONDS = 0.4  # then the peers are asked too
DEADLINE_SECONDS = 0.9  # then what is known by then is the answer
HANG_SECONDS = 1.0
QUEUE_SECONDS = 0.05
TICK_SECONDS = 0.05
DOUBT_SECONDS = 10.0

_PLACES_TOLD = 8_000

_NOBODY: Sequence[Place] = ()

_log = structlog.get_logger(__name__)

Done = Callable[[Sequence[Place]], None]


class Asked(Protocol):
    """The links to other centers."""

    def linked(self) -> Sequence[int]: ...
    def send(self, node: int, message: bytes, is_urgent: bool = False) -> bool: ...


class Bounds(NamedTuple):
    """How many users are remembered, asked for, in doubt at once, and how many questions the directory may owe an answer to."""

    cached: int = 200_000
    wanted: int = 50_000
    doubts: int = 10_000
    running: int = 16


_BOUNDS = Bounds()


class _Entry:
    """An answer in the cache; epoch: how many centers had been forgotten when it was last looked at."""

    __slots__ = ("epoch", "places", "until")

    def __init__(self, places: Sequence[Place], until: float, epoch: int) -> None:
        self.places = places
        self.until = until
        self.epoch = epoch


class _Wanted:
    """A user somebody waits for."""

    __slots__ = ("done", "is_overtaken", "since")

    def __init__(self, done: Done, since: float) -> None:
        self.done = [done]
        self.since = since
        self.is_overtaken = False  # something was heard meanwhile: the answer is used, but not kept


class _Question:
    """Users that are asked for together."""

    __slots__ = ("began", "found", "is_answered", "number", "outstanding", "since", "thread", "users")

    def __init__(self, users: Collection[int], since: float, began: float) -> None:
        self.users = frozenset(users)
        self.since = since  # the longest anybody in it has waited
        self.began = began
        self.is_answered = False
        self.number: int | None = None  # of the question to the peers, once asked
        self.outstanding: set[int] = set()
        self.found: dict[int, list[Place]] = {}
        self.thread: Any = None


class _Gone(NamedTuple):
    epoch: int
    at: float


class Locator:
    """Finds users; see `find`. Nothing here yields but the greenlets it spawns."""

    def __init__(
        self,
        directory: Directory,
        mesh: Asked,
        node_id: int,
        local: Callable[[int], Sequence[Place]],
        spawn: Callable[..., Any],
        now: Callable[[], float],
        pause: Callable[[float], Any] = gevent.sleep,
        bounds: Bounds = _BOUNDS,
    ) -> None:
        """local: a user's sessions at this center; now: monotonic seconds; pause: how the watch over open questions waits."""
        self._directory = directory
        self._mesh = mesh
        self._node_id = node_id
        self._local = local
        self._spawn = spawn
        self._now = now
        self._pause = pause
        self._bounds = bounds
        self._cache: OrderedDict[int, _Entry] = OrderedDict()
        self._wanted: dict[int, _Wanted] = {}
        self._next: dict[int, float] = {}  # wanted, but in no question yet -> since when
        self._running: dict[_Question, None] = {}  # the directory has not answered
        self._asked: dict[int, _Question] = {}  # peers have not all answered
        self._number = 0
        self._is_watched = False
        self._doubts: OrderedDict[tuple[int, int], float] = OrderedDict()
        self._gone: dict[int, _Gone] = {}
        self._epoch = 0

    # ------------------------------------------------------------------ for the router

    def find(self, user: int, done: Done) -> None:
        """Tell where the user is, newest first: at once if it is known and fresh, else within a second; empty: nowhere, or unknown."""
        entry = self._cache.get(user)
        if entry is not None and entry.until > self._now() and (entry.epoch == self._epoch or self._outlived(entry)):
            self._cache.move_to_end(user)
            done(entry.places)
            return
        wanted = self._wanted.get(user)
        if wanted is not None:
            wanted.done.append(done)
        elif len(self._wanted) >= self._bounds.wanted:
            done(_NOBODY)
        else:
            since = self._now()
            self._wanted[user] = _Wanted(done, since)
            self._next[user] = since
            if not self._running:
                self._begin(since)
            self._watch()

    def known(self, user: int) -> Sequence[Place] | None:
        """What the cache says, if it is fresh."""
        entry = self._cache.get(user)
        if entry is None or entry.until <= self._now() or not (entry.epoch == self._epoch or self._outlived(entry)):
            return None
        return entry.places

    def doubt(self, user: int, center: int) -> None:
        """The user was not found there: ask anew next time, and for a while try other places of the user first."""
        self._overtake(user)
        self._doubts[(user, center)] = self._now() + DOUBT_SECONDS
        self._doubts.move_to_end((user, center))
        if len(self._doubts) > self._bounds.doubts:
            self._doubts.popitem(last=False)

    def keep_shortly(self, user: int) -> None:
        """For who asked it is as if the user were nowhere: so the answer is kept no longer than that would be, and asked for as often."""
        entry = self._cache.get(user)
        if entry is not None:
            entry.until = min(entry.until, self._now() + NOBODY_SECONDS)

    def note(self, user: int, place: Place) -> None:
        """A center says that the user came there: if the cache does not know it, ask anew next time."""
        entry = self._cache.get(user)
        if entry is None or place not in entry.places:
            self._overtake(user)

    def forget_center(self, center: int) -> None:
        """The link ended: what was known of users there is asked for anew, and its answers are not waited for."""
        now = self._now()
        self._epoch += 1
        self._gone = {node: gone for node, gone in self._gone.items() if now - gone.at <= FRESH_SECONDS}
        self._gone[center] = _Gone(self._epoch, now)
        for question in self._asked.values():
            question.outstanding.discard(center)  # the watch closes it

    # ------------------------------------------------------------------ for links

    def took_ask(self, center: int, payload: bytes) -> None:
        """A center asks who is here. RemoteProtocolError."""
        number, users = decode_ask(payload)
        if len(users) > MAX_TOLD:
            raise RemoteProtocolError(ErrorCode.BAD_FRAME, f"a question for {len(users)} users")
        most = max(1, _PLACES_TOLD // max(1, len(users)))  # of one user, the latest, so that the answer fits into one message
        here = {user: [place[1:] for place in self._local(user)[-most:]] for user in users}
        self._mesh.send(center, encode_places(number, here), is_urgent=True)

    def took_answer(self, center: int, payload: bytes) -> None:
        """A center answers; it speaks for itself alone, once, of those it was asked for. RemoteProtocolError."""
        number, found = decode_places(payload)
        question = self._asked.get(number)
        if question is None or center not in question.outstanding:
            return
        question.outstanding.discard(center)
        for user, places in found.items():
            question.found.setdefault(user, []).extend(Place(center, *place) for place in places)
        if not question.outstanding:
            self._close_with_peers(question)

    # ------------------------------------------------------------------ time

    def look_after(self) -> None:
        """End what has waited long enough; called by the watch every TICK_SECONDS while a question is open."""
        now = self._now()
        for question in list(self._running):
            waited = now - question.since
            if not question.is_answered and question.number is None and waited >= DIRECTORY_SECONDS:
                self._ask_peers(question)
            if now - question.began >= HANG_SECONDS:
                del self._running[question]
                if question.thread is not None:
                    question.thread.kill(block=False)
        for question in list(self._asked.values()):
            if not question.outstanding or now - question.since >= DEADLINE_SECONDS:
                self._close_with_peers(question)
        if self._next and (not self._running or now - next(iter(self._next.values())) >= QUEUE_SECONDS):
            self._begin(now)

    def _watch(self) -> None:
        if not self._is_watched:
            self._is_watched = True
            self._spawn(self._keep_watch)

    def _keep_watch(self) -> None:
        try:
            while self._next or self._running or self._asked:
                self._pause(TICK_SECONDS)
                self.look_after()
        finally:
            self._is_watched = False

    # ------------------------------------------------------------------ questions

    def _begin(self, now: float) -> None:
        users = list(self._next)[:MAX_TOLD]
        question = _Question(users, self._next[users[0]], now)
        for user in users:
            del self._next[user]
        if len(self._running) >= self._bounds.running:
            self._ask_peers(question)
            return
        self._running[question] = None
        question.thread = self._spawn(self._ask_directory, question)

    def _ask_directory(self, question: _Question) -> None:
        try:
            answer = self._directory.find(question.users)
        except Exception as fault:
            _log.error("directory_fault", exc_info=fault)
            answer = None
        self._running.pop(question, None)
        question.thread = None
        if not question.is_answered:
            if answer is not None:
                self._close(question, answer, FRESH_SECONDS)
            elif question.number is None:
                self._ask_peers(question)
        if self._next and not self._running:
            self._begin(self._now())

    def _ask_peers(self, question: _Question) -> None:
        number = self._number = (self._number + 1) & 0xFFFFFFFF
        question.number = number
        self._asked[number] = question
        message = encode_ask(number, list(question.users))
        question.outstanding = {center for center in self._mesh.linked() if self._mesh.send(center, message, is_urgent=True)}
        if not question.outstanding and question not in self._running:
            self._close_with_peers(question)

    def _close_with_peers(self, question: _Question) -> None:
        """All answered, or it took too long: then the answer is not worth keeping for as long."""
        if question in self._running and not question.found and self._now() - question.since < DEADLINE_SECONDS:
            return  # nobody there knows; the directory may yet
        found = {
            user: sorted(places, key=lambda place: place.incarnation, reverse=True) for user, places in question.found.items()
        }
        self._close(question, found, NOBODY_SECONDS if question.outstanding else FRESH_FROM_PEERS_SECONDS)

    def _close(self, question: _Question, found: Mapping[int, Sequence[Place]], fresh_seconds: float) -> None:
        question.is_answered = True
        if question.number is not None:
            self._asked.pop(question.number, None)
        now = self._now()
        for user in question.users:
            wanted = self._wanted.pop(user)
            places = self._judged(user, found.get(user, _NOBODY), now)
            if not wanted.is_overtaken:
                self._keep(user, places, now + (fresh_seconds if places else NOBODY_SECONDS))
            for done in wanted.done:
                try:
                    done(places)
                except Exception as fault:  # of one who asked; the others get their answer
                    _log.error("find_fault", exc_info=fault)

    def _judged(self, user: int, places: Iterable[Place], now: float) -> Sequence[Place]:
        """The newest incarnation of each terminal; of ourselves what is so; doubted ones last."""
        here = self._local(user)
        best: dict[int, Place] = {}
        for place in (*here, *places):
            known = best.get(place.slot)
            if place.center == self._node_id and place not in here:
                continue
            if known is None or known.incarnation < place.incarnation:
                best[place.slot] = place
        order = {place: position for position, place in reversed(list(enumerate((*places, *here))))}
        judged = sorted(best.values(), key=order.__getitem__)
        if self._doubts:
            judged.sort(key=lambda place: self._doubts.get((user, place.center), 0.0) > now)
        return tuple(judged)

    # ------------------------------------------------------------------ cache

    def _keep(self, user: int, places: Sequence[Place], until: float) -> None:
        self._cache[user] = _Entry(places, until, self._epoch)
        self._cache.move_to_end(user)
        if len(self._cache) > self._bounds.cached:
            self._cache.popitem(last=False)

    def _outlived(self, entry: _Entry) -> bool:
        """Whether the centers that went since leave this entry as it is; else it is worth nothing any more."""
        for place in entry.places:
            gone = self._gone.get(place.center)
            if gone is not None and gone.epoch > entry.epoch:
                entry.until = 0.0
                return False
        entry.epoch = self._epoch
        return True

    def _overtake(self, user: int) -> None:
        self._cache.pop(user, None)
        wanted = self._wanted.get(user)
        if wanted is not None:
            wanted.is_overtaken = True
