"""One center connection as a value: bytes in, messages out; messages in, bytes out [P-2], [P-5], [P-6]. No socket, no clock.

The life of a connection is `TRANSITIONS`; there is no other place where `state` changes. A center's connection begins in
HANDSHAKE, waits in ACCEPTING for somebody to open the token, and in PROVING for the first valid record, which alone proves that a
terminal is there [P-5.5]; a terminal's goes from HANDSHAKE to OPEN. An empty record ends one direction. A breach of the protocol
ends the hearing (FAILED), but the own direction can still say why.

Once records flow, `receive_data` costs one branch per frame and one comparison per record on top of opening and decoding. What
may be sent by whom is not asked here: `messages.LAYOUTS` says it, and the flag table derived from it is handed to the decoder. Only
REKEY, which has to be the last of its record, is looked at, because the next record is under other keys. Answers to messages,
limits of rate and time, and what a message means are the caller's.
"""

from __future__ import annotations

import enum

from myim_wire import center_handshake
from myim_wire.bodies import encode_error_content
from myim_wire.center_handshake import CenterClient, Connect, TrafficKeys, parse_connect
from myim_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from myim_wire.flights import bad_handshake, encode_error_flight, raise_reported
from myim_wire.frames import HANDSHAKE_FRAME_CAP, SESSION_FRAME_CAP, FrameDecoder
from myim_wire.messages import (
    ERROR,
    LEGAL_FROM_CENTER,
    LEGAL_FROM_TERMINAL,
    REPLY,
    Command,
    Message,
    Side,
    decode_messages,
    encode_message,
)
from myim_wire.records import TAG_BYTES, OpeningKey, SealingKey
from myim_wire.rekey import Rekey, RekeyState


class State(enum.Enum):
    """Where in its life a connection is."""

    HANDSHAKE = "the first flight is awaited"
    ACCEPTING = "center: the token has to be opened"
    PROVING = "center: answered, the first valid record is awaited"
    OPEN = "messages flow"
    CLOSING = "we have sent our last record"
    PEER_CLOSED = "the peer has sent its last record"
    FAILED = "the peer broke the protocol and is no longer heard"
    CLOSED = "nothing more either way"


class Event(enum.Enum):
    """What moves a connection from state to state."""

    CONNECT_RECEIVED = enum.auto()
    ACCEPT_SENT = enum.auto()
    ACCEPT_RECEIVED = enum.auto()
    FIRST_RECORD_OPENED = enum.auto()
    CLOSE_SENT = enum.auto()
    CLOSE_RECEIVED = enum.auto()
    BREACH = enum.auto()


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.HANDSHAKE, Event.CONNECT_RECEIVED): State.ACCEPTING,
    (State.HANDSHAKE, Event.ACCEPT_RECEIVED): State.OPEN,
    (State.HANDSHAKE, Event.CLOSE_SENT): State.CLOSED,
    (State.HANDSHAKE, Event.BREACH): State.FAILED,
    (State.ACCEPTING, Event.ACCEPT_SENT): State.PROVING,
    (State.ACCEPTING, Event.CLOSE_SENT): State.CLOSED,
    (State.ACCEPTING, Event.BREACH): State.FAILED,
    (State.PROVING, Event.FIRST_RECORD_OPENED): State.OPEN,
    (State.PROVING, Event.CLOSE_SENT): State.CLOSED,
    (State.PROVING, Event.BREACH): State.FAILED,
    (State.OPEN, Event.CLOSE_SENT): State.CLOSING,
    (State.OPEN, Event.CLOSE_RECEIVED): State.PEER_CLOSED,
    (State.OPEN, Event.BREACH): State.FAILED,
    (State.CLOSING, Event.CLOSE_RECEIVED): State.CLOSED,
    (State.CLOSING, Event.BREACH): State.CLOSED,
    (State.PEER_CLOSED, Event.CLOSE_SENT): State.CLOSED,
    (State.FAILED, Event.CLOSE_SENT): State.CLOSED,
}

_PEER_CLOSED = frozenset({State.PEER_CLOSED, State.FAILED, State.CLOSED})
# A center that has said its last word hears nothing more; a terminal may still be handed what was on its way.
_DEAF = {Side.TERMINAL: _PEER_CLOSED, Side.CENTER: _PEER_CLOSED | {State.CLOSING}}
_REKEY = int(Command.REKEY)
_SPEAKING = frozenset({State.OPEN, State.PEER_CLOSED, State.FAILED})


