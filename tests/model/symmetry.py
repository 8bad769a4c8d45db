"""Which states are one: centers have no names, and what can change nothing any more is forgotten.

What lives here: the canonical twin of a state. What must not: anything that joins two states that could ever behave differently.

- The three centers are interchangeable: they are put in the order of what each holds.
- An answer to an attempt that its owner has given up can change nothing (Lane.received and Lane.returned compare attempts, which only
  rise).
"""

from __future__ import annotations

from functools import cache
from itertools import permutations
from typing import Any

from tests.model.world import CENTERS, INBOX, LANE, LINK, OPS, UNREAD, S, State, T

_IDENTITY = (0, 1, 2)


def canonical(state: State) -> State:
    """The twin that stands for all states that differ only in the names of centers."""
    targets = state[T]
    place = state[S][2]
    marks = [
        hash(
            (
                state[UNREAD + at],
                _of_lane(state[LANE + at]),
                _of_inboxes(state[INBOX + at]),
                place == at,
                targets[0][1] == at,
                targets[-1][1] == at,
            )
        )
        for at in CENTERS
    ]
    order = tuple(sorted(CENTERS, key=marks.__getitem__))
    return state if order == _IDENTITY else _renamed(state, order)


def are_twins(one: State, other: State) -> bool:
    """Whether two states differ only in the names of centers."""
    return any(_renamed(one, order) == other for order in permutations(CENTERS))


@cache
def _of_lane(lane: Any) -> int:
    return 0 if lane is None else hash((lane[:2], lane[3:], lane[2] < 0))


@cache
def _of_inboxes(inboxes: Any) -> int:
    return hash(tuple((inbox[:3], inbox[3] and inbox[3][1:], inbox[4:]) for inbox in inboxes))


def _renamed(state: State, order: tuple[int, ...]) -> State:
    """The same state with the center order[0] called 0, and so on."""
    name = {old: new for new, old in enumerate(order)}
    name[-1] = -1
    sent, outcomes, place, replies, resend = state[S]
    lanes = [state[LANE + old] for old in order]
    return (
        (sent, outcomes, name[place], replies, resend),
        tuple((shown, name[where], incoming, receipts) for shown, where, incoming, receipts in state[T]),
        *(state[UNREAD + old] for old in order),
        *(lane if lane is None or lane[2] < 0 else (*lane[:2], name[lane[2]], *lane[3:]) for lane in lanes),
        *(tuple(_rebound(inbox, name) for inbox in state[INBOX + old]) for old in order),
        *(state[LINK + 3 * source + to] for source in order for to in order),
        *state[LINK + 9 : OPS],
        tuple(sorted((one[0], name[one[1]], *one[2:]) for one in state[OPS])),
        *state[OPS + 1 :],
    )


def _rebound(inbox: Any, name: dict[int, int]) -> Any:
    bound = inbox[3]
    return inbox if bound is None else (*inbox[:3], (name[bound[0]], *bound[1:]), *inbox[4:])


def distinct(state: State) -> list[int]:
    """Centers that may be told apart: of those that nobody has touched yet, only the first."""
    chosen: list[int] = []
    has_untouched = False
    for center in CENTERS:
        if not is_untouched(state, center):
            chosen.append(center)
        elif not has_untouched:
            has_untouched = True
            chosen.append(center)
    return chosen


def is_untouched(state: State, center: int) -> bool:
    if state[UNREAD + center] is not None or state[LANE + center] is not None or state[INBOX + center] or state[S][2] == center:
        return False
    if any(target[1] == center for target in state[T]) or any(one[1] == center for one in state[OPS]):
        return False
    for other in CENTERS:
        lane = state[LANE + other]
        if state[LINK + 3 * center + other] or state[LINK + 3 * other + center] or (lane is not None and lane[2] == center):
            return False
        if any(inbox[3] is not None and inbox[3][0] == center for inbox in state[INBOX + other]):
            return False
    return True
