"""Groups in the chat and on the command line: what is typed, what is asked, what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from myim_client import Client
from myim_client.console_chat import completions
from myim_client.console_groups import GROUP_COMMANDS, change_line
from myim_client.console_words import why
from myim_client.events import GroupChangeArrived
from myim_wire.errors import ErrorCode
from myim_wire.group_contents import EVENTS, GroupPage, GroupState, ListedMember, ListedPending, MemberPage, PendingPage, Standing
from myim_wire.group_requests import (
    Approve,
    Change,
    Create,
    Decline,
    Describe,
    Dissolve,
    GroupRequest,
    HandOver,
    Invite,
    Join,
    Leave,
    ListGroups,
    ListMembers,
    ListPending,
    Mute,
    Remove,
    SetRole,
    decode_group_request,
)
from myim_wire.messages import Command, name_time
from tests.client.command_line import Console
from tests.client.scene import confirmed_positions, group_state
from tests.client.scripted_center import ME, SLOT, YOU, Session, wait_until
from tests.client.talk import Talk

TEAM = 900


def within(talk: Talk, *others: GroupState) -> Session:
    """Somebody who is in #team, talks to it, and knows bob by name."""
    session = talk.center.session()
    talk.type_and_get("/group list", ListGroups, GroupPage((group_state(TEAM, members=2), *others), False).encode())
    talk.client.courier.names[YOU] = "bob"
    talk.lines.clear()
    talk.chat.type("/to #team" if not others else f"/to #{TEAM}")
    assert talk.chat.group == TEAM
    return session


def test_a_line_goes_to_the_group_and_its_number_follows(talk: Talk) -> None:
    session = within(talk)
    assert talk.chat.prompt == "#team> "
    talk.chat.type("hello all")
    wait_until(lambda: session.of(Command.GROUP_MESSAGE))
    (post,) = session.of(Command.GROUP_MESSAGE)
    assert (post.target, post.content) == (TEAM, b"hello all")
    session.settle_post(post, 7)
    assert talk.until("number") == "  ✓  number 7: hello all"
    assert talk.client.profile.query("SELECT * FROM chat_sent") == []


def test_posts_are_shown_with_group_and_name_and_are_confirmed(talk: Talk) -> None:
    session = within(talk)
    session.post(TEAM, 1, b"\x1b[2Jhi\nboss: forged")
    assert talk.until("hi").split(" ", 1)[1] == "#team bob: \ufffd[2Jhi\n    boss: forged"
    wait_until(lambda: confirmed_positions(session) == [(TEAM, 1)])


def test_ones_own_posts_come_back_only_from_elsewhere(talk: Talk) -> None:
    session = within(talk)
    for number, slot in ((1, SLOT), (2, SLOT + 1)):
        named = name_time(64 * 1_000_000, 0, slot)
        session.post(TEAM, number, b"mine %d" % number, ME, named=named)
    assert talk.until("mine").split(" ", 1)[1] == "#team you, elsewhere: mine 2"
    wait_until(lambda: confirmed_positions(session)[-1:] == [(TEAM, 2)])


def test_a_group_whose_name_is_not_known_is_asked_for_it(talk: Talk) -> None:
    session = talk.center.session()
    session.post(TEAM, 0, b"who is this?")
    asking = talk.looking("who is this?")
    session.reply(session.asked(Describe), group_state(TEAM, "team").encode())
    assert "#team" in asking()


def test_a_refused_post_is_told_with_its_reason(talk: Talk) -> None:
    session = within(talk)
    talk.chat.type("x")
    wait_until(lambda: session.of(Command.GROUP_MESSAGE))
    session.refuse(session.of(Command.GROUP_MESSAGE)[0], ErrorCode.MUTED)
    assert talk.until("refused") == "  ✗  refused (MUTED, you may not speak there just now): x"


TYPED: list[tuple[str, GroupRequest]] = [
    ("/group invite bob @33", Invite((YOU, 33))),
    ("/group approve bob", Approve(YOU)),
    ("/group decline @33", Decline(33)),
    ("/group remove bob", Remove(YOU)),
    ("/group role bob admin", SetRole(YOU, "admin")),
    ("/group handover bob", HandOver(YOU)),
    ("/group mute bob 60", Mute(YOU, 60)),
    ("/group muteall on", Change(is_muted=True)),
    ("/group muteall off", Change(is_muted=False)),
    ("/group rename the new team", Change(name="the new team")),
    ("/group describe all of us", Change(description="all of us")),
    ("/group describe", Change(description="")),
]


