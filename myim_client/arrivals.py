"""The receiver's half of the delivery rules [P-8.3]: which arrival is new, which is a repeat, which names are to be confirmed.

The mirror of `sending`. New ones are handed to the courier, which queues them; what the application has is in the profile's seen-set.
Everything here runs under the profile's lock.
"""

from __future__ import annotations

from myim_client.events import MessageArrived
from myim_client.inbox import Inbox, Name
from myim_client.profile import Profile
from myim_wire.bodies import CONFIRMED_MESSAGES, MAX_PAIRS, encode_pairs, split_trailer
from myim_wire.messages import QOS1, Command, Message, encode_message

MAX_WAITING_UNPROMISED = 2_000


class Arrivals:
    """What came to one client; `repeats` and `dropped` are counts."""

    def __init__(self, profile: Profile, inbox: Inbox) -> None:
        self.repeats = 0
        self.dropped = 0
        self._profile = profile
        self._inbox = inbox
        self._confirmed: list[Name] = []

    def restart(self) -> None:
        """A new session: what it did not hand over it does not wait for."""
        self._confirmed.clear()

    def arrived(self, message: Message, own: int, names: dict[int, str]) -> MessageArrived | None:
        """The event to show, None for a repeat, and for QoS 0 and copies [P-7.4] while too much waits for the application already."""
        user, time = name = (message.user, message.time)
        qos = message.flags & QOS1
        known = self._inbox.in_hand.get(name)
        if known is not None:  # a copy may come before the promise
            known.qos |= qos
            self.repeats += 1
            return None
        if self._profile.is_seen(user, time):
            self.repeats += 1
            if qos:
                self._confirmed.append(name)
            return None
        if not qos and len(self._inbox) >= MAX_WAITING_UNPROMISED:
            self.dropped += 1
            return None
        body, entered, message_id, _ = split_trailer(message.content)
        event = MessageArrived(user, message.target, names.get(user, ""), body, time, entered, message_id, qos, user == own)
        self._inbox.in_hand[name] = event
        return event

    def shown(self, event: MessageArrived, is_online: bool) -> None:
        """The application has it, flushed."""
        self._inbox.in_hand.pop((event.user, event.time), None)
        if event.qos and is_online:
            self._confirmed.append((event.user, event.time))

    def due(self, own: int) -> list[bytes]:
        """The RECEIPTs to send now, encoded [P-7.2]."""
        names, self._confirmed = self._confirmed, []
        parts = [names[start : start + MAX_PAIRS] for start in range(0, len(names), MAX_PAIRS)]
        return [encode_message(Command.RECEIPT, 0, own, 0, 0, encode_pairs(CONFIRMED_MESSAGES, part)) for part in parts]
