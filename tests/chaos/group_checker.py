"""The judge of groups: histories and the last look at the database in, verdict out. Pure; it knows what was promised (P9 to P11).

What lives here: every rule a run is held to, and the rules that make a run worth judging (reliability §2, "not vacuous"). What must not:
files, processes, clocks; the recount of one look (group_audit). Histories are given per user, in the order in which that user's
application wrote them, and are gone through twice.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.checker import EXAMPLES, Kill
from tests.chaos.group_audit import Membership, Snapshot
from tests.chaos.group_history import FETCHED, MEMBERSHIP, Event, Kind, Name
from tests.chaos.group_timeline import Post, Posts

VIOLATIONS = (
    "holes", "repeated", "renumbered", "forged", "crossed", "missed", "before_joining", "after_leaving", "reordered", "doubled",
    "disordered", "membership_lies", "ghosts", "refused_wrongly", "settled_twice", "unnumbered",
    "miscounted", "misawaited", "purged_early", "misnumbered", "left_over",
)  # fmt: skip
MOST_GIVEN = 10  # a tenth of the deliveries have to come either way
LEAST_CHANGES, LEAST_REPEATS = 100, 1000


@dataclass(slots=True)
class Verdict:
    """Counts; `examples` names the first few violations in words."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    @property
    def violations(self) -> int:
        """How many promises were broken."""
        return sum(self.counts[name] for name in VIOLATIONS)

    def accuse(self, violation: str, what: object, count: int = 1) -> None:
        """Count violations, and keep the first few in words."""
        self.counts[violation] += count
        if count and len(self.examples) < EXAMPLES:
            self.examples.append(f"{violation}: {what}" if count == 1 else f"{violation} ({count}): {what}")

    def figures(self) -> dict[str, int]:
        """All counts by name."""
        told = ("attempted", "settled", "refused", "unknown", "unsettled", "shown", "pushed", "fetched", "joins", "leaves")
        return {name: self.counts[name] for name in (*told, *VIOLATIONS)}


def check(histories: Mapping[int, Iterable[Event]], last: Snapshot) -> Verdict:
    """Judge the histories of all users, keyed by user id; `last`: the database when all had ended, with names."""
    verdict, posts = Verdict(), Posts(histories)
    _check_fates(verdict, posts)
    numbered = _check_numbers(verdict, posts, last)
    of_user: dict[int, list[Membership]] = defaultdict(list)
    for membership in last.memberships:
        of_user[membership.user].append(membership)
    for user, history in histories.items():
        witness = _Witness(verdict, posts, numbered, last.numbers, of_user[user])
        for event in history:
            witness.take(event)
        witness.end()
    _check_ends(verdict, last.memberships, histories)
    verdict.accuse("left_over", f"{last.backlog} rows at the end", last.backlog)
    return verdict


def _check_fates(verdict: Verdict, posts: Posts) -> None:
    counts = verdict.counts
    for post in posts.by_name.values():
        outcome = post.outcome
        if post.is_refused:
            counts["refused"] += 1
            continue
        counts["attempted"] += 1
        counts["unsettled"] += outcome is None
        counts["settled"] += outcome is not None and outcome.kind is Kind.SETTLED
        counts["unknown"] += outcome is not None and outcome.kind is Kind.UNKNOWN
        if outcome is not None and outcome.kind is Kind.REFUSED:
            verdict.accuse("refused_wrongly", outcome)
    for event in posts.contradictions:
        verdict.accuse("settled_twice", event)
    for event in posts.strangers:
        verdict.accuse("forged", event)


