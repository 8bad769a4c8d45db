"""One value of every structure about accounts, for vectors and tests. Nothing here is a test."""

from __future__ import annotations

from myim_wire.account_contents import (
    AccountRequest,
    Acknowledge,
    Export,
    ExportPart,
    ListedLogin,
    ListedTerminal,
    ListLogins,
    ListTerminals,
    LoginPage,
    NewTerminal,
    RenameTerminal,
    RevokeTerminal,
    TerminalPage,
)
from tests.wire.fixed import MICROSECONDS, TICKET

ANN = TICKET.user
REQUESTS: tuple[AccountRequest, ...] = (
    ListTerminals(), RenameTerminal(1, "Ann's 手机"), RevokeTerminal(1), Acknowledge(1), ListLogins(MICROSECONDS), Export(3),
)  # fmt: skip
REVOKE_OTHERS = RevokeTerminal()
TERMINALS = TerminalPage((
    ListedTerminal(1, "Ann's 手机", "0a1b2c3d", MICROSECONDS + 1, MICROSECONDS + 2, "192.0.2.9", False, False, True, False),
    ListedTerminal(5, "Ann's laptop", "98fedc76", 0, MICROSECONDS + 3, "2001:db8::7", True, True, False, False),
))  # fmt: skip
LOGINS = LoginPage((
    ListedLogin(MICROSECONDS + 1, "192.0.2.9", "Ann's 手机", 1, True, True),
    ListedLogin(MICROSECONDS, "2001:db8::7", "Ann's laptop", 5, False, False),
), True)  # fmt: skip
PART = ExportPart(3, '"text": "再见"}]}\n'.encode(), True)
NEW_TERMINAL = NewTerminal(1, "Ann's 手机", "192.0.2.9", MICROSECONDS + 1)
