"""What arrives from groups at a client, over a real socket: order, fetches, confirmations, transactions, restarts, memberships."""

from __future__ import annotations

import pytest

from myim_client import Client, GroupChangeArrived, GroupLeft, GroupMessageArrived, GroupsDone
from myim_client.group_courier import MAX_INQUIRIES
from myim_wire.errors import ErrorCode
from myim_wire.group_contents import GroupPage, Standing, decode_group_fetch
from myim_wire.group_requests import Describe, ListGroups
from myim_wire.messages import PING_ASK, Command
from tests.client.scene import Scene, confirmed_positions, group_state, take
from tests.client.scripted_center import ME, YOU, Session, wait_until

TEAM = 900


def standing(number: int = 0, cursor: int = 0, joined: int = 0, group: int = TEAM, version: int = 1) -> Standing:
    return Standing(group, version, number, cursor, joined)


def come(scene: Scene, *standings: Standing) -> tuple[Client, Session]:
    """A client in a new session that is told these memberships."""
    scene.center.groups = list(standings)
    before = len(scene.center.sessions)
    client = scene.connect()
    return client, scene.center.session(before + 1)


def numbers(client: Client, count: int) -> list[int]:
    return [take(client, GroupMessageArrived).number for _ in range(count)]


def test_a_post_is_shown_with_all_that_is_known_of_it_and_confirmed_after_the_commit(scene: Scene) -> None:
    client, session = come(scene, standing())
    session.post(TEAM, 1, "grüß\xff".encode(), accepted=5_000_000)
    event = take(client, GroupMessageArrived)
    assert (event.group, event.number, event.user, event.time, event.accepted) == (TEAM, 1, YOU, 64, 5_000_000)
    assert (event.text, event.is_own, event.entered, event.message_id) == ("grüß\xff", False, 1, 1)
    with client.transaction() as transaction:
        transaction.done(event)
        session.send(PING_ASK)
        assert confirmed_positions(session) == []
    wait_until(lambda: confirmed_positions(session) == [(TEAM, 1)])
    assert scene.rows("SELECT * FROM myim_group_positions") == [(TEAM, 1)]


def test_confirmations_rise_to_the_last_number(scene: Scene) -> None:
    client, session = come(scene, standing())
    for number in range(1, 51):
        session.post(TEAM, number)
    for _ in range(50):
        take(client, GroupMessageArrived).done()
    wait_until(lambda: confirmed_positions(session)[-1:] == [(TEAM, 50)])
    told = confirmed_positions(session)
    assert told == sorted(set(told))


def test_a_lost_push_is_fetched_and_shown_in_its_place(scene: Scene) -> None:
    client, session = come(scene, standing())
    session.post(TEAM, 1)
    session.post(TEAM, 3)
    wait_until(lambda: session.fetches(TEAM))
    (fetch,) = session.fetches(TEAM)
    assert decode_group_fetch(fetch.content) == 1
    session.post(TEAM, 2)
    session.post(TEAM, 3)
    session.post(TEAM, 4)
    session.end_fetch(fetch, 3, 3)
    assert numbers(client, 4) == [1, 2, 3, 4]
    assert len(session.fetches(TEAM)) == 1


def test_what_came_while_away_is_fetched_by_the_page_and_its_end_is_told(scene: Scene) -> None:
    client, session = come(scene, standing(number=9, cursor=2))
    wait_until(lambda: session.fetches(TEAM))
    assert decode_group_fetch(session.fetches(TEAM)[0].content) == 2
    session.post(TEAM, 4)
    session.end_fetch(session.fetches(TEAM)[0], 6, 9)
    wait_until(lambda: len(session.fetches(TEAM)) == 2)
    assert decode_group_fetch(session.fetches(TEAM)[1].content) == 6
    events = [event for event in client.take(0.05) if isinstance(event, GroupMessageArrived | GroupsDone)]
    session.post(TEAM, 7)
    session.end_fetch(session.fetches(TEAM)[1], 9, 9)
    while not events or not isinstance(events[-1], GroupsDone):
        events += [event for event in client.take(10) if isinstance(event, GroupMessageArrived | GroupsDone)]
    assert [event.number for event in events if isinstance(event, GroupMessageArrived)] == [4, 7]
    with client.transaction() as transaction:
        transaction.done(*events)
    wait_until(lambda: confirmed_positions(session)[-1:] == [(TEAM, 9)])


def test_without_groups_all_is_there_at_once(scene: Scene) -> None:
    client, _ = come(scene)
    take(client, GroupsDone)


def test_a_post_that_was_not_shown_comes_again_after_a_restart_and_one_that_was_does_not(scene: Scene) -> None:
    client, session = come(scene, standing())
    for number in (1, 2, 3):
        session.post(TEAM, number)
    first, second, third = (take(client, GroupMessageArrived) for _ in range(3))
    third.done()
    first.done()
    assert second.number == 2
    client, session = come(scene, standing(number=3, cursor=1))
    wait_until(lambda: session.fetches(TEAM))
    assert decode_group_fetch(session.fetches(TEAM)[0].content) == 1
    for number in (2, 3):
        session.post(TEAM, number)
    session.end_fetch(session.fetches(TEAM)[0], 3, 3)
    take(client, GroupMessageArrived).done()
    wait_until(lambda: confirmed_positions(session) == [(TEAM, 3)])
    assert [event for event in client.take(0.1) if isinstance(event, GroupMessageArrived)] == []
    scene.leave()
    assert scene.rows("SELECT * FROM myim_group_shown") == []


