"""What this node wants listed, and how that and a user's present entry become the next one.

What lives here: the truth of this node's sessions, which users are to be looked at again, the merge; pure. What must not: the map itself.
An entry is shared by all centers that hold a terminal of the user, so nobody writes what it thinks the entry is: it merges and compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from cluster.directory import Place
from cluster.entries import Listed

MAX_GONE = 10_000


class Listing:
    """The sessions of one run of a node. now: monotonic seconds; remember_seconds: how long users that left are looked at again."""

    def __init__(self, now: Callable[[], float], remember_seconds: float) -> None:
        self._now = now
        self._remember_seconds = remember_seconds
        self._mine: dict[int, dict[int, Place]] = {}
        self._gone: dict[int, float] = {}  # user → when its last session here ended, oldest first
        self._dirty: dict[int, None] = {}
        self._unannounced: dict[int, dict[int, Place]] = {}

    def add(self, user: int, place: Place) -> None:
        """Wants a session listed unless a newer one of the same slot is."""
        slots = self._mine.setdefault(user, {})
        known = slots.get(place.slot)
        if known is not None and known.incarnation >= place.incarnation:
            return
        slots.pop(place.slot, None)  # in order of publishing, newest last
        slots[place.slot] = place
        self._gone.pop(user, None)
        self._unannounced.setdefault(user, {})[place.slot] = place
        self._dirty[user] = None

    def drop(self, user: int, place: Place) -> bool:
        """Wants exactly this session listed no more; whether it was."""
        slots = self._mine.get(user)
        if slots is None or slots.get(place.slot) != place:
            return False
        del slots[place.slot]
        self._take_unannounced(user, place)
        if not slots:
            del self._mine[user]
            self._remember(user)
        self._dirty[user] = None
        return True

    def drop_all(self) -> None:
        """Wants nothing listed any more."""
        self._dirty.update(dict.fromkeys(self._mine))
        self._mine.clear()
        self._unannounced.clear()

    def mine(self, user: int) -> Mapping[int, Place]:
        """Slot → session of this user here, newest entry last."""
        return self._mine.get(user, {})

    def doubt(self, users: Iterable[int]) -> None:
        """These are to be looked at again."""
        self._dirty.update(dict.fromkeys(users))

    def take_dirty(self, count: int) -> list[int]:
        """At most so many users to look at, longest waiting first; they count as looked at."""
        users = [user for user, _ in zip(self._dirty, range(count))]  # noqa: B905
        for user in users:
            del self._dirty[user]
        return users

    def users(self) -> list[int]:
        """Everybody worth a look: who is here, and who left lately."""
        horizon = self._now() - self._remember_seconds
        for user, left in list(self._gone.items()):
            if left > horizon:
                break
            del self._gone[user]
        return [*self._mine, *self._gone]

    def announce(self, user: int, listed: Sequence[Listed], life: int) -> list[Place]:
        """Which sessions are in the entry now and were not said to be before."""
        waiting = self._unannounced.get(user)
        if not waiting:
            return []
        arrived = [at for at, whose in listed if whose == life and waiting.get(at.slot) == at]
        for at in arrived:
            self._take_unannounced(user, at)
        return arrived

    @property
    def waiting(self) -> int:
        """Users that are to be looked at."""
        return len(self._dirty)

    def __len__(self) -> int:
        """Users that are here."""
        return len(self._mine)

    def _remember(self, user: int) -> None:
        self._gone.pop(user, None)
        self._gone[user] = self._now()
        if len(self._gone) > MAX_GONE:
            del self._gone[next(iter(self._gone))]

    def _take_unannounced(self, user: int, place: Place) -> None:
        waiting = self._unannounced.get(user)
        if waiting is not None and waiting.get(place.slot) == place:
            del waiting[place.slot]
            if not waiting:
                del self._unannounced[user]


def merged(present: Sequence[Listed], mine: Mapping[int, Place], life: int, is_over: Callable[[int], bool]) -> list[Listed]:
    """The next entry: others' places whose lease runs, and ours as they are; of one slot the higher incarnation. Newest entry last."""
    kept: dict[int, Listed] = {}
    for one in present:
        at = one.place
        is_stale = mine.get(at.slot) != at if one.life == life else is_over(one.life)
        if not is_stale and (at.slot not in kept or kept[at.slot].place.incarnation < at.incarnation):
            kept.pop(at.slot, None)
            kept[at.slot] = one
    for slot, at in mine.items():
        known = kept.get(slot)
        if known is None or known.place.incarnation < at.incarnation:
            kept.pop(slot, None)
            kept[slot] = Listed(at, life)
    return list(kept.values())
