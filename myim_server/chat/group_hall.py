"""Members as they come and go: who is in which room, what a terminal is told when it comes, what it fetches, what changes it hears of.

What lives here: the bridge between sessions, rooms and the store for all that is not posting or asking (docs/groups.md, G-9, G-13 to
G-15). What must not: SQL, sockets, clocks, who may do what. Nothing here yields: the store is asked in batches, in greenlets of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from myim_server.batches import Batch
from myim_server.chat.group_desk import News
from myim_server.chat.inboxes import Inboxes
from myim_server.chat.party import Party
from myim_server.chat.rooms import Members, Rooms, in_pieces
from myim_server.chat.succession import Succession
from myim_server.metrics import Metrics
from myim_server.store.group_values import Row, Standing
from myim_wire.group_contents import MAX_STANDINGS, GroupBehind, GroupChanged, GroupsTold
from myim_wire.group_contents import Standing as ToldStanding
from myim_wire.messages import QOS1, Command, encode_group_delivery, encode_message

_ASKED_AT_ONCE = 64
_FETCHED_AT_ONCE = 16
_READ_AT_ONCE = 8
# With their heads four pages and a full window of messages are less than what may wait for a terminal: it is not cut for what it asked for.
PAGE_ROWS, PAGE_BYTES = 128, 32_768
_SWEPT_AT_ONCE = 500
_ROUND = 12  # calls in which everybody who is online is looked after once

Page = tuple[Sequence[Row], int, int] | None  # (rows, up to, number); None: no member


class Handed(NamedTuple):
    """What a fetch is answered with: so many posts, encoded; that is all up to `up_to`; the group's number is `number`."""

    pieces: Sequence[bytes]
    posts: int
    up_to: int
    number: int


class GroupReads(Protocol):
    """What is asked of the store about groups (may block)."""

    def standings(self, users: Sequence[int]) -> Mapping[int, Sequence[Standing]]: ...
    def members_among(self, group_id: int, users: set[int] | None) -> tuple[int, Mapping[int, int]] | None: ...
    def numbers(self, groups: Sequence[int]) -> Mapping[int, tuple[int, int]]: ...


class Pages(Protocol):
    """What is asked of the store about posts (may block)."""

    def pages(self, asked: Sequence[tuple[int, int, int]], max_rows: int, max_bytes: int) -> Sequence[Page]: ...


