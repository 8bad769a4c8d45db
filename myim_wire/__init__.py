"""What the bytes say: frames, records, handshakes and messages of MyIM, as values. No socket but in `transport`, no clock, no log."""

from myim_wire.errors import ErrorCode, LocalProtocolError, ProtocolError, RemoteProtocolError
from myim_wire.messages import Command, Message

__all__ = ["Command", "ErrorCode", "LocalProtocolError", "Message", "ProtocolError", "RemoteProtocolError"]
