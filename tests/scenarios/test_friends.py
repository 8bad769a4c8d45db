"""Two people become friends on their consoles, at a real node: they see each other come, go and change; who hides is absent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from myim_client import Client, FriendAccepted, FriendListChanged, FriendRequested, PresenceChanged
from tests.scenarios.test_console_screen import Desk, Screen
from tests.scenarios.town import Town, take, wait_until


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path, "friends: {grace_seconds: 0.5}")
    made.start()
    yield made
    made.close()


def again(screen: Screen, words: str) -> None:
    """Wait until the screen shows these words once more than it does."""
    count = screen.text.count(words)
    wait_until(lambda: screen.text.count(words) > count, 30.0)


def test_two_consoles_become_friends_and_see_each_other_come_go_and_change(town: Town) -> None:
    alice, bob = Desk(town, "alice"), Desk(town, "bob")
    try:
        alice.register()
        bob.register()
        a, b = alice.open("chat", "alice"), bob.open("chat", "bob")
        a.until("connected to")
        b.until("connected to")
        a.type("/add bob it is me")
        a.until("* bob is asked")
        b.until("* alice asks to be your friend: it is me; /accept alice")
        b.type("/accept alice")
        for screen, name in ((a, "bob"), (b, "alice")):
            screen.until(f"* {name} is your friend now")
            screen.until(f"* {name} is online")
        b.type("/signature gone fishing")
        a.until("* bob has a new signature: gone fishing")
        b.type("/status busy with the fish")
        a.until("* bob is busy: with the fish")
        a.type("/friends")
        a.until("  bob, busy: with the fish — gone fishing")
        b.type("/quit")
        assert b.process.wait(20) == 0
        a.until("* bob is offline")
        b = bob.open("chat", "bob")
        again(a, "* bob is busy: with the fish")
        b.until("* alice is online")
        b.type("/unfriend alice")
        a.until("* bob is not your friend any more")
    finally:
        for screen in alice.screens + bob.screens:
            screen.close()


def befriend(alice: Client, bob: Client) -> None:
    """Make friends of two, and let each see the other."""
    alice.friends.ask(bob.user, "it is me")
    assert take(bob, FriendRequested)[0] == FriendRequested(alice.user, "it is me")
    bob.friends.accept(alice.user)
    assert [friend.name for friend in bob.friends.list()] == ["alice"]
    take(alice, FriendAccepted)
    for client, other in ((alice, bob), (bob, alice)):
        wait_until(lambda client=client, other=other: client.friends.presence_of(other.user).state == "online")  # type: ignore[misc]


def test_who_is_invisible_comes_back_unseen_and_is_seen_when_it_says_so(town: Town) -> None:
    alice, bob = town.register("alice"), town.register("bob")
    befriend(alice, bob)
    take(alice, PresenceChanged)
    bob.presence("invisible")
    assert take(alice, PresenceChanged)[0] == PresenceChanged(bob.user, "offline", "")
    bob = town.again(bob)
    wait_until(lambda: bob.friends.presence_of(alice.user).state == "online")
    bob.presence("away", "just now")
    assert take(alice, PresenceChanged)[0] == PresenceChanged(bob.user, "away", "just now")


def test_a_terminal_that_was_away_fetches_what_changed_meanwhile(town: Town) -> None:
    alice, bob = town.register("alice"), town.register("bob")
    befriend(alice, bob)
    alice.close()
    bob.set_profile(signature="while you were away", display_name="Bob")
    alice = town.again(alice)
    assert take(alice, FriendListChanged)[0].version == alice.friends.version
    (friend,) = alice.friends.list()
    assert (friend.signature, friend.display_name) == ("while you were away", "Bob")
    assert alice.profile_of(bob.user).signature == "while you were away"
