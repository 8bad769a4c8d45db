"""What comes of a new profile: all friends are told, and nobody else waits for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gevent

from myim_server.chat.friend_news import News
from myim_server.chat.profile_desk import ProfileDesk
from myim_server.store.profile_values import Found, Profile, ProfileChange
from myim_wire.friend_requests import SetProfile

USER, SLOT, FRIENDS = 7, 3, 1_000
MOST_AT_ONCE = 200


class Table:
    """A user with many friends."""

    def seen(self, asker: int, asked: Any) -> Sequence[Profile]:
        return ()

    def set(self, user: int, change: ProfileChange) -> tuple[Profile, Mapping[int, int]]:
        profile = Profile(user, "ann", "", "", change.signature or "", 2, "everybody", "everybody")
        return profile, dict.fromkeys(range(100, 100 + FRIENDS), 9)

    def search(self, asker: int, name: str | None, beginning: str | None, user: int | None, limit: int) -> Sequence[Found]:
        return ()


def test_all_friends_are_told_of_a_new_profile_and_others_have_their_turn_between() -> None:
    told: list[News] = []
    turns: list[int] = []
    desk = ProfileDesk(Table(), told.append)
    asking = gevent.spawn(desk.answer, USER, SLOT, SetProfile(signature="new"))
    while not asking.ready():
        gevent.sleep(0)
        turns.append(sum(len(news.pushes) for news in told))
    asking.get()
    assert [user for news in told for user, _ in news.pushes] == list(range(100, 100 + FRIENDS))
    assert {(news.by, push.event, push.version) for news in told for _, push in news.pushes} == {(USER << 6 | SLOT, "list", 9)}
    assert max(after - before for before, after in zip([0, *turns], turns, strict=False)) <= MOST_AT_ONCE
