"""The judge: histories in, verdict out. Pure; it knows what was promised [P-8], nothing of how it is kept.

What lives here: every rule a run is held to, and the rules that make a run worth judging (reliability §2, "not vacuous"). What must
not: files, processes, clocks. Histories are given per user, in the order in which that user's application wrote them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields

from tests.chaos.history import RECEIVED, STORED, Event, Kind

Name = tuple[int, int]
EXAMPLES = 10
VIOLATIONS = (
    "lost", "duplicated", "reordered", "forged", "crossed", "misdelivered", "receipt_lies", "receipts_missing", "settled_twice"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kill:
    """A process was killed: what it was (`node`, `database`, `application`), and when (monotonic ns)."""

    what: str
    at: int


@dataclass(slots=True)
class Verdict:
    """Counts of messages; `examples` names the first few violations in words."""

    attempted: int = 0
    settled: int = 0
    received: int = 0
    stored: int = 0
    refused: int = 0
    unknown: int = 0
    unsettled: int = 0
    shown: int = 0
    receipts: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    forged: int = 0
    crossed: int = 0  # shown as meant for somebody else
    misdelivered: int = 0  # shown by a user that is not the target
    receipt_lies: int = 0
    receipts_missing: int = 0
    settled_twice: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def violations(self) -> int:
        """How many promises were broken."""
        return sum(getattr(self, name) for name in VIOLATIONS)

    def counts(self) -> dict[str, int]:
        """All counts by name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "examples"}

    def accuse(self, violation: str, event: Event) -> None:
        """Count one violation, and keep the first few in words."""
        setattr(self, violation, getattr(self, violation) + 1)
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{violation}: {event}")


class _Ledger:
    """All histories by message name."""

    def __init__(self, histories: Mapping[int, Sequence[Event]]) -> None:
        self.attempts: dict[Name, Event] = {}
        self.places: dict[Name, int] = {}  # where among its terminal's attempts to that target
        self.outcomes: dict[Name, list[Event]] = defaultdict(list)
        self.shown: dict[Name, list[Event]] = defaultdict(list)
        self.receipts: dict[Name, list[Event]] = defaultdict(list)
        counts: dict[tuple[int, int], int] = defaultdict(int)
        for history in histories.values():
            for event in history:
                if event.kind is Kind.ATTEMPT:
                    self.attempts[event.name] = event
                    counts[event.user, event.target] += 1
                    self.places[event.name] = counts[event.user, event.target]
                elif event.kind is Kind.SHOWN:
                    self.shown[event.name].append(event)
                elif event.kind is Kind.RECEIPT:
                    self.receipts[event.name].append(event)
                else:
                    self.outcomes[event.name].append(event)


def check(histories: Mapping[int, Sequence[Event]]) -> Verdict:
    """Judge the histories of all users, keyed by user id; every promise is checked for every message."""
    verdict, ledger = Verdict(), _Ledger(histories)
    _check_fates(verdict, ledger)
    _check_shown(verdict, ledger)
    _check_order(verdict, ledger, histories)
    _check_receipts(verdict, ledger)
    return verdict


def _check_fates(verdict: Verdict, ledger: _Ledger) -> None:
    verdict.attempted = len(ledger.attempts)
    for name, attempt in ledger.attempts.items():
        outcomes = ledger.outcomes.get(name, [])
        if not outcomes:
            verdict.unsettled += 1
            continue
        first = outcomes[0]
        for repeated in outcomes[1:]:
            verdict.accuse("settled_twice", repeated)
        if first.kind is Kind.REFUSED:
            verdict.refused += 1
            if name in ledger.shown:
                verdict.accuse("forged", first)  # the sender was told that it would not arrive
        elif first.kind is Kind.UNKNOWN:
            verdict.unknown += 1
        else:
            verdict.settled += 1
            verdict.received += first.how == RECEIVED
            verdict.stored += first.how == STORED
            if name not in ledger.shown:
                verdict.accuse("lost", attempt)
    for name, outcomes in ledger.outcomes.items():
        if name not in ledger.attempts:
            verdict.accuse("forged", outcomes[0])


