"""Centers as values that know groups: what three_centers has, with halls, postings and peers of groups on top."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import gevent

from myim_server.chat.confirmations import Confirmations
from myim_server.chat.expiry import Expiry
from myim_server.chat.group_desk import GroupDesk
from myim_server.chat.group_hall import GroupHall
from myim_server.chat.group_peers import GroupPeers
from myim_server.chat.group_rules import GroupLimits
from myim_server.chat.party import Party
from myim_server.chat.post_lane import PostLane, Taken
from myim_server.chat.posting import Outgoing, Postings
from myim_server.sessions import Session
from myim_server.store.group_values import Group
from myim_wire import group_requests as asked
from myim_wire import peer_messages
from myim_wire.bodies import split_group_content
from myim_wire.errors import ErrorCode
from myim_wire.group_contents import GroupBehind, GroupChanged, decode_group_push
from myim_wire.messages import REPLY, Command
from tests.server.three_centers import FakeCenter, FakeSession, Town


class Guest:
    """A terminal of a member: what it was given, and what became of what it posted."""

    def __init__(self, center: GroupCenter, session: FakeSession, party: Party) -> None:
        self.center = center
        self.session = session
        self.party = party
        self.lane: PostLane | None = None
        self.numbers: dict[int, int] = {}
        self.refusals: list[ErrorCode] = []

    @property
    def posts(self) -> list[tuple[int, bytes]]:
        """(number, body) of what was handed over, in its order."""
        told = [one for one in self.session.told if one.command == Command.GROUP_MESSAGE and not one.flags & REPLY]
        return [(split_group_content(one.content)[0], split_group_content(one.content)[2]) for one in told]

    @property
    def pushes(self) -> list[object]:
        """What was said about groups."""
        return [decode_group_push(one.content) for one in self.session.told if one.command == Command.GROUP]

    @property
    def events(self) -> list[str]:
        """The changes among that."""
        return [push.event for push in self.pushes if isinstance(push, GroupChanged)]

    @property
    def offers(self) -> list[int]:
        """The numbers that were offered."""
        return [push.number for push in self.pushes if isinstance(push, GroupBehind)]

    def post(self, group: int, *bodies: bytes) -> None:
        """Post, each behind the one before."""
        lane = self.lane = self.lane or PostLane(self.party.session.key, group)
        sender = (self.party.session.user, self.party.session.slot, *self.party.session.incarnation)
        for body in bodies:
            message_id, accepted = self.center.take_number()
            taken = Taken(message_id << 6 | self.party.session.slot, body, message_id, accepted, 0.0)
            lane.take(taken, True)
            self.center.postings.submit(Outgoing(lane, sender, taken, self._answer, self._refuse))

    def _answer(self, lane: PostLane, time: int, number: int) -> None:
        self.numbers[time] = number

    def _refuse(self, lane: PostLane, times: Sequence[int], code: ErrorCode) -> None:
        self.refusals.append(code)


class GroupCenter:
    """One center's parts that know groups, over a FakeCenter."""

    def __init__(self, base: FakeCenter) -> None:
        store, router, metrics = base.town.store, base.router, base.metrics
        self.base = base
        groups = store.groups, store.group_posts
        self.hall = GroupHall(base.node, router.parties, router.inboxes, groups, gevent.spawn, gevent.spawn_later, metrics)
        router.on_left = lambda user, slot: self.hall.left(user)
        self.postings = Postings(base.node, store.group_posts, self.hall.succession, gevent.spawn, (100, 0.0), metrics)
        self.confirmations = Confirmations(store.group_cursors, gevent.spawn, gevent.sleep, 0.0, metrics)
        people = (store.group_roles.officers, store.accounts.existing)
        self.desk = GroupDesk(store.groups, people, GroupLimits(), lambda: 1, self.hall.tell)
        self.peers = GroupPeers(base.node, self.hall, base.line, metrics)
        self.postings.on_fan = self.peers.tell_posts
        self.peers.may_speak = base.peers.may_speak
        base.peers.table.update(self.peers.table)
        base.peers.on_lost = self.peers.lost
        self.expiry = Expiry(router.parties, base.finder, router.post)
        base.peers.table[peer_messages.EXPIRED] = self.expiry.take
        self._numbered = base.node << 20

    def take_number(self) -> tuple[int, int]:
        """(message id, accepted)."""
        self._numbered += 1
        return self._numbered, self._numbered

    def come(self, user: int, slot: int = 0, number: int = 1) -> Guest:
        """A terminal connects, asks for what is stored, and is told its groups."""
        session = FakeSession(user, slot, number)
        party = self.base.router.come_online(cast(Session, session), self.base.node)
        self.hall.begin(party)
        self.base.router.carry_out(party.inbox.fetch())
        guest = Guest(self, session, party)
        self.base.town.settle(lambda: any(one.command == Command.GROUP for one in session.told))
        return guest

    def go(self, guest: Guest) -> None:
        """It leaves."""
        self.base.router.go_offline(guest.party.session)

    def ask(self, user: int, group: int, request: asked.GroupRequest) -> None:
        """A request that is not refused."""
        self.desk.answer(user, 1, group, request)


class GroupTown(Town):
    """Three centers and an open group of alice's that bob is in, too."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.halls = {node: GroupCenter(center) for node, center in self.centers.items()}
        made, _ = self.store.groups.create(self.alice, 1, "team", "", "open", [], 1)
        self.group: Group = made
        self.join(self.bob)

    def join(self, user: int) -> None:
        """Straight in the store, as if by a center that died at once."""
        from myim_server.store.group_changes import Added

        assert self.store.groups.change(self.group.id, [user], lambda view: [Added(user, "member")], 1) is not None
