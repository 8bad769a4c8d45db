"""What this center says to others: each thing one method, encoded and put on the link.

What lives here: the outgoing half of a mesh of centers; what comes in is `peers`' affair. What must not: rules, sockets, clocks. Nothing
here waits: what a link does not take is reported to the caller, and an answer that cannot be sent ends the link, since the other side
would wait for it in vain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from cluster.directory import Place
from myim_server.chat.lane import Letter
from myim_wire import peer_messages
from myim_wire.peer_messages import MAX_TOLD, Came

_PART_BYTES = 65_536

Sender = tuple[int, int, int, int]  # user, slot, generation, number of a session


class Mesh(Protocol):
    """The links of this center, as far as its words go."""

    def send(self, node: int, message: bytes, is_urgent: bool = False) -> bool: ...
    def linked(self) -> Sequence[int]: ...
    def cut(self, node: int, reason: str) -> None: ...


class NoMesh:
    """The mesh of a center that is alone."""

    def send(self, node: int, message: bytes, is_urgent: bool = False) -> bool:
        """There is nobody."""
        return False

    def linked(self) -> Sequence[int]:
        """Nobody."""
        return ()

    def cut(self, node: int, reason: str) -> None:
        """Nothing to cut."""


class Post:
    """Speaks to the other centers."""

    __slots__ = ("mesh",)

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh

    def linked(self) -> Sequence[int]:
        """The centers that can be spoken to."""
        return self.mesh.linked()

    def reachable(self, places: Iterable[Place]) -> list[int]:
        """The linked centers among these places, in their order, each once."""
        linked = self.mesh.linked()
        return list(dict.fromkeys(place.center for place in places if place.center in linked))

    def open(self, center: int, sender: Sender, target: int, attempt: int, letters: Sequence[Letter]) -> bool:
        """Letters that open a lane; False: not sent."""
        parts = _in_parts(_plain(letters))
        if not self.mesh.send(center, peer_messages.encode_open(sender, target, attempt, parts[0])):
            return False
        for part in parts[1:]:
            if not self.mesh.send(center, peer_messages.encode_follow(sender[0], sender[1], target, attempt, part)):
                self.end(center, sender[0], sender[1], target, attempt)
                return False
        return True

    def follow(self, center: int, user: int, slot: int, target: int, attempt: int, letters: Sequence[Letter]) -> bool:
        """Letters of an open lane; False: not sent."""
        return self.mesh.send(center, peer_messages.encode_follow(user, slot, target, attempt, _plain(letters)))

    def end(self, center: int, user: int, slot: int, target: int, attempt: int) -> None:
        """An attempt is over."""
        self._must_send(center, peer_messages.encode_lane(peer_messages.END, user, slot, target, attempt))

    def received(self, center: int, user: int, slot: int, target: int, attempt: int, times: Sequence[int]) -> None:
        """The target's application has these."""
        self._must_send(center, peer_messages.encode_lane(peer_messages.RECEIVED, user, slot, target, attempt, times))

    def returned(
        self, center: int, user: int, slot: int, target: int, attempt: int, times: Sequence[int], is_absent: bool = False
    ) -> None:
        """These were not delivered, as far as is known; is_absent: for their sender nobody is here."""
        kind = peer_messages.ABSENT if is_absent else peer_messages.RETURNED
        self._must_send(center, peer_messages.encode_lane(kind, user, slot, target, attempt, times))

    def poke(self, center: int, target: int) -> None:
        """A hint: the target has rows."""
        self.mesh.send(center, peer_messages.encode_poke(target), is_urgent=True)

    def came(self, sessions: Sequence[Came], centers: Iterable[int] | None = None) -> None:
        """These sessions are here; told to all linked centers, or to some."""
        for start in range(0, len(sessions), MAX_TOLD):
            message = peer_messages.encode_came(sessions[start : start + MAX_TOLD])
            for center in self.mesh.linked() if centers is None else centers:
                self.mesh.send(center, message, is_urgent=True)

    def copy(self, center: int, sender: Sender, receiver: int, target: int, letter: Letter) -> bool:
        """A copy for the receiver's sessions there, QoS 0; False: not sent."""
        return self.mesh.send(
            center, peer_messages.encode_copy(sender, receiver, target, (letter.time, letter.message_id, letter.body))
        )

    def once(self, center: int, sender: Sender, target: int, letter: Letter) -> bool:
        """A QoS 0 message for the target's sessions there; False: not sent."""
        content = (letter.time, letter.message_id, letter.body)
        return self.mesh.send(center, peer_messages.encode_once(sender, target, letter.accepted, content))

    def receipts(self, center: int, terminals: Sequence[tuple[int, int]]) -> None:
        """A hint: receipts wait in the store for these (user, slot)."""
        for start in range(0, len(terminals), MAX_TOLD):
            message = peer_messages.encode_receipts(terminals[start : start + MAX_TOLD])
            self.mesh.send(center, message, is_urgent=True)

    def expired(self, center: int, user: int, slot: int, pairs: Sequence[tuple[int, int]]) -> None:
        """A hint: these messages (target, time) of a terminal were removed before their target came."""
        for start in range(0, len(pairs), MAX_TOLD):
            self.mesh.send(center, peer_messages.encode_expired(user, slot, pairs[start : start + MAX_TOLD]), is_urgent=True)

    def changed(self) -> None:
        """A hint to all: generations were raised."""
        for center in self.mesh.linked():
            self.mesh.send(center, peer_messages.encode_changed(), is_urgent=True)

    def drain(self, node: int, is_wished: bool) -> bool:
        """Ask a node to drain, or to take sessions again; False: not sent."""
        return self.mesh.send(node, peer_messages.encode_drain(is_wished), is_urgent=True)

    def cut(self, center: int, reason: str) -> None:
        """End the link: what was under way on it is void."""
        self.mesh.cut(center, reason)

    def _must_send(self, center: int, message: bytes) -> None:
        if not self.mesh.send(center, message, is_urgent=True):
            self.mesh.cut(center, "an answer found no room")


def _in_parts(letters: list[tuple[int, int, bytes]]) -> list[list[tuple[int, int, bytes]]]:
    """What a terminal may have unsettled is more than one message of a link holds."""
    parts: list[list[tuple[int, int, bytes]]] = [[]]
    size = 0
    for letter in letters:
        if size > _PART_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(letter)
        size += len(letter[2])
    return parts


def _plain(letters: Sequence[Letter]) -> list[tuple[int, int, bytes]]:
    return [(letter[0], letter[2], letter[1]) for letter in letters]