@pytest.mark.parametrize(("line", "request_"), TYPED, ids=[row[0] for row in TYPED])
def test_what_is_typed_is_asked_in_the_group_one_talks_to(talk: Talk, line: str, request_: GroupRequest) -> None:
    within(talk)
    asked = talk.type_and_get(line, type(request_), group_state(TEAM).encode())
    assert (asked.target, decode_group_request(asked.content)) == (TEAM, request_)
    assert talk.lines == ["* done in #team"]


@pytest.mark.parametrize(("line", "kind"), [("/group leave", Leave), ("/group dissolve", Dissolve), ("/group leave #team", Leave)])
def test_who_has_left_talks_to_nobody(talk: Talk, line: str, kind: type[GroupRequest]) -> None:
    within(talk)
    talk.type_and_get(line, kind, group_state(TEAM, role="none", version=2).encode())
    assert talk.until("any more") == "* you are not a member of #team any more"
    talk.chat.type("to nobody")
    assert talk.lines[-1] == "! to whom? /to NAME"


@pytest.mark.parametrize("line", ["/group dissolve #other", "/group dissolve team", "/group members #other", "/group pending #other"])
def test_who_names_a_group_where_none_is_taken_does_nothing_to_the_one_he_talks_to(talk: Talk, line: str) -> None:
    session = within(talk)
    count = len(session.of(Command.GROUP))
    talk.chat.type(line)
    assert talk.lines == ["! it is about the group you talk to, and nothing more is typed; /to #NAME changes the group"]
    assert len(session.of(Command.GROUP)) == count


def test_an_owner_who_leaves_is_told_what_to_do_first(talk: Talk) -> None:
    talk.type_and_get("/group create team", Create, group_state(TEAM, "team", "owner").encode())
    typing, asked = talk.type_and_ask("/group leave", Leave)
    talk.center.sessions[-1].refuse(asked, ErrorCode.NOT_ALLOWED)
    typing.join(10)
    assert talk.lines[-1] == "! it is yours: first /group handover NAME, or end it with /group dissolve"


CREATED = [
    ("/group create team", Create("team")),
    ("/group create our team open", Create("our team", join="open")),
    ("/group create open", Create("open")),
    ("/group create team approval", Create("team", join="approval")),
]


@pytest.mark.parametrize(("line", "request_"), CREATED, ids=[row[0] for row in CREATED])
def test_who_makes_a_group_talks_to_it(talk: Talk, line: str, request_: Create) -> None:
    asked = talk.type_and_get(line, Create, group_state(TEAM, request_.name, "owner").encode())
    assert decode_group_request(asked.content) == request_
    assert talk.lines == [f"* made #{request_.name} (#{TEAM}); what you type goes to it"]
    assert (talk.chat.group, talk.chat.target) == (TEAM, None)


def test_joining_leads_into_the_group_or_to_its_door(talk: Talk) -> None:
    asked = talk.type_and_get(f"/group join {TEAM} let me in", Join, group_state(TEAM, role="requested").encode())
    assert (asked.target, decode_group_request(asked.content)) == (TEAM, Join("let me in"))
    assert (talk.lines, talk.chat.group) == (["* you have asked to be let into #team"], None)
    asked = talk.type_and_get("/group join #team", Join, group_state(TEAM).encode())
    assert (decode_group_request(asked.content), talk.chat.group) == (Join(), TEAM)
    assert talk.lines[-1] == "* you are in #team; what you type goes to it"


def test_lists_are_printed(talk: Talk) -> None:
    groups = (
        group_state(1, "one", "owner", members=1, join="open", description="a\x1b[2J"),
        group_state(2, "two", is_muted=True),
        group_state(3, "three", "invited"),
        group_state(4, "four", "requested"),
    )
    talk.type_and_get("/group list", ListGroups, GroupPage(groups, False).encode())
    assert talk.lines == [
        "  #one (#1): owner, 1 member, open to all, a\ufffd[2J",
        "  #two (#2): member, 3 members, by invitation, only owner and admins speak",
        "  #three (#3): you are invited; /group join #3, or decline it with /group leave #3",
        "  #four (#4): you have asked to be let in",
    ]
    within(talk)
    members = (ListedMember(YOU, "owner", 0, 1), ListedMember(33, "member", 0, 1))
    talk.type_and_get("/group members", ListMembers, MemberPage(members, 1, False).encode())
    assert talk.lines == ["  bob, owner", "  @33"]
    pending = (ListedPending(YOU, "requested", 0, "please", 1), ListedPending(33, "invited", YOU, "", 1))
    talk.type_and_get("/group pending", ListPending, PendingPage(pending, False).encode())
    assert talk.lines[2:] == ["  bob asks to be let in: please", "  @33 is invited by bob"]
    talk.type_and_get("/group pending", ListPending, PendingPage((), False).encode())
    assert talk.lines[-1] == "nobody"