class GroupHall:
    """Leads members into rooms."""

    def __init__(
        self,
        node_id: int,
        parties: Mapping[int, Party],
        inboxes: Inboxes,
        store: tuple[GroupReads, Pages],
        spawn: Callable[..., Any],
        later: Callable[[float, Callable[[], None]], Any],
        metrics: Metrics,
    ) -> None:
        """parties, inboxes: the router's own tables; later(seconds, f) calls f after so many seconds."""
        self._node_id = node_id
        self._parties = parties
        self._inboxes = inboxes
        self._groups, self._pages = store
        self._metrics = metrics
        self._untold: dict[Party, None] = {}
        self._round: list[int] = []
        self._share = 0
        self.rooms = Rooms(self._sends_of, self._read_members)
        self.succession = Succession(self.rooms, later)
        self._standings: Batch[int, Sequence[Standing]] = Batch(self._read_standings, _ASKED_AT_ONCE, 0.0, spawn, parallel=2, bound=1 << 17)
        self._members: Batch[tuple[int, set[int] | None], tuple[int, Mapping[int, int]] | None] = Batch(
            lambda asked: [self._groups.members_among(*one) for one in asked], _READ_AT_ONCE, 0.0, spawn, parallel=2, bound=1 << 17
        )
        self._fetches: Batch[tuple[int, int, int], Handed | None] = Batch(self._read_pages, _FETCHED_AT_ONCE, 0.0, spawn, parallel=4)

    on_news: Callable[[News], None] = staticmethod(lambda news: None)  # for other centers

    # ------------------------------------------------------------------ sessions

    def begin(self, party: Party) -> None:
        """A terminal fetches for the first time: its user is in his rooms before his groups are told, so nothing falls between (G-15)."""
        user = party.session.user

        def entered(standings: Sequence[Standing] | Exception) -> None:
            if self._is_gone(party):
                return
            if isinstance(standings, Exception):
                self._rest(party)
                return
            self.rooms.register(user, standings)
            self.rooms.sessions_changed(user)
            if standings:
                self._standings.submit_later(user, told)
            else:
                self._tell(party, standings)

        def told(standings: Sequence[Standing] | Exception) -> None:
            if self._is_gone(party):
                return
            if isinstance(standings, Exception):
                self._rest(party)
                return
            self.rooms.register(user, standings)
            self._tell(party, standings)

        self._standings.submit_later(user, entered)

    def _rest(self, party: Party) -> None:
        """The store did not answer; the sweep tries again."""
        self._untold[party] = None

    def _is_gone(self, party: Party) -> bool:
        return self._parties.get(party.session.key) is not party

    def _tell(self, party: Party, standings: Sequence[Standing]) -> None:
        for start in range(0, max(1, len(standings)), MAX_STANDINGS):
            part = tuple(ToldStanding(*one) for one in standings[start : start + MAX_STANDINGS])
            content = GroupsTold(part, start + MAX_STANDINGS >= len(standings)).encode()
            party.session.send(encode_message(Command.GROUP, 0, 0, 0, 0, content))

    def left(self, user: int) -> None:
        """A session of the user ended."""
        if self._inboxes.of(user):
            self.rooms.sessions_changed(user)
        else:
            self.rooms.left(user)

    def _sends_of(self, user: int) -> list[Callable[[bytes], None]]:
        parties = [self._parties.get(user << 6 | inbox.slot) for inbox in self._inboxes.of(user) if inbox.is_fetching]
        return [party.session.send for party in parties if party is not None]

    # ------------------------------------------------------------------ reading

    def _read_standings(self, users: Sequence[int]) -> list[Sequence[Standing]]:
        found = self._groups.standings(list(set(users)))
        return [found.get(user, ()) for user in users]

    def _read_members(self, group: int, users: set[int] | None, done: Callable[[Members], None]) -> None:
        self._members.submit_later((group, users), done)

    def fetch(self, party: Party, group: int, after: int, done: Callable[[Handed | Exception | None], None]) -> None:
        """Hand the posts above `after` that one answer holds to the session; then done, None: the user is no member (G-9)."""

        def read(handed: Handed | Exception | None) -> None:
            if isinstance(handed, Handed):
                self._metrics.group_fetched += handed.posts
                for piece in handed.pieces:
                    party.session.send(piece)
            done(handed)

        self._fetches.submit_later((group, party.session.user, after), read)

    def _read_pages(self, asked: Sequence[tuple[int, int, int]]) -> list[Handed | None]:
        """Who missed a post, missed it with many others: a page that is the same for several is read and encoded once."""
        pages = self._pages.pages(asked, PAGE_ROWS, PAGE_BYTES)
        handed: dict[int, Handed | None] = {}
        for (group, _, _), page in zip(asked, pages, strict=True):
            if id(page) not in handed:
                handed[id(page)] = None if page is None else self._handed(group, *page)
        return [handed[id(page)] for page in pages]

    def _handed(self, group: int, rows: Sequence[Row], up_to: int, number: int) -> Handed:
        return Handed(in_pieces([self.encode(group, row) for row in rows]) if rows else (), len(rows), up_to, number)

    def encode(self, group: int, row: Row) -> bytes:
        """A stored post as a terminal is given it."""
        trailer = (row.entered, row.message_id, self._node_id)
        return encode_group_delivery(QOS1, row.user, group, row.time, row.number, row.accepted, row.body, trailer)

    # ------------------------------------------------------------------ changes

    def tell(self, news: News) -> None:
        """A change was made by a terminal here: this center's members hear of it, and the other centers."""
        change = news.change
        if change.event in ("joined", "created") and self._inboxes.of(change.user):
            self.rooms.changed(change.group, change.version, "", 0)  # seen as one of this version, it needs no reading anew
            standing = Standing(change.group, change.version, news.number, news.joined, news.joined)
            self.rooms.register(change.user, [standing])
        self.give_news(change, news.is_for_members, news.users)
        self.on_news(news)

    def give_news(self, change: GroupChanged, is_for_members: bool, users: Sequence[int]) -> None:
        """Tell of a change to those who are here; `users` besides, once. Who invites somebody that blocks him is not heard (F-16)."""
        data = encode_message(Command.GROUP, 0, 0, change.group, 0, change.encode())
        if is_for_members:
            self.rooms.tell(change.group, data)
        for user in users:
            if change.event == "invited" and self._inboxes.blocks(user, change.actor):
                continue
            if not (is_for_members and self.rooms.is_here(change.group, user)):
                for send in self._sends_of(user):
                    send(data)
        if is_for_members:
            self.rooms.changed(change.group, change.version, change.event, change.user)

    # ------------------------------------------------------------------ the sweep

    def sweep(self) -> None:
        """What was posted and not pushed here is offered (G-14), and who could not be told his groups is told (yields)."""
        for party in list(self._untold):
            del self._untold[party]
            if not self._is_gone(party):
                self.begin(party)
        groups = self.rooms.groups()
        for start in range(0, len(groups), _SWEPT_AT_ONCE):
            some = groups[start : start + _SWEPT_AT_ONCE]
            numbers = self._groups.numbers(some)
            for group in some:
                if group not in numbers:
                    self.rooms.gone(group)
            for group, number in self.rooms.swept(numbers):
                self._metrics.group_offers += 1
                self.rooms.tell(group, encode_message(Command.GROUP, 0, 0, group, 0, GroupBehind(group, number).encode()))

    def look_round(self) -> None:
        """A twelfth of the users who are online are entered once more, and offered what they have not confirmed (G-14; yields).

        This finds who joined and whom no word reached, and asks again for a confirmation that was lost.
        """
        if not self._round:
            self._round = list(dict.fromkeys(inbox.user for inbox in self._inboxes if inbox.is_fetching))
            self._share = -(-len(self._round) // _ROUND)
        turn, self._round = self._round[: self._share], self._round[self._share :]
        for start in range(0, len(turn), _ASKED_AT_ONCE):
            for user, standings in self._groups.standings(turn[start : start + _ASKED_AT_ONCE]).items():
                self._look_after(user, standings)

    def _look_after(self, user: int, standings: Sequence[Standing]) -> None:
        sends = self._sends_of(user)
        if not sends:
            return
        self.rooms.register(user, standings)
        for one in standings:
            if one.cursor < one.number:
                self._metrics.group_offers += 1
                data = encode_message(Command.GROUP, 0, 0, one.group, 0, GroupBehind(one.group, one.number).encode())
                for send in sends:
                    send(data)