class Connection:
    """One end of a center connection; make it with `for_terminal` or `for_center`.

    `state` is where it is; `is_peer_closed` whether the peer has sent its last record or is no longer heard [P-2.3];
    `connect` is the terminal's flight 1 while a center's connection is ACCEPTING.
    """

    __slots__ = (
        "_can_seal", "_client", "_frames", "_is_deaf", "_is_flowing", "_legal", "_next", "_opening", "_rekey", "_sealing", "_was_proven",
        "connect", "is_peer_closed", "side", "state",
    )  # fmt: skip

    def __init__(self, side: Side, client: CenterClient | None = None) -> None:
        self.side = side
        self.state = State.HANDSHAKE
        self.connect: Connect | None = None
        self._client = client
        self._frames = FrameDecoder(HANDSHAKE_FRAME_CAP)
        self._legal = LEGAL_FROM_TERMINAL if side is Side.CENTER else LEGAL_FROM_CENTER
        # Three verdicts on `state` that every record asks for; `_move` keeps them (an enum's hash is a call of its own).
        self.is_peer_closed = self._is_deaf = self._can_seal = False
        self._is_flowing = False
        self._was_proven = False
        self._sealing: SealingKey | None = None
        self._opening: OpeningKey
        self._rekey: Rekey
        self._next: TrafficKeys | None = None

    @classmethod
    def for_terminal(cls, client: CenterClient) -> Connection:
        """The terminal's end; send `client.connect()` first."""
        return cls(Side.TERMINAL, client)

    @classmethod
    def for_center(cls) -> Connection:
        """The center's end."""
        return cls(Side.CENTER)

    @property
    def is_open(self) -> bool:
        """Whether messages flow both ways."""
        return self.state is State.OPEN

    @property
    def has_partial_frame(self) -> bool:
        """Whether a frame has begun and not ended, for the deadline of [P-1.5]."""
        return self._frames.has_partial

    @property
    def records_opened(self) -> int:
        """How many records were opened under the present key."""
        return self._opening.records if self._is_flowing else 0

    @property
    def is_rekey_due(self) -> bool:
        """Whether a soft limit of records or bytes is reached in either direction and no rekey runs [P-2.5]."""
        if self._sealing is None or self._rekey.state is not RekeyState.IDLE:
            return False
        return self._sealing.is_due or self._opening.is_due

    @property
    def is_rekeying(self) -> bool:
        """Whether a rekey has begun and not ended [P-6]."""
        return self._sealing is not None and self._rekey.state is not RekeyState.IDLE

    def receive_data(self, data: bytes) -> list[Message]:
        """All messages that `data` completes, REKEY among them. Flight 1 at a center gives none and sets `connect`.

        RemoteProtocolError: the peer is no longer heard; answer with `refuse(error.code)` and close. Messages of earlier records in
        the same `data` are then not handed out: unsettled ones are sent again. ReportedError: a center refused the connection.
        """
        if self._is_deaf:
            return []
        messages: list[Message] = []
        try:
            contents = self._frames.feed(data)
            while contents:
                for content in contents:
                    plaintext = self._opening.open(content) if self._is_flowing else self._receive_early(content)
                    if plaintext is None:
                        continue
                    if not plaintext:
                        self._move(Event.CLOSE_RECEIVED)
                        return messages
                    decoded = decode_messages(plaintext, self._legal)
                    if decoded[-1][0] == _REKEY:
                        self._receive_rekey(decoded[-1])
                    messages = messages + decoded if messages else decoded
                contents = self._frames.feed(b"") if self._frames.has_stopped else []
        except RemoteProtocolError:
            self._move(Event.BREACH)
            raise
        return messages

    def accept(self, session_key: bytes, terminal_public: bytes, nonce: bytes, ephemeral_private: bytes) -> bytes:
        """Center: the frame of flight 2, with what the token said and 32 fresh random bytes twice [P-5.3].

        RemoteProtocolError(BAD_HANDSHAKE): the binder is wrong; `refuse` and close.
        """
        if self.state is not State.ACCEPTING or self.connect is None:
            raise LocalProtocolError(ErrorCode.BAD_HANDSHAKE, f"nothing to accept: {self.state.value}")
        try:
            frame, keys = center_handshake.accept(self.connect, session_key, terminal_public, nonce, ephemeral_private)
        except RemoteProtocolError:
            self._move(Event.BREACH)
            raise
        self.connect = None
        self._install(keys)
        self._move(Event.ACCEPT_SENT)
        return frame

    def seal(self, plaintext: bytes) -> bytes:
        """The frame of a record with one or more encoded messages, end to end. LocalProtocolError when nothing may be sent (any more),
        or for a terminal's first record over 4,096 bytes [P-1.2]."""
        if not self._can_seal or self._sealing is None or not plaintext:
            raise LocalProtocolError(ErrorCode.BAD_RECORD, f"nothing can be sealed: {self.state.value}")
        if not self._sealing.records and not self._was_proven:
            self._check_first(plaintext)
        return self._sealing.seal(plaintext)

    def close(self) -> bytes:
        """The frame of the empty record that ends the own direction; b"" when there is nothing to end [P-2.3]."""
        if self._sealing is None or self.state not in _SPEAKING:
            return b""
        self._move(Event.CLOSE_SENT)
        try:
            return self._sealing.seal(b"")
        except LocalProtocolError:
            return b""

    def refuse(self, code: ErrorCode, text: str = "", retry_ms: int | None = None) -> bytes:
        """Center: all that is left to send before closing with `code`: an error flight before the first valid record [P-5.6], else
        GOODBYE and the empty record [P-7.6]; b"" when nothing can be said any more."""
        if self.side is Side.TERMINAL:
            return self.close()
        if not self._was_proven:
            can_speak = (self.state, Event.CLOSE_SENT) in TRANSITIONS
            self._move(Event.CLOSE_SENT)
            return encode_error_flight(code) if can_speak else b""
        try:
            goodbye = self.seal(encode_message(Command.GOODBYE, ERROR, 0, 0, 0, encode_error_content(code, text, retry_ms)))
        except LocalProtocolError:
            goodbye = b""
        return goodbye + self.close()

    def ask_rekey(self) -> bytes:
        """Center: the frame that asks the terminal for a rekey [P-6.3]."""
        return self.seal(encode_message(Command.REKEY, 0, 0, 0, 0))

    def start_rekey(self, ephemeral_private: bytes) -> bytes:
        """Terminal: the frame of the offer, with 32 fresh random bytes [P-6.1]. LocalProtocolError while a rekey runs."""
        return self.seal(encode_message(Command.REKEY, 0, 0, 0, 0, self._rekey_or_raise().offer(ephemeral_private)))

    def answer_rekey(self, ephemeral_private: bytes) -> bytes:
        """Center: the frame of the answer to an offer, with 32 fresh random bytes; whatever is sealed after it is under the new key."""
        content, keys = self._rekey_or_raise().answer(ephemeral_private)
        frame = self.seal(encode_message(Command.REKEY, REPLY, 0, 0, 0, content))
        self._sealing = keys.sealing
        self._next = keys
        return frame

    def finish_rekey(self) -> bytes:
        """Terminal: the frame of *done*, after the answer came; whatever is sealed after it is under the new key."""
        if self._next is None:
            raise LocalProtocolError(ErrorCode.BAD_COMMAND, "no answer to a rekey has come")
        frame = self.seal(encode_message(Command.REKEY, 0, 0, 0, 0))
        self._rekey.finish()
        self._sealing, self._next = self._next.sealing, None
        return frame

    def _rekey_or_raise(self) -> Rekey:
        if self._sealing is None or self.state not in _SPEAKING:
            raise LocalProtocolError(ErrorCode.BAD_COMMAND, f"no rekey now: {self.state.value}")
        return self._rekey

    def _move(self, event: Event) -> None:
        self.state = state = TRANSITIONS.get((self.state, event), self.state)
        self.is_peer_closed = state in _PEER_CLOSED
        self._is_deaf = state in _DEAF[self.side]
        self._can_seal = state in _SPEAKING

    def _install(self, keys: TrafficKeys) -> None:
        self._sealing, self._opening = keys.sealing, keys.opening
        self._rekey = Rekey(keys, self.side is Side.TERMINAL)

    def _check_first(self, plaintext: bytes) -> None:
        if self.side is Side.TERMINAL and len(plaintext) + TAG_BYTES > HANDSHAKE_FRAME_CAP:
            raise LocalProtocolError(ErrorCode.BAD_FRAME, "the first record of a terminal is at most 4,096 bytes")

    def _receive_early(self, content: bytes) -> bytes | None:
        """A content before records flow: a flight (None), or the plaintext of the peer's first record."""
        if self.side is Side.TERMINAL and self._client is not None and self.state is State.HANDSHAKE:
            self._install(self._client.accept(content))
            self._client = None
            self._frames.cap = SESSION_FRAME_CAP
            self._move(Event.ACCEPT_RECEIVED)
            return None
        if self.state is State.HANDSHAKE:
            self.connect = parse_connect(content)
            self._move(Event.CONNECT_RECEIVED)
            return None
        if self.state is State.ACCEPTING:
            raise bad_handshake("a second flight before the first is answered")
        if self.side is Side.TERMINAL:
            raise_reported(content)
        plaintext = self._opening.open(content)
        self._frames.cap = SESSION_FRAME_CAP
        self._is_flowing = self._was_proven = True
        self._move(Event.FIRST_RECORD_OPENED)
        return plaintext

    def _receive_rekey(self, message: Message) -> None:
        is_reply, content = bool(message.flags & REPLY), message.content
        if self.side is Side.TERMINAL:
            if is_reply:
                self._next = self._rekey.receive_answer(content)
                self._opening = self._next.opening
            elif content:
                raise RemoteProtocolError(ErrorCode.BAD_COMMAND, "a center asks for a rekey with an empty content", "content")
        elif is_reply:
            raise RemoteProtocolError(ErrorCode.BAD_COMMAND, "a terminal never replies to a REKEY", "content")
        elif content:
            self._rekey.receive_offer(content)
        else:
            self._rekey.finish()
            if self._next is not None:
                self._opening, self._next = self._next.opening, None
