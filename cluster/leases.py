"""Which runs of which nodes are alive, told by beats that go on, not by clocks.

What lives here: the table of leases as one reader sees it; pure. What must not: time. A lease is over when its beat stood still over so
many looks of this reader, so neither a clock that steps, nor a reader that was stopped, nor a keeper of the map that was away ends anybody.
"""

from __future__ import annotations

from collections.abc import Iterable

from cluster.entries import Lease

_FORGET_LOOKS = 1000


class Leases:
    """What was seen of each life; patience: looks without a new beat after which a lease is over."""

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._looks = 0
        self._beats: dict[int, tuple[int, int]] = {}  # life → the beat, and at which look it was new

    def look(self, leases: Iterable[Lease]) -> None:
        """Takes everything that one look at the map showed."""
        self._looks += 1
        self.learn(leases)
        if self._looks % _FORGET_LOOKS == 0:
            self._beats = {life: (beat, look) for life, (beat, look) in self._beats.items() if self._looks - look < _FORGET_LOOKS}

    def learn(self, leases: Iterable[Lease]) -> None:
        """Takes what a look out of turn showed: it counts for those that beat, against nobody."""
        for lease in leases:
            known = self._beats.get(lease.life)
            if known is None or known[0] != lease.beat:
                self._beats[lease.life] = (lease.beat, self._looks if lease.beat else self._looks - self._patience - 1)

    def is_known(self, life: int) -> bool:
        """Whether anything is known of it."""
        return life in self._beats

    def is_over(self, life: int) -> bool:
        """Whether it is known to have ended; of an unknown one nobody can say that."""
        known = self._beats.get(life)
        return known is not None and self._looks - known[1] > self._patience

    def give_up(self, life: int) -> None:
        """A life that the map names no lease of is over, until a beat of it is seen."""
        self._beats.setdefault(life, (0, self._looks - self._patience - 1))
