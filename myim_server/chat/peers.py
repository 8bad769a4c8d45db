"""What other centers say: each kind of message one method, led to the tables of lanes and inboxes, or to who knows about it.

What lives here: the incoming half of a mesh of centers, and the rule that a center speaks only for sessions it holds. What must not: rules
of delivery (lanes, inboxes), the bytes (`myim_wire.peer_messages`), links. Nothing here yields; a message whose sender must first be shown
to be at that center waits, and all behind it of the same terminal with it.

What is believed of whom: RECEIVED and RETURNED only of the center a lane is open to; letters and copies only for sessions that are shown
to be there; that a session came, for which another one here would have to go, only likewise. All else is a hint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import structlog

from cluster.directory import Place
from myim_server.chat.lane import Lane, Letter
from myim_server.chat.router import Router
from myim_server.chat.vouching import Finder, Vouching
from myim_server.metrics import Metrics
from myim_server.sessions import Sessions
from myim_wire import peer_messages as wire
from myim_wire.errors import ErrorCode
from myim_wire.peer_messages import Came

_WAITING = 256  # messages of one terminal that may wait for the verdict
_WAITING_BYTES = 32 << 20  # of all of them, whoever claims
_AT_ONCE = 100  # sessions that are told of, lanes that lost their link: then others have their turn
_PIECE_SECONDS = 0.002
_OVERHEAD_BYTES = 512  # what a message that waits costs beside its own bytes

_log = structlog.get_logger(__name__)


class Peers:
    """Takes what other centers say. `table` maps each kind of message to (center, message) -> None; RemoteProtocolError for nonsense."""

    def __init__(
        self,
        node_id: int,
        router: Router,
        finder: Finder,
        sessions: Sessions,
        now: Callable[[], float],
        later: Callable[[float, Callable[[], None]], Any],
        metrics: Metrics,
    ) -> None:
        """later(seconds, f) calls f after so many seconds."""
        self._node_id = node_id
        self._router = router
        self._finder = finder
        self._sessions = sessions
        self._now = now
        self._later = later
        self._metrics = metrics
        self._vouching = Vouching(finder, later)
        self._waiting: dict[tuple[int, int], list[bytes]] = {}
        self._waiting_bytes = 0
        self.table: dict[int, Callable[[int, bytes], None]] = {
            wire.OPEN: self._open,
            wire.FOLLOW: self._follow,
            wire.END: self._end,
            wire.RECEIVED: self._received,
            wire.RETURNED: self._returned,
            wire.ABSENT: self._returned,
            wire.POKE: lambda center, message: router.poke(wire.decode_poke(message)),
            wire.CAME: self._came,
            wire.COPY: self._copy,
            wire.ONCE: self._once,
            wire.RECEIPTS: self._receipts,
            wire.CHANGED: lambda center, message: self.on_changed(),
            wire.DRAIN: lambda center, message: self.on_drain(wire.decode_drain(message)),
            wire.ASK: lambda center, message: finder.took_ask(center, message[1:]),
            wire.PLACES: lambda center, message: finder.took_answer(center, message[1:]),
        }

    on_changed: Callable[[], None] = staticmethod(lambda: None)
    on_drain: Callable[[bool], None] = staticmethod(lambda is_wished: None)
    on_lost: Callable[[int], None] = staticmethod(lambda center: None)
    on_up: Callable[[int], None] = staticmethod(lambda center: None)

    # ------------------------------------------------------------------ links come and go

    def came_up(self, center: int) -> None:
        """A link to a center began: tell it who is here, so that of two sessions of one terminal the older ends."""
        self.on_up(center)
        keys = list(self._router.parties)
        for number, start in enumerate(range(0, len(keys), _AT_ONCE)):  # in pieces, since both sides serve others in between
            self._later(number * _PIECE_SECONDS, partial(self._tell, center, keys[start : start + _AT_ONCE]))

    def _tell(self, center: int, keys: Sequence[int]) -> None:
        parties = [self._router.parties[key] for key in keys if key in self._router.parties]
        self._router.post.came([Came(party.session.user, *_told(party.place)) for party in parties], [center])

    def went_down(self, center: int) -> None:
        """The link ended, and with it all that was under way on it."""
        router = self._router
        router.inboxes.lost(center)
        self._vouching.forget(center)
        self._finder.forget_center(center)
        router.copies.lost(center)
        self.on_lost(center)
        for claim in [claim for claim in self._waiting if claim[0] == center]:
            self._end_waiting(claim)
        self._lose([(lane, lane.attempt) for lane in router.lanes.towards(center)], center)

    def _lose(self, lanes: Sequence[tuple[Lane, int]], center: int) -> None:
        """In pieces; until its turn comes a lane finds no link, or on a new one nobody who knows it."""
        now = self._now()
        for lane, attempt in lanes[:_AT_ONCE]:
            if lane.attempt == attempt:
                self._router.carry_out(lane.lost(center, now))
        if len(lanes) > _AT_ONCE:
            self._later(0.0, partial(self._lose, lanes[_AT_ONCE:], center))

    # ------------------------------------------------------------------ letters of another center's senders

    def _open(self, center: int, message: bytes) -> None:
        opening = wire.decode_open(message)
        key = opening.user << 6 | opening.slot
        if not self.may_speak(center, key, (opening.generation, opening.number), message):
            return
        now = self._now()
        router = self._router
        router.busy_inboxes.update(dict.fromkeys(router.inboxes.of(opening.target)))
        letters = _letters(opening.letters, now)
        router.carry_out(router.inboxes.open(center, key, opening.target, opening.attempt, letters, now))

    def _follow(self, center: int, message: bytes) -> None:
        user, slot, target, attempt, letters = wire.decode_follow(message)
        key = user << 6 | slot
        if self._waiting and (center, key) in self._waiting:
            self._wait(center, key, message)
            return
        now = self._now()  # no claim to check: only a lane that was opened takes these
        self._router.carry_out(self._router.inboxes.follow(center, key, target, attempt, _letters(letters, now), now))

    def _end(self, center: int, message: bytes) -> None:
        user, slot, target, attempt, _ = wire.decode_lane(message)
        key = user << 6 | slot
        if (center, key) in self._waiting:
            self._wait(center, key, message)
        else:
            self._router.carry_out(self._router.inboxes.end(center, key, target, attempt))

    def _copy(self, center: int, message: bytes) -> None:
        copy = wire.decode_copy(message)
        key = copy.user << 6 | copy.slot
        if copy.receiver not in (copy.user, copy.target) or not self._router.inboxes.of(copy.receiver):
            return
        if not self.may_speak(center, key, (copy.generation, copy.number), message):
            return
        copies = self._router.copies
        data = copies.encode(copy.user, copy.target, _letters([copy.letter], 0.0)[0], center)
        if copy.receiver == copy.user:
            copies.echo(copy.user, copy.slot, [data])
        elif not self._router.inboxes.blocks(copy.target, copy.user):  # the center that sent it need not have heard of a block
            copies.give(copy.target, data)

    def _once(self, center: int, message: bytes) -> None:
        once = wire.decode_once(message)
        if self.may_speak(center, once.user << 6 | once.slot, (once.generation, once.number), message):
            letter = _letters([once.letter], 0.0)[0]._replace(accepted=once.accepted)
            self._router.give_once(once.user, once.target, letter, center)

    # ------------------------------------------------------------------ who may speak for whom

    def may_speak(self, center: int, key: int, incarnation: tuple[int, int], message: bytes) -> bool:
        """Whether the center is known to hold this session; if not yet, the message waits for the verdict."""
        claim = (center, key)
        if claim in self._waiting:
            self._wait(center, key, message)
            return False
        here = self._router.parties.get(key)
        if (here is not None and here.session.incarnation >= incarnation) or self._waiting_bytes > _WAITING_BYTES:
            self._give_back(center, message)  # the truth about a session that is here needs no verdict
            return False
        if self._vouching.holds(center, key, incarnation):
            return True
        self._waiting[claim] = []
        self._wait(center, key, message)
        self._vouching.ask(center, key, incarnation, lambda is_so: self._judge(center, key, is_so))
        return False

    def _wait(self, center: int, key: int, message: bytes) -> None:
        """Wait for the verdict behind the others; without room for it all go back, since what comes later must not overtake it."""
        waiting = self._waiting[(center, key)]
        waiting.append(message)
        self._waiting_bytes += len(message) + _OVERHEAD_BYTES
        if len(waiting) > _WAITING or self._waiting_bytes > _WAITING_BYTES:
            messages = self._end_waiting((center, key))
            self._waiting[(center, key)] = []
            for late in messages:
                self._give_back(center, late)

    def _end_waiting(self, claim: tuple[int, int]) -> list[bytes]:
        messages = self._waiting.pop(claim, [])
        self._waiting_bytes -= sum(map(len, messages)) + _OVERHEAD_BYTES * len(messages)
        return messages

    def _judge(self, center: int, key: int, is_so: bool) -> None:
        """The verdict on a claim: what waited for it is taken, or goes back."""
        messages = self._end_waiting((center, key))
        if not is_so and messages:
            _log.warning("peer_spoke_for_another", peer=center, user=key >> 6, slot=key & 63)
        for message in messages:
            if is_so:
                self.table[message[0]](center, message)
            else:
                self._give_back(center, message)

    def _give_back(self, center: int, message: bytes) -> None:
        """Refuse letters: their owner hears that they were not delivered, and their lane is over; a copy is dropped."""
        letters: wire.Letters = ()
        if message[0] == wire.OPEN:
            user, slot, _, _, target, attempt, letters = wire.decode_open(message)
        elif message[0] == wire.FOLLOW:
            user, slot, target, attempt, letters = wire.decode_follow(message)
        elif message[0] == wire.END:
            user, slot, target, attempt, _ = wire.decode_lane(message)
        else:
            self._metrics.qos0_dropped += message[0] == wire.ONCE
            return
        if message[0] != wire.OPEN:
            self._router.carry_out(self._router.inboxes.end(center, user << 6 | slot, target, attempt))
        if letters:
            self._metrics.claims_refused += len(letters)
            self._router.post.returned(center, user, slot, target, attempt, [letter[0] for letter in letters])

    # ------------------------------------------------------------------ answers to our own lanes

    def _received(self, center: int, message: bytes) -> None:
        user, slot, target, attempt, times = wire.decode_lane(message)
        self._router.received(center, user << 6 | slot, target, attempt, times)

    def _returned(self, center: int, message: bytes) -> None:
        user, slot, target, attempt, times = wire.decode_lane(message)
        self._router.returned(center, user << 6 | slot, target, attempt, times, message[0] == wire.ABSENT)

    def _receipts(self, center: int, message: bytes) -> None:
        for user, slot in wire.decode_receipts(message):
            self._router.backlog.want_receipts(user, slot)

    # ------------------------------------------------------------------ sessions that came elsewhere

    def _came(self, center: int, message: bytes) -> None:
        """Sessions began there, or a link did: of two sessions of one terminal the newer stays [P-5.4], wherever the other is."""
        for came in wire.decode_came(message):
            user, slot, generation, number, endpoint = came
            self._finder.note(user, Place(center, endpoint, slot, generation, number))
            router = self._router
            here = router.parties.get(user << 6 | slot)
            if here is None:
                self._moved(center, user, slot)
            elif here.session.incarnation > (generation, number):
                router.post.came([Came(user, *_told(here.place))], [center])
            elif here.session.incarnation < (generation, number):
                self._check_takeover(center, user << 6 | slot, (generation, number))

    def _check_takeover(self, center: int, key: int, incarnation: tuple[int, int]) -> None:
        def judge(is_so: bool) -> None:
            here = self._router.parties.get(key)
            if here is None or here.session.incarnation >= incarnation:
                return
            if not is_so:
                _log.warning("peer_spoke_for_another", peer=center, user=key >> 6, slot=key & 63)
                return
            self._sessions.note(key, incarnation)
            self._metrics.sessions_replaced += 1
            here.session.goodbye(ErrorCode.REPLACED, "a newer session of this terminal took over at another center")
            self._router.go_offline(here.session)
            self._moved(center, key >> 6, key & 63)

        self._vouching.ask(center, key, incarnation, judge)

    def _moved(self, center: int, user: int, slot: int) -> None:
        """A terminal is at that center: its lanes here end, and what others claimed for it must be shown anew."""
        router, key = self._router, user << 6 | slot
        self._vouching.moved(key, center, router.post.linked())
        if key in router.lanes.terminals:
            now = self._now()
            router.carry_out(router.lanes.sender_moved(user, slot, now))
            router.carry_out(router.lanes.forget_idle(user, slot, now))
        if router.inboxes.of(user) and router.copies.note(user, slot, center):
            places = router.places_here(user)
            router.post.came([Came(user, *_told(place)) for place in places], [center])


def _told(place: Place) -> tuple[int, int, int, int]:
    return place.slot, place.generation, place.number, place.endpoint


def _letters(plain: wire.Letters, now: float) -> list[Letter]:
    return [Letter(time, body, message_id, 0, now) for time, message_id, body in plain]
