"""Groups across centers: what this center tells the others of posts and changes, and what it takes from them.

What lives here: the link messages of groups, outgoing and incoming, and which center is interested in which group. What must not: rooms'
rules (`rooms`), the bytes (`myim_wire.group_peer_messages`), links. All of it is a hint (docs/groups.md): a message that finds no room on
a link is dropped, and the sweep of the center it was for offers what it missed (G-14).

Who hears: every center, until it says that it has no members of the group; it says so when it is told of a group it has no room for, and
takes that back when the first member comes. With a link all that was said on it is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from myim_server.chat.group_desk import News
from myim_server.chat.group_hall import GroupHall
from myim_server.chat.post import Mesh
from myim_server.chat.posting import Sender
from myim_server.chat.rooms import Push
from myim_server.metrics import Metrics
from myim_wire import group_peer_messages as wire
from myim_wire.errors import ErrorCode, RemoteProtocolError
from myim_wire.group_contents import GroupChanged, decode_group_push
from myim_wire.group_peer_messages import Post
from myim_wire.messages import QOS1, encode_group_delivery

_PART_BYTES = 65_536
_REMEMBERED = 100_000  # groups of each center
_NOT_FOR_MEMBERS = 0  # in place of the version, where only the users that are named are told

MaySpeak = Callable[[int, int, tuple[int, int], bytes], bool]


class GroupPeers:
    """The other centers, as far as groups go. `table` maps each kind of message to (center, message) -> None."""

    def __init__(self, node_id: int, hall: GroupHall, mesh: Mesh, metrics: Metrics) -> None:
        self._node_id = node_id
        self._hall = hall
        self._mesh = mesh
        self._metrics = metrics
        self._uninterested: dict[int, set[int]] = {}  # center -> groups of which it has no members
        self._declined: dict[int, set[int]] = {}  # center -> groups of which this one told it so
        self._forgotten: set[int] = set()  # centers that may have been told of more than those
        hall.rooms.on_first = self._has_members
        hall.on_news = self.tell_news
        self.table: dict[int, Callable[[int, bytes], None]] = {
            wire.POSTED: self._posted,
            wire.GROUP_CHANGED: self._changed,
            wire.UNINTERESTED: self._take_uninterested,
            wire.INTERESTED: self._take_interested,
        }

    may_speak: MaySpeak = staticmethod(lambda center, key, incarnation, message: False)

    # ------------------------------------------------------------------ telling

    def tell_posts(self, sender: Sender, group: int, version: int, posts: Sequence[Post]) -> None:
        """Posts of a session here, committed in one transaction, to every center that may have members: encoded once."""
        centers = self._interested(group)
        if centers:
            for part in _in_parts(posts):
                message = wire.encode_posted(sender, group, version, self._node_id, part)
                for center in centers:
                    if not self._mesh.send(center, message):
                        self._metrics.mesh_bounced += len(part)

    def tell_news(self, news: News) -> None:
        """A change that was made here."""
        version = news.change.version if news.is_for_members else _NOT_FOR_MEMBERS
        content = news.change.encode()
        message = wire.encode_group_changed(news.change.group, version, news.users, content)
        for center in self._mesh.linked() if news.users else self._interested(news.change.group):
            self._mesh.send(center, message, is_urgent=True)

    def _interested(self, group: int) -> list[int]:
        without = self._uninterested
        return [center for center in self._mesh.linked() if center not in without or group not in without[center]]

    # ------------------------------------------------------------------ being told

    def _posted(self, center: int, message: bytes) -> None:
        posted = wire.decode_posted(message)
        if posted.group not in self._hall.rooms:
            self._decline(center, posted.group)
            return
        key = posted.user << 6 | posted.slot
        if not self.may_speak(center, key, (posted.generation, posted.number), message):
            return
        parts = []
        for post in posted.posts:
            trailer = (posted.entered, post.message_id, self._node_id)
            qos = QOS1 if post.number else 0
            data = encode_group_delivery(qos, posted.user, posted.group, post.time, post.number, post.accepted, post.body, trailer)
            parts.append((post.number, data))
        self._hall.succession.push(Push(posted.group, posted.version, parts))

    def _changed(self, center: int, message: bytes) -> None:
        group, version, users, content = wire.decode_group_changed(message)
        change = decode_group_push(content)
        if not isinstance(change, GroupChanged) or change.group != group:
            raise RemoteProtocolError(ErrorCode.BAD_FRAME, "a change of another group than told")
        self._hall.give_news(change, version != _NOT_FOR_MEMBERS, users)
        if version != _NOT_FOR_MEMBERS and group not in self._hall.rooms:
            self._decline(center, group)

    # ------------------------------------------------------------------ interest

    def _decline(self, center: int, group: int) -> None:
        if _remember(self._declined, center, group):
            self._forgotten.add(center)
        self._mesh.send(center, wire.encode_uninterested(group), is_urgent=True)

    def _has_members(self, group: int) -> None:
        """The first member came: whoever was told that there are none is told otherwise."""
        told = [center for center, groups in self._declined.items() if group in groups or center in self._forgotten]
        for center in told:
            self._declined[center].discard(group)
            if not self._mesh.send(center, wire.encode_interested([group]), is_urgent=True):
                self._mesh.cut(center, "an interest found no room")  # it would never tell again

    def _take_uninterested(self, center: int, message: bytes) -> None:
        _remember(self._uninterested, center, wire.decode_uninterested(message))  # who is told in vain says so again

    def _take_interested(self, center: int, message: bytes) -> None:
        self._uninterested.get(center, set()).difference_update(wire.decode_interested(message))

    def lost(self, center: int) -> None:
        """The link ended."""
        self._uninterested.pop(center, None)
        self._declined.pop(center, None)
        self._forgotten.discard(center)


def _remember(table: dict[int, set[int]], center: int, group: int) -> bool:
    """By center, because a link that ends must not cost a walk over all groups. Whether all others of the center had to be forgotten."""
    groups = table.setdefault(center, set())
    is_full = len(groups) >= _REMEMBERED
    if is_full:
        groups.clear()
    groups.add(group)
    return is_full


def _in_parts(posts: Sequence[Post]) -> list[list[Post]]:
    """What one message of a link holds; several of a sender may be more."""
    parts: list[list[Post]] = [[]]
    size = 0
    for post in posts:
        if size > _PART_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(post)
        size += len(post.body)
    return parts