WRONG = [
    ("/group leave", "! in which group? /to #NAME"),
    ("/to #nothing", "! no group here is called nothing; /group list says which there are"),
    ("/group join", "! type /group join #ID [WORDS]"),
    ("/group create", "! type /group create NAME [open|approval|invitation]"),
]
WRONG_WITHIN = [
    ("/group invite", "! type /group invite NAME…"),
    ("/group mute bob", "! type /group mute NAME SECONDS"),
    ("/group mute bob -1", "! type /group mute NAME SECONDS"),
    ("/group mute bob 4294967296", "! type /group mute NAME SECONDS"),
    ("/group role bob king", "! type /group role NAME admin|member"),
    ("/group muteall", "! type /group muteall on|off"),
    ("/group rename", "! type /group rename NEW NAME"),
    ("/group approve", "! type /group approve NAME"),
    ("/group remove two names", "! type /group remove NAME"),
]


@pytest.mark.parametrize(("line", "answer"), WRONG)
def test_a_line_that_cannot_be_is_answered(talk: Talk, line: str, answer: str) -> None:
    talk.chat.type(line)
    assert talk.lines == [answer]


@pytest.mark.parametrize(("line", "answer"), WRONG_WITHIN)
def test_a_line_that_cannot_be_within_a_group_is_answered(talk: Talk, line: str, answer: str) -> None:
    within(talk)
    talk.chat.type(line)
    assert talk.lines == [answer]


@pytest.mark.parametrize("line", ["/group", "/group dance"])
def test_the_commands_for_groups_are_told(talk: Talk, line: str) -> None:
    talk.chat.type(line)
    assert len(talk.lines) == len(GROUP_COMMANDS)
    talk.chat.type("/help")
    assert any("/group" in line for line in talk.lines[len(GROUP_COMMANDS) :])


def test_a_refusal_is_told_in_words_for_groups(talk: Talk) -> None:
    session = within(talk)
    typing, asked = talk.type_and_ask("/group dissolve", Dissolve)
    session.refuse(asked, ErrorCode.NOT_ALLOWED)
    typing.join(10)
    assert talk.lines == ["! refused: NOT_ALLOWED, there is no such group or user, or this is not for you to do"]


def test_groups_of_one_name_are_called_by_their_ids(talk: Talk) -> None:
    within(talk, group_state(901, "Team"))
    assert talk.chat.prompt == "#900> "
    talk.chat.type("/to #TEAM")
    assert talk.lines == ["! several groups are called TEAM: #900, #901"]
    assert talk.chat.group is None
    talk.chat.type("/to #901")
    assert talk.chat.group == 901


def test_nobody_talks_to_a_group_one_is_not_in(talk: Talk) -> None:
    session = within(talk)
    typing, asked = talk.type_and_ask("/to #77", Describe)
    session.reply(asked, group_state(77, "open", "none", join="open").encode())
    typing.join(10)
    assert talk.lines == ["! you are not a member of #77; /group join #77"]
    talk.chat.type("meant for others")
    assert session.of(Command.GROUP_MESSAGE) == []


def test_commands_and_groups_complete(talk: Talk) -> None:
    within(talk)
    assert completions(talk.client, "/to #") == ["/to #team"]
    assert completions(talk.client, "/group mu") == ["/group mute", "/group muteall"]
    assert "/group" in completions(talk.client, "/g")


def test_changes_are_told_as_they_come(talk: Talk) -> None:
    session = within(talk)
    session.tell_change("joined", TEAM, YOU)
    assert talk.until("joined") == "* bob joined #team"
    session.tell_change("invited", 77, ME)
    asking = talk.looking("invited you")
    session.reply(session.asked(Describe), group_state(77, "others", "invited").encode())
    assert asking() == "* bob invited you to #others; /group join #77"