def _check_numbers(verdict: Verdict, posts: Posts, last: Snapshot) -> dict[tuple[int, int], Post]:
    """1, 2, 3, … per group, each of one post, as its sender was told, and a sender's in the order of their names; the posts by number."""
    told: dict[tuple[int, int], Name] = {}
    for name, post in posts.by_name.items():
        if post.number and told.setdefault((name[0], post.number), name) != name:
            verdict.accuse("repeated", post.outcome)
    numbered: dict[tuple[int, int], Post] = {}
    named: set[Name] = set()
    for group, number in last.numbers.items():
        listed = last.names.get(group, ())
        _check_sequence(verdict, group, number, Counter(one for one, _, _ in listed))
        highest: dict[int, int] = defaultdict(int)
        for user, time, one in sorted((user, time, one) for one, user, time in listed):
            name = group, user, time
            named.add(name)
            if one <= highest[user]:
                verdict.accuse("disordered", f"number {one} of {name} comes after {highest[user]}")
            highest[user] = max(highest[user], one)
            found = posts.by_name.get(name)
            if found is None:
                verdict.accuse("forged", f"number {one} of {name}, which nobody attempted")
                continue
            numbered[group, one] = found
            if found.is_refused:
                verdict.accuse("ghosts", found.outcome)
            elif found.number not in (0, one):
                verdict.accuse("renumbered", f"number {one} of what was settled as {found.outcome}")
    for name, post in posts.by_name.items():
        if post.number and name not in named:
            verdict.accuse("unnumbered", post.outcome)
    return numbered


def _check_sequence(verdict: Verdict, group: int, number: int, listed: Mapping[int, int]) -> None:
    verdict.accuse("holes", f"of 1 … {number} in group {group}", sum(one not in listed for one in range(1, number + 1)))
    verdict.accuse("repeated", f"numbers in group {group}", sum(count - 1 for count in listed.values()))
    verdict.accuse("repeated", f"numbers above {number} in group {group}", sum(one > number for one in listed))


class _Witness:
    """One user's history, held against everybody's posts and the memberships that the database knows."""

    def __init__(
        self, verdict: Verdict, posts: Posts, numbered: Mapping[tuple[int, int], Post], numbers: Mapping[int, int],
        memberships: Sequence[Membership],
    ) -> None:  # fmt: skip
        self._verdict = verdict
        self._posts = posts
        self._numbered = numbered
        self._numbers = numbers
        self._memberships: dict[int, list[Membership]] = defaultdict(list)
        for membership in sorted(memberships, key=lambda one: (one.joined, one.left is None, one.left)):
            self._memberships[membership.group].append(membership)
        self._shown: dict[int, set[int]] = defaultdict(set)
        self._highest: dict[int, int] = defaultdict(int)
        self._words: dict[int, list[Event]] = defaultdict(list)

    def take(self, event: Event) -> None:
        """The next event."""
        if event.kind is Kind.SHOWN:
            self._take_shown(event)
        elif event.kind in MEMBERSHIP:
            self._words[event.group].append(event)
            self._verdict.counts["joins"] += event.kind is Kind.JOINED
            self._verdict.counts["leaves"] += event.kind is Kind.LEFT

    def _take_shown(self, event: Event) -> None:
        verdict, group, number = self._verdict, event.group, event.number
        verdict.counts["shown"] += 1
        verdict.counts["fetched" if event.how == FETCHED else "pushed"] += 1
        post = self._posts.by_name.get(event.name)
        if post is None or post.attempt.digest != event.digest:
            verdict.accuse("forged", event)
        elif self._numbered.get((group, number)) is not post:
            verdict.accuse("crossed", event)
        elif post.number not in (0, number):
            verdict.accuse("renumbered", event)
        shown = self._shown[group]
        if number in shown:
            verdict.accuse("doubled", event)
        elif number < self._highest[group]:
            verdict.accuse("reordered", event)
        shown.add(number)
        self._highest[group] = max(self._highest[group], number)
        before = [one for one in self._memberships[group] if one.joined < number]
        if not before:
            verdict.accuse("before_joining", event)
        elif all(one.left is not None and one.left < number for one in before):
            verdict.accuse("after_leaving", event)

    def end(self) -> None:
        """That was all."""
        for group, memberships in self._memberships.items():
            for membership in memberships:
                self._check_entitled(group, membership)
        timelines = self._posts.timelines
        for group, words in self._words.items():
            self._check_words(group, words)
            for word, next_word in zip(words, [*words[1:], None], strict=True):
                if word.kind is Kind.LEFT and group in timelines:
                    until = None if next_word is None else next_word.at
                    for number in timelines[group].between(word.at, until):
                        if number in self._shown[group]:
                            self._verdict.accuse("after_leaving", f"number {number}, which was posted after {word}")

    def _check_entitled(self, group: int, membership: Membership) -> None:
        """Everything from its joining on; of one that ended, without a hole as far as it came, and all that it confirmed."""
        joined, number = membership.joined, self._numbers.get(group, 0)
        shown = sorted(one for one in self._shown[group] if joined < one <= (number if membership.left is None else membership.left))
        needed = number if membership.left is None else max([membership.cursor, *shown[-1:]])
        missing = needed - joined - bisect_left(shown, needed + 1)
        if missing > 0:
            first = next(one for one, seen in zip(range(joined + 1, needed + 2), [*shown, 0], strict=False) if one != seen)
            self._verdict.accuse("missed", f"from number {first} on, of {membership}", missing)

    def _check_words(self, group: int, words: Sequence[Event]) -> None:
        """What it was told of its membership is what was so."""
        known = {membership.joined for membership in self._memberships[group]}
        timeline = self._posts.timelines.get(group)
        asked = 0
        for word in words:
            if word.kind is Kind.JOINING:
                asked = word.at
            elif word.kind is Kind.JOINED:
                below = None if timeline is None else timeline.below(word.at)
                is_early = timeline is not None and word.number < timeline.at_least(asked)
                if word.number not in known or is_early or (below is not None and word.number >= below):
                    self._verdict.accuse("membership_lies", f"{word}, of {sorted(known)}, posted after it: {below}")
        is_member = any(membership.left is None for membership in self._memberships[group])
        if words[-1].kind is Kind.LEFT and is_member:
            self._verdict.accuse("membership_lies", f"{words[-1]}, and is still a member")


