"""What befalls a cluster, and when: a plan drawn from a seed, in seconds of traffic, so that a run repeats.

What lives here: the plan, pure. What must not: processes, wires (ordeal, cluster_parts). Faults overlap in time, never on one target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

CENTER, ENDPOINT, LOGIN, APPLICATION, DATABASE, HAZELCAST = "center", "endpoint", "login", "application", "database", "hazelcast"
LINK, ISOLATION, FRONT, CLIENTS, TO_HAZELCAST, TO_DATABASE = "link", "isolation", "front", "clients", "to_hazelcast", "to_database"
GARBAGE, CLOCK = "garbage", "clock"
PROCESSES = (CENTER, ENDPOINT, LOGIN, APPLICATION, DATABASE, HAZELCAST)
NEEDS_STORE_AT_START = (CENTER, LOGIN)
RECOVERY_SECONDS = 4.0

# Weight, target, how, seconds at least, at most. A kill's seconds are how long it stays down.
MENU = (
    (6, CENTER, "kill", 0.0, 3.0),
    (2, CENTER, "stop", 0.0, 2.0),
    (4, CENTER, "pause", 2.0, 8.0),
    (3, ENDPOINT, "kill", 0.0, 3.0),
    (1, ENDPOINT, "stop", 0.0, 2.0),
    (2, ENDPOINT, "pause", 2.0, 8.0),
    (1, LOGIN, "kill", 0.0, 3.0),
    (1, LOGIN, "pause", 2.0, 8.0),
    (5, APPLICATION, "kill", 0.0, 1.0),
    (1, APPLICATION, "pause", 2.0, 8.0),
    (1, DATABASE, "kill", 0.0, 3.0),
    (1, DATABASE, "stop", 0.0, 3.0),
    (1, DATABASE, "pause", 2.0, 8.0),
    (2, HAZELCAST, "kill", 0.0, 6.0),
    (1, HAZELCAST, "stop", 0.0, 6.0),
    (2, HAZELCAST, "pause", 2.0, 8.0),
    (2, HAZELCAST, "lose", 1.0, 10.0),
    (2, LINK, "cut", 0.0, 0.0),
    (2, LINK, "refuse", 1.0, 8.0),
    (2, LINK, "one_way", 2.0, 20.0),
    (2, LINK, "half_open", 2.0, 20.0),
    (1, LINK, "hold", 1.0, 8.0),
    (1, LINK, "slow", 2.0, 8.0),
    (2, LINK, "flap", 2.0, 8.0),
    (1, LINK, "flip", 0.0, 0.0),
    (1, LINK, "break", 0.0, 0.0),
    (1, LINK, "segments", 1.0, 4.0),
    (1, LINK, "duplicate", 0.0, 0.0),
    (3, ISOLATION, "half_open", 2.0, 20.0),
    (1, ISOLATION, "refuse", 2.0, 8.0),
    (1, FRONT, "cut", 0.0, 0.0),
    (1, FRONT, "one_way", 2.0, 20.0),
    (1, FRONT, "half_open", 2.0, 20.0),
    (1, FRONT, "flip", 0.0, 0.0),
    (1, FRONT, "duplicate", 0.0, 0.0),
    (1, FRONT, "slow", 2.0, 8.0),
    (1, CLIENTS, "cut", 0.0, 0.0),
    (1, CLIENTS, "flip", 0.0, 0.0),
    (1, CLIENTS, "one_way", 1.0, 6.0),
    (1, CLIENTS, "duplicate", 0.0, 0.0),
    (1, CLIENTS, "segments", 1.0, 4.0),
    (1, TO_HAZELCAST, "half_open", 2.0, 10.0),
    (1, TO_HAZELCAST, "slow", 2.0, 8.0),
    (1, TO_HAZELCAST, "flap", 2.0, 8.0),
    (1, TO_DATABASE, "cut", 0.0, 0.0),
    (1, TO_DATABASE, "half_open", 2.0, 6.0),
    (3, GARBAGE, "write", 2.0, 6.0),
    (1, CLOCK, "hour_ahead", 1.0, 8.0),
    (1, CLOCK, "hour_back", 1.0, 8.0),
    (1, CLOCK, "day_ahead", 1.0, 8.0),
)
STEPS = {"hour_ahead": 3600.0, "hour_back": -3600.0, "day_ahead": 86_400.0}  # seconds the clock is off, and then right again
OF_HAZELCAST = (HAZELCAST, TO_HAZELCAST, GARBAGE)


@dataclass(frozen=True, slots=True)
class Fault:
    """From `at`, for `seconds`, `how` befalls `what`; which: of several; chance: for what else is to be drawn when it happens."""

    at: float
    what: str
    which: int
    how: str
    seconds: float
    chance: int

    @property
    def is_kill(self) -> bool:
        """Whether a process ends."""
        return self.what in PROCESSES and self.how in ("kill", "stop", "lose")


def plan_cluster_faults(count: int, every: tuple[float, float], seed: int, sizes: Mapping[str, int]) -> list[Fault]:
    """`count` faults, one each `every` (least, most) seconds, on `sizes` targets of each sort (a sort without targets is left alone).

    At least a quarter of the kills hit applications.
    """
    random = Random(f"cluster faults {seed}")
    menu = [entry for entry in MENU if sizes.get(entry[1], 0)]
    faults: list[Fault] = []
    now = 1.0
    while len(faults) < count:
        fault = _drawn(random, menu, sizes, now)
        if fault.is_kill and fault.what != APPLICATION and _lacks_applications(faults):
            fault = Fault(now, APPLICATION, random.randrange(sizes[APPLICATION]), "kill", random.uniform(0, 1), random.getrandbits(32))
        if not any(_collide(fault, other) for other in faults[-40:]):
            faults.append(fault)
            now += random.uniform(*every)
    return faults


def _drawn(random: Random, menu: Sequence[tuple[int, str, str, float, float]], sizes: Mapping[str, int], now: float) -> Fault:
    _, what, how, least, most = random.choices(menu, [entry[0] for entry in menu])[0]
    which, seconds = random.randrange(sizes[what]), random.uniform(least, most)
    return Fault(round(now, 3), what, which, how, round(seconds, 3), random.getrandbits(32))


def _lacks_applications(faults: Sequence[Fault]) -> bool:
    """Whether one more kill of something else would be too many."""
    kills = [fault.what for fault in faults if fault.is_kill]
    return kills.count(APPLICATION) * 4 < len(kills) + 1


def _collide(one: Fault, other: Fault) -> bool:
    """Whether one begins before what the other does is over, and they touch the same, or one needs what the other takes away."""
    if max(one.at, other.at) >= min(one.at + one.seconds, other.at + other.seconds) + RECOVERY_SECONDS:
        return False
    if one.what == other.what:
        return one.which == other.which or one.what in (LINK, ISOLATION) or "lose" in (one.how, other.how)
    whats = {one.what, other.what}
    if whats & {DATABASE, TO_DATABASE}:
        starting = one if one.what in NEEDS_STORE_AT_START else other
        return bool(whats & set(NEEDS_STORE_AT_START) and starting.is_kill) or whats == {DATABASE, TO_DATABASE}
    return whats <= {LINK, ISOLATION} or whats <= {HAZELCAST, TO_HAZELCAST}