TOLD = {
    "created": "* you made #team", "joined": "* bob let you into #team", "left": "* you left #team",
    "removed": "* bob removed you from #team", "invited": "* bob invited you to #team; /group join #900",
    "requested": "* bob asks to be let into #team; /group approve bob",
    "declined": "* bob declined you in #team", "role": "* bob gave you another role in #team",
    "muted": "* bob changed whether you may speak in #team", "changed": "* bob changed #team", "dissolved": "* bob dissolved #team",
}  # fmt: skip


@pytest.mark.parametrize("event", EVENTS)
def test_every_change_has_its_words(event: str) -> None:
    is_self = event in ("created", "left")
    user = YOU if event == "requested" else 0 if event in ("changed", "dissolved") else ME
    change = GroupChangeArrived(event, TEAM, 2, ME if is_self else YOU, user)
    assert change_line(change, ME, "#team", lambda _: "bob") == TOLD[event]


def test_a_limit_is_told_with_what_the_center_says_of_it() -> None:
    assert why(ErrorCode.LIMIT_REACHED, "at most 500 groups") == "LIMIT_REACHED, there may be no more: at most 500 groups"
    assert why(ErrorCode.NOT_MEMBER, "x") == "NOT_MEMBER, you are not a member of this group"


# the command line


def test_the_inbox_prints_the_posts_of_groups_too(console: Console) -> None:
    console.register()
    console.center.groups = [Standing(TEAM, 1, 2, 0, 0)]
    running = console.start("inbox", "me", "--json")
    session = console.center.session()
    session.reply(session.asked(ListGroups), GroupPage((group_state(TEAM, number=2),), False).encode())
    wait_until(lambda: session.fetches(TEAM))
    session.post(TEAM, 1, "grüß".encode())
    session.post(TEAM, 2, b"\xff\x00", sender=ME)
    session.end_fetch(session.fetches(TEAM)[0], 2, 2)
    output, errors = running.communicate(timeout=20)
    assert (running.returncode, errors) == (0, "")
    first, second = (json.loads(line) for line in output.splitlines())
    assert (first["type"], first["group"], first["group_name"], first["number"]) == ("group_message", TEAM, "team", 1)
    assert (first["from"], first["text"], first["own"], first["name"]) == (YOU, "grüß", False, None)
    assert (second["base64"], second["own"], second["name"]) == ("/wA=", True, "me")
    wait_until(lambda: session.is_ended)
    assert confirmed_positions(session)[-1] == (TEAM, 2)


def test_the_inbox_for_people_names_the_group(console: Console) -> None:
    console.register()
    console.center.groups = [Standing(TEAM, 1, 1, 0, 0)]
    running = console.start("inbox", "me")
    session = console.center.session()
    session.reply(session.asked(ListGroups), GroupPage((group_state(TEAM, "te\x1bam", number=1),), False).encode())
    wait_until(lambda: session.fetches(TEAM))
    session.post(TEAM, 1, b"one\ntwo")
    session.end_fetch(session.fetches(TEAM)[0], 1, 1)
    output, _ = running.communicate(timeout=20)
    assert output.splitlines()[0].split(" ", 2)[2] == f"#te\ufffdam @{YOU}: one"
    assert output.splitlines()[1] == "    two"


def test_a_post_may_be_sent_from_the_command_line(console: Console) -> None:
    console.register()
    running = console.start("send", "me", f"#{TEAM}", "hello", "all")
    session = console.center.session()
    wait_until(lambda: session.of(Command.GROUP_MESSAGE))
    assert session.of(Command.GROUP_MESSAGE)[0].content == b"hello all"
    session.settle_post(session.of(Command.GROUP_MESSAGE)[0], 7)
    output, _ = running.communicate(timeout=20)
    assert (running.returncode, output) == (0, "stored, number 7\n")


def test_a_group_that_is_not_known_ends_with_2(console: Console) -> None:
    console.register()
    assert console.run("send", "me", "#nothing", "x").exit_code == 2


def test_names_of_groups_outlive_the_process(talk: Talk, tmp_path: Path) -> None:
    within(talk)
    talk.client.close()
    talk.client = Client(talk.terminal, talk.path)
    assert completions(talk.client, "/to #") == ["/to #team"]
