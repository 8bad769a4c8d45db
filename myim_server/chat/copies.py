"""Copies: what a user's other terminals see of a message, and QoS 0 altogether. Best effort, never confirmed, never in a lane.

What lives here: who gets a copy, here and at other centers. What must not: anything a promise rests on. A user with terminals at several
centers is known as such by what the centers tell each other of sessions that came (`peers`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from myim_server.chat.inbox import Inbox
from myim_server.chat.inboxes import Inboxes
from myim_server.chat.lane import Lane, Letter
from myim_server.chat.party import Party
from myim_server.chat.post import Post, Sender
from myim_wire.messages import encode_delivery


class Copies:
    """Gives copies to sessions here, and sends them to other centers."""

    def __init__(self, node_id: int, inboxes: Inboxes, parties: dict[int, Party], post: Post) -> None:
        """parties: the router's own table, shared."""
        self._node_id = node_id
        self._inboxes = inboxes
        self._parties = parties
        self._post = post
        self.elsewhere: dict[int, dict[int, int]] = {}  # of users with a session here: slot -> other center

    # ------------------------------------------------------------------ who is elsewhere

    def note(self, user: int, slot: int, center: int) -> bool:
        """A terminal of a user who is here, too, is at another center; whether that center is new for this user."""
        known = self.elsewhere.setdefault(user, {})
        is_new = center not in known.values()
        known[slot] = center
        return is_new

    def came_here(self, user: int, slot: int) -> None:
        """The terminal is here now."""
        known = self.elsewhere.get(user)
        if known is not None:
            known.pop(slot, None)
            if not known:
                del self.elsewhere[user]

    def left(self, user: int) -> None:
        """A session ended; of a user without any here nothing need be known."""
        if not self._inboxes.of(user):
            self.elsewhere.pop(user, None)

    def lost(self, center: int) -> None:
        """The link to a center ended."""
        for user, known in list(self.elsewhere.items()):
            for slot in [slot for slot, where in known.items() if where == center]:
                self.came_here(user, slot)

    # ------------------------------------------------------------------ giving

    def encode(self, user: int, target: int, letter: Letter, entered: int) -> bytes:
        """The message as a copy."""
        return encode_delivery(0, user, target, letter.time, letter.body, (entered, letter.message_id, self._node_id))

    def give(self, receiver: int, data: bytes, but: Inbox | None = None) -> int:
        """To the receiver's sessions here that have fetched, but for one; how many they were."""
        given = 0
        for inbox in self._inboxes.of(receiver):
            party = self._parties.get(inbox.user << 6 | inbox.slot)
            if inbox is not but and inbox.is_fetching and party is not None:
                party.session.send(data)
                given += 1
        return given

    def echo(self, user: int, slot: int, copies: Iterable[bytes]) -> None:
        """What a terminal sent, to the user's other terminals here."""
        others = [inbox for inbox in self._inboxes.of(user) if inbox.slot != slot and inbox.is_fetching]
        for data in copies if others else ():
            for inbox in others:
                party = self._parties.get(inbox.user << 6 | inbox.slot)
                if party is not None:
                    party.session.send(data)

    def of_handed(self, inbox: Inbox, owner: int, sender_key: int, letters: Sequence[Letter]) -> None:
        """Letters were handed to one session: the target's others, and the sender's own, see them too."""
        user, target = sender_key >> 6, inbox.user
        copies = [self.encode(user, target, letter, owner) for letter in letters]
        for data in copies:
            self.give(target, data, but=inbox)
        self.echo(user, sender_key & 63, copies)
        if owner == self._node_id:  # else the owner sends to other centers, and knows its sender's session
            self._send_away(sender_key, target, letters, self.elsewhere.get(target, {}).values(), self.elsewhere.get(user, {}).values())

    def of_forwarded(self, center: int, sender_key: int, target: int, letters: Sequence[Letter], others: Iterable[int]) -> None:
        """Letters went to another center, which gives copies there: at the target's other centers it sees them too.

        The sender's own terminals do not yet: who is there and hides gives them back, and a copy would tell him from who is absent.
        """
        self._send_away(sender_key, target, letters, [other for other in others if other != center], ())

    def of_received(self, lane: Lane, times: Iterable[int]) -> None:
        """The target has letters that went to another center, which gave copies there: the sender's other terminals see them too."""
        user = lane.user
        is_here_too, elsewhere = len(self._inboxes.of(user)) > 1, self.elsewhere.get(user)
        if not is_here_too and not elsewhere:
            return
        letters = [lane.queue[time] for time in times if time in lane.queue]
        if is_here_too:
            self.echo(user, lane.slot, [self.encode(user, lane.target, letter, self._node_id) for letter in letters])
        if elsewhere:
            self._send_away(lane.key, lane.target, letters, (), set(elsewhere.values()) - {lane.center})

    def _send_away(
        self, sender_key: int, target: int, letters: Sequence[Letter], targets: Iterable[int], senders: Iterable[int]
    ) -> None:
        """Copies for the target, and for the sender, to these centers."""
        sender = self.sender(sender_key)
        if sender is None:
            return
        for letter in letters:
            for center in set(targets):
                self._post.copy(center, sender, target, target, letter)
            for center in set(senders):
                self._post.copy(center, sender, sender[0], target, letter)

    def sender(self, key: int) -> Sender | None:
        """The present session of a terminal that is here."""
        party = self._parties.get(key)
        return None if party is None else (party.session.user, party.session.slot, *party.session.incarnation)
