"""The worked examples of accounts: what is asked, answered and told; the credentials by which one changes. See `make_vectors`."""

from __future__ import annotations

import itertools
from typing import Any

from myim_wire.contents import Credentials
from myim_wire.messages import QOS1, REPLY, Command
from tests.wire import account_examples as examples
from tests.wire.fixed import CREDENTIALS, MICROSECONDS, TICKET
from tests.wire.message_cases import message_case

NAME = MICROSECONDS // 64 * 64 + TICKET.slot
NEW_PASSWORD = "battery staple 电池"
PASSWORD_CHANGE = Credentials("password", *CREDENTIALS[1:], NEW_PASSWORD)
DELETION = Credentials("delete", *CREDENTIALS[1:])


def account_messages() -> list[dict[str, Any]]:
    """What is said about accounts."""
    ann, c, t = examples.ANN, "center", "terminal"
    times = itertools.count(NAME, 64)
    asked = [message_case(f"account: {one.op}", t, Command.ACCOUNT, QOS1, ann, 0, next(times), one.encode()) for one in examples.REQUESTS]
    answered = [
        message_case(f"account: {name} answered", c, Command.ACCOUNT, REPLY, ann, 0, NAME, content)
        for name, content in (
            ("terminals", examples.TERMINALS.encode()), ("logins", examples.LOGINS.encode()), ("export", examples.PART.encode()),
        )
    ]  # fmt: skip
    others = message_case("account: revoke all others", t, Command.ACCOUNT, QOS1, ann, 0, next(times), examples.REVOKE_OTHERS.encode())
    told = message_case("a new terminal", c, Command.ACCOUNT, 0, 0, 0, 0, examples.NEW_TERMINAL.encode())
    return [*asked, others, *answered, told]
