"""The chat without a screen: typed lines in, printed lines out, against a scripted center."""

from __future__ import annotations

import threading
import time

import pytest

from myim_client import Event, MessageArrived
from myim_client.console_chat import Chat, completions
from myim_wire.contents import FoundUser
from myim_wire.errors import ErrorCode
from myim_wire.messages import Command
from tests.client.scene import confirmed
from tests.client.scripted_center import ME, YOU, delivery, wait_until
from tests.client.talk import Talk


def test_a_line_goes_to_whom_it_was_said_and_its_marks_follow(talk: Talk) -> None:
    talk.type_and_answer("/to bob", YOU, "bob")
    assert talk.chat.prompt == "bob> "
    talk.chat.type("hello there")
    session = talk.center.session()
    wait_until(lambda: session.bodies == [b"hello there"])
    session.settle(session.of(Command.USER_MESSAGE)[0], 2)
    assert talk.until("stored") == "  ✓  stored: hello there"
    session.tell_receipt((YOU, session.of(Command.USER_MESSAGE)[0].time))
    assert talk.until("has received") == "  ✓✓ bob has received: hello there"
    assert talk.client.profile.query("SELECT * FROM chat_sent") == []


def test_a_receipt_finds_its_words_after_a_restart(talk: Talk) -> None:
    talk.chat.type(f"/to @{YOU}")
    talk.chat.type("remember me")
    session = talk.center.session()
    wait_until(lambda: session.bodies)
    message = session.of(Command.USER_MESSAGE)[0]
    session.settle(message, 2)
    talk.until("stored")
    talk.client.close()
    talk.open()
    talk.center.session(2).tell_receipt((YOU, message.time))
    assert talk.until("has received") == f"  ✓✓ @{YOU} has received: remember me"


def test_a_message_that_nobody_fetched_is_told_with_its_words(talk: Talk) -> None:
    talk.chat.type(f"/to @{YOU}")
    talk.chat.type("too late")
    session = talk.center.session()
    wait_until(lambda: session.bodies)
    session.settle(session.of(Command.USER_MESSAGE)[0], 2)
    talk.until("stored")
    session.tell_expired((YOU, session.of(Command.USER_MESSAGE)[0].time))
    assert talk.until("did not fetch") == f"  ✗  @{YOU} did not fetch it in time: too late"
    assert talk.client.profile.query("SELECT * FROM chat_sent") == []


def test_messages_are_shown_with_names_or_ids_and_never_touch_the_screen(talk: Talk) -> None:
    session = talk.center.session()
    session.deliver(YOU, 64, b"\x1b[2Jhi\nboss: forged")
    assert talk.until("hi").split(" ", 1)[1] == f"@{YOU}: \ufffd[2Jhi\n    boss: forged"
    talk.type_and_answer("/to Bob", YOU, "bob")
    session.deliver(YOU, 128, b"known")
    assert talk.until("known").endswith("bob: known")
    session.deliver(ME, 192, b"from my phone", qos=0, target=YOU)
    assert talk.until("phone").endswith("you, elsewhere, to bob: from my phone")


def test_a_refusal_is_shown_with_its_reason(talk: Talk) -> None:
    talk.chat.type(f"/to @{YOU}")
    talk.chat.type("x")
    session = talk.center.session()
    wait_until(lambda: session.bodies)
    session.refuse(session.of(Command.USER_MESSAGE)[0], ErrorCode.NOT_ALLOWED)
    assert talk.until("refused") == "  ✗  refused (NOT_ALLOWED, there is no such user, or none that takes this from you): x"
    typing = threading.Thread(target=talk.chat.type, args=("/to bob",))
    typing.start()
    wait_until(lambda: session.of(Command.LOOKUP))
    session.refuse(session.of(Command.LOOKUP)[0], ErrorCode.STORE_UNAVAILABLE, retry_ms=1500)
    typing.join(10)
    assert talk.lines[-1] == "! refused: STORE_UNAVAILABLE, the server's database does not answer; try again in 2 s"
    talk.chat.type("meant for bob")
    assert (talk.lines[-1], session.bodies) == ("! to whom? /to NAME", [b"x"])


def test_who_talks_to_nobody_answers_the_first_who_writes(talk: Talk) -> None:
    session = talk.center.session()
    session.deliver(ME, 64, b"from my phone", qos=0, target=YOU)
    talk.until("phone")
    assert talk.chat.target is None
    session.deliver(YOU, 64, b"hello")
    talk.until("hello")
    assert talk.lines[-1] == f"* what you type goes to @{YOU}; /to NAME changes that"
    assert talk.chat.prompt == f"@{YOU}> "
    session.deliver(YOU + 1, 64, b"me too")
    assert talk.until("me too") == talk.lines[-1]
    talk.chat.type("an answer")
    wait_until(lambda: session.bodies == [b"an answer"])
    assert session.of(Command.USER_MESSAGE)[0].target == YOU


