"""An export: one JSON document of all that is kept, in parts, read as they are asked for."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from myim_server.account_commands import MOST_EXPORTS
from myim_server.node import Node
from myim_server.store.engine import Store
from myim_server.store.friend_changes import Blocked, GroupAdded, Remarked
from myim_server.store.group_changes import Asked
from myim_server.store.offline import StoredMessage
from myim_server.store.schema import metadata
from myim_wire.account_contents import MAX_PART_BYTES, Export
from myim_wire.errors import ErrorCode
from tests.server.account_terminals import Owner, here
from tests.server.running import Person, make_person, start_node
from tests.store.friends import ask, befriend, change, set_profile
from tests.store.groups import change as change_group
from tests.store.groups import new_group, say
from tests.store.messages import message, put

# Where the document has what a table keeps of a user. A new table belongs here, or into one of the two below.
SECTIONS = {
    "users": "account", "profiles": "profile", "terminals": "terminals", "networks": "networks", "logins": "logins",
    "friend_groups": "friend_groups", "friends": "friends", "friend_requests": "requests_received", "blocks": "blocked",
    "chat_groups": "groups", "group_members": "groups", "group_pending": "groups", "offline_messages": "messages",
    "group_messages": "posts",
}  # fmt: skip
# Numbers and names by which terminals and centers keep in step, and nothing a user said or did.
IN_STEP = {"changes", "friend_lists", "friend_removals", "receipts", "held_receipts", "group_names", "throttles"}
OF_NOBODY = {"change_counter", "ticket_keys", "nodes", "endpoints", "group_leftovers", "deletions"}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    started = start_node(tmp_path)
    yield started
    started.stop()


@pytest.fixture
def store(node: Node) -> Store:
    assert node.store is not None
    return node.store


@pytest.fixture
def ann(node: Node) -> Person:
    return make_person(node, "ann")


@pytest.fixture
def bob(node: Node) -> Person:
    return make_person(node, "bob")


def exported(owner: Owner) -> dict[str, Any]:
    document, _ = owner.export()
    loaded: dict[str, Any] = json.loads(document)
    return loaded


def test_an_export_holds_all_that_is_kept_of_the_user_and_nothing_of_others(node: Node, store: Store, ann: Person, bob: Person) -> None:
    eve, dan, pam = (make_person(node, name).user for name in ("eve", "dan", "pam"))
    change(store, ann.user, 0, GroupAdded("朋友", 1))
    befriend(store, ann.user, bob.user)
    change(store, ann.user, bob.user, Remarked("old Bob"))
    befriend(store, bob.user, eve)
    ask(store, eve, ann.user, "hello?")
    ask(store, ann.user, dan, "me!")
    change(store, ann.user, pam, Blocked())
    set_profile(store, ann.user, display_name="Ann 🙂", signature="so \"it\" is", searchable="name")
    group = new_group(store, ann.user, bob.user)
    say(store, group, ann.user, 1)
    say(store, group, bob.user, 2)
    store.group_cursors.move([(group, ann.user, 2)])
    say(store, group, bob.user, 3)
    put(store, message(ann.user, bob.user, 1, body="grüße\n".encode()), message(ann.user, eve, 2, body=b"\xff\x00"))
    put(store, message(ann.user, pam, 3, body=b"never shown"), message(bob.user, ann.user, 4, body=b"not hers any more"))
    found = exported(here(node, ann))
    assert found["format"] == "myim export 1" and found["exported"] > found["account"]["created"] > 0
    assert (found["account"]["user"], found["account"]["name"]) == (ann.user, "ann")
    assert found["profile"] == {
        "display_name": "Ann 🙂", "avatar": "", "signature": "so \"it\" is", "searchable": "name", "asking": "everybody",
    }  # fmt: skip
    assert [(one["slot"], one["name"], one["tag"]) for one in found["terminals"]] == [(0, "a test", "00000000")]
    assert [(one["terminal"], one["is_new_terminal"]) for one in found["logins"]] == [("a test", True)]
    assert [one["name"] for one in found["friend_groups"]] == ["", "朋友"]
    assert [(one["user"], one["name"], one["remark"]) for one in found["friends"]] == [(bob.user, "bob", "old Bob")]
    assert [(one["name"], one["words"]) for one in found["requests_received"]] == [("eve", "hello?")]
    assert [(one["name"], one["words"]) for one in found["requests_sent"]] == [("dan", "me!")]
    assert [(one["user"], one["name"], one["since"] > 0) for one in found["blocked"]] == [(pam, "pam", True)]
    assert [one["last_login"] for one in found["networks"]] == [found["logins"][0]["time"]]
    assert [(one["group"], one["role"]) for one in found["groups"]] == [(group, "owner")]
    assert [(one["group"], one["number"], one["name"], one["text"]) for one in found["posts"]] == [
        (group, 1, "ann", "post 1"), (group, 3, "bob", "post 3"),
    ]  # fmt: skip
    texts = [(one["from"], one["name"], one.get("text"), one.get("base64")) for one in found["messages"]]
    assert texts == [(bob.user, "bob", "grüße\n", None), (eve, "eve", None, base64.b64encode(b"\xff\x00").decode())]


def test_no_table_that_keeps_something_of_a_user_is_left_out(node: Node, store: Store, ann: Person, bob: Person) -> None:
    assert metadata.tables.keys() == {*SECTIONS, *IN_STEP, *OF_NOBODY}
    eve, dan = (make_person(node, name).user for name in ("eve", "dan"))
    befriend(store, ann.user, bob.user)
    ask(store, eve, ann.user, "hello?")
    change(store, ann.user, dan, Blocked())
    set_profile(store, ann.user, signature="here")
    say(store, new_group(store, ann.user, bob.user), bob.user, 1)
    change_group(store, new_group(store, bob.user), Asked(ann.user, "invited", bob.user, ""))
    put(store, message(ann.user, bob.user, 1))
    found = exported(Owner(node, ann))
    assert [section for section in SECTIONS.values() if not found[section]] == []
    assert sorted(one["role"] for one in found["groups"]) == ["invited", "owner"]


def test_somebody_who_has_nothing_gets_a_whole_document_too(node: Node, ann: Person) -> None:
    found = exported(here(node, ann))
    assert [found[name] for name in ("friends", "blocked", "groups", "messages")] == [[], [], [], []]


def test_a_large_export_comes_in_parts_of_48_kib_and_takes_little_memory(node: Node, store: Store, ann: Person, bob: Person) -> None:
    bodies = [b"%05d " % number + b"x" * 30_000 for number in range(400)]
    store.offline.insert([message(ann.user, bob.user, number, body=body) for number, body in enumerate(bodies)])
    small = [StoredMessage(ann.user, bob.user, 64 * number, 1, b"s", 1, 1, number) for number in range(1, 1500)]
    store.offline.insert(small)
    owner = Owner(node, ann)
    tracemalloc.start()
    try:
        owner.part(0)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(1, 60):
            assert len(owner.part(number).data) == MAX_PART_BYTES
        assert tracemalloc.get_traced_memory()[1] - before < 3_000_000  # of 12 MB
    finally:
        tracemalloc.stop()
    document, count = owner.export()
    assert count > 240
    found = json.loads(document)["messages"]
    assert [one["text"] for one in found] == [body.decode() for body in bodies] + ["s"] * 1499


def test_a_part_may_be_asked_for_again_and_none_left_out(node: Node, store: Store, ann: Person, bob: Person) -> None:
    store.offline.insert([message(ann.user, bob.user, number, body=b"x" * 30_000) for number in range(10)])
    owner = Owner(node, ann)
    assert owner.refusal(Export(1)) is ErrorCode.BAD_COMMAND
    first, second = owner.part(0), owner.part(1)
    assert owner.part(1) == second
    assert owner.refusal(Export(3)) is ErrorCode.BAD_COMMAND
    assert owner.refusal(Export(0xFFFFFFFF)) is ErrorCode.BAD_COMMAND
    assert owner.part(2) != second
    assert owner.part(0).data[:40] == first.data[:40]  # from the beginning
    parts = owner.export()[1]
    assert owner.refusal(Export(parts)) is ErrorCode.BAD_COMMAND


def test_a_second_export_of_one_session_is_of_its_own_time(node: Node, store: Store, ann: Person, bob: Person) -> None:
    owner = here(node, ann)
    before = exported(owner)
    befriend(store, ann.user, bob.user)
    after = exported(owner)
    assert (before["friends"], [one["name"] for one in after["friends"]]) == ([], ["bob"])
    assert after["exported"] > before["exported"]


def test_exports_under_way_are_bounded_and_an_idle_one_makes_room(node: Node, store: Store, ann: Person, bob: Person) -> None:
    store.offline.insert([message(ann.user, bob.user, number, body=b"x" * 30_000) for number in range(3)])
    role = node._role
    assert role is not None
    commands = role.accounts.commands
    owner = here(node, ann)
    owner.part(0)
    (exporting,) = commands._exports.values()
    for number in range(MOST_EXPORTS - 1):
        commands._exports[number] = exporting  # type: ignore[index]
    other = here(node, bob)
    assert other.refusal(Export(0)) is ErrorCode.BUSY
    exporting.asked_at -= 61
    assert other.part(0).part == 0
    assert len(commands._exports) == MOST_EXPORTS
    exporting.asked_at += 61
    assert here(node, make_person(node, "eve")).part(0).is_last  # bob's is over, and makes room at once
    assert len(commands._exports) == MOST_EXPORTS


def test_with_the_session_its_export_is_gone(node: Node, ann: Person) -> None:
    owner = here(node, ann)
    owner.part(0)
    owner.close()
    assert here(node, ann, 2).refusal(Export(1)) is ErrorCode.BAD_COMMAND
