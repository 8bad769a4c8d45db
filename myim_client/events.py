"""What the SDK tells the application: events, outcomes, and the handle of one sent message. Values only; nothing here acts.

Four kinds of event are *durable*: `MessageArrived`, `GroupMessageArrived`, `ReceiptArrived`, `MessageSettled`. They count as shown only
when the application says so (`Transaction.done`, `event.done()`, or by asking the iterator for the next), and come again after a crash.
The others only inform.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from myim_client.errors import NotSettled


class OutcomeKind(enum.Enum):
    """What became of a sent message [P-8.1], [P-8.2]."""

    RECEIVED = "received"
    STORED = "stored"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a sent message; `code` [P-9] and `text` say why it was refused (0 and "" otherwise).

    `number`: of a post that was stored, its number in the group.
    """

    kind: OutcomeKind
    code: int = 0
    text: str = ""
    number: int = 0

    @property
    def is_settled(self) -> bool:
        """Whether the message reached the target's application or is stored for it."""
        return self.kind is OutcomeKind.RECEIVED or self.kind is OutcomeKind.STORED


RECEIVED = Outcome(OutcomeKind.RECEIVED)
STORED = Outcome(OutcomeKind.STORED)
UNKNOWN = Outcome(OutcomeKind.UNKNOWN)


_MAKING = threading.Lock()  # two threads may wait for one handle, and each has to be woken


class Handle:
    """One sent message: `target` user id (of a post the group's), `time` its name [P-3.6] (microseconds, slot in the low 6 bits)."""

    __slots__ = ("_event", "_outcome", "target", "time")

    def __init__(self, target: int, time: int, outcome: Outcome | None = None) -> None:
        self.target = target
        self.time = time
        self._outcome = outcome
        self._event: threading.Event | None = None

    @property
    def outcome(self) -> Outcome | None:
        """The outcome, None while unsettled."""
        return self._outcome

    def wait(self, timeout: float | None = None) -> Outcome:
        """The outcome, after at most `timeout` seconds (None: for ever). Raises NotSettled."""
        if self._outcome is None:
            # made only when somebody waits: most senders never do, and an Event costs more than the message
            with _MAKING:
                event = self._event = self._event or threading.Event()
            if self._outcome is None and not event.wait(timeout):
                raise NotSettled(f"not settled after {timeout} s")
        assert self._outcome is not None
        return self._outcome

    def settle(self, outcome: Outcome) -> None:
        """Called by the client when the outcome is known."""
        self._outcome = outcome
        if self._event is not None:
            self._event.set()


@dataclass(slots=True, eq=False)
class Durable:
    """An event that comes again until the application is done with it."""

    confirm: Callable[[Any], None] | None = field(default=None, repr=False, kw_only=True)
    is_done: bool = field(default=False, kw_only=True)

    def done(self) -> None:
        """The application has it: keep that in the file (flushed), then confirm it to the center. A second call does nothing."""
        if self.confirm is not None and not self.is_done:
            self.confirm(self)


@dataclass(slots=True, eq=False)
class MessageArrived(Durable):
    """A message from `user` to `target` (the own id, unless it is a copy of what the user sent from another terminal).

    `name` the sender's name if known, "" otherwise; `body` bytes; `time` the sender's name for it, in microseconds since 1970;
    `entered`, `message_id` where it entered the service and its id there; `qos` 0 or 1; `is_copy` [P-7.4].
    """

    user: int
    target: int
    name: str
    body: bytes
    time: int
    entered: int
    message_id: int
    qos: int
    is_copy: bool

    @property
    def text(self) -> str:
        """The body as text; bytes that are not UTF-8 become U+FFFD."""
        return self.body.decode("utf-8", "replace")


