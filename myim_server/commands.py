"""Is this request allowed now? One method per command of [P-7], and the run of messages that most records are.

What lives here: the checks on what a logged-in terminal asks, and the answers that need no rule of delivery. What must not: sockets, SQL,
rules of order. A request that may block (names, tokens) is answered from a greenlet of its own, so a reader never waits for the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from myim_server.account_commands import AccountCommands
from myim_server.chat.lane import Lane, Letter
from myim_server.chat.lanes import Lanes
from myim_server.chat.party import Party
from myim_server.chat.router import Router
from myim_server.friend_commands import FriendCommands
from myim_server.group_commands import GroupCommands
from myim_server.metrics import Metrics
from myim_server.numbering import Numbering
from myim_server.pace import Limits, Pace
from myim_server.presence_commands import PresenceCommands
from myim_server.refusals import RequestRefused, SessionRefused
from myim_server.requests import Requests, Talk
from myim_server.sessions import Session
from myim_wire.bodies import CONFIRMED_GROUPS, CONFIRMED_MESSAGES
from myim_wire.contents import FoundUser, RenewedToken, Server, decode_lookup, encode_servers
from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.messages import FIRST, MAX_BODY_BYTES, PING_ANSWER, QOS1, REPLY, Command, Message, decode_pairs, encode_message

_MOST_FETCHES = 16
_PING = int(Command.PING)
_USER_MESSAGE = int(Command.USER_MESSAGE)
_RECEIPT = int(Command.RECEIPT)
_make = tuple.__new__


class Names(Protocol):
    """Exact names (may block)."""

    def look_up(self, asker: int, who: str | int) -> tuple[int, str]:
        """(user id, name as kept); RequestRefused NOT_ALLOWED."""


class Services(NamedTuple):
    """What commands ask besides the router: names, token renewal (user, slot -> token, may block), the server list."""

    names: Names
    renew: Callable[[Any], RenewedToken]
    servers: Callable[[], Sequence[Server]]


class Commands:
    """Takes what terminals say."""

    def __init__(
        self,
        router: Router,
        numbering: Numbering,
        limits: Limits,
        services: Services,
        requests: Requests,
        groups: GroupCommands,
        friends: FriendCommands,
        presence: PresenceCommands,
        accounts: AccountCommands,
        metrics: Metrics,
    ) -> None:
        self._router = router
        self._requests = requests
        self._groups = groups
        self._presence = presence
        self._accounts = accounts
        self._lanes: Lanes = router.lanes
        self._numbering = numbering
        self._limits = limits
        self._services = services
        self._metrics = metrics
        self._talks: dict[Party, Talk] = {}
        router.backlog.on_caught = self._answer_fetch
        self._take: dict[int, Callable[[Talk, Message, float], None]] = {
            Command.PING: self._ping,
            Command.USER_MESSAGE: self._odd_message,
            Command.RECEIPT: self._receipt,
            Command.GOODBYE: self._goodbye,
            Command.OFFLINE_FETCH: self._offline_fetch,
            Command.SERVERS: self._servers,
            Command.REKEY: self._rekey,
            Command.TOKEN: self._token,
            Command.LOOKUP: self._look_up,
            Command.GROUP: groups.request,
            Command.GROUP_MESSAGE: groups.post,
            Command.PRESENCE: presence.presence,
            Command.FRIENDS_ONLINE: presence.online,
            Command.FRIENDS: friends.list,
            Command.FRIEND_CHANGE: friends.change,
            Command.SIGNATURE: friends.profile,
            Command.ACCOUNT: accounts.request,
        }

    def begin(self, party: Party, ticket: Any, rekey: Callable[[], bytes]) -> Talk:
        """A session begins; rekey: seals the frame that answers a terminal's REKEY."""
        talk = self._talks[party] = Talk(party, ticket, rekey, Pace(self._limits))
        return talk

    def end(self, talk: Talk) -> None:
        """A session ended."""
        self._talks.pop(talk.party, None)
        self._groups.end(talk)
        self._presence.end(talk)
        self._accounts.end(talk)

    # ------------------------------------------------------------------ a record's messages

    def receive(self, talk: Talk, messages: Sequence[Message], now: float) -> None:
        """Take a record's messages in order; SessionRefused closes the session. Does not yield."""
        start, count = 0, len(messages)
        if count and messages[0][0] != _PING:  # pinging is not being active; of several terminals the last active gets the lanes
            talk.party.inbox.last_active = now
        while start < count:
            message = messages[start]
            if message[0] == _USER_MESSAGE:
                end = self._end_of_run(talk, messages, start)
                if end > start:
                    self._take_run(talk, messages[start:end] if end - start < count else messages, now)
                    start = end
                    continue
            elif message[0] == _RECEIPT and not message[1]:
                self._receipt(talk, message, now)
                start += 1
                continue
            self._one(talk, message, now)
            start += 1

    def _end_of_run(self, talk: Talk, messages: Sequence[Message], start: int) -> int:
        """Where the run of sound QoS 1 messages to one target that begins at `start` ends; `start` itself if it begins none."""
        session = talk.party.session
        user, slot = session.user, session.slot
        head = messages[start]
        target = head[3]
        if target == user or target == 0 or head[1] & ~FIRST != QOS1:
            return start
        end, flags = start, head[1]
        for message in messages[start:] if start else messages:
            if (
                message[1] != flags
                or message[3] != target
                or message[0] != _USER_MESSAGE
                or message[2] != user
                or message[4] & 63 != slot
                or len(message[5]) > MAX_BODY_BYTES
            ):
                break
            end += 1
            flags = QOS1  # a *first* behind the head begins a run of its own
        return end

    def _take_run(self, talk: Talk, run: Sequence[Message], now: float) -> None:
        party = talk.party
        size = len(run)
        head = run[0]
        lane = party.lanes.get(head[3]) or self._new_lane(party, head[3])
        message_id, accepted = self._numbering.take(size)
        if size == 1:
            letters = [_make(Letter, (head[4], head[5], message_id, accepted, now))]
        else:
            ids, times = range(message_id, message_id + size), range(accepted, accepted + size)
            letters = [_make(Letter, (m[4], m[5], i, t, now)) for m, i, t in zip(run, ids, times)]  # noqa: B905  # strict= costs a tenth
        if talk.pace.is_sending_too_fast(size, now) or talk.pace.is_too_much_unsettled(party.lanes, lane, run):
            self._take_what_fits(talk, lane, run, now)
            return
        self._metrics.messages_accepted += size
        self._router.carry_out(lane.take(letters, head[1] & FIRST != 0, now))

    def _take_what_fits(self, talk: Talk, lane: Lane, run: Sequence[Message], now: float) -> None:
        """A run that is too much as a whole: take its head as far as the limits go, refuse the rest."""
        pace, lanes = talk.pace, talk.party.lanes
        for position, message in enumerate(run):
            if len(run) == 1 or pace.is_sending_too_fast(1, now) or pace.is_too_much_unsettled(lanes, lane, [message]):
                self._router.carry_out(lane.refuse([late.time for late in run[position:]], ErrorCode.SLOW_DOWN))
                return
            message_id, accepted = self._numbering.take(1)
            self._metrics.messages_accepted += 1
            letter = Letter(message.time, message.content, message_id, accepted, now)
            self._router.carry_out(lane.take([letter], message.flags & FIRST != 0, now))

    def _new_lane(self, party: Party, target: int) -> Lane:
        if len(party.lanes) >= self._limits.lanes:
            self._forget_an_idle_lane(party)
        return self._lanes.lane(party.session.user, party.session.slot, target)

    def _forget_an_idle_lane(self, party: Party) -> None:
        for target, lane in party.lanes.items():
            if lane.is_idle:
                self._router.carry_out(lane.sender_moved(0.0))
                del party.lanes[target]
                return
        raise SessionRefused(ErrorCode.SLOW_DOWN, "too many targets at once")

    # ------------------------------------------------------------------ one message

    def _one(self, talk: Talk, message: Message, now: float) -> None:
        take = self._take.get(message[0])
        if message.flags & REPLY:
            talk.pace.count_unanswered(now)
            self._reply(talk, message)
            return
        if take is None:
            self._unknown(talk, message, now)
            return
        try:
            take(talk, message, now)
        except RemoteProtocolError as error:
            self._requests.refuse(talk, message, RequestRefused(error.code, error.text, field=error.field))
        except RequestRefused as refusal:
            self._requests.refuse(talk, message, refusal)

    def _unknown(self, talk: Talk, message: Message, now: float) -> None:
        talk.pace.count_unknown(now)
        self._requests.refuse(talk, message, RequestRefused(ErrorCode.UNKNOWN_COMMAND, "this center does not serve the command"))

    def _reply(self, talk: Talk, message: Message) -> None:
        """The only thing a terminal answers is RECEIPT to a sender [P-7.3]; any other reply is ignored and counted [P-7.1]."""
        party = talk.party
        if message.command == Command.RECEIPT and message.user == 0 and not message.content:
            self._router.carry_out(party.drain.answered(message.time))
        else:
            self._metrics.replies_ignored += 1

    def _odd_message(self, talk: Talk, message: Message, now: float) -> None:
        """A USER_MESSAGE that no run took: QoS 0, or refused for what it is."""
        refusal = _fault_of(message, talk.party.session)
        if refusal is not None:
            self._refuse_behind(talk, message)
            raise refusal
        if message.flags & 3:  # with an address: a hint of where the target is
            if message.address is not None:
                lane = talk.party.lanes.get(message.target) or self._new_lane(talk.party, message.target)
                self._router.ways.hint(lane, message.address[1])
            plain = message._replace(flags=message.flags & (QOS1 | FIRST), address=None)
            self._take_run(talk, [plain], now)
            return
        self._metrics.qos0_accepted += 1
        if talk.pace.is_sending_too_fast(1, now):  # QoS 0 is never answered [P-8.1]
            self._metrics.qos0_dropped += 1
            return
        message_id, accepted = self._numbering.take(1)
        letter = Letter(message.time, message.content, message_id, accepted, now)
        self._router.send_once(talk.party, message.target, letter)

    def _refuse_behind(self, talk: Talk, message: Message) -> None:
        """What is refused for its form is refused like anything in a lane: with all behind it [P-8.4]."""
        lane = talk.party.lanes.get(message.target)
        if lane is not None and message.flags & 3:
            lane.refuse([], ErrorCode.OUT_OF_ORDER)

    # ------------------------------------------------------------------ the commands

    def _ping(self, talk: Talk, message: Message, now: float) -> None:
        if talk.pace.is_sending_too_fast(1, now):  # a PING cannot be refused, and silence would look like a dead center
            raise SessionRefused(ErrorCode.SLOW_DOWN, "too many PINGs")
        if message.flags & 3:
            talk.party.session.send(PING_ANSWER)

    def _receipt(self, talk: Talk, message: Message, now: float) -> None:
        talk.pace.count_unanswered(now)
        try:
            kind, pairs = decode_pairs(message[5])
        except RemoteProtocolError as error:
            self._requests.refuse(talk, message, RequestRefused(error.code, error.text, field=error.field))
            return
        if kind not in (CONFIRMED_MESSAGES, CONFIRMED_GROUPS) or message[2] != talk.party.session.user:
            field = "user" if kind <= CONFIRMED_GROUPS else "content"
            self._requests.refuse(talk, message, RequestRefused(ErrorCode.BAD_COMMAND, "a receipt that cannot be", field=field))
        elif kind == CONFIRMED_MESSAGES:
            self._router.receipt(talk.party, pairs)
        else:
            self._groups.confirm(talk, pairs)

    def _goodbye(self, talk: Talk, message: Message, now: float) -> None:
        talk.party.session.farewell()

    def _offline_fetch(self, talk: Talk, message: Message, now: float) -> None:
        if message.target:
            self._groups.fetch(talk, message, now)
            return
        self._requests.check(talk, message, now)
        if len(talk.fetch_times) >= _MOST_FETCHES:
            raise RequestRefused(ErrorCode.SLOW_DOWN, "earlier fetches are not answered yet", retry_ms=1000)
        talk.fetch_times.append(message.time)
        if talk.has_begun:
            if talk.party.inbox.is_fetching:
                self._fetch(talk.party)
            return
        talk.has_begun = True
        self._presence.begin(talk, lambda: self._begin(talk))

    def _begin(self, talk: Talk) -> None:
        """Whom the user blocks is known: it may be delivered to."""
        self._fetch(talk.party)
        self._groups.begin(talk)
        self._accounts.begin(talk)

    def _fetch(self, party: Party) -> None:
        self._router.carry_out(party.inbox.fetch())
        self._router.carry_out(party.drain.want())

    def _answer_fetch(self, party: Party, count: int) -> None:
        talk = self._talks.get(party)
        if talk is not None:
            fetch_times, talk.fetch_times = talk.fetch_times, []
            for time in fetch_times:
                content = min(count, 0xFFFFFFFF).to_bytes(4, "big")
                party.session.send(encode_message(Command.OFFLINE_FETCH, REPLY, party.session.user, 0, time, content))

    def _servers(self, talk: Talk, message: Message, now: float) -> None:
        self._requests.check(talk, message, now)
        self._requests.answer(talk, message, encode_servers(list(self._services.servers())[:16]))

    def _rekey(self, talk: Talk, message: Message, now: float) -> None:
        if message.content:  # an offer; an empty one is the terminal's *done*, which the connection has seen to
            if talk.pace.is_asking_too_much(now):  # each computes; half a rekey cannot be refused and forgotten [P-6.3]
                raise SessionRefused(ErrorCode.SLOW_DOWN, "too many rekeys")
            try:
                talk.party.session.send_frame(talk.rekey)
            except RemoteProtocolError as error:
                raise SessionRefused(error.code, error.text) from error
            self._metrics.rekeys += 1

    def _token(self, talk: Talk, message: Message, now: float) -> None:
        self._requests.check(talk, message, now)
        if talk.is_renewing:
            raise RequestRefused(ErrorCode.SLOW_DOWN, "a renewal is under way", retry_ms=1000)
        talk.is_renewing = True

        def renew() -> bytes:
            try:
                renewed = self._services.renew(talk.ticket).encode()
            finally:
                talk.is_renewing = False
            self._metrics.tokens_renewed += 1
            return renewed

        self._requests.later(talk, message, renew)

    def _look_up(self, talk: Talk, message: Message, now: float) -> None:
        self._requests.check(talk, message, now, is_empty=False)
        who = decode_lookup(message.content)

        def ask() -> bytes:
            user, kept = self._services.names.look_up(talk.party.session.user, who)
            return FoundUser(user, kept).encode()

        self._requests.later(talk, message, ask)

def _fault_of(message: Message, session: Session) -> RequestRefused | None:
    """What is wrong with the form of a USER_MESSAGE, if anything is [P-3.5], [P-3.6], [P-3.7], [P-7.4]."""
    if message.user != session.user:
        return RequestRefused(ErrorCode.BAD_COMMAND, "user is not the logged-in user", field="user")
    if message.time & 63 != session.slot:
        return RequestRefused(ErrorCode.BAD_TIME, "the time holds another slot", field="time")
    if message.target in (0, session.user):
        return RequestRefused(ErrorCode.BAD_COMMAND, "a user message goes to another user", field="target")
    if len(message.content) > MAX_BODY_BYTES:
        return RequestRefused(ErrorCode.TOO_LARGE, f"a body has at most {MAX_BODY_BYTES} bytes", field="content")
    return None