def test_a_rolled_back_transaction_moves_no_position_and_gives_the_posts_again_before_all_others(scene: Scene) -> None:
    client, session = come(scene, standing())
    for number in (1, 2, 3):
        session.post(TEAM, number)
    first, second = take(client, GroupMessageArrived), take(client, GroupMessageArrived)
    with pytest.raises(ZeroDivisionError):
        with client.transaction() as transaction:
            transaction.done(first, second)
            transaction.post(TEAM, b"never")
            raise ZeroDivisionError
    assert numbers(client, 3) == [1, 2, 3]
    assert scene.rows("SELECT position FROM myim_group_positions WHERE position > 0") == []
    assert session.of(Command.GROUP_MESSAGE) == [] and confirmed_positions(session) == []


def test_a_new_session_of_the_same_client_hands_out_nothing_twice_and_goes_on_behind_it(scene: Scene) -> None:
    client, session = come(scene, standing())
    session.post(TEAM, 1)
    session.post(TEAM, 2)
    first = take(client, GroupMessageArrived)
    scene.center.groups = [standing(number=4)]
    session.cut()
    session = scene.center.session(2)
    wait_until(lambda: session.fetches(TEAM))
    assert decode_group_fetch(session.fetches(TEAM)[0].content) == 2
    for number in (3, 4):
        session.post(TEAM, number)
    session.end_fetch(session.fetches(TEAM)[0], 4, 4)
    assert numbers(client, 3) == [2, 3, 4]
    first.done()
    wait_until(lambda: confirmed_positions(session) == [(TEAM, 1)])


def test_a_position_whose_confirmation_was_lost_is_confirmed_again_at_the_next_session(scene: Scene) -> None:
    client, session = come(scene, standing())
    session.post(TEAM, 1)
    take(client, GroupMessageArrived).done()
    _, session = come(scene, standing(number=1, cursor=0))
    wait_until(lambda: confirmed_positions(session) == [(TEAM, 1)])


def test_closing_confirms_what_was_gathered(scene: Scene) -> None:
    client, session = come(scene, standing())
    session.post(TEAM, 1)
    take(client, GroupMessageArrived).done()
    scene.leave()
    wait_until(lambda: session.is_ended)
    assert confirmed_positions(session) == [(TEAM, 1)]


def test_qos_0_is_shown_at_once_and_nothing_is_kept_of_it(scene: Scene) -> None:
    client, session = come(scene, standing())
    session.post(TEAM, 0, b"light", sender=ME)
    event = take(client, GroupMessageArrived)
    assert (event.number, event.body, event.is_own) == (0, b"light", True)
    event.done()
    session.post(TEAM, 1)
    take(client, GroupMessageArrived).done()
    wait_until(lambda: confirmed_positions(session) == [(TEAM, 1)])


def test_who_is_told_to_be_behind_fetches(scene: Scene) -> None:
    client, session = come(scene, standing())
    session.tell_behind(TEAM, 1)
    wait_until(lambda: session.fetches(TEAM))
    session.post(TEAM, 1)
    session.end_fetch(session.fetches(TEAM)[0], 1, 1)
    assert numbers(client, 1) == [1]


def test_a_refused_fetch_is_asked_for_again(scene: Scene) -> None:
    client, session = come(scene, standing(number=1))
    wait_until(lambda: session.fetches(TEAM))
    session.refuse(session.fetches(TEAM)[0], ErrorCode.STORE_UNAVAILABLE, retry_ms=100)
    wait_until(lambda: len(session.fetches(TEAM)) == 2)
    session.post(TEAM, 1)
    session.end_fetch(session.fetches(TEAM)[1], 1, 1)
    assert numbers(client, 1) == [1]


# memberships


def test_a_group_that_is_new_to_the_terminal_is_learnt_and_known_offline(scene: Scene) -> None:
    client, session = come(scene, standing(version=4))
    session.reply(session.asked(ListGroups), GroupPage((group_state(TEAM, "Team", "owner", version=4),), False).encode())
    wait_until(lambda: client.groups.known())
    (known,) = client.groups.known()
    assert (known.group, known.name, known.role) == (TEAM, "Team", "owner")
    scene.leave()
    offline = Client(scene.terminal, scene.path)
    scene.client = offline
    assert offline.groups.known() == [known]


def test_what_is_known_already_is_not_asked_for_again(scene: Scene) -> None:
    client, session = come(scene, standing(version=4))
    session.reply(session.asked(ListGroups), GroupPage((group_state(TEAM, version=4),), False).encode())
    wait_until(lambda: client.groups.known())
    client, session = come(scene, standing(version=4))
    take(client, GroupsDone)
    session.post(TEAM, 1)
    take(client, GroupMessageArrived)
    assert session.of(Command.GROUP) == []


