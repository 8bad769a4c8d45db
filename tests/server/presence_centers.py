"""Centers as values with presence: what `three_centers` has, wired as a node wires it, with friends and blocks in the one store."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

from myim_server.chat.friend_hall import FriendHall
from myim_server.chat.friend_news import News, news_of
from myim_server.chat.group_peers import GroupPeers
from myim_server.chat.party import Party
from myim_server.chat.presence import Seen
from myim_server.node_presence import PresenceRole, PresenceSettings, build_presence
from myim_server.requests import Requests
from myim_server.store.friend_changes import Befriended, Blocked, Change, Remarked, Unblocked
from myim_wire.messages import REPLY, Command
from myim_wire.presence_contents import OnlinePage, PresenceChanged
from tests.server.three_centers import FakeCenter, FakeSession, Town

GRACE = 15.0


class _NoGroups:
    def lost(self, center: int) -> None: ...


class Presences:
    """A town whose centers know presence."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.roles: dict[int, PresenceRole] = {}
        self.is_whole = True
        for node, center in town.centers.items():
            router = center.router
            friends = FriendHall(router.parties, router.inboxes, center.metrics)
            requests = Requests(center.metrics, lambda run: run(), lambda connection, fault: None)
            settings = PresenceSettings(GRACE, lambda: self.is_whole, town.later, lambda: town.now)
            role = build_presence(node, town.store, router, router._shelf, friends, router.post, requests, settings)
            role.serve(center.peers, cast(GroupPeers, _NoGroups()))
            router.on_left = role.hall.left
            self.roles[node] = role

    def come(self, center: FakeCenter, user: int, state: str = "online", slot: int = 0, number: int = 1) -> tuple[FakeSession, Party]:
        """A terminal connects, says how it wants to be seen, and asks for what is stored."""
        session, party = center.come(user, slot, number, is_fetching=False)
        self.say(center, party, state)
        self.fetch(center, party)
        return session, party

    def say(self, center: FakeCenter, party: Party, state: str) -> None:
        """How it wants to be seen."""
        self.roles[center.node].hall.change(party, Seen(state))

    def fetch(self, center: FakeCenter, party: Party) -> None:
        """It asks for what is stored, and has it."""
        self.roles[center.node].hall.begin(party, lambda: center.router.carry_out(party.inbox.fetch()))
        self.town.settle(lambda: party.inbox.is_fetching and not party.inbox.is_fetch_answer_due)

    def befriend(self, *pairs: tuple[int, int]) -> None:
        """In the store alone."""
        for user, other in pairs:
            self.change(user, other, Befriended(0))

    def change(self, user: int, other: int, *changes: Change) -> Any:
        """In the store alone; gives what came of it."""
        return self.town.store.friends.change(user, other, lambda view: changes, 1)

    def block(self, center: FakeCenter, user: int, other: int) -> None:
        """A terminal at this center blocks; all centers are told."""
        self._tell(center, self.news_of_block(user, other))

    def news_of_block(self, user: int, other: int) -> News:
        """What a block is told by; it is in the store."""
        return news_of(user << 6, self.change(user, other, Blocked()))

    def unblock(self, center: FakeCenter, user: int, other: int) -> None:
        """And thinks better of it."""
        self._tell(center, news_of(user << 6, self.change(user, other, Unblocked())))

    def accept(self, center: FakeCenter, user: int, other: int) -> None:
        """Two become friends."""
        self._tell(center, news_of(user << 6, self.change(user, other, Befriended(0))))

    def remark(self, center: FakeCenter, user: int, other: int) -> None:
        """Call a friend something."""
        self._tell(center, news_of(user << 6, self.change(user, other, Remarked("dear"))))

    def _tell(self, center: FakeCenter, news: News) -> None:
        self.roles[center.node].friends.tell(news)
        self.read()

    def read(self) -> None:
        """All circles that are asked for have come."""
        self.town.settle(lambda: not any(role.hall.circles._running for role in self.roles.values()))

    def wait(self, seconds: float = 2.0) -> None:
        """Time passes, in steps of a tick; what is under way arrives."""
        for _ in range(int(seconds * 4)):
            self.town.pass_time(0.25)
            for role in self.roles.values():
                role.hall.tick()
            self.read()

    def online(self, center: FakeCenter, user: int) -> OnlinePage:
        """What FRIENDS_ONLINE answers."""
        pages: list[OnlinePage] = []
        self.roles[center.node].hall.online(user, 0, pages.append)
        self.town.settle(lambda: pages)
        return pages[0]


def told(session: FakeSession) -> list[tuple[int, str]]:
    """(user, state) of all that the terminal was told, in order."""
    pushes = [one for one in session.told if one.command == Command.PRESENCE and not one.flags & REPLY]
    return [(change.user, change.state) for push in pushes for change in PresenceChanged.decode(push.content).changes]


def users(page: OnlinePage) -> Collection[int]:
    """Who is online."""
    return [one.user for one in page.online]

