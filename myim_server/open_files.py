"""The limit of open files: raised to what the node needs, or refused with both numbers (reliability row 117).

Only this; how many are needed is `config_sections`' arithmetic. A node that starts with too few would refuse its ten-thousandth terminal
in the middle of the day.
"""

import resource
from collections.abc import Callable

Limits = tuple[int, int]


class TooFewOpenFiles(Exception):
    """The hard limit is below what the configuration needs; `str()` has both numbers."""

    def __init__(self, needed: int, allowed: int) -> None:
        super().__init__(
            f"this configuration needs {needed} open files, the limit is {allowed}: "
            f"raise it (ulimit -n {needed}, LimitNOFILE={needed}), or lower center.max_connections"
        )
        self.needed = needed
        self.allowed = allowed


def _read() -> Limits:
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def _write(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def ensure_open_files(needed: int, read: Callable[[], Limits] = _read, write: Callable[[Limits], None] = _write) -> Limits:
    """Makes `needed` open files possible and returns the soft limit (before, now).

    Raises TooFewOpenFiles where the hard limit does not allow them. `read` and `write` get and set (soft, hard).
    """
    soft, hard = read()
    infinity = resource.RLIM_INFINITY
    if soft == infinity or soft >= needed:
        return soft, soft
    if hard != infinity and hard < needed:
        raise TooFewOpenFiles(needed, hard)
    try:
        write((needed, hard))
    except (OSError, ValueError):
        raise TooFewOpenFiles(needed, soft) from None
    return soft, needed
