"""The requests of terminals about profiles, answered: one's own, those of friends, and who is found by a search.

What lives here: from the asked to the answer. What must not: SQL, bytes, sockets, lists of friends (`friend_desk`). All of it may block,
and runs in a greenlet of the asking request.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, cast

import gevent

from myim_server.chat.friend_news import News, listed
from myim_server.chat.friend_rules import not_allowed
from myim_server.chat.names import parse_beginning, parse_name
from myim_server.chat.texts import check_line, check_text
from myim_server.store.profile_values import Found, Profile, ProfileChange
from myim_wire import profile_contents as told
from myim_wire.friend_contents import MAX_FOUND, FoundPage, FoundProfile, FriendChanged
from myim_wire.friend_requests import GetProfiles, ProfileRequest, Search

SHORTEST_BEGINNING = 3
_MAX_ID = (1 << 64) - 1
_ID_DIGITS = 20
_TOLD_AT_ONCE = 200


class ProfileTable(Protocol):
    """What is asked of the store about profiles (may block)."""

    def seen(self, asker: int, asked: Collection[int]) -> Sequence[Profile]: ...
    def set(self, user: int, change: ProfileChange) -> tuple[Profile, Mapping[int, int]] | None: ...
    def search(self, asker: int, name: str | None, beginning: str | None, user: int | None, limit: int) -> Sequence[Found]: ...


class ProfileDesk:
    """Answers SIGNATURE, and the searches of FRIENDS."""

    def __init__(self, profiles: ProfileTable, tell: Callable[[News], None]) -> None:
        """tell: lets terminals here and elsewhere know, must not yield."""
        self._profiles = profiles
        self._tell = tell

    def answer(self, user: int, slot: int, request: ProfileRequest) -> bytes:
        """The content of the reply to a SIGNATURE; RequestRefused, STORE_UNAVAILABLE among them (blocks)."""
        if isinstance(request, GetProfiles):
            found = self._profiles.seen(user, request.users)
            return told.ProfilePage.of([_told(one, one.user == user) for one in found]).encode()
        change = ProfileChange(
            None if request.display_name is None else check_line(request.display_name, "display_name"),
            None if request.avatar is None else check_line(request.avatar, "avatar"),
            None if request.signature is None else check_text(request.signature, "signature"),
            request.searchable,
            request.asking,
        )
        done = self._profiles.set(user, change)
        if done is None:
            raise not_allowed()
        profile, versions = done
        self._tell_all(user << 6 | slot, listed(versions))
        return _told(profile, True).encode()

    def _tell_all(self, by: int, pushes: Sequence[tuple[int, FriendChanged]]) -> None:
        """A user may have thousands of friends: after some, others get their turn (yields)."""
        for start in range(0, len(pushes), _TOLD_AT_ONCE):
            if start:
                gevent.sleep(0)
            self._tell(News(by, pushes[start : start + _TOLD_AT_ONCE]))

    def search(self, user: int, request: Search) -> bytes:
        """The content of the reply to a search (blocks)."""
        text = request.text.strip()
        name, beginning = parse_name(text), parse_beginning(text)
        is_long = beginning is not None and len(beginning) >= SHORTEST_BEGINNING
        is_id = text.isascii() and text.isdecimal() and len(text) <= _ID_DIGITS and int(text) <= _MAX_ID
        asked_id = int(text) if is_id else None
        found = self._profiles.search(user, name and name.folded, beginning if is_long else None, asked_id, MAX_FOUND)
        return FoundPage(tuple(FoundProfile(*one) for one in found)).encode()


def _told(profile: Profile, is_own: bool) -> told.Profile:
    user, name, display_name, avatar, signature, version, searchable, asking = profile
    choices = (cast(Any, searchable), cast(Any, asking)) if is_own else ("", "")
    return told.Profile(user, name, display_name, avatar, signature, version, *choices)
