"""Which groups there are in a chaos run, who belongs to them, and what is killed when: drawn from a seed, so that a run repeats.

What lives here: the plan, pure; orchestrator and applications draw the same. What must not: processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from tests.chaos.faults import APPLICATION, DATABASE, FIRST_SHARE, LAST_SHARE, Fault

CENTER, JANITOR = "center", "janitor"


class Circle(NamedTuple):
    """A group to be: who may be in it, by their places among the users, and how likely a post of one of them goes there. The first of
    them founds it, and stays."""

    number: int
    places: tuple[int, ...]
    weight: float

    @property
    def owner(self) -> int:
        """The founder's place."""
        return self.places[0]


@dataclass(frozen=True, slots=True)
class Society:
    """How many groups of which size; large_share: of the posts that go to the large ones."""

    large: int = 2
    small: int = 16
    large_size: int = 40
    small_size: int = 5
    large_share: float = 0.06

    def circles(self, users: int, seed: int) -> list[Circle]:
        """All groups; everybody is in a small one at least, and the founders are different users."""
        random = Random(f"circles {seed}")
        circles = []
        for number in range(self.small):
            first = number * users // self.small
            places = tuple((first + step) % users for step in range(max(self.small_size, -(-users // self.small))))
            circles.append(Circle(number, places, 1.0))
        # a poster chooses among its own few groups
        mine = sum(len(circle.places) for circle in circles) / users
        weight = self.large_share / (1 - self.large_share) * mine / max(self.large * min(1.0, self.large_size / users), 1e-9)
        for number in range(self.small, self.small + self.large):
            owner = (number - self.small) * users // self.large + 1
            others = random.sample([place for place in range(users) if place != owner], min(self.large_size, users) - 1)
            circles.append(Circle(number, (owner % users, *others), weight))
        return circles


def plan_group_faults(kills: int, sizes: dict[str, int], seed: int) -> list[Fault]:
    """`kills` faults, first share first; sizes: how many there are of each sort. A quarter on applications, an eighth each on the database
    and the janitor that has no center, where there are such, the rest on centers."""
    random = Random(f"group faults {seed}")
    whats = [APPLICATION] * -(-kills // 4)
    for what in (DATABASE, JANITOR):
        whats += [what] * min(-(-kills // 8), kills - len(whats)) if sizes.get(what) else []
    whats += [CENTER] * (kills - len(whats))
    random.shuffle(whats)
    shares = sorted(random.uniform(FIRST_SHARE, LAST_SHARE) for _ in range(kills))
    return [Fault(share, what, random.randrange(sizes[what])) for share, what in zip(shares, whats, strict=True)]
