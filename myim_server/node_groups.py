"""The parts of a center that know groups, put together from its configuration, and the loops that serve them.

What lives here: which value goes where. What must not: rules, SQL, bytes, the rest of a node (`node_parts`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import gevent

from myim_server.chat.confirmations import Confirmations
from myim_server.chat.group_desk import GroupDesk
from myim_server.chat.group_hall import GroupHall
from myim_server.chat.group_janitor import GroupJanitor
from myim_server.chat.group_peers import GroupPeers
from myim_server.chat.group_rules import GroupLimits
from myim_server.chat.peers import Peers
from myim_server.chat.post import Post
from myim_server.chat.posting import Postings
from myim_server.chat.router import Router
from myim_server.config_sections import Config
from myim_server.group_commands import GroupCommands, GroupParts
from myim_server.metrics import Metrics
from myim_server.numbering import Numbering
from myim_server.pace import Budgets, Limits
from myim_server.requests import Requests
from myim_server.store.engine import Store


class Groups(NamedTuple):
    """What a center has for groups."""

    parts: GroupParts
    commands: GroupCommands
    janitor: GroupJanitor
    peers: GroupPeers
    store_seconds: float

    def serve(self, peers: Peers) -> None:
        """Take what other centers say of groups."""
        self.peers.may_speak = peers.may_speak
        peers.table.update(self.peers.table)
        peers.on_lost = self.peers.lost

    def tick(self) -> None:
        """Answer for posts that the store does not take in time."""
        self.parts.postings.tick(time.monotonic(), self.store_seconds)


def build_groups(
    config: Config,
    node_id: int,
    store: Store,
    router: Router,
    post: Post,
    asking: tuple[Numbering, Limits, Requests],
    wall: Callable[[], int],
    metrics: Metrics,
) -> Groups:
    """All of it; wall: µs since 1970."""
    section, batch = config.groups, config.store
    spawn = gevent.spawn
    hall = GroupHall(node_id, router.parties, router.inboxes, (store.groups, store.group_posts), spawn, gevent.spawn_later, metrics)
    router.on_left = lambda user, slot: hall.left(user)
    postings = Postings(node_id, store.group_posts, hall.succession, spawn, (batch.batch_rows, batch.batch_linger_ms / 1000), metrics)
    confirmations = Confirmations(store.group_cursors, spawn, gevent.sleep, section.confirmation_linger_ms / 1000, metrics)
    limits = GroupLimits(section.members, section.per_user, section.pending)
    desk = GroupDesk(store.groups, (store.group_roles.officers, store.accounts.existing), limits, wall, hall.tell)
    peers = GroupPeers(node_id, hall, post.mesh, metrics)
    postings.on_fan = peers.tell_posts
    parts = GroupParts(postings, confirmations, hall, desk, store.group_roles)
    numbering, of_terminals, requests = asking
    commands = GroupCommands(parts, numbering, (of_terminals, Budgets(section.invites_per_minute)), requests, spawn, metrics)
    janitor = GroupJanitor(store.group_purge, confirmations, gevent.sleep, time.monotonic, metrics)
    return Groups(parts, commands, janitor, peers, config.delivery.store_seconds)
