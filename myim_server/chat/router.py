"""Carries out what the delivery rules decide: to sessions, to the shelf, to the directory, to other centers.

What lives here: one method per action of `lanes`, `inbox` and `receipts`, the coming and going of terminals. What must not: rules of
order or storage (they are in those three), what other centers say (`peers`), copies (`copies`), what is done again and again for all
(`janitor`), SQL, sockets, clocks.

Nothing in this file yields: whatever may block (store, a directory that is elsewhere) is asked in a greenlet of its own, and its answer
comes back as a call. So a record of messages is taken, forwarded and queued in one piece, and the tables of `lanes` and `inbox` change
only in code that does not switch.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

from cluster.directory import Directory, Place
from myim_server.chat import inbox as target_side
from myim_server.chat import lane as owner_side
from myim_server.chat.backlog import Backlog
from myim_server.chat.copies import Copies
from myim_server.chat.inbox import Inbox, Window
from myim_server.chat.inboxes import Inboxes
from myim_server.chat.lane import RECEIVED, Lane, Letter
from myim_server.chat.lanes import Lanes
from myim_server.chat.party import Party
from myim_server.chat.post import NoMesh, Post
from myim_server.chat.receipt_desk import Receipts
from myim_server.chat.receipts import ReceiptDrain
from myim_server.chat.shelf import Outcomes, Shelf
from myim_server.chat.vouching import Finder
from myim_server.chat.ways import Ways
from myim_server.metrics import Metrics
from myim_server.sessions import Session, Sessions
from myim_wire.errors import ErrorCode
from myim_wire.messages import QOS1, Command, encode_delivery, encode_error
from myim_wire.peer_messages import Came

# A settling as one struct, the most frequent message of all [P-8.1]: length, command, flags REPLY, user, target, time, outcome.
_settling = struct.Struct(">BBBQQQB").pack
_SETTLING_BYTES = 28
_NO_LANES: dict[int, Lane] = {}
_NOWHERE = Inbox(0, 0, Window())  # bound to nothing: whatever follows an opening that found nobody comes back from here
_RETRY_MS = {ErrorCode.STORE_UNAVAILABLE: 1000, ErrorCode.SLOW_DOWN: 500, ErrorCode.BUSY: 500, ErrorCode.OUT_OF_ORDER: 0}


class Surroundings(NamedTuple):
    """What the router stands on: this center's id, clocks (monotonic seconds), greenlets, and the parts it speaks to.

    finder, post: where users are at other centers, and the way there; a center that is alone has none.
    """

    node_id: int
    now: Callable[[], float]
    spawn: Callable[..., Any]
    sessions: Sessions
    directory: Directory
    shelf: Shelf
    receipts: Receipts
    metrics: Metrics
    finder: Finder | None = None
    post: Post = Post(NoMesh())


class Router:
    """The one place where decided actions become sends, store calls and look-ups."""

    def __init__(self, around: Surroundings, lanes: Lanes, inboxes: Inboxes, window: Window) -> None:
        self.node_id = around.node_id
        self.lanes = lanes
        self.inboxes = inboxes
        self.parties: dict[int, Party] = {}
        # Who may run into a time-out; the idle, by far the most, are not visited four times a second.
        self.busy_lanes: dict[Lane, None] = {}
        self.busy_inboxes: dict[Inbox, None] = {}
        self._window = window
        self._now = around.now
        self._spawn = around.spawn
        self._sessions = around.sessions
        self._directory = around.directory
        self._shelf = around.shelf
        self._metrics = around.metrics
        self._finder = around.finder
        self.post = around.post
        self.ways = Ways(around.post, around.now)
        self.copies = Copies(around.node_id, inboxes, self.parties, around.post)
        self.backlog = Backlog(
            around.node_id,
            self.parties,
            around.shelf,
            (around.receipts, around.spawn),
            (around.finder, around.post),
            around.now,
            around.metrics,
            self.carry_out,
        )
        around.directory.on_published = self._published
        self._carry: dict[type, Callable[[Any], None]] = {
            owner_side.Forward: self._forward,
            owner_side.Settle: self._settle,
            owner_side.LookUp: self._look_up,
            owner_side.Store: self._store,
            owner_side.Refuse: self._refuse,
            owner_side.Poke: self._poke,
            owner_side.End: self._end,
            owner_side.CutOff: self._cut_off,
            target_side.HandLetters: self._hand_letters,
            target_side.Received: self._received,
            target_side.Returned: self._returned,
            **self.backlog.actions,
        }

    on_left: Callable[[int, int], None] = staticmethod(lambda user, slot: None)

    def carry_out(self, actions: Iterable[NamedTuple]) -> None:
        """Do what the rules decided, in their order."""
        carry = self._carry
        for action in actions:
            carry[type(action)](action)

    # ------------------------------------------------------------------ terminals come and go

    def check(self, user: int, slot: int, incarnation: tuple[int, int]) -> None:
        """SessionRefused STALE_CONNECTION if this or a newer incarnation of the terminal is known here [P-5.4]."""
        self._sessions.check(user, slot, incarnation)

    def come_online(self, session: Session, endpoint: int) -> Party:
        """A session begins: list it in the directory before its first read, reopen the lanes of the sender it is. SessionRefused
        STALE_CONNECTION."""
        for replaced in self._sessions.add(session):
            self._metrics.sessions_replaced += 1
            is_same_terminal = replaced.key == session.key
            self._leave(replaced, is_staying=is_same_terminal)
            if is_same_terminal:
                replaced.goodbye(ErrorCode.REPLACED, "a newer session of this terminal took over")
            else:  # REPLACED would make that terminal stop for ever [P-5.4]
                replaced.goodbye(ErrorCode.BUSY, "the user has too many sessions")
        user, slot = session.user, session.slot
        place = Place(self.node_id, endpoint, slot, *session.incarnation)
        party = Party(session, Inbox(user, slot, self._window), ReceiptDrain(user, slot), self.lanes.of_terminal(user, slot), place)
        party.inbox.outlet = session
        self.parties[session.key] = party
        self._directory.publish(user, place)
        self.inboxes.add(party.inbox)
        self.copies.came_here(user, slot)
        self.post.came([Came(user, slot, *session.incarnation, endpoint)])
        self.carry_out(self.lanes.sender_moved(user, slot, self._now()))
        return party

    def _published(self, user: int, place: Place) -> None:
        """The session can be found by others from now on (D-16): what was stored before, because it could not, is read."""
        party = self.parties.get(user << 6 | place.slot)
        if party is not None and party.place == place:
            # Told again: who asked before it was listed has kept that nobody is there.
            self.post.came([Came(user, place.slot, place.generation, place.number, place.endpoint)])
            self.carry_out(party.inbox.want_read())

    def places_here(self, user: int) -> list[Place]:
        """The user's sessions at this center."""
        parties = [self.parties.get(user << 6 | inbox.slot) for inbox in self.inboxes.of(user)]
        return [party.place for party in parties if party is not None]

    def go_offline(self, session: Session) -> None:
        """A session ended; safe to call again."""
        if self._sessions.remove(session):
            self._leave(session)

    def _leave(self, session: Session, is_staying: bool = False) -> None:
        party = self.parties.get(session.key)
        if party is None or party.session is not session:
            return
        del self.parties[session.key]
        self.carry_out(self.inboxes.remove(party.inbox))
        self._directory.remove(session.user, party.place)
        self.copies.left(session.user)
        self.on_left(session.user, session.slot)
        if not is_staying:  # else its next session's resends are answered from what these lanes remember
            self.carry_out(self.lanes.forget_idle(session.user, session.slot, self._now()))

    # ------------------------------------------------------------------ from terminals

    def send_once(self, party: Party, target: int, letter: Letter) -> None:
        """QoS 0: to every session of the target that has fetched, here or elsewhere, else to the store; never confirmed."""
        user = party.session.user
        if self._finder is None or self.inboxes.of(target):
            self.give_once(user, target, letter, self.node_id)
            return
        sender = (user, party.session.slot, *party.session.incarnation)

        def send(places: Sequence[Place]) -> None:
            centers = self.post.reachable(places)
            if not centers:
                self._shelf.put_once(user, target, letter, self.node_id, self._stored_once)
            elif not sum(self.post.once(center, sender, target, letter) for center in centers):
                self._metrics.qos0_dropped += 1

        self._finder.find(target, send)

    def give_once(self, user: int, target: int, letter: Letter, entered: int) -> None:
        """QoS 0 to the target's sessions here; entered: the center that took it. Who has not fetched yet, or left, reads it later."""
        is_hidden = self.inboxes.hides(target, user)
        if is_hidden or not self.copies.give(target, self.copies.encode(user, target, letter, entered)):
            self._shelf.put_once(user, target, letter, entered, self._stored_once)

    def _stored_once(self, is_stored: bool) -> None:
        if not is_stored:
            self._metrics.qos0_dropped += 1

    def receipt(self, party: Party, pairs: Sequence[tuple[int, int]]) -> None:
        """The terminal's application has these."""
        actions, strange = party.inbox.receipt(pairs)
        self._metrics.receipts_confirmed += len(pairs) - strange
        self.carry_out(actions)
        if strange:
            self._metrics.receipts_ignored += strange

    # ------------------------------------------------------------------ the owner's actions

    def _look_up(self, action: owner_side.LookUp) -> None:
        lane = action.lane
        self.busy_lanes[lane] = None
        if self._is_seen_here(lane):  # the truth about sessions that are here needs no directory
            self.carry_out(lane.found(action.attempt, self.node_id, self._now()))
        elif self._finder is None:
            self.carry_out(lane.found(action.attempt, None, self._now()))
        elif (hinted := self.ways.hinted(lane)) is not None and self._finder.known(lane.target) is None:
            self._found(lane, action.attempt, [Place(hinted, hinted, 0, 0, 0)])
        else:
            self._finder.find(lane.target, lambda places: self._found(lane, action.attempt, places))

    def _is_seen_here(self, lane: Lane) -> bool:
        """Whether the target is here for the sender of the lane; a poke reaches who hides, too."""
        return bool(self.inboxes.of(lane.target)) and not (lane.queue and self.inboxes.hides(lane.target, lane.user))

    def _found(self, lane: Lane, attempt: int, places: Sequence[Place]) -> None:
        centers = self.ways.to(lane, places) if lane.queue else self.post.reachable(places)  # a poke is always worth it
        if self._is_seen_here(lane):
            centers = [self.node_id]
        elif places and not centers and self._finder is not None:
            self._finder.keep_shortly(lane.target)
        if attempt == lane.attempt:
            lane.bound_inbox = centers  # of a lane that goes to another center: where else the target is
        self.carry_out(lane.found(attempt, centers[0] if centers else None, self._now()))
        self._forget_if_gone(lane)

    def _forward(self, action: owner_side.Forward) -> None:
        lane = action.lane
        self.busy_lanes[lane] = None
        if lane.center != self.node_id:
            self._forward_away(action)
        elif action.is_opening:
            self._open(action)
        else:  # the inbox itself knows whether the lane is still bound to it
            follow = cast(Inbox, lane.bound_inbox).follow
            self.carry_out(follow(self.node_id, lane.key, action.attempt, action.letters, self._now()))

    def _forward_away(self, action: owner_side.Forward) -> None:
        lane, attempt, letters, is_opening = action
        center, user, target = lane.center, lane.user, lane.target
        if is_opening:
            sender = (user, lane.slot, *self._sessions.last(lane.key))
            is_sent = self.post.open(center, sender, target, attempt, letters)
        else:
            is_sent = self.post.follow(center, user, lane.slot, target, attempt, letters)
        if is_sent:
            others = cast("list[int]", lane.bound_inbox)
            if len(others) > 1:
                self.copies.of_forwarded(center, lane.key, target, letters, others)
            return
        self._metrics.mesh_bounced += len(letters)
        self.ways.took_no_more(center)
        if not is_opening:  # what went before these is taken back, so that they do not overtake it
            self.post.end(center, user, lane.slot, target, attempt)
        self.carry_out(lane.returned(attempt, [letter.time for letter in letters], self._now()))

    def _open(self, action: owner_side.Forward) -> None:
        lane = action.lane
        self.busy_inboxes.update(dict.fromkeys(self.inboxes.of(lane.target)))
        opened = self.inboxes.open(self.node_id, lane.key, lane.target, action.attempt, action.letters, self._now())
        lane.bound_inbox = self.inboxes.bound.get((self.node_id, lane.key, lane.target), _NOWHERE)
        self.carry_out(opened)

    def _end(self, action: owner_side.End) -> None:
        lane = action.lane
        if action.center != self.node_id:
            self.post.end(action.center, lane.user, lane.slot, lane.target, action.attempt)
            return
        self.carry_out(self.inboxes.end(self.node_id, lane.key, lane.target, action.attempt))

    def _poke(self, action: owner_side.Poke) -> None:
        tell = self.poke if action.center == self.node_id else partial(self.post.poke, action.center)
        tell(action.lane.target)

    def poke(self, target: int) -> None:
        """A hint: the target has rows; its sessions here read."""
        for inbox in self.inboxes.of(target):
            self.carry_out(inbox.want_read())

    def _cut_off(self, action: owner_side.CutOff) -> None:
        lane = action.lane
        if action.center != self.node_id:
            self.post.cut(action.center, "no answer to an attempt in time")
        else:  # this center's own inbox lost track, so the binding is void
            self.carry_out(self.inboxes.end(self.node_id, lane.key, lane.target, action.attempt))

    def _store(self, action: owner_side.Store) -> None:
        lane, attempt = action.lane, action.attempt

        def done(outcomes: Outcomes | Exception) -> None:
            if isinstance(outcomes, Exception):
                self.carry_out(lane.store_failed(attempt, self._now()))
            else:
                self.carry_out(lane.stored(attempt, outcomes, self._now()))
            self._forget_if_gone(lane)

        self._shelf.put(lane.user, lane.target, action.letters, done, self._now())

    def _forget_if_gone(self, lane: Lane) -> None:
        if lane.is_idle and (lane.key) not in self.parties:
            self.carry_out(self.lanes.forget_idle(lane.user, lane.slot, self._now()))

    def _settle(self, action: owner_side.Settle) -> None:
        lane = action.lane
        if action.outcome == RECEIVED:
            self._metrics.settled_received += len(action.times)
        else:
            self._metrics.settled_stored += len(action.times)
        party = self.parties.get(lane.key)
        if party is None:
            return
        user, target, outcome = lane.user, lane.target, action.outcome
        if len(action.times) == 1:
            party.session.send(_settling(_SETTLING_BYTES, 2, 0x40, user, target, action.times[0], outcome))
            return
        replies = [_settling(_SETTLING_BYTES, 2, 0x40, user, target, time, outcome) for time in action.times]
        party.session.send_many(replies, _SETTLING_BYTES * len(replies))

    def _refuse(self, action: owner_side.Refuse) -> None:
        lane, code = action.lane, action.code
        self._metrics.refused[code.name] += len(action.times)
        party = self.parties.get(lane.key)
        if party is not None:
            for time in action.times:
                party.session.send(
                    encode_error(Command.USER_MESSAGE, lane.user, lane.target, time, code, code.name.lower(), retry_ms=_RETRY_MS.get(code))
                )

    # ------------------------------------------------------------------ the target's actions

    def _hand_letters(self, action: target_side.HandLetters) -> None:
        inbox = action.inbox
        self.busy_inboxes[inbox] = None
        node_id, owner, user, target, session = self.node_id, action.owner, action.sender_key >> 6, inbox.user, inbox.outlet
        if len(action.letters) == 1:
            time, body, message_id, _, _ = action.letters[0]
            session.send(encode_delivery(QOS1, user, target, time, body, (owner, message_id, node_id)))
        else:
            messages = [encode_delivery(QOS1, user, target, one[0], one[1], (owner, one[2], node_id)) for one in action.letters]
            session.send_many(messages, sum(map(len, messages)))
        online, elsewhere = self.inboxes.users, self.copies.elsewhere
        if len(online[target]) > 1 or len(online.get(user, ())) > 1 or (elsewhere and (target in elsewhere or user in elsewhere)):
            self.copies.of_handed(inbox, owner, action.sender_key, action.letters)

    def _received(self, action: target_side.Received) -> None:
        owner, sender_key, target, attempt, times = action
        if owner != self.node_id:
            self.post.received(owner, sender_key >> 6, sender_key & 63, target, attempt, times)
        else:
            self.received(owner, sender_key, target, attempt, times)

    def received(self, center: int, sender_key: int, target: int, attempt: int, times: Sequence[int]) -> None:
        """A center says: the target's application has these. Only the one the lane is open to is believed."""
        lane = self.lanes.terminals.get(sender_key, _NO_LANES).get(target)
        if lane is not None and lane.center == center:
            if center != self.node_id and attempt == lane.attempt:
                self.copies.of_received(lane, times)
            self.carry_out(lane.received(attempt, times, self._now()))
            if not lane.queue and lane.key not in self.parties:
                self._forget_if_gone(lane)

    def _returned(self, action: target_side.Returned) -> None:
        owner, sender_key, target, attempt, times, is_absent = action
        if owner != self.node_id:
            self.post.returned(owner, sender_key >> 6, sender_key & 63, target, attempt, times, is_absent)
        else:
            self.returned(owner, sender_key, target, attempt, times, is_absent)

    def returned(self, center: int, sender_key: int, target: int, attempt: int, times: Sequence[int], is_absent: bool = False) -> None:
        """A center gives these back; is_absent: for this sender nobody is there."""
        lane = self.lanes.get(sender_key >> 6, sender_key & 63, target)
        if lane is not None and lane.center == center:
            if self._finder is not None and center != self.node_id and attempt == lane.attempt:
                self.ways.gave_back(lane, is_absent)
                if not is_absent:
                    self._finder.doubt(target, center)
            self.carry_out(lane.returned(attempt, times, self._now(), is_absent))
            if not lane.queue:
                self._forget_if_gone(lane)
