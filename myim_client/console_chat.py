"""The chat of the console: lines typed in, lines printed. `Chat` knows no screen and can be driven by a test; `run_chat` is the screen.

What was sent is noted in the same transaction as the outbox, in a table of its own in the profile, so that a receipt that comes
days later still finds its words.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable, Iterator

from myim_client.client import Client
from myim_client.console_account import COMMANDS as ACCOUNT_COMMANDS
from myim_client.console_account import AccountTalk
from myim_client.console_friends import COMMANDS as FRIEND_COMMANDS
from myim_client.console_friends import FriendTalk, friend_completions
from myim_client.console_groups import GROUP_COMMANDS, GroupConsole, GroupNames, change_line
from myim_client.console_place import HISTORY_SUFFIX
from myim_client.console_words import why
from myim_client.errors import MyimError, RequestRefused
from myim_client.events import (
    Connected,
    Disconnected,
    Event,
    FriendAccepted,
    FriendRequested,
    GroupChangeArrived,
    GroupLeft,
    GroupMessageArrived,
    MessageArrived,
    MessageExpired,
    MessageSettled,
    NewTerminal,
    OfflineDone,
    OutcomeKind,
    PasswordNeeded,
    ReceiptArrived,
)
from myim_client.printable import local_time, printable
from myim_wire.messages import slot_of

COMMANDS = {
    "/to NAME": "talk to NAME (or to @ID)",
    "/to #GROUP": "talk to a group (by its name, or #ID)",
    "/group": "what can be done with groups",
    "/names": "the names known here",
    **FRIEND_COMMANDS,
    **ACCOUNT_COMMANDS,
    "/help": "this",
    "/quit": "leave; Ctrl-D does the same",
}
MARKS = {OutcomeKind.RECEIVED: "✓✓", OutcomeKind.STORED: "✓ ", OutcomeKind.REFUSED: "✗ ", OutcomeKind.UNKNOWN: "? "}
_TABLE = "CREATE TABLE IF NOT EXISTS chat_sent (time INTEGER PRIMARY KEY, text TEXT NOT NULL)"
_SHORT = 40


class Chat:
    """One conversation at a time, with everybody's messages shown. `say` prints a line.

    Lines go to the user `target` or to the group `group`; one of the two at most is not None.
    """

    def __init__(self, client: Client, say: Callable[[str], None], login_with: str = "") -> None:
        """login_with: the command that logs this user in again."""
        self._client = client
        self._login_with = login_with or f"myim login {client.name}"
        self._say = say
        self._account = AccountTalk(client, say)
        self._friends = FriendTalk(client, say, self._name)
        self.target: int | None = None
        self.group: int | None = None
        self.is_over = False
        self._groups = GroupNames(client)
        self._group_console = GroupConsole(client, self._groups, say, self._name)
        with client.transaction() as transaction:
            transaction.execute(_TABLE)

    @property
    def prompt(self) -> str:
        """What stands before the line being typed."""
        if self.group is not None:
            return f"{self._groups.label(self.group)}> "
        return "> " if self.target is None else f"{self._name(self.target)}> "

    def type(self, line: str) -> None:
        """A line was typed: a command or a message."""
        line = line.strip()
        if any(unicodedata.category(character) == "Cs" for character in line):  # of bytes that are no text the screen makes these
            self._say("! that is not UTF-8, which this terminal should send")
            return
        try:
            if line.startswith("/"):
                self._command(line)
            elif line:
                self._send(line)
        except RequestRefused as error:
            is_group = line.startswith(("/group", "/to #"))
            self._say(f"! refused: {why(error.code, error.text, error.retry_ms, is_group)}")
        except (MyimError, ValueError) as error:
            self._say(f"! {printable(str(error))}")

    def _command(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        if word == "/to" and rest:
            self.talk_to(rest)
        elif word == "/group":
            group = self._group_console.act(rest, self.group)
            if group is not None:
                self.target, self.group = None, group
        elif word == "/names":
            self._say(" ".join(printable(name) for name in sorted(self._client.names().values())) or "none yet; /to NAME asks for one")
        elif word == "/quit":
            self.is_over = True
        elif word == "/help":
            for command, meaning in COMMANDS.items():
                self._say(f"  {command:20} {meaning}")
            self._say("  ✓ stored for them   ✓✓ received   ✓ number 7: in a group   ✗ refused   ? unknown after 7 days")
        elif word in self._account.words:
            self._account.words[word](rest)
        elif word in self._friends.words:
            self._friends.words[word](rest)
        else:
            self._say("! /help says what there is")

    def talk_to(self, who: str) -> None:
        """Make `who` (a name, @ID, #GROUP or #ID) the one that lines go to. Raises MyimError, ValueError; lines then go to nobody."""
        self.target = self.group = None  # should it fail, what is typed on, meant for `who`, must not reach whom one talked to before
        if who.startswith("#"):
            group = self._groups.find(who)
            if not self._groups.is_member(group):
                raise ValueError(f"you are not a member of {self._groups.label(group)}; /group join #{group}")
            self.group = group
            return
        target = self._client.user_id(who)
        if target == self._client.user:
            raise ValueError("that is you")
        self.target = target

    def _send(self, text: str) -> None:
        if self.target is None and self.group is None:
            self._say("! to whom? /to NAME")
            return
        with self._client.transaction() as transaction:
            if self.group is not None:
                handle = transaction.post(self.group, text)
            else:
                assert self.target is not None
                handle = transaction.send(self.target, text)
            transaction.execute("INSERT INTO chat_sent VALUES (?, ?)", (handle.time, text))

    def listen(self, shown: Callable[[], None]) -> None:
        """Show what comes, until the chat is over; `shown` is called after each piece. A chat that can show nothing any more is over."""
        try:
            while events := self._client.take():
                self.show(events)
                shown()
        except MyimError as error:  # the disk is full, say: it comes again at the next start
            if not self.is_over:
                self._say(f"! closed: {printable(str(error))}")
        finally:
            self.is_over = True

    def show(self, events: list[Event]) -> None:
        """Events came: print them, and keep in one transaction that they were."""
        self._learn(events)
        for line in self._friends.lines(events):
            self._say(line)
        with self._client.transaction() as transaction:
            for event in events:
                line = self._line(event, transaction.execute)
                if line:
                    self._say(line)
            transaction.done(*events)
        self._answer_to(events)
        if any(isinstance(event, OfflineDone) for event in events):  # after what waits to be confirmed, since it asks the center
            for line in self._friends.requests_meanwhile():
                self._say(line)

    def _learn(self, events: list[Event]) -> None:
        """Learn the names of the people and groups that events tell of."""
        users: list[int] = []
        groups: list[int] = []
        for event in events:
            if isinstance(event, MessageArrived | FriendRequested | FriendAccepted):
                users.append(event.user)
            elif isinstance(event, GroupMessageArrived | GroupChangeArrived):
                users += [event.user] if isinstance(event, GroupMessageArrived) else [event.actor, event.user]
                groups.append(event.group)
        self._client.learn_names(user for user in users if user not in (0, self._client.user))
        self._client.groups.learn(groups)

    def _answer_to(self, events: list[Event]) -> None:
        """Who talks to nobody yet answers the first who writes."""
        writers = [event.user for event in events if isinstance(event, MessageArrived) and not event.is_copy]
        if self.target is None and self.group is None and writers:
            self.target = writers[0]
            self._say(f"* what you type goes to {self._name(self.target)}; /to NAME changes that")

    def _line(self, event: Event, execute: Callable[..., object]) -> str:
        if isinstance(event, MessageArrived):
            return self._message(event)
        if isinstance(event, GroupMessageArrived):
            return self._group_message(event)
        if isinstance(event, MessageSettled):
            return self._settled(event, execute)
        if isinstance(event, ReceiptArrived):
            text = self._sent(event.time)
            execute("DELETE FROM chat_sent WHERE time = ?", (event.time,))
            return f"  ✓✓ {self._name(event.target)} has received: {text}"
        if isinstance(event, MessageExpired):
            text = self._sent(event.time)
            execute("DELETE FROM chat_sent WHERE time = ?", (event.time,))
            return f"  ✗  {self._name(event.target)} did not fetch it in time: {text}"
        return self._notice(event)

    def _settled(self, event: MessageSettled, execute: Callable[..., object]) -> str:
        text, outcome = self._sent(event.time), event.outcome
        if outcome.kind is not OutcomeKind.STORED or event.is_post:
            execute("DELETE FROM chat_sent WHERE time = ?", (event.time,))
        if outcome.number:
            return f"  {MARKS[outcome.kind]} number {outcome.number}: {text}"
        refusal = f" ({why(outcome.code, outcome.text, 0, event.is_post)})" if outcome.kind is OutcomeKind.REFUSED else ""
        return f"  {MARKS[outcome.kind]} {outcome.kind.value}{refusal}: {text}"

    def _notice(self, event: Event) -> str:
        if isinstance(event, Connected):
            return f"* connected to {event.server}"
        if isinstance(event, PasswordNeeded):
            return f"* {printable(event.reason)}; leave and run: {printable(self._login_with)}"
        if isinstance(event, NewTerminal):
            return self._account.warning(event)
        if isinstance(event, OfflineDone):
            return f"* {event.count} message{'s' * (event.count != 1)} had waited for you" if event.count else ""
        if isinstance(event, Disconnected):
            self.is_over |= event.is_final
            return f"* {'closed' if event.is_final else 'connection lost'}: {printable(event.reason)}"
        if isinstance(event, GroupChangeArrived):
            return change_line(event, self._client.user, self._groups.label(event.group), self._name)
        if isinstance(event, GroupLeft):
            if self.group == event.group:
                self.group = None
            return f"* you are not a member of {self._groups.label(event.group)} any more"
        return ""

    def _message(self, event: MessageArrived) -> str:
        when = local_time(event.time)
        who = f"you, elsewhere, to {self._name(event.target)}" if event.is_copy else self._name(event.user)
        return f"{when:%H:%M} {who}: {printable(event.text, keep_lines=True)}"

    def _group_message(self, event: GroupMessageArrived) -> str:
        if event.is_own and slot_of(event.time) == self._client.courier.account.slot:
            return ""  # it was typed here
        who = "you, elsewhere" if event.is_own else self._name(event.user)
        when = local_time(event.accepted or event.time)
        return f"{when:%H:%M} {self._groups.label(event.group)} {who}: {printable(event.text, keep_lines=True)}"

    def _name(self, user: int) -> str:
        return printable(self._client.names().get(user, "")) or f"@{user}"

    def _sent(self, time: int) -> str:
        rows = self._client.profile.query("SELECT text FROM chat_sent WHERE time = ?", (time,))
        text = printable(str(rows[0][0])) if rows else "an earlier message"
        return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"


def run_chat(client: Client, to: str | None, login_with: str) -> None:
    """The screen: a prompt at the bottom, events above it, until /quit, Ctrl-D, or a newer session of this terminal."""
    from prompt_toolkit import PromptSession, print_formatted_text
    from prompt_toolkit.completion import Completer, Completion
    from prompt_toolkit.patch_stdout import patch_stdout

    from myim_client.console_history import ChatHistory

    chat = Chat(client, lambda line: print_formatted_text(line), login_with)

    class Names(Completer):
        def get_completions(self, document: object, complete_event: object) -> Iterator[Completion]:
            text: str = document.text_before_cursor  # type: ignore[attr-defined]
            yield from (Completion(word, start_position=-len(text)) for word in completions(client, text))

    history = client.profile.path.with_name(client.profile.path.name + HISTORY_SUFFIX)  # others of this terminal have their own
    session: PromptSession[str] = PromptSession(history=ChatHistory(history), completer=Names(), complete_while_typing=False)

    def listen() -> None:
        chat.listen(session.app.invalidate)
        if session.app.is_running:
            session.app.exit(exception=EOFError)

    with patch_stdout():
        client.connect(0)
        print_formatted_text("/help says what there is.")
        if to:
            try:
                client.connect(5)
                chat.talk_to(to)
            except (MyimError, ValueError) as error:
                print_formatted_text(f"! {printable(str(error))}")
        threading.Thread(target=listen, daemon=True).start()
        while not chat.is_over:
            try:
                chat.type(session.prompt(lambda: chat.prompt))
            except KeyboardInterrupt:
                continue
            except EOFError:
                break


def completions(client: Client, text: str) -> list[str]:
    """What may become of the line `text`: a command, or /to and a known name or group."""
    words = sorted({command.split()[0] for command in COMMANDS}) + [f"/to {name}" for name in sorted(client.names().values())]
    words += [f"/to {label}" for label in GroupNames(client).labels()] + [" ".join(command.split()[:2]) for command in GROUP_COMMANDS]
    words += friend_completions(client)
    return [word for word in words if text and word.casefold().startswith(text.casefold()) and word != text]
