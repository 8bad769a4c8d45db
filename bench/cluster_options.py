"""How much the cluster bench measures, and which cores it may use.

What lives here: the values every part of the bench is given. What must not: parts.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """How much to measure; `cores` are (centers and endpoints, driver and the rest); `terminals` are SDK clients."""

    pairs: int = 200
    repeats: int = 3
    seconds: float = 3.0
    connections: int = 3000
    sessions: int = 5000
    terminals: int = 500
    cores: tuple[int, int] = (0, 1)
