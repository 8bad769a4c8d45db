"""MyIM's SDK: behave as a user. `Terminal.open`, `register` or `login`, then a `Client`; README.md shows a whole program."""

from myim_client.client import Client, Transaction
from myim_client.errors import (
    BodyTooLarge,
    ClientClosed,
    IdentityChanged,
    LoginNeeded,
    LoginRefused,
    MyimError,
    NameUnknown,
    NotConnected,
    NotSettled,
    OutboxFull,
    ProfileRefused,
    RequestRefused,
    ServerUnreachable,
)
from myim_client.events import (
    Connected,
    Disconnected,
    Event,
    Handle,
    MessageArrived,
    MessageSettled,
    OfflineDone,
    Outcome,
    OutcomeKind,
    PasswordNeeded,
    ReceiptArrived,
)
from myim_client.login import LoggedIn, ask_servers, login, register
from myim_client.profile import Account
from myim_client.terminal import Terminal

__all__ = [
    "Account",
    "BodyTooLarge",
    "Client",
    "ClientClosed",
    "Connected",
    "Disconnected",
    "Event",
    "Handle",
    "IdentityChanged",
    "LoggedIn",
    "LoginNeeded",
    "LoginRefused",
    "MessageArrived",
    "MessageSettled",
    "MyimError",
    "NameUnknown",
    "NotConnected",
    "NotSettled",
    "OfflineDone",
    "Outcome",
    "OutcomeKind",
    "OutboxFull",
    "PasswordNeeded",
    "ProfileRefused",
    "ReceiptArrived",
    "RequestRefused",
    "ServerUnreachable",
    "Terminal",
    "Transaction",
    "ask_servers",
    "login",
    "register",
]
