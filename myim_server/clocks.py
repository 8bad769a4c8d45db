"""Whether the wall clock may be believed about what is old.

What lives here: one watch over the distance between the wall clock and the monotonic one. What must not: anything that reads a clock by
itself. Why: a clock that jumps by months would make every stored message look expired.
"""

from __future__ import annotations

_STEP_SECONDS = 3600.0
_TRUST_AGAIN_SECONDS = 24 * 3600.0


class ClockWatch:
    """Looked at in every round of a purge; the first look is at start."""

    def __init__(self, wall_seconds: float, monotonic_seconds: float) -> None:
        self._offset = wall_seconds - monotonic_seconds
        self._trusted_from = monotonic_seconds

    def is_trusted(self, wall_seconds: float, monotonic_seconds: float) -> bool:
        """False from a step of an hour or more until the new time has held for a day."""
        offset = wall_seconds - monotonic_seconds
        if abs(offset - self._offset) >= _STEP_SECONDS:
            self._trusted_from = monotonic_seconds + _TRUST_AGAIN_SECONDS
        self._offset = offset
        return monotonic_seconds >= self._trusted_from
