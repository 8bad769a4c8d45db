"""What operations of the store and messages are called in a trace.

What lives here: words, made only when a trace is printed. What must not: anything that a search depends on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.model.groups.machines import BEHIND, EVENTS, POSTED
from tests.model.groups.world import Op, named


class Words:
    """Something in words, once somebody reads them. terminals: what they are called."""

    __slots__ = ("_what", "_terminals")

    def __init__(self, what: Any, terminals: Sequence[str] = ()) -> None:
        self._what = what
        self._terminals = terminals

    def __str__(self) -> str:
        what = self._what
        if isinstance(what, Op):
            return _of_op(what, self._terminals)
        return _of_message(*what) if isinstance(what, bytes) else _of_letter(*what)


def _of_op(op: Op, terminals: Sequence[str]) -> str:
    user, terminal = f"U{op.who + 1}", terminals[op.who] if op.who >= 0 else ""
    if op.kind == "post":
        return ", ".join(f"{named(item[1])}{_number(op, place)}" for place, item in enumerate(op.args))
    if op.kind == "claim":
        return f"{user} confirms up to {op.args[0]}"
    if op.kind == "purge":
        return f"the janitor removes {', '.join(map(str, op.local)) or 'what may go'}"
    text = {
        "join": f"{user} joins",
        "leave": f"{user} is taken off the list",
        "round": "the standings of its members",
        "sweep": "the group's number and version",
        "members": "who is a member",
        "fetch": f"the fetch of {terminal} after {op.args[1] if len(op.args) > 1 else ''}",
        "standing": f"the standing of {terminal}",
        "describe": f"what the group is to {terminal}",
    }[op.kind]
    return f"{text}{f', {op.local}' if op.local else ''}"


def _number(op: Op, place: int) -> str:
    known = op.local[place] if len(op.local) > place else None
    if not isinstance(known, tuple):
        return ""
    return f" as {known[0]}{', a repeat' if known[2] else ''}" if known else " is refused"


def _of_message(kind: int, one: int, two: int, three: int) -> str:
    if kind == POSTED:
        return f"{one} ({named(two)})"
    return f"there is something up to {one}" if kind == BEHIND else f"version {one}: U{three + 1} {EVENTS[two]}"


def _of_letter(kind: str, *rest: Any) -> str:
    if kind == "posted":
        return f"{', '.join(f'{number} ({named(post)})' for number, post in rest[1])}, version {rest[0]}"
    if kind == "changed":
        return f"version {rest[0]}: U{rest[2] + 1} {rest[1]}"
    return f"{kind} {', '.join(map(str, rest))}"