def test_who_joins_during_the_session_is_shown_the_group_from_there(scene: Scene) -> None:
    client, session = come(scene)
    take(client, GroupsDone)
    session.post(TEAM, 6)  # of a group nobody told of, or before it was told
    session.tell_change("joined", TEAM, ME)
    assert take(client, GroupChangeArrived) == GroupChangeArrived("joined", TEAM, 2, YOU, ME)
    session.reply(session.asked(Describe), group_state(TEAM, number=7, cursor=7, joined=5, version=2).encode())
    wait_until(lambda: session.fetches(TEAM))
    assert decode_group_fetch(session.fetches(TEAM)[0].content) == 5


def test_a_member_that_is_removed_is_told_once_the_center_says_it_is_so(scene: Scene) -> None:
    client, session = come(scene, standing())
    session.reply(session.asked(ListGroups), GroupPage((group_state(TEAM),), False).encode())
    session.tell_change("removed", TEAM, ME)
    session.refuse(session.asked(Describe), ErrorCode.NOT_ALLOWED)
    assert take(client, GroupLeft) == GroupLeft(TEAM)
    assert client.groups.known() == []
    session.post(TEAM, 1)
    wait_until(lambda: len(session.of(Command.GROUP)) >= 3)
    assert [event for event in client.take(0.1) if isinstance(event, GroupMessageArrived)] == []


def test_a_removal_told_late_does_not_end_a_later_membership(scene: Scene) -> None:
    client, session = come(scene, standing())
    session.tell_change("removed", TEAM, ME, version=2)
    session.reply(session.asked(Describe), group_state(TEAM, version=3).encode())
    session.post(TEAM, 1)
    assert numbers(client, 1) == [1]
    assert [group.group for group in client.groups.known()] == [TEAM]


def test_a_dissolved_group_is_left_without_asking(scene: Scene) -> None:
    client, session = come(scene, standing())
    session.tell_change("dissolved", TEAM, 0)
    take(client, GroupChangeArrived)
    assert take(client, GroupLeft) == GroupLeft(TEAM)


def test_a_group_that_is_not_told_at_the_next_session_was_left(scene: Scene) -> None:
    _, session = come(scene, standing(group=1), standing(group=2))
    page = GroupPage((group_state(1), group_state(2)), False)
    session.reply(session.asked(ListGroups), page.encode())
    wait_until(lambda: scene.client is not None and len(scene.client.groups.known()) == 2)
    client, _ = come(scene, standing(group=1))
    assert take(client, GroupLeft) == GroupLeft(2)
    assert [group.group for group in client.groups.known()] == [1]


def test_a_fetch_of_who_is_no_member_makes_it_ask(scene: Scene) -> None:
    client, session = come(scene, standing(number=1))
    wait_until(lambda: session.fetches(TEAM))
    session.refuse(session.fetches(TEAM)[0], ErrorCode.NOT_MEMBER)
    session.refuse(session.asked(Describe), ErrorCode.NOT_ALLOWED)
    assert take(client, GroupLeft) == GroupLeft(TEAM)


def test_a_renamed_group_is_described_anew_and_others_changes_ask_nothing(scene: Scene) -> None:
    client, session = come(scene, standing())
    session.reply(session.asked(ListGroups), GroupPage((group_state(TEAM, "old"),), False).encode())
    wait_until(lambda: client.groups.known())
    session.tell_change("joined", TEAM, YOU)
    session.tell_change("changed", TEAM, 0, version=3)
    session.reply(session.asked(Describe), group_state(TEAM, "new", version=3).encode())
    wait_until(lambda: client.groups.known()[0].name == "new")
    assert len(session.of(Command.GROUP)) == 2


def test_a_list_of_many_pages_is_asked_for_to_its_end(scene: Scene) -> None:
    client, session = come(scene, standing(group=1), standing(group=2))
    session.reply(session.asked(ListGroups), GroupPage((group_state(1),), True).encode())
    session.reply(session.asked(ListGroups, 2), GroupPage((group_state(2),), False).encode())
    wait_until(lambda: [group.group for group in client.groups.known()] == [1, 2])


def test_not_all_groups_are_inquired_after_at_once(scene: Scene) -> None:
    _, session = come(scene)
    for group in range(1, MAX_INQUIRIES + 3):
        session.post(group, 1)
    session.send(PING_ASK)
    wait_until(lambda: session.of(Command.PING))
    wait_until(lambda: len(session.of(Command.GROUP)) == MAX_INQUIRIES)
    session.refuse(session.of(Command.GROUP)[0], ErrorCode.NOT_ALLOWED)
    wait_until(lambda: len(session.of(Command.GROUP)) == MAX_INQUIRIES + 1)


@pytest.mark.parametrize("number", [1 << 63, (1 << 64) - 1])
def test_a_number_that_no_group_can_have_ends_the_session(scene: Scene, number: int) -> None:
    _, session = come(scene, standing())
    session.tell_behind(TEAM, number)
    scene.center.session(2)
