"""Terminals that log in by password at a real node, and what they ask about their account."""

from __future__ import annotations

from myim_server.node import Node
from myim_wire.account_contents import (
    AccountRequest,
    Acknowledge,
    Export,
    ExportPart,
    ListLogins,
    ListTerminals,
    LoginPage,
    NewTerminal,
    RenameTerminal,
    RevokeTerminal,
    TerminalPage,
    decode_account_push,
)
from myim_wire.contents import Grant, Operation
from myim_wire.errors import ErrorCode
from myim_wire.key_schedule import derive_terminal_private
from myim_wire.login_flights import Granted
from myim_wire.messages import ERROR, REPLY, Command, Message, decode_error
from tests.login.terminal import Terminal
from tests.server.running import DEADLINE_SECONDS, Person, RawTerminal, wait_until

PASSWORD = "correct horse battery"


class Device:
    """A machine that logs in: keys that stay, what it calls itself."""

    def __init__(self, node: Node, called: str) -> None:
        assert node.login is not None
        self.called = called
        self.login = Terminal(node.login.server_port)

    def decision(self, op: Operation, name: str, password: str = PASSWORD, new_password: str = "") -> object:
        """Granted or Refused."""
        wire, client = self.login.certified()
        try:
            wire.send(client.credentials(op, name, password, self.called, new_password))
            (decision,) = client.receive(wire.flight())
            return decision
        finally:
            wire.close()

    def grant(self, op: Operation, name: str, password: str = PASSWORD, new_password: str = "") -> Grant:
        """What is granted."""
        decision = self.decision(op, name, password, new_password)
        assert isinstance(decision, Granted), decision
        return decision.grant

    def person(self, op: Operation, name: str, password: str = PASSWORD, new_password: str = "") -> Person:
        """Who may connect by what is granted."""
        grant = self.grant(op, name, password, new_password)
        private = derive_terminal_private(self.login.fingerprint, self.login.secret)
        return Person(grant.user, grant.slot, grant.token, grant.session_key, private)


class Owner(RawTerminal):
    """A terminal that looks after its account."""

    def account(self, request: AccountRequest) -> Message:
        """The whole reply to an ACCOUNT."""
        return self.ask(Command.ACCOUNT, request.encode())

    def refusal(self, request: AccountRequest) -> ErrorCode:
        """Why it is refused."""
        reply = self.account(request)
        assert reply.flags & ERROR
        return ErrorCode(decode_error(reply.content).code)

    def terminals(self, request: ListTerminals | RenameTerminal | RevokeTerminal | Acknowledge | None = None) -> TerminalPage:
        """The terminals, after a change that is not refused."""
        reply = self.account(request or ListTerminals())
        assert not reply.flags & ERROR, decode_error(reply.content)
        return TerminalPage.decode(reply.content)

    def logins(self, before: int = 0) -> LoginPage:
        """A page of logins."""
        reply = self.account(ListLogins(before))
        assert not reply.flags & ERROR, decode_error(reply.content)
        return LoginPage.decode(reply.content)

    def part(self, number: int) -> ExportPart:
        """A part of an export."""
        reply = self.account(Export(number))
        assert not reply.flags & ERROR, decode_error(reply.content)
        return ExportPart.decode(reply.content)

    def export(self) -> tuple[bytes, int]:
        """The document, and in how many parts it came."""
        parts = [self.part(0)]
        while not parts[-1].is_last:
            parts.append(self.part(len(parts)))
        assert [part.part for part in parts] == list(range(len(parts)))
        return b"".join(part.data for part in parts), len(parts)

    def warning(self, seconds: float = DEADLINE_SECONDS) -> NewTerminal:
        """The next warning of a new terminal."""
        message = self.wait_for(lambda one: one.command == Command.ACCOUNT and not one.flags & REPLY, seconds)
        assert (message.user, message.target, message.time) == (0, 0, 0)
        return decode_account_push(message.content)

    def has_no_warning(self, node: Node) -> bool:
        """Whether none came, or comes because of what happened before this."""
        wait_until(lambda: has_heard_all(node))
        self.terminals()
        return not any(one.command == Command.ACCOUNT and not one.flags & REPLY for one in self.inbox)

    def is_cut_off(self) -> ErrorCode:
        """Why the center ends the session."""
        return ErrorCode(decode_error(self.goodbye().content).code)


def has_heard_all(node: Node) -> bool:
    """Whether the center has read all of the log, and told what followed from it."""
    role, store = node._role, node.store
    assert role is not None and store is not None
    asked = role.accounts.warnings._asked
    return role.generations._change_number == store.terminals.change_number() and not len(asked) and not asked._running


def here(node: Node, person: Person, number: int = 1) -> Owner:
    """A terminal that has fetched."""
    terminal = Owner(node, person, number)
    terminal.fetch()
    return terminal
