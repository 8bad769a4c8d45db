"""The parts of a center that know presence, put together, and tied to delivery, friends and other centers.

What lives here: which part hears of what. What must not: rules, SQL, bytes, the rest of a node (`node_parts`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gevent

from myim_server.chat.circles import Circles
from myim_server.chat.friend_hall import FriendHall
from myim_server.chat.friend_news import News
from myim_server.chat.group_peers import GroupPeers
from myim_server.chat.held_receipts import HeldReceipts
from myim_server.chat.online_questions import PresenceParts
from myim_server.chat.peers import Peers
from myim_server.chat.post import Post
from myim_server.chat.presence_hall import PresenceHall
from myim_server.chat.router import Router
from myim_server.chat.shelf import Shelf
from myim_server.presence_commands import PresenceCommands
from myim_server.requests import Requests
from myim_server.store.engine import Store
from myim_wire import friend_peer_messages as wire
from myim_wire.friend_contents import FriendChanged, decode_friend_push
from myim_wire.messages import Command, encode_message

_AGAIN_SECONDS = 1.0  # after a link took no more
_ONLY_CIRCLES = 0  # the version of a push that no terminal is given: friends or blocks changed, and nothing that is shown


class PresenceSettings(NamedTuple):
    """Seconds of grace, whether all centers there are are linked, timers and monotonic seconds."""

    grace_seconds: float
    is_whole: Callable[[], bool]
    later: Callable[[float, Callable[[], None]], Any] = gevent.spawn_later
    now: Callable[[], float] = time.monotonic


class PresenceRole(NamedTuple):
    """What a center has for presence."""

    hall: PresenceHall
    commands: PresenceCommands
    friends: FriendHall
    held: HeldReceipts
    post: Post
    later: Callable[[float, Callable[[], None]], Any]

    def serve(self, peers: Peers, groups: GroupPeers) -> None:
        """Take what other centers say of presence and of friends."""
        peers.table.update(self.hall.table)
        peers.table[wire.FRIEND_TOLD] = self._friend_told
        peers.on_up = self.hall.came_up

        def lost(center: int) -> None:
            groups.lost(center)
            self.hall.lost(center)

        peers.on_lost = lost

    def news(self, news: News) -> None:
        """A change between users was made here: who they may hear of is read anew, here and elsewhere."""
        for user, push in news.pushes:
            self._tell([user], push)
        if news.may_hear is not None or news.is_blocked is not None:
            self._tell(sorted(news.pair), FriendChanged("list", _ONLY_CIRCLES, 0))
            if news.is_blocked:
                self.hall.circles.note_block(*news.pair)
            for user in news.pair:
                self.hall.circle_changed(user)

    def _tell(self, users: Sequence[int], push: FriendChanged) -> None:
        message = wire.encode_friend_told(users, push.encode())
        for center in self.post.linked():
            self._say(center, message, push.version == _ONLY_CIRCLES)

    def _say(self, center: int, message: bytes, is_needed: bool) -> None:
        """is_needed: else a terminal finds out by itself. (On a new link everything is read anew.)"""
        if not self.post.mesh.send(center, message, is_urgent=True) and is_needed and center in self.post.linked():
            self.later(_AGAIN_SECONDS, lambda: self._say(center, message, is_needed))

    def _friend_told(self, center: int, message: bytes) -> None:
        users, content = wire.decode_friend_told(message)
        push = decode_friend_push(content)
        for user in users:
            if push.version == _ONLY_CIRCLES:
                self.hall.circle_changed(user)
            else:
                self.friends.give_encoded(user, encode_message(Command.FRIEND_CHANGE, 0, 0, 0, 0, content))


def build_presence(
    node_id: int,
    store: Store,
    router: Router,
    shelf: Shelf,
    friends: FriendHall,
    post: Post,
    requests: Requests,
    settings: PresenceSettings,
) -> PresenceRole:
    """All of it."""
    circles = Circles(store.friends, store.blocks, gevent.spawn)
    parts = PresenceParts(node_id, router.parties, router.inboxes, post.mesh, settings.later, settings.now, settings.is_whole)
    hall = PresenceHall(parts, circles, settings.grace_seconds)
    shelf.is_blocked, shelf.blocked_by = hall.is_blocked, lambda target: store.blocks.of([target])[target]
    shelf.is_held = hall.is_hidden
    hall.on_seen = router.ways.appeared
    hall.on_hidden = lambda user: router.carry_out(router.inboxes.hide(user))
    hall.on_blocked = lambda user, senders: router.carry_out(router.inboxes.hide(user, senders))
    held = HeldReceipts(store.receipts, hall.is_visible, router.backlog.tell_of_receipts, gevent.spawn)
    hall.on_visible = held.release
    role = PresenceRole(hall, PresenceCommands(hall, requests), friends, held, post, settings.later)
    friends.on_news = role.news
    return role