def test_who_talks_to_somebody_goes_on_doing_so(talk: Talk) -> None:
    talk.chat.type(f"/to @{YOU}")
    talk.center.session().deliver(YOU + 1, 64, b"hello")
    talk.until("hello")
    assert (talk.chat.target, talk.lines[-1].endswith("hello")) == (YOU, True)


def test_a_session_that_needs_the_password_says_what_to_type(talk: Talk) -> None:
    talk.chat = Chat(talk.client, talk.lines.append, "myim --server chat.example.org:7400 login me")
    talk.center.refusal = ErrorCode.TOKEN_REVOKED
    talk.center.session().cut()
    assert talk.until("leave and run").endswith("leave and run: myim --server chat.example.org:7400 login me")


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("hello", "! to whom? /to NAME"),
        ("/dance", "! /help says what there is"),
        ("/to", "! /help says what there is"),
        (f"/to @{ME}", "! that is you"),
        ("/names", "none yet; /to NAME asks for one"),
    ],
)
def test_a_line_that_cannot_be_is_answered(talk: Talk, line: str, answer: str) -> None:
    talk.chat.type(line)
    assert talk.lines == [answer]


def test_an_empty_line_is_nothing(talk: Talk) -> None:
    talk.chat.type("   ")
    assert talk.lines == []


def test_help_names_every_command_and_mark(talk: Talk) -> None:
    talk.chat.type("/help")
    text = "\n".join(talk.lines)
    for word in ("/to", "/names", "/help", "/quit", "✓✓"):
        assert word in text


def test_a_line_too_long_is_refused_and_nothing_is_kept(talk: Talk) -> None:
    talk.chat.type(f"/to @{YOU}")
    talk.chat.type("x" * 40_000)
    assert talk.lines[-1].startswith("! a body of 40000 bytes")
    assert talk.client.profile.query("SELECT * FROM chat_sent") == []


IMPOSSIBLE = ("/to @0", f"/to @{1 << 64}", "/to @" + "9" * 5000, "/to #" + "9" * 5000, "/to " + "x" * 70_000, "/block @" + "9" * 5000)


def test_what_nobody_can_be_called_is_refused_in_words_for_people(talk: Talk) -> None:
    for line in IMPOSSIBLE:
        talk.chat.type(line)
        assert talk.lines[-1].startswith(("! no user can", "! no group here is called ", "! @")), line
        assert "digits" not in talk.lines[-1], line
        assert talk.chat.prompt == "> "


def test_bytes_that_are_no_text_are_said_to_be_none(talk: Talk) -> None:
    talk.chat.type(f"/to @{YOU}")
    for line in ("caf\udce9", "/to \udce9", "/export \udce9", "/group create \udce9"):
        talk.chat.type(line)
        assert talk.lines[-1] == "! that is not UTF-8, which this terminal should send"
    assert talk.client.unsettled == 0


def test_a_chat_that_can_show_nothing_any_more_says_so_and_is_over(talk: Talk) -> None:
    talk.chat.type(f"/to @{YOU}")
    talk.chat.type("hello")
    session = talk.center.session()
    wait_until(lambda: session.bodies)
    talk.client.profile.execute("DROP TABLE chat_sent")  # nothing can be read there, as on a disk that fails
    session.settle(session.of(Command.USER_MESSAGE)[0], 2)
    talk.chat.listen(lambda: None)
    assert talk.chat.is_over
    assert "! closed: " in talk.lines[-1] and "chat_sent" in talk.lines[-1]


def test_quit_and_being_replaced_end_the_chat(talk: Talk) -> None:
    talk.center.session().goodbye(ErrorCode.REPLACED)
    assert talk.until("closed")
    assert talk.chat.is_over
    other = Chat(talk.client, talk.lines.append)
    other.type("/quit")
    assert other.is_over


def test_commands_and_names_complete(talk: Talk) -> None:
    talk.type_and_answer("/to bob", YOU, "bob")
    assert completions(talk.client, "/to b") == ["/to bob"]
    assert completions(talk.client, "/q") == ["/quit"]
    assert completions(talk.client, "") == []


def test_strangers_whose_names_nobody_tells_delay_no_receipt_and_are_named_once_they_are_told(talk: Talk) -> None:
    talk.center.is_lookup_answered = False
    session = talk.center.session()
    session.send(*(delivery(100 + number, 64, b"hello from a stranger") for number in range(5)))
    events: list[Event] = []
    while sum(isinstance(event, MessageArrived) for event in events) < 5:
        events += talk.client.take(10)
    began = time.monotonic()
    talk.chat.show(events)
    assert time.monotonic() - began < 3
    wait_until(lambda: len(confirmed(session)) == 5)
    asked = session.of(Command.LOOKUP)
    assert len(asked) == 5
    session.reply(asked[4], FoundUser(104, "late").encode())
    wait_until(lambda: talk.client.names().get(104) == "late")