def _check_shown(verdict: Verdict, ledger: _Ledger) -> None:
    for name, shown in ledger.shown.items():
        verdict.shown += 1
        attempt = ledger.attempts.get(name)
        for event in shown:
            if attempt is None or event.digest != attempt.digest:
                verdict.accuse("forged", event)
            elif event.by != attempt.target:
                verdict.accuse("misdelivered", event)
            elif event.target != attempt.target:
                verdict.accuse("crossed", event)
        for event in shown[1:]:
            verdict.accuse("duplicated", event)


def _check_order(verdict: Verdict, ledger: _Ledger, histories: Mapping[int, Sequence[Event]]) -> None:
    for history in histories.values():
        highest: dict[tuple[int, int], int] = defaultdict(int)
        last_time: dict[tuple[int, int], int] = defaultdict(int)
        for event in history:
            lane = event.user, event.target
            if event.kind is Kind.SHOWN:
                place = ledger.places.get(event.name, 0)
                if place and place < highest[lane]:
                    verdict.accuse("reordered", event)
                highest[lane] = max(highest[lane], place)
            elif event.kind is Kind.ATTEMPT:
                if event.time <= last_time[lane]:
                    verdict.accuse("reordered", event)  # names rise at their terminal [P-3.6]
                last_time[lane] = event.time


def _check_receipts(verdict: Verdict, ledger: _Ledger) -> None:
    for receipts in ledger.receipts.values():
        verdict.receipts += 1
        for event in receipts[1:]:
            verdict.accuse("receipt_lies", event)
        if not _was_shown_before(ledger, receipts[0]):
            verdict.accuse("receipt_lies", receipts[0])
    for name, outcomes in ledger.outcomes.items():
        told = outcomes[0]
        if told.kind is not Kind.SETTLED:
            continue
        if told.how == RECEIVED and not _was_shown_before(ledger, told):
            verdict.accuse("receipt_lies", told)
        elif told.how == STORED and name in ledger.shown and name not in ledger.receipts:
            verdict.accuse("receipts_missing", told)


def _was_shown_before(ledger: _Ledger, told: Event) -> bool:
    shown = ledger.shown.get(told.name)
    return shown is not None and shown[0].at <= told.at and ledger.attempts.get(told.name) is not None


def kills_with_unsettled(histories: Mapping[int, Sequence[Event]], kills: Iterable[Kill]) -> int:
    """At how many of the kills some message was attempted and had no outcome yet."""
    ledger = _Ledger(histories)
    attempted = sorted(event.at for event in ledger.attempts.values())
    ended = sorted(outcomes[0].at for name, outcomes in ledger.outcomes.items() if name in ledger.attempts)
    return sum(bisect_left(attempted, kill.at) > bisect_left(ended, kill.at) for kill in kills)


def vacuities(verdict: Verdict, kills: Sequence[Kill], with_unsettled: int, resent: int) -> list[str]:
    """Why the run proves nothing, in words; empty when it proves what it should (reliability §2)."""
    found = []
    if not verdict.attempted or verdict.settled != verdict.attempted:
        found.append(f"settled {verdict.settled} of {verdict.attempted} attempted")
    if verdict.unknown or verdict.unsettled or verdict.refused:
        found.append(f"{verdict.unknown} unknown, {verdict.unsettled} unsettled, {verdict.refused} refused")
    for word, count in (("received", verdict.received), ("stored", verdict.stored)):
        if count * 10 < verdict.attempted:
            found.append(f"only {count} {word}, less than a tenth")
    if kills and with_unsettled * 10 < len(kills) * 8:
        found.append(f"messages were unsettled at only {with_unsettled} of {len(kills)} kills")
    if kills and not resent:
        found.append("nothing was ever sent again")
    if kills and sum(kill.what == "application" for kill in kills) * 4 < len(kills) - 3:
        found.append("less than a quarter of the kills hit applications")
    return found
