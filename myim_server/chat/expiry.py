"""Senders are told of messages that expired before their target came: those that are online, here or elsewhere.

What lives here: who is told. What must not: what expires when (the store), SQL, clocks. A word to the wise and no promise: who is not
online now is not told, and a link without room drops it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from cluster.directory import Place
from myim_server.chat.party import Party
from myim_server.chat.post import Post
from myim_server.chat.vouching import Finder
from myim_wire import peer_messages as wire
from myim_wire.bodies import EXPIRED, MAX_PAIRS
from myim_wire.messages import Command, encode_message, encode_pairs

Pairs = list[tuple[int, int]]  # (target, time)


class Expiry:
    """Tells senders."""

    def __init__(self, parties: Mapping[int, Party], finder: Finder | None, post: Post) -> None:
        """parties: the router's own table; finder, post: where users are at other centers, and the way there."""
        self._parties = parties
        self._finder = finder
        self._post = post

    def tell(self, names: Iterable[tuple[int, int, int]]) -> None:
        """These messages, (user, time, target), are gone."""
        of_terminals: dict[int, Pairs] = {}
        for user, time, target in names:
            of_terminals.setdefault(user << 6 | time & 63, []).append((target, time))
        for key, pairs in of_terminals.items():
            if not self._give(key, pairs) and self._finder is not None:
                self._finder.find(key >> 6, partial(self._send_away, key, pairs))

    def _give(self, key: int, pairs: Pairs) -> bool:
        """To a terminal that is here; whether it is."""
        party = self._parties.get(key)
        if party is None:
            return False
        for start in range(0, len(pairs), MAX_PAIRS):
            content = encode_pairs(EXPIRED, pairs[start : start + MAX_PAIRS])
            party.session.send(encode_message(Command.RECEIPT, 0, 0, key >> 6, 0, content))
        return True

    def _send_away(self, key: int, pairs: Pairs, places: Sequence[Place]) -> None:
        for center in self._post.reachable(place for place in places if place.slot == key & 63):
            self._post.expired(center, key >> 6, key & 63, pairs)

    def take(self, center: int, message: bytes) -> None:
        """Another center removed messages of a terminal that is here."""
        user, slot, pairs = wire.decode_expired(message)
        if pairs:
            self._give(user << 6 | slot, pairs)
