"""`client.groups` against a scripted center: what each method asks, what it gives, what is taken up, what it raises."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from myim_client import Client, GroupLeft, Groups, NotConnected, RequestRefused, WithinTransaction
from myim_wire.errors import ErrorCode
from myim_wire.group_contents import GroupPage, ListedMember, ListedPending, MemberPage, PendingPage, decode_group_fetch
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
from tests.client.calls import Call
from tests.client.scene import Scene, group_state, take
from tests.client.scripted_center import ME, YOU, wait_until

TEAM = 900


REQUESTS: list[tuple[Callable[[Groups], object], GroupRequest]] = [
    (lambda groups: groups.join(TEAM, "please"), Join("please")),
    (lambda groups: groups.leave(TEAM), Leave()),
    (lambda groups: groups.invite(TEAM, [YOU, 9]), Invite((YOU, 9))),
    (lambda groups: groups.approve(TEAM, YOU), Approve(YOU)),
    (lambda groups: groups.decline(TEAM, YOU), Decline(YOU)),
    (lambda groups: groups.remove(TEAM, YOU), Remove(YOU)),
    (lambda groups: groups.set_role(TEAM, YOU, "admin"), SetRole(YOU, "admin")),
    (lambda groups: groups.hand_over(TEAM, YOU), HandOver(YOU)),
    (lambda groups: groups.mute(TEAM, YOU, 60), Mute(YOU, 60)),
    (lambda groups: groups.change(TEAM, name="new", is_muted=True), Change(name="new", is_muted=True)),
    (lambda groups: groups.dissolve(TEAM), Dissolve()),
    (lambda groups: groups.describe(TEAM), Describe()),
]


@pytest.mark.parametrize(("call", "request_"), REQUESTS, ids=[type(row[1]).__name__ for row in REQUESTS])
def test_every_request_names_its_group_and_gives_the_groups_state(
    scene: Scene, call: Callable[[Groups], object], request_: GroupRequest
) -> None:
    client = scene.connect()
    calling = Call(lambda: call(client.groups))
    session = scene.center.session()
    message = session.asked(type(request_))
    assert (message.user, message.target, decode_group_request(message.content)) == (ME, TEAM, request_)
    session.reply(message, group_state(TEAM, version=3).encode())
    assert calling.wait() == group_state(TEAM, version=3)


def test_a_group_that_was_made_is_known_and_its_posts_are_shown_from_the_first(scene: Scene) -> None:
    client = scene.connect()
    calling = Call(lambda: client.groups.create("team", "all of us", "open", [YOU]))
    session = scene.center.session()
    message = session.asked(Create)
    assert (message.target, decode_group_request(message.content)) == (0, Create("team", "all of us", "open", (YOU,)))
    session.reply(message, group_state(TEAM, role="owner", number=1).encode())
    assert calling.wait().group == TEAM
    assert [group.group for group in client.groups.known()] == [TEAM]
    wait_until(lambda: session.fetches(TEAM))
    assert decode_group_fetch(session.fetches(TEAM)[0].content) == 0


def test_who_leaves_is_told_and_knows_the_group_no_more(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    joining = Call(lambda: client.groups.join(TEAM))
    session.reply(session.asked(Join), group_state(TEAM).encode())
    joining.wait()
    leaving = Call(lambda: client.groups.leave(TEAM))
    session.reply(session.asked(Leave), group_state(TEAM, role="none", version=2).encode())
    leaving.wait()
    assert take(client, GroupLeft) == GroupLeft(TEAM)
    assert client.groups.known() == []
    scene.leave()
    again = Client(scene.terminal, scene.path)
    scene.client = again
    assert again.groups.known() == []


def test_an_invitation_is_known_and_is_no_membership(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    asking = Call(client.groups.mine)
    session.reply(session.asked(ListGroups), GroupPage((group_state(TEAM, role="invited"),), False).encode())
    assert asking.wait() == client.groups.known() == [group_state(TEAM, role="invited")]
    assert not client.courier.groups.arrivals.is_member(TEAM)


def test_lists_are_asked_for_by_the_page(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    first, second = (ListedMember(user, "member", 0, 1) for user in (3, 5))
    listing = Call(lambda: list(client.groups.members(TEAM)))
    session.reply(session.asked(ListMembers), MemberPage((first,), 1, True).encode())
    assert decode_group_request(session.asked(ListMembers, 2).content) == ListMembers(3)
    session.reply(session.asked(ListMembers, 2), MemberPage((second,), 1, False).encode())
    assert listing.wait() == [first, second]
    waiting = ListedPending(4, "requested", 0, "let me in", 1)
    listing = Call(lambda: list(client.groups.pending(TEAM)))
    session.reply(session.asked(ListPending), PendingPage((waiting,), True).encode())
    assert decode_group_request(session.asked(ListPending, 2).content) == ListPending(4)
    session.reply(session.asked(ListPending, 2), PendingPage((), True).encode())
    assert listing.wait() == [waiting]


def test_all_groups_are_listed_to_the_last_page(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    listing = Call(client.groups.mine)
    session.reply(session.asked(ListGroups), GroupPage((group_state(1),), True).encode())
    assert decode_group_request(session.asked(ListGroups, 2).content) == ListGroups(1)
    session.reply(session.asked(ListGroups, 2), GroupPage((group_state(2),), False).encode())
    assert [group.group for group in listing.wait()] == [1, 2]


def test_a_refusal_is_raised_with_its_code_and_changes_nothing(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    asking = Call(lambda: client.groups.invite(TEAM, [YOU]))
    session.refuse(session.asked(Invite), ErrorCode.LIMIT_REACHED)
    with pytest.raises(RequestRefused) as caught:
        asking.wait()
    assert caught.value.code == ErrorCode.LIMIT_REACHED
    assert client.groups.known() == []


def test_a_session_that_ends_ends_the_waiting(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    asking = Call(lambda: client.groups.describe(TEAM))
    session.asked(Describe)
    session.cut()
    with pytest.raises(NotConnected):
        asking.wait()


def test_an_answer_that_was_overtaken_by_a_newer_one_changes_nothing(scene: Scene) -> None:
    client = scene.connect()
    session = scene.center.session()
    old = Call(lambda: client.groups.describe(TEAM))
    asked = session.asked(Describe)
    newer = Call(lambda: client.groups.join(TEAM))
    session.reply(session.asked(Join), group_state(TEAM, "new", version=5).encode())
    newer.wait()
    session.reply(asked, group_state(TEAM, "old", "none", version=4).encode())
    assert old.wait().name == "old"
    assert [(group.name, group.role) for group in client.groups.known()] == [("new", "member")]


def test_without_a_session_nothing_is_asked_and_what_is_known_is_told(scene: Scene) -> None:
    client = Client(scene.terminal, scene.path)
    scene.client = client
    with pytest.raises(NotConnected):
        client.groups.mine()
    assert client.groups.known() == []


def test_nothing_is_asked_within_a_transaction(scene: Scene) -> None:
    client = scene.connect()
    with client.transaction(), pytest.raises(WithinTransaction):
        client.groups.describe(TEAM)


@pytest.mark.parametrize("name", ["\ud800", "\udfff team"])
def test_a_text_that_is_none_is_refused_at_once(scene: Scene, name: str) -> None:
    client = scene.connect()
    with pytest.raises(ValueError, match="utf-8"):
        client.groups.create(name)
