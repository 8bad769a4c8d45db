"""Carries out what the delivery rules decide: to sessions, to the shelf, to the directory, to other centers.

What lives here: one method per action of `lanes`, `inbox` and `receipts`, the coming and going of terminals. What must not: rules of
order or storage (they are in those three), what is done again and again for all (`janitor`), SQL, sockets, clocks.

Nothing in this file yields: whatever may block (store, a directory that is elsewhere) is asked in a greenlet of its own, and its answer
comes back as a call. So a record of messages is taken, forwarded and queued in one piece, and the tables of `lanes` and `inbox` change
only in code that does not switch.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, cast

from cluster.directory import Directory, Place
from myim_server.chat import inbox as target_side
from myim_server.chat import lane as owner_side
from myim_server.chat import receipts as receipt_side
from myim_server.chat.inbox import Inbox, Window
from myim_server.chat.inboxes import Inboxes
from myim_server.chat.lane import RECEIVED, Lane, Letter
from myim_server.chat.lanes import Lanes
from myim_server.chat.party import Party
from myim_server.chat.receipt_desk import ReceiptDesk, Receipts
from myim_server.chat.receipts import ReceiptDrain
from myim_server.chat.shelf import Outcomes, Page, Shelf
from myim_server.metrics import Metrics
from myim_server.sessions import Session, Sessions
from myim_server.store.offline import StoredMessage
from myim_wire.errors import ErrorCode
from myim_wire.messages import QOS1, Command, encode_delivery, encode_error

# A settling as one struct, the most frequent message of all [P-8.1]: length, command, flags REPLY, user, target, time, outcome.
_settling = struct.Struct(">BBBQQQB").pack
_SETTLING_BYTES = 28
_NO_LANES: dict[int, Lane] = {}
_NOWHERE = Inbox(0, 0, Window())  # bound to nothing: whatever follows an opening that found nobody comes back from here
_RECEIPTS_TO_SENDER = 3
_RECEIPT_PAGE = 500
_RETRY_MS = {ErrorCode.STORE_UNAVAILABLE: 1000, ErrorCode.SLOW_DOWN: 500, ErrorCode.BUSY: 500, ErrorCode.OUT_OF_ORDER: 0}


class Surroundings(NamedTuple):
    """What the router stands on: this center's id, clocks (monotonic seconds), greenlets, and the parts it speaks to."""

    node_id: int
    now: Callable[[], float]
    spawn: Callable[..., Any]
    sessions: Sessions
    directory: Directory
    shelf: Shelf
    receipts: Receipts
    metrics: Metrics


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
        self._desk = ReceiptDesk(around.receipts, around.spawn, self._send_to_drain, self.carry_out)
        self._metrics = around.metrics
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
            target_side.HandRows: self._hand_rows,
            target_side.Received: self._received,
            target_side.Returned: self._returned,
            target_side.Read: self._read,
            target_side.Confirm: self._confirm,
            target_side.Caught: self._caught,
            receipt_side.ReadReceipts: self._desk.read,
            receipt_side.SendReceipts: self._desk.send,
            receipt_side.DropReceipts: self._desk.drop,
        }

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
        self.carry_out(self.lanes.sender_moved(user, slot, self._now()))
        return party

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
        if not is_staying:  # else its next session's resends are answered from what these lanes remember
            self.carry_out(self.lanes.forget_idle(session.user, session.slot, self._now()))

    # ------------------------------------------------------------------ from terminals

    def send_once(self, party: Party, target: int, letter: Letter) -> None:
        """QoS 0: to every session of the target that is here and has fetched, else to the store (for one about to fetch, too), unless the
        directory knows of another center; never confirmed."""
        session = party.session
        here = self.inboxes.of(target)
        fetching = [inbox for inbox in here if inbox.is_fetching]
        if fetching:
            data = self._delivery(0, session.user, target, letter)
            for inbox in fetching:
                self._give_copy(inbox, data)
        elif here or not (self._directory.find([target]) or {}).get(target):
            self._shelf.put_once(session.user, target, letter, self._stored_once)
        else:
            self._metrics.qos0_dropped += 1

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
        self.busy_lanes[action.lane] = None
        target = action.lane.target
        if self.inboxes.of(target):  # the truth about sessions that are here needs no directory
            self.carry_out(action.lane.found(action.attempt, self.node_id, self._now()))
            return
        self.carry_out(action.lane.found(action.attempt, None, self._now()))

    def _forward(self, action: owner_side.Forward) -> None:
        lane = action.lane
        self.busy_lanes[lane] = None
        if action.is_opening:
            self._open(action)
        else:  # the inbox itself knows whether the lane is still bound to it
            follow = cast(Inbox, lane.bound_inbox).follow
            self.carry_out(follow(self.node_id, lane.key, action.attempt, action.letters, self._now()))

    def _open(self, action: owner_side.Forward) -> None:
        lane = action.lane
        self.busy_inboxes.update(dict.fromkeys(self.inboxes.of(lane.target)))
        opened = self.inboxes.open(self.node_id, lane.key, lane.target, action.attempt, action.letters, self._now())
        lane.bound_inbox = self.inboxes.bound.get((self.node_id, lane.key, lane.target), _NOWHERE)
        self.carry_out(opened)

    def _end(self, action: owner_side.End) -> None:
        lane = action.lane
        self.carry_out(self.inboxes.end(self.node_id, lane.key, lane.target, action.attempt))

    def _poke(self, action: owner_side.Poke) -> None:
        for inbox in self.inboxes.of(action.lane.target):
            self.carry_out(inbox.want_read())

    def _cut_off(self, action: owner_side.CutOff) -> None:
        lane = action.lane  # this center itself did not answer: its inbox lost track, so the binding is void
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

    def _delivery(self, qos: int, user: int, target: int, letter: Letter) -> bytes:
        return encode_delivery(qos, user, target, letter.time, letter.body, (self.node_id, letter.message_id, self.node_id))

    def _hand_letters(self, action: target_side.HandLetters) -> None:
        inbox = action.inbox
        self.busy_inboxes[inbox] = None
        node_id, user, target, session = self.node_id, action.sender_key >> 6, inbox.user, inbox.outlet
        if len(action.letters) == 1:
            time, body, message_id, _, _ = action.letters[0]
            session.send(encode_delivery(QOS1, user, target, time, body, (node_id, message_id, node_id)))
        else:
            messages = [
                encode_delivery(QOS1, user, target, letter[0], letter[1], (node_id, letter[2], node_id)) for letter in action.letters
            ]
            session.send_many(messages, sum(map(len, messages)))
        online = self.inboxes.users
        if len(online[target]) > 1 or len(online.get(user, ())) > 1:
            self._give_copies(action)

    def _give_copies(self, action: target_side.HandLetters) -> None:
        """Best effort: the target's other sessions, and the sender's own other terminals, see the message too."""
        user, target = action.sender_key >> 6, action.inbox.user
        copies = [self._delivery(0, user, target, letter) for letter in action.letters]
        for inbox in self.inboxes.of(target):
            if inbox is not action.inbox:
                for data in copies:
                    self._give_copy(inbox, data)
        self.echo(user, action.sender_key & 63, copies)

    def echo(self, user: int, slot: int, copies: Iterable[bytes]) -> None:
        """Copies of what a terminal sent to the user's other terminals here."""
        others = [inbox for inbox in self.inboxes.of(user) if inbox.slot != slot]
        for data in copies if others else ():
            for inbox in others:
                self._give_copy(inbox, data)

    def _give_copy(self, inbox: Inbox, data: bytes) -> None:
        party = self.parties.get(inbox.user << 6 | inbox.slot)
        if party is not None and inbox.is_fetching:
            party.session.send(data)

    def _hand_rows(self, action: target_side.HandRows) -> None:
        inbox = action.inbox
        party = self.parties.get(inbox.user << 6 | inbox.slot)
        if party is None or party.inbox is not inbox:
            return
        node_id, target = self.node_id, inbox.user
        messages = [
            encode_delivery(row.qos, row.user, target, row.time, row.body, (row.entered, row.message_id, node_id))
            for row in cast("list[StoredMessage]", action.rows)
        ]
        self._metrics.offline_delivered += len(messages)
        party.session.send_many(messages, sum(map(len, messages)))

    def _received(self, action: target_side.Received) -> None:
        lane = self.lanes.terminals.get(action.sender_key, _NO_LANES).get(action.target)
        if lane is not None:
            self.carry_out(lane.received(action.attempt, action.times, self._now()))
            if not lane.queue and lane.key not in self.parties:
                self._forget_if_gone(lane)

    def _returned(self, action: target_side.Returned) -> None:
        lane = self.lanes.get(action.sender_key >> 6, action.sender_key & 63, action.target)
        if lane is not None:
            self.carry_out(lane.returned(action.attempt, action.times, self._now()))
            if not lane.queue:
                self._forget_if_gone(lane)

    def _read(self, action: target_side.Read) -> None:
        inbox = action.inbox

        def done(page: Page | Exception) -> None:
            if isinstance(page, Exception):
                self.carry_out(inbox.read_failed())
            else:
                self.carry_out(inbox.read_done(page[0], page[1], self._now()))

        self._shelf.read(inbox, done)

    def _confirm(self, action: target_side.Confirm) -> None:
        inbox, names = action.inbox, action.names

        def done(result: int | Exception) -> None:
            if isinstance(result, Exception):
                inbox.confirm_failed(names)
                return
            self.carry_out(inbox.confirmed(names))
            for sender_key in {user << 6 | time & 63 for user, time in names}:
                sender = self.parties.get(sender_key)
                if sender is not None:
                    self.carry_out(sender.drain.want())

        self._shelf.confirm(inbox, names, done)

    def _caught(self, action: target_side.Caught) -> None:
        party = self.parties.get(action.inbox.user << 6 | action.inbox.slot)
        if party is not None and party.inbox is action.inbox:
            self.on_caught(party, action.count)

    on_caught: Callable[[Party, int], None] = staticmethod(lambda party, count: None)

    def _send_to_drain(self, drain: ReceiptDrain, data: bytes) -> None:
        party = self.parties.get(drain.user << 6 | drain.slot)
        if party is not None and party.drain is drain:
            party.session.send(data)
