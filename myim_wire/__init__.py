"""What the bytes say: frames, records, handshakes and messages of MyIM, as values. No socket but in `transport`, no clock, no log."""

from myim_wire.connection import Connection, State
from myim_wire.errors import ErrorCode, IdentityChangedError, LocalProtocolError, ProtocolError, RemoteProtocolError, ReportedError
from myim_wire.login_handshake import LoginClient, LoginServer
from myim_wire.messages import Command, Message, decode_messages, encode_message

__all__ = [
    "Command",
    "Connection",
    "ErrorCode",
    "IdentityChangedError",
    "LocalProtocolError",
    "LoginClient",
    "LoginServer",
    "Message",
    "ProtocolError",
    "RemoteProtocolError",
    "ReportedError",
    "State",
    "decode_messages",
    "encode_message",
]
