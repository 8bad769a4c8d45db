"""The small world around the two machines: a sender, a target, three centers, their links, the store; and every step it may take.

What lives here: the shape of a state and of a world's settings, the invariants, and the steps of sender, target and store. Links, crashes
and the carrying out of the machines' actions are in turn.py, the search is in search.py. What must not: rules of delivery; those are the
code under test.

A state is one tuple, all of it hashable and exact:

    0       sender     (how many were sent, outcome of each, center or -1, replies on their way, resend from this name or 0)
    1       targets    one (bits of what it showed, center or -1, messages on their way, receipts on their way) per terminal
    2..4    at each center: (name, first) still unread from the sender, or None without a session of the sender
    5..7    at each center: the lane;  8..10: the inboxes
    11..19  what is on its way from center i to center j, at 11 + 3i + j
    20      rows of the store, oldest first: (name, which twin)
    21      bits of the receipts kept for the sender
    22      operations of the store that have begun
    23      faults left

Every center may believe in a session that has moved on: of the sender, what is unread there may still be taken; of the target, what is
handed there is lost. It learns of it in a step of its own ("notices").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from myim_server.chat.inbox import Inbox, Window
from myim_server.chat.inboxes import Inboxes
from myim_server.chat.lane import Lane
from tests.model.machines import FOREIGN

S, T, UNREAD, LANE, INBOX, LINK, ROWS, KEPT, OPS, FAULTS = 0, 1, 2, 5, 8, 11, 20, 21, 22, 23
CENTERS = (0, 1, 2)
INSERT, READ, CONFIRM, STRANGER, LISTING = 0, 1, 2, 3, 4
LOW = 7  # the twin number of a stranger's row that came under a lower accepted time than any row before it

State = tuple[Any, ...]
ALL_FAULTS = frozenset(
    {
        "sender breaks",
        "target breaks",
        "cut",
        "crash",
        "owner waits too long",
        "owner gives up",
        "target waits too long",
        "insert fails",
        "read fails",
        "confirm fails",
    }
)


class Violation(Exception):
    """A promise is broken; says which."""


class Rules(NamedTuple):
    """The machines, and what terminal and store are taken to do; tests leave out one at a time (mutations.py)."""

    lane: type[Lane] = Lane
    inbox: type[Inbox] = Inbox
    inboxes: type[Inboxes] = Inboxes
    is_swept: bool = True
    is_listed_before_read: bool = True
    is_deletion_one_transaction: bool = True
    is_accepted_rising: bool = True
    is_name_unique: bool = True
    is_page_after_last: bool = False
    is_first_exact: bool = True
    is_resent: bool = True
    is_resent_in_order: bool = True
    is_seen_remembered: bool = True
    is_answer_forwarded: bool = True


class Settings(NamedTuple):
    """How large a world is: messages, terminals of the target, how many faults of which kinds, what the directory may say, what may
    happen unasked.

    directory: "any" (whatever it likes), "fault" (a wrong answer counts as a fault), "right". late_on_links: a cut link may still
    deliver what was in flight one
    way. batched: what is unread may also be taken in one go. foreign: another sender's row is committed at some time, at either end of
    the order.
    """

    messages: int = 2
    faults: int = 1
    kinds: frozenset[str] = ALL_FAULTS
    terminals: int = 1
    directory: str = "any"
    sweeps: bool = False
    late_on_links: bool = False
    batched: bool = False
    foreign: bool = False
    patience: frozenset[str] = frozenset({"lane", "inbox"})
    is_target_noticed: bool = True
    window: Window = Window(rows=8, row_bytes=1000, page_rows=8)
    rules: Rules = Rules()


def initial(settings: Settings) -> State:
    return (
        (0, (0,) * settings.messages, -1, (), 0),
        tuple((0, -1, (), ()) for _ in range(settings.terminals)),
        *(None, None, None),
        *(None, None, None),
        *((), (), ()),
        *((),) * 9,
        (),
        0,
        ((STRANGER, -1, 0, (FOREIGN,), 0),) if settings.foreign else (),
        settings.faults,
    )


def called(center: int | None) -> str:
    return "nobody" if center is None else "ABC"[center]


def bit(name: int) -> int:
    return 1 << (name - 1)


def shown_by_anyone(targets: Any) -> int:
    bits = 0
    for target in targets:
        bits |= target[0]
    return bits


def check_always(state: State | list[Any]) -> None:
    """Invariants of every state; those of single steps are raised where the step is made."""
    outcomes = state[S][1]
    shown = shown_by_anyone(state[T])
    stored = 0
    for name, _ in state[ROWS]:
        stored |= bit(name)
    for name, outcome in enumerate(outcomes, 1):
        if outcome and not (shown | (stored if outcome == 2 else 0)) & bit(name):
            raise Violation(f"m{name} is settled as {'stored' if outcome == 2 else 'received'}, but neither shown nor in the store")
    if state[KEPT] & ~shown:
        raise Violation("a receipt is kept for a message that nobody showed")


def check_rest(state: State, settings: Settings) -> None:
    """What must be true where nothing more will happen."""
    sent, outcomes, *_ = state[S]
    shown = shown_by_anyone(state[T])
    everything = (1 << settings.messages) - 1
    if sent != settings.messages or not all(outcomes):
        raise Violation("at rest, but the sender was not told of all its messages")
    if shown & everything != everything or (settings.foreign and not shown & bit(FOREIGN)):
        raise Violation("at rest, but not every message was shown")
    if state[ROWS]:
        raise Violation("at rest, but rows are stranded in the store")
    for name, outcome in enumerate(outcomes, 1):
        if outcome == 2 and not state[KEPT] & bit(name):
            raise Violation(f"at rest, but the receipt of m{name}, settled as stored, is nowhere")
    if any(lane is not None and lane[3] for lane in state[LANE : LANE + 3]):
        raise Violation("at rest, but a lane still owns a message")


def show(target: Any, others: Any, name: int, is_seen_remembered: bool) -> Any:
    """The terminal's durable step: seen or shown, and confirmed either way.

    Order is promised to the user: no message is shown by any terminal before every earlier one was shown by some terminal. With one
    terminal that is
    the strict order. With several, a terminal may see late what another one has shown in time (docs/delivery.md).
    """
    shown, center, incoming, receipts = target
    if shown & bit(name):
        if not is_seen_remembered:
            raise Violation(f"m{name} is shown twice")
    else:
        if name != FOREIGN:
            missing = (bit(name) - 1) & ~(shown_by_anyone(others) | shown)
            if missing:
                raise Violation(f"m{name} is shown before an earlier one")
        shown |= bit(name)
    return shown, center, incoming, receipts if name in receipts else (*receipts, name)


def unsettled(sender: Any, from_name: int, rules: Rules) -> Iterator[tuple[int, bool]]:
    """What the sender sends again from a name on: (name, first flag)."""
    sent, outcomes, *_ = sender
    names = [name for name in range(from_name, sent + 1) if not outcomes[name - 1]]
    for name in names if rules.is_resent_in_order else reversed(names):
        yield name, all(outcomes[: name - 1]) or not rules.is_first_exact


def page_of(rows: tuple[tuple[int, int], ...], handed: Any, window: Window, after_last: bool) -> tuple[tuple[tuple[int, int], ...], bool]:
    """The store's page: the oldest rows not handed, and whether there are more."""
    known = {(name, twin) for name, twin, _ in handed}
    fresh = [row for row in rows if row not in known and not (after_last and known and row[1] == LOW)]
    return tuple(fresh[: window.page_rows]), len(fresh) > window.page_rows


def insert_into(
    rows: tuple[tuple[int, int], ...], names: tuple[int, ...], taken: set[tuple[int, int]], rules: Rules, at_front: bool
) -> Any:
    """Rows after an insert took effect; `taken` are twins that someone may still remember, so a new row is none of them."""
    fresh = []
    for name in names:
        if rules.is_name_unique and any(row[0] == name for row in rows):
            continue
        twin = 0
        while (name, twin) in taken or (name, twin) in rows:
            twin += 1
        if twin >= LOW:
            raise Violation(f"more than {LOW} rows of one name")
        fresh.append((name, LOW if at_front and name == FOREIGN else twin))
    return (*fresh, *rows) if at_front else (*rows, *fresh)
