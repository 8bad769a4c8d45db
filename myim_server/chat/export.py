"""All that is kept of a user, as one JSON document that is never whole in memory: read page by page as its parts are asked for.

What lives here: what the document looks like, and its cutting into parts. What must not: SQL, sockets, clocks, who may have it. A body that
is text stands as "text", another as "base64". Nothing secret of the login is in it: neither the hash of the password, nor keys.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from myim_server.refusals import RequestRefused
from myim_server.store.export_pages import Holder, KeptPost, WaitingMessage
from myim_server.store.friend_values import Ask, Friend, FriendGroup
from myim_server.store.group_values import Group, Member, Pending
from myim_server.store.logins import Login
from myim_server.store.own_terminals import OwnTerminal
from myim_server.store.profile_values import Profile
from myim_wire.account_contents import MAX_PART_BYTES, TAG_CHARACTERS, ExportPart
from myim_wire.errors import ErrorCode

FORMAT = "myim export 1"
_AT_ONCE = 100

Entries = Iterator[dict[str, Any]]
GroupsOf = Callable[[int, int, int], Sequence[tuple[Group, Member | None, Pending | None]]]


class Pages(Protocol):
    """What is read for exports alone (may block)."""

    def holder(self, user_id: int) -> Holder | None: ...
    def friend_groups(self, user_id: int) -> Sequence[FriendGroup]: ...
    def friends(self, user_id: int, after: int, limit: int) -> Sequence[tuple[Friend, int]]: ...
    def blocked(self, user_id: int, after: int, limit: int) -> Sequence[tuple[int, str, int]]: ...
    def networks(self, user_id: int) -> Sequence[tuple[str, int]]: ...
    def posts(self, user_id: int, group: int, after: int) -> Sequence[KeptPost]: ...
    def messages(self, user_id: int, after: tuple[int, int]) -> Sequence[WaitingMessage]: ...


class Sources(NamedTuple):
    """Where the document comes from; all of it may block. By user; requests: (user, after, limit); logins: (user, before, limit)."""

    pages: Pages
    profile: Callable[[int], Profile | None]
    terminals: Callable[[int], Sequence[OwnTerminal]]
    logins: Callable[[int, int, int], Sequence[Login]]
    requests: Callable[[int, int, int], tuple[Sequence[Ask], Sequence[Ask]]]
    groups: GroupsOf


def document(user: int, sources: Sources, now: int) -> Iterator[str]:
    """The document in pieces, each of a few KiB but for large bodies (blocks between them); now: µs since 1970."""
    holder = sources.pages.holder(user)
    if holder is None:
        raise RequestRefused(ErrorCode.NOT_ALLOWED, "the account is gone")
    yield "{" + _pair("format", FORMAT) + "," + _pair("exported", now) + ","
    yield _pair("account", {"user": user, "name": holder.name, "created": holder.created})
    yield "," + _pair("profile", _profile(sources.profile(user)))
    lists: tuple[tuple[str, Entries], ...] = (
        ("terminals", map(_terminal, sources.terminals(user))),
        ("logins", _logins(user, sources)),
        ("networks", ({"network": network, "last_login": last} for network, last in sources.pages.networks(user))),
        ("friend_groups", ({"group": one.id, "name": one.name, "position": one.position} for one in sources.pages.friend_groups(user))),
        ("friends", _friends(user, sources)),
        ("requests_received", _requests(user, sources, 0)),
        ("requests_sent", _requests(user, sources, 1)),
        ("blocked", _blocked(user, sources)),
        ("groups", _groups(user, sources)),
        ("messages", _messages(user, sources)),
        ("posts", _posts(user, sources)),
    )
    for name, entries in lists:
        yield f",{json.dumps(name)}:["
        for number, entry in enumerate(entries):
            yield ("," if number else "") + json.dumps(entry, ensure_ascii=False)
        yield "]"
    yield "}\n"


def cut(pieces: Iterable[str]) -> Iterator[ExportPart]:
    """The pieces as parts of 48 KiB, the last marked."""
    held = b""
    part = 0
    for piece in pieces:
        held += piece.encode()
        while len(held) > MAX_PART_BYTES:
            yield ExportPart(part, held[:MAX_PART_BYTES], False)
            held = held[MAX_PART_BYTES:]
            part += 1
    yield ExportPart(part, held, True)


def _pair(name: str, value: object) -> str:
    return f"{json.dumps(name)}:{json.dumps(value, ensure_ascii=False)}"


def _profile(profile: Profile | None) -> dict[str, Any]:
    shown = {} if profile is None else profile._asdict()
    return {name: value for name, value in shown.items() if name not in ("user", "name", "version")}


def _terminal(one: OwnTerminal) -> dict[str, Any]:
    return {
        "slot": one.slot, "name": one.name, "tag": one.fingerprint.hex()[:TAG_CHARACTERS], "first_seen": one.first_seen,
        "last_seen": one.last_seen, "address": one.address, "is_revoked": one.is_revoked,
    }  # fmt: skip


def _logins(user: int, sources: Sources) -> Entries:
    before = 0
    while page := sources.logins(user, before, _AT_ONCE):
        for one in page:
            yield one._asdict()
        before = page[-1].time


def _friends(user: int, sources: Sources) -> Entries:
    after = 0
    while page := sources.pages.friends(user, after, _AT_ONCE):
        for one, since in page:
            yield {**one._asdict(), "since": since}
        after = page[-1][0].user


def _requests(user: int, sources: Sources, which: int) -> Entries:
    after = 0
    while page := sources.requests(user, after, _AT_ONCE)[which]:
        for one in page:
            ignored = {} if which else {"is_ignored": one.is_ignored}
            yield {"user": one.user, "name": one.name, "words": one.words, "made": one.made, **ignored}
        after = page[-1].user


def _blocked(user: int, sources: Sources) -> Entries:
    after = 0
    while page := sources.pages.blocked(user, after, _AT_ONCE):
        for blocked, name, since in page:
            yield {"user": blocked, "name": name, "since": since}
        after = page[-1][0]


def _groups(user: int, sources: Sources) -> Entries:
    after = 0
    while page := sources.groups(user, after, _AT_ONCE):
        for group, member, pending in page:
            entry = {"group": group.id, "name": group.name, "description": group.description}
            if member is not None:
                yield {**entry, "role": member.role, "since": member.since, "cursor": member.cursor}
            elif pending is not None:
                yield {**entry, "role": pending.kind, "words": pending.words, "since": pending.made}
        after = page[-1][0].id


def _messages(user: int, sources: Sources) -> Entries:
    after = (0, 0)
    while page := sources.pages.messages(user, after):
        for one in page:
            head = {"from": one.user, "name": one.name, "time": one.time, "accepted": one.accepted, "qos": one.qos}
            yield {**head, **_body(one.body)}
        after = page[-1].accepted, page[-1].id


def _posts(user: int, sources: Sources) -> Entries:
    after = 0
    while page := sources.groups(user, after, _AT_ONCE):
        for group, member, _ in page:
            yield from _posts_of(user, group.id, sources) if member is not None else ()
        after = page[-1][0].id


def _posts_of(user: int, group: int, sources: Sources) -> Entries:
    after = 0
    while page := sources.pages.posts(user, group, after):
        for one in page:
            head = {"group": group, "number": one.number, "from": one.user, "name": one.name, "time": one.time, "accepted": one.accepted}
            yield {**head, **_body(one.body)}
        after = page[-1].number


def _body(body: bytes) -> dict[str, str]:
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}
