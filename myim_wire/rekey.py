"""New traffic keys in a running session [P-6]: which REKEY content may come when, and what keys follow from it.

One `Rekey` lives as long as its connection; `connection` decides at which record the keys it gives are put in place. The order
offer, answer, done is a table; a step out of order is BAD_COMMAND and closes.
"""

from __future__ import annotations

import enum
import hashlib
import struct

from myim_wire.center_handshake import TrafficKeys, derive_traffic
from myim_wire.errors import ErrorCode, LocalProtocolError, RemoteProtocolError
from myim_wire.key_schedule import KeyPair, extract

_COUNT = struct.Struct(">I")
_LABEL = b"MyIM 1 rekey"
EPHEMERAL_BYTES = 32


class RekeyState(enum.Enum):
    """How far the present rekey is."""

    IDLE = "no rekey"
    OFFERED = "the terminal's key is out, the center's is awaited"
    ANSWERED = "both keys are known, the terminal's done is awaited"


class Rekey:
    """The rekeys of one end of one connection, one after the other; `count` is how many were begun with both keys known."""

    __slots__ = ("_binding", "_ephemeral", "_exporter", "_is_terminal", "_offer", "count", "state")

    def __init__(self, keys: TrafficKeys, is_terminal: bool) -> None:
        self._exporter = keys.exporter
        self._binding = keys.binding
        self._is_terminal = is_terminal
        self._ephemeral: KeyPair | None = None
        self._offer = b""
        self.count = 0
        self.state = RekeyState.IDLE

    def offer(self, ephemeral_private: bytes) -> bytes:
        """Terminal: the content of its REKEY. LocalProtocolError while another rekey runs."""
        if self.state is not RekeyState.IDLE or not self._is_terminal:
            raise LocalProtocolError(ErrorCode.BAD_COMMAND, f"no rekey now: {self.state.value}")
        self._ephemeral = KeyPair(ephemeral_private)
        self.state = RekeyState.OFFERED
        return self._ephemeral.public

    def receive_offer(self, content: bytes) -> None:
        """Center: the terminal's key came; `answer` is due."""
        if self.state is not RekeyState.IDLE or self._is_terminal or len(content) != EPHEMERAL_BYTES:
            raise _bad("an offer that cannot be now")
        self._offer = content
        self.state = RekeyState.OFFERED

    def answer(self, ephemeral_private: bytes) -> tuple[bytes, TrafficKeys]:
        """Center: (content of its reply, new keys). Its sealing key follows the reply's record, its opening key the *done*'s."""
        if self.state is not RekeyState.OFFERED or self._is_terminal:
            raise LocalProtocolError(ErrorCode.BAD_COMMAND, f"nothing to answer: {self.state.value}")
        ephemeral = KeyPair(ephemeral_private)
        keys = self._derive(self._offer, ephemeral.public, self._exchange(ephemeral, self._offer))
        self.state = RekeyState.ANSWERED
        return ephemeral.public, keys

    def receive_answer(self, content: bytes) -> TrafficKeys:
        """Terminal: the new keys. Its opening key follows the reply's record, its sealing key its own *done*'s."""
        if self.state is not RekeyState.OFFERED or self._ephemeral is None or len(content) != EPHEMERAL_BYTES:
            raise _bad("an answer to nothing")
        keys = self._derive(self._ephemeral.public, content, self._exchange(self._ephemeral, content))
        self._ephemeral = None
        self.state = RekeyState.ANSWERED
        return keys

    def finish(self) -> None:
        """Both: *done* was sent, or has come; BAD_COMMAND if no rekey waits for it."""
        if self.state is not RekeyState.ANSWERED:
            raise _bad("done without a rekey")
        self.state = RekeyState.IDLE

    def _exchange(self, own: KeyPair, peer_public: bytes) -> bytes:
        try:
            return own.exchange(peer_public)
        except RemoteProtocolError as error:
            raise _bad(error.text) from None

    def _derive(self, terminal_public: bytes, center_public: bytes, exchange: bytes) -> TrafficKeys:
        self.count += 1
        salt = hashlib.sha256(_LABEL + self._binding + _COUNT.pack(self.count) + terminal_public + center_public).digest()
        keys = derive_traffic(extract(salt, self._exporter + exchange), self._binding, self._is_terminal)
        self._exporter = keys.exporter
        return keys


def _bad(text: str) -> RemoteProtocolError:
    return RemoteProtocolError(ErrorCode.BAD_COMMAND, f"REKEY: {text}")
