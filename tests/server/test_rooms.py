"""Rooms: pushes reach the members that are online, by the membership of their commit, and nobody else (docs/groups.md, G-4, G-13, G-14)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from myim_server.chat.rooms import Members, Push, Rooms
from myim_server.refusals import StoreUnavailable
from myim_server.store.group_values import Standing

GROUP, ALICE, BOB, CAROL = 7, 1, 2, 3


@dataclass
class Stage:
    """Rooms, users that are online, and a store that answers when the test says so."""

    online: set[int] = field(default_factory=set)
    given: dict[int, list[bytes]] = field(default_factory=dict)
    reads: list[tuple[int, set[int] | None, Callable[[Members], None]]] = field(default_factory=list)
    events: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rooms = Rooms(self._sends_of, lambda group, users, done: self.reads.append((group, users, done)))
        self.rooms.on_first = lambda group: self.events.append(("first", group))
        self.rooms.on_last = lambda group: self.events.append(("last", group))

    def _sends_of(self, user: int) -> list[Callable[[bytes], None]]:
        return [self.given.setdefault(user, []).append] if user in self.online else []

    def come(self, user: int, version: int = 1, number: int = 0, joined: int = 0) -> None:
        self.online.add(user)
        self.rooms.register(user, [Standing(GROUP, version, number, joined, joined)])

    def leave(self, user: int) -> None:
        self.online.discard(user)
        self.rooms.left(user)

    def push(self, version: int, *numbers: int) -> None:
        self.rooms.push(Push(GROUP, version, [(number, b"%d " % number) for number in numbers]))

    def answer(self, members: Members) -> None:
        self.reads.pop(0)[2](members)

    def seen(self, user: int) -> str:
        return b"".join(self.given.get(user, [])).decode().strip()


def test_a_push_reaches_every_member_that_is_online() -> None:
    stage = Stage()
    stage.come(ALICE)
    stage.come(BOB)
    stage.push(1, 1, 2)
    stage.leave(BOB)
    stage.push(1, 3)
    assert (stage.seen(ALICE), stage.seen(BOB), stage.reads) == ("1 2 3", "1 2", [])


def test_posts_of_one_commit_reach_a_member_in_pieces_that_records_hold() -> None:
    stage = Stage()
    stage.come(ALICE)
    stage.come(BOB, joined=1)
    posts = [(number, bytes([number]) * size) for number, size in enumerate([32_900] * 4 + [100] * 120, 1)]
    stage.rooms.push(Push(GROUP, 1, posts))
    stage.rooms.push(Push(GROUP, 1, [(number + len(posts), body) for number, body in posts]))
    pieces = [*stage.given[ALICE], *stage.given[BOB]]
    assert max(map(len, pieces)) <= 65_520 and len(pieces) < 30
    assert b"".join(stage.given[ALICE]) == 2 * b"".join(body for _, body in posts)
    assert b"".join(stage.given[BOB]) == (2 * b"".join(body for _, body in posts))[32_900:]


def test_a_push_of_another_version_waits_for_a_read_and_those_behind_it_too() -> None:
    stage = Stage()
    stage.come(ALICE)
    stage.come(BOB)
    stage.push(2, 1)
    stage.push(2, 2)
    assert stage.seen(ALICE) == "" and stage.reads[0][:2] == (GROUP, {ALICE, BOB})
    stage.answer((2, {ALICE: 0}))
    assert (stage.seen(ALICE), stage.seen(BOB)) == ("1 2", "")
    stage.push(2, 3)
    assert (stage.seen(ALICE), stage.reads) == ("1 2 3", [])


def test_a_late_push_of_an_older_version_needs_no_read() -> None:
    stage = Stage()
    stage.come(ALICE, version=5)
    stage.push(4, 1)
    assert (stage.seen(ALICE), stage.reads) == ("1", [])


def test_nobody_is_given_what_was_posted_before_he_joined() -> None:
    stage = Stage()
    stage.come(ALICE, version=2)
    stage.come(BOB, version=2, joined=2)
    stage.push(2, 1, 2, 3)
    assert (stage.seen(ALICE), stage.seen(BOB)) == ("1 2 3", "3")


def test_one_who_comes_with_another_version_makes_the_room_read() -> None:
    stage = Stage()
    stage.come(ALICE, version=1)
    stage.come(BOB, version=2)
    stage.push(2, 1)
    assert stage.seen(BOB) == ""
    stage.answer((2, {BOB: 0}))
    assert (stage.seen(ALICE), stage.seen(BOB)) == ("", "1")


def test_a_change_that_follows_needs_no_read() -> None:
    stage = Stage()
    stage.come(ALICE)
    stage.come(BOB)
    stage.rooms.changed(GROUP, 2, "removed", BOB)
    stage.rooms.changed(GROUP, 3, "muted", ALICE)
    stage.push(3, 1)
    assert (stage.seen(ALICE), stage.seen(BOB), stage.reads) == ("1", "", [])


def test_a_change_that_does_not_follow_makes_the_room_read() -> None:
    stage = Stage()
    stage.come(ALICE)
    stage.rooms.changed(GROUP, 3, "muted", ALICE)
    stage.push(1, 1)
    assert len(stage.reads) == 1


def test_who_joins_while_online_is_read_and_gets_what_comes_after() -> None:
    stage = Stage()
    stage.come(ALICE)
    stage.online.add(BOB)
    stage.rooms.changed(GROUP, 2, "joined", BOB)
    stage.push(2, 5)
    assert stage.reads[0][1] == {ALICE, BOB}
    stage.answer((2, {ALICE: 0, BOB: 4}))
    assert (stage.seen(ALICE), stage.seen(BOB)) == ("5", "5")


def test_who_joins_a_group_that_had_nobody_here_gets_a_room() -> None:
    stage = Stage()
    stage.online.add(BOB)
    stage.rooms.changed(GROUP, 2, "joined", BOB)
    assert stage.events == [("first", GROUP)]
    stage.answer((2, {BOB: 4}))
    stage.push(2, 5)
    assert stage.seen(BOB) == "5"


def test_who_joined_elsewhere_and_is_not_online_here_makes_no_room() -> None:
    stage = Stage()
    stage.rooms.changed(GROUP, 2, "joined", BOB)
    assert (len(stage.rooms), stage.reads) == (0, [])


def test_who_comes_during_a_read_is_not_taken_for_read() -> None:
    stage = Stage()
    stage.come(ALICE)
    stage.push(2, 1)
    stage.come(BOB, version=1)  # an old standing: BOB was removed as version 2
    stage.answer((2, {ALICE: 0}))
    assert stage.seen(BOB) == ""
    stage.answer((2, {ALICE: 0}))
    assert (stage.seen(ALICE), stage.seen(BOB)) == ("1", "")


def test_a_read_that_began_before_a_removal_does_not_bring_the_removed_back() -> None:
    stage = Stage()
    stage.come(ALICE)
    stage.come(BOB)
    stage.push(2, 1)
    stage.rooms.changed(GROUP, 3, "removed", BOB)
    stage.answer((2, {ALICE: 0, BOB: 0}))
    stage.push(3, 2)
    stage.answer((3, {ALICE: 0}))
    assert (stage.seen(ALICE), stage.seen(BOB)) == ("1 2", "")


def test_what_a_read_that_failed_would_have_given_is_offered_by_the_sweep() -> None:
    stage = Stage()
    stage.come(ALICE)
    stage.push(2, 1)
    stage.answer(StoreUnavailable("away"))
    assert stage.seen(ALICE) == ""
    assert stage.rooms.swept({GROUP: (1, 2)}) == []
    stage.answer((2, {ALICE: 0}))
    assert stage.rooms.swept({GROUP: (1, 2)}) == [(GROUP, 1)]
    assert stage.rooms.swept({GROUP: (1, 2)}) == []


def test_what_is_pushed_between_two_sweeps_is_not_offered() -> None:
    stage = Stage()
    stage.come(ALICE)
    assert stage.rooms.swept({GROUP: (1, 1)}) == []
    stage.push(1, 1)
    assert stage.rooms.swept({GROUP: (2, 1)}) == []
    stage.push(1, 2)
    assert stage.rooms.swept({GROUP: (2, 1)}) == []


def test_a_sweep_that_meets_another_version_reads_all_who_are_online() -> None:
    stage = Stage()
    stage.come(ALICE)
    stage.online.add(BOB)
    stage.rooms.swept({GROUP: (0, 2)})
    assert stage.reads[0][1] is None
    stage.answer((2, {ALICE: 0, BOB: 0, CAROL: 0}))
    stage.push(2, 1)
    assert (stage.seen(ALICE), stage.seen(BOB), stage.seen(CAROL)) == ("1", "1", "")


def test_a_room_ends_with_its_last_member_and_with_its_group() -> None:
    stage = Stage()
    stage.come(ALICE)
    stage.leave(ALICE)
    stage.come(ALICE)
    stage.rooms.changed(GROUP, 2, "dissolved", 0)
    stage.answer(None)
    stage.come(ALICE)
    stage.push(2, 1)
    stage.answer(None)
    assert stage.events == [("first", GROUP), ("last", GROUP)] * 3 and len(stage.rooms) == 0


def test_a_qos_0_message_reaches_all_whatever_they_joined_at() -> None:
    stage = Stage()
    stage.come(ALICE, joined=9)
    stage.push(1, 0)
    assert stage.seen(ALICE) == "0"


def test_another_session_of_a_member_is_given_pushes_from_when_it_came() -> None:
    stage = Stage()
    stage.come(ALICE)
    stage.push(1, 1)
    again: list[bytes] = []
    stage.rooms._sends_of = lambda user: [stage.given[ALICE].append, again.append]
    stage.rooms.sessions_changed(ALICE)
    stage.push(1, 2)
    assert (stage.seen(ALICE), again) == ("1 2", [b"2 "])


def test_one_who_comes_and_is_told_the_number_does_not_hide_what_the_others_were_not_given() -> None:
    stage = Stage()
    stage.come(ALICE)
    assert stage.rooms.swept({GROUP: (1, 1)}) == []  # the push of 1 is lost
    stage.come(BOB, number=1)
    assert stage.rooms.swept({GROUP: (1, 1)}) == [(GROUP, 1)]


def test_a_late_word_of_a_removal_does_not_shut_out_who_is_back() -> None:
    stage = Stage()
    stage.come(ALICE)
    stage.come(BOB, version=3)  # removed as 2, back as 3
    stage.rooms.changed(GROUP, 2, "removed", BOB)
    stage.push(3, 1)
    assert stage.reads[0][1] == {ALICE, BOB}
    stage.answer((3, {ALICE: 0, BOB: 0}))
    stage.rooms.changed(GROUP, 2, "removed", BOB)
    stage.push(3, 2)
    assert (stage.seen(ALICE), stage.seen(BOB)) == ("1 2", "1 2")


def test_who_joins_during_a_read_of_all_stays() -> None:
    stage = Stage()
    stage.come(ALICE)
    stage.rooms.swept({GROUP: (0, 2)})
    stage.rooms.changed(GROUP, 3, "", 0)
    stage.come(BOB, version=3)
    stage.answer((2, {ALICE: 0}))
    stage.push(3, 1)
    stage.answer((3, {ALICE: 0, BOB: 0}))
    assert (stage.seen(ALICE), stage.seen(BOB)) == ("1", "1")


def test_who_comes_back_during_a_read_is_not_let_go_by_it() -> None:
    stage = Stage()
    stage.come(ALICE)
    stage.come(BOB)
    stage.push(2, 1)
    stage.come(BOB, version=3, joined=1)
    stage.answer((2, {ALICE: 0}))
    stage.answer((3, {ALICE: 0, BOB: 1}))
    stage.push(3, 2)
    assert (stage.seen(ALICE), stage.seen(BOB)) == ("1 2", "2")


def test_a_version_that_never_was_makes_no_room_read_for_ever() -> None:
    stage = Stage()
    stage.come(ALICE)
    stage.rooms.changed(GROUP, 1 << 60, "muted", ALICE)
    stage.push(1, 1)
    stage.answer((1, {ALICE: 0}))
    stage.push(1, 2)
    assert (stage.seen(ALICE), stage.reads) == ("1 2", [])


def test_who_was_said_to_have_joined_and_went_is_forgotten_by_a_read_of_all() -> None:
    stage = Stage()
    stage.come(ALICE)
    stage.push(1, 1)
    stage.rooms.swept({GROUP: (1, 2)})
    stage.online.add(BOB)
    stage.rooms.changed(GROUP, 2, "joined", BOB)
    stage.leave(BOB)
    stage.answer((2, {ALICE: 0, BOB: 1}))
    stage.rooms.swept({GROUP: (1, 2)})
    stage.answer((2, {ALICE: 0, BOB: 1}))
    assert stage.rooms.swept({GROUP: (1, 2)}) == [] and stage.reads == []


def test_a_joining_of_which_the_word_was_lost_is_found_by_the_sweep_though_a_post_came_first() -> None:
    stage = Stage()
    stage.come(ALICE)
    stage.online.add(BOB)
    stage.push(2, 1)
    stage.answer((2, {ALICE: 0}))
    stage.rooms.swept({GROUP: (1, 2)})
    stage.answer((2, {ALICE: 0, BOB: 0}))
    stage.push(2, 2)
    assert (stage.seen(ALICE), stage.seen(BOB)) == ("1 2", "2")
    stage.rooms.swept({GROUP: (2, 2)})
    assert stage.reads == []


def test_a_group_that_is_said_to_be_dissolved_and_is_not_keeps_its_room() -> None:
    stage = Stage()
    stage.come(ALICE)
    stage.rooms.changed(GROUP, 2, "dissolved", 0)
    stage.answer((1, {ALICE: 0}))
    stage.push(1, 1)
    assert stage.seen(ALICE) == "1"


def test_what_waits_for_reads_is_bounded_in_bytes() -> None:
    stage = Stage()
    stage.come(ALICE)
    for number in range(1, 21):
        stage.rooms.push(Push(GROUP, 2, [(number, bytes(4 << 20))]))
    assert sum(len(push.parts[0][1]) for push in stage.rooms._rooms[GROUP].waiting) <= 64 << 20
    stage.answer((2, {ALICE: 0}))
    assert stage.given[ALICE] and stage.rooms._waiting_bytes == 0