@dataclass(slots=True, eq=False)
class GroupMessageArrived(Durable):
    """A message from `user` to all members of `group`; those with a `number` come in its order, each once.

    `number` 0: QoS 0, which nobody keeps. `time`: the sender's name for it; `accepted`: when the service took it; both in microseconds
    since 1970. `is_own`: of this user, from this terminal or another. `entered`, `message_id`: where it entered and its id there.
    """

    group: int
    number: int
    user: int
    time: int
    accepted: int
    body: bytes
    is_own: bool
    entered: int
    message_id: int

    @property
    def text(self) -> str:
        """The body as text; bytes that are not UTF-8 become U+FFFD."""
        return self.body.decode("utf-8", "replace")


@dataclass(slots=True, eq=False)
class ReceiptArrived(Durable):
    """The message (`target`, `time`), settled as stored before, has reached its target's application [P-8.7]."""

    target: int
    time: int
    notices: list[int] = field(default_factory=list, repr=False)


@dataclass(slots=True, eq=False)
class MessageSettled(Durable):
    """The message (`target`, `time`) of this terminal came to its `outcome`; only with `Client(settled_events=True)`.

    `is_post`: it went to a group, and `target` is the group's id.
    """

    target: int
    time: int
    outcome: Outcome
    is_post: bool = False


@dataclass(frozen=True, slots=True)
class Connected:
    """A session began at `server` (HOST:PORT)."""

    server: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The session, or the attempt at one, ended; `code` [P-9] or 0, `reason` for people.

    `is_final`: the client does not connect again (replaced by a newer session, or closed).
    """

    reason: str
    code: int = 0
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class PasswordNeeded:
    """The token expired, was revoked, or cannot be renewed; `reason` for people. The client goes on with what it has."""

    reason: str


@dataclass(frozen=True, slots=True)
class OfflineDone:
    """All that was stored at the time of connecting was handed over before this event; `count` messages [P-7.5]."""

    count: int


@dataclass(frozen=True, slots=True)
class MessageExpired:
    """The message (`target`, `time`), settled as stored before, went past its expiry before its target fetched it; told once [P-7.3]."""

    target: int
    time: int


@dataclass(frozen=True, slots=True)
class NewTerminal:
    """Another terminal logged in to the account for the first time, at `time` (microseconds since 1970) from `address`.

    It is told at once, and at each session until `client.account.acknowledge_terminal(slot)` or `revoke_terminal(slot)`.
    """

    slot: int
    name: str
    address: str
    time: int


@dataclass(frozen=True, slots=True)
class FriendRequested:
    """`user` asks to be a friend, with `words`; best effort: `client.friends.requests()` is the truth."""

    user: int
    words: str


@dataclass(frozen=True, slots=True)
class FriendAccepted:
    """`user` accepted to be a friend; best effort."""

    user: int


@dataclass(frozen=True, slots=True)
class FriendListChanged:
    """The friend list is another, at `version`: `client.friends.list()` has it already."""

    version: int


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """A friend is seen otherwise than was told before (at first all are offline), with its status text; best effort.

    `state`: "online", "away", "busy", "offline", or "unknown" where the center cannot say. Without a session all are unknown, untold.
    """

    user: int
    state: str
    text: str


@dataclass(frozen=True, slots=True)
class GroupChangeArrived:
    """`actor` did something to `user` (0: to the group itself) in `group`, whose version it made `version`; best effort.

    `event`: "created", "joined", "left", "removed", "invited", "requested", "declined", "role", "muted", "changed" or "dissolved".
    """

    event: str
    group: int
    version: int
    actor: int
    user: int


@dataclass(frozen=True, slots=True)
class GroupLeft:
    """The user is no member of `group` any more."""

    group: int


@dataclass(frozen=True, slots=True)
class GroupsDone:
    """All that the groups had at the time of connecting was handed over before this event."""


DurableEvent = MessageArrived | GroupMessageArrived | ReceiptArrived | MessageSettled
Event = (
    DurableEvent | Connected | Disconnected | PasswordNeeded | OfflineDone | MessageExpired | NewTerminal | GroupChangeArrived | GroupLeft
    | GroupsDone | FriendRequested | FriendAccepted | FriendListChanged | PresenceChanged
)  # fmt: skip