def _check_ends(verdict: Verdict, memberships: Iterable[Membership], histories: Mapping[int, Iterable[Event]]) -> None:
    """Nobody's membership ends but that he left, or was removed."""
    ends = Counter((one.group, one.user) for one in memberships if one.left is not None)
    for user, history in histories.items():
        for event in history:
            if event.kind is Kind.LEAVING or event.kind is Kind.REMOVING:
                ends[event.group, event.user if event.kind is Kind.REMOVING else user] -= 1
    for (group, user), count in ends.items():
        verdict.accuse("membership_lies", f"user {user} is out of group {group} more often than anybody asked", max(0, count))


def kills_with_unsettled(posts: Posts, kills: Iterable[Kill]) -> int:
    """At how many of the kills some post was attempted and had no outcome yet."""
    ended = [post for post in posts.by_name.values() if post.outcome is not None]
    attempts = sorted(post.attempt.at for post in posts.by_name.values())
    outcomes = sorted(post.outcome.at for post in ended if post.outcome is not None)
    return sum(bisect_left(attempts, kill.at) > bisect_left(outcomes, kill.at) for kill in kills)


def vacuities(counts: Mapping[str, int], kills: Sequence[Kill], with_unsettled: int, resent: int, repeated: int) -> list[str]:
    """Why the run proves nothing, in words; empty when it proves what it should (reliability §2). repeated: receipts that were."""
    found = []
    if not counts["attempted"] or counts["settled"] != counts["attempted"]:
        found.append(f"settled {counts['settled']} of {counts['attempted']} attempted")
    for word in ("pushed", "fetched"):
        if counts[word] * MOST_GIVEN < counts["shown"]:
            found.append(f"only {counts[word]} of {counts['shown']} were {word}, less than a tenth")
    if kills and with_unsettled * 10 < len(kills) * 8:
        found.append(f"posts were unsettled at only {with_unsettled} of {len(kills)} kills")
    if kills and not resent:
        found.append("nothing was ever sent again")
    if kills and sum(kill.what == "application" for kill in kills) * 4 < len(kills) - 3:
        found.append("less than a quarter of the kills hit applications")
    for word in ("joins", "leaves"):
        if counts[word] <= LEAST_CHANGES:
            found.append(f"only {counts[word]} {word}")
    if repeated <= LEAST_REPEATS:
        found.append(f"only {repeated} repeated receipts")
    return found
