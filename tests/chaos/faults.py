"""When what is killed: a plan drawn from a seed, in shares of the traffic, so that a run repeats.

What lives here: the plan, pure. What must not: processes (core).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

NODE, DATABASE, APPLICATION = "node", "database", "application"
FIRST_SHARE, LAST_SHARE = 0.02, 0.95


@dataclass(frozen=True, slots=True)
class Fault:
    """Kill `what` once this share of all messages is settled; `which` tells applications apart."""

    share: float
    what: str
    which: int = 0


def plan_faults(kills: int, applications: int, has_database: bool, seed: int) -> list[Fault]:
    """`kills` faults, first share first: a quarter on applications, an eighth on the database if there is one, the rest on the node."""
    random = Random(f"faults {seed}")
    whats = [APPLICATION] * -(-kills // 4)
    whats += [DATABASE] * min(-(-kills // 8), kills - len(whats)) if has_database else []
    whats += [NODE] * (kills - len(whats))
    random.shuffle(whats)
    shares = sorted(random.uniform(FIRST_SHARE, LAST_SHARE) for _ in range(kills))
    return [Fault(share, what, random.randrange(applications)) for share, what in zip(shares, whats, strict=True)]
