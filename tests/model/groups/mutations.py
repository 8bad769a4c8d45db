"""For each rule of docs/groups.md a world small enough to show why it is there, once the rule is left out (left_out.py).

What lives here: which twin, in which world, and what the search must say about it. What must not: the twins, the rules. Where another rule
covers for one that is left out, the search must find nothing, and docs/groups.md says so.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.model.groups import left_out as out
from tests.model.groups import transactions as rule
from tests.model.groups.world import Settings
from tests.model.groups.worlds import PAIR, TRIO, a_world


class Mutation(NamedTuple):
    """A rule left out: its name, the world without it, a part of what the search must say ("" where another rule covers for it)."""

    name: str
    world: Settings
    says: str


def _store(name: str, says: str, world: Settings, **transactions: Any) -> Mutation:
    """A rule of the store left out, and what users see of it rather than what is wrong in the books."""
    parts = {kind: part if isinstance(part, tuple) else (part,) for kind, part in transactions.items()}
    return Mutation(name, world._replace(rules=world.rules._replace(transactions=parts), is_audited=False), says)


def _rule(name: str, says: str, world: Settings, **rules: Any) -> Mutation:
    return Mutation(name, world._replace(rules=world.rules._replace(**rules)), says)


_TWO_POST = a_world(PAIR, 1, 1)
_FAILING = a_world(PAIR, 1, 1, kinds={"store"}, minus={"standing", "members"})
_NEVER_SHOWN, _NEVER_REMOVED, _REMOVED = "was never shown", "is never removed", "is removed, and"
_UNSHOWN = "whose application never had it"
_PURGED, _UNSWEPT = {"purge"}, {"is_swept": False, "is_looked_round": False}
_JOINS, _LEAVES, _IS_REMOVED = (("joined", 2, 0),), (("left", 2, 0),), (("removed", 1, 0),)

MUTATIONS = [
    _store("G-1 the number is read, then written", "two posts have the number 1", _TWO_POST, post=(out.read_number, out.post_with_number)),
    _store(
        "G-1 the number is taken before the transaction",
        _UNSHOWN,
        a_world(PAIR, 1, 1),
        post=(out.take_number, out.post_with_taken_number),
    ),
    _store(
        "G-2 members are counted before the lock, one joins",
        _REMOVED,
        a_world(("1A", "2B", "3A"), 1, guests={2}, changes=_JOINS, anytime=_PURGED),
        post=(out.read_count, out.post_with_count),
    ),
    _store(
        "G-2 members are counted before the lock, one leaves",
        _NEVER_REMOVED,
        a_world(("1A", "2B", "3A"), 1, changes=_LEAVES),
        post=(out.read_count, out.post_with_count),
    ),
    _store(
        "G-2 who joins locks nothing",
        _REMOVED,
        a_world(("1A", "2B", "3A"), 1, guests={2}, changes=_JOINS, anytime=_PURGED),
        join=(out.read_number, out.join_with_number),
    ),
    _store("G-3 names are not kept", "has two numbers", a_world(PAIR, 1, kinds={"store"}), post=out.post_unnamed),
    _store(
        "G-3 names go with the rows",
        "has two numbers",
        a_world(("1Aa", "2B"), 1, kinds={"break"}, anytime=_PURGED),
        post=out.post_named_by_rows,
    ),
    _store(
        "G-3 a repeat of a leaver is refused",
        "refused for good, and is stored",
        a_world(PAIR, 0, 1, kinds={"store"}, changes=_IS_REMOVED),
        post=out.post_for_members_only,
    ),
    _store(
        "G-4 who joins may fetch all",
        "before it joined",
        a_world(PAIR, 1, guests={1}, changes=(("joined", 1, 1),)),
        join=out.join_seeing_all,
    ),
    _store(
        "G-4 who joins has confirmed nothing",
        _REMOVED,
        a_world(("1A", "2B", "3A"), 1, guests={2}, changes=_JOINS, anytime=_PURGED),
        join=out.join_having_nothing,
    ),
    _store(
        "G-5 a cursor falls",
        _REMOVED,
        a_world(("1A", "2A", "3B"), 2, kinds={"claim again"}, faults=2, anytime=_PURGED),
        claim=out.claim_anything_lower,
    ),
    _store(
        "G-5 a cursor rises above the group's number",
        _UNSHOWN,
        a_world(PAIR, 1, kinds={"claim early"}),
        claim=out.claim_anything_higher,
    ),
    _store(
        "G-6 a confirmation that moves nothing counts",
        _REMOVED,
        a_world(("1A", "2A", "3B"), 1, kinds={"claim again"}, anytime=_PURGED),
        claim=out.claim_counting_always,
    ),
    _store(
        "G-6 counted in another transaction",
        _NEVER_REMOVED,
        a_world(PAIR, 1, kinds={"cut short"}, plus={"claim"}),
        claim=(out.claim_moving_only, out.then_count),
    ),
    _store(
        "G-6 the cursor is read without a lock",
        _REMOVED,
        a_world(("1A", "2A", "3B"), 1, kinds={"claim again"}, plus={"claim"}, anytime=_PURGED),
        claim=(out.read_cursor, out.claim_from_cursor),
    ),
    _store("G-7 rows wait for who is gone", _NEVER_REMOVED, a_world(TRIO, 1, changes=_LEAVES), leave=out.leave_and_be_waited_for),
    _store(
        "G-7 rows that it had wait for one less",
        _REMOVED,
        a_world(("1A", "2B", "3A"), 1, changes=_LEAVES, anytime=_PURGED),
        leave=out.leave_everything,
    ),
    _store(
        "G-7 in another transaction",
        _NEVER_REMOVED,
        a_world(TRIO, 1, changes=_LEAVES, kinds={"cut short"}),
        leave=(out.leave_the_list, out.then_wait_for_fewer),
    ),
    _store(
        "G-7 the cursor is read without a lock",
        _REMOVED,
        a_world(("1A", "2B", "3A"), 1, changes=_LEAVES, anytime=_PURGED),
        leave=(out.read_cursor, out.leave_with_cursor),
    ),
    _store(
        "G-8 a row goes by how many members there are now",
        _REMOVED,
        a_world(("1A", "2B", "3A"), 1, changes=_LEAVES, anytime=_PURGED),
        purge=(out.decide_by_members, rule.remove),
    ),
    _store(
        "G-9 the number after the rows",
        _UNSHOWN,
        a_world(("1A", "2b"), 2),
        fetch=(out.fetch_rows_at_once, out.fetch_number_after),
    ),
    _store(
        "G-9 the end is not said",
        "goes round for ever",
        a_world(("1A", "2b"), 1, expiries=1),
        fetch=(rule.fetch_number, out.fetch_rows_alone),
    ),
    _store(
        "G-9 rows above the number",
        "after it left",
        a_world(("1A", "2b"), 2, changes=_IS_REMOVED),
        fetch=(rule.fetch_number, out.fetch_rows_without_end),
    ),
    _store(
        "G-10 the poster is looked up before",
        "is no member",
        a_world(PAIR, 0, 1, changes=_IS_REMOVED),
        post=(out.check_member, out.post_unchecked),
    ),
    _store(
        "G-10 a confirmation of who is gone",
        _REMOVED,
        a_world(("1A", "2B", "3A"), 1, changes=_LEAVES, plus={"claim"}, anytime=_PURGED),
        claim=(out.read_cursor, out.claim_from_cursor),
    ),
    _store("G-10 a member joins once more", _UNSHOWN, a_world(PAIR, 1, changes=(("joined", 1, 1),)), join=out.join_again),
    _rule(
        "G-11 a post is taken behind a refused one",
        "posted later",
        a_world(PAIR, 2, kinds={"store"}, plus={"answer"}),
        lane=out.TakesBehindRefused,
    ),
    _rule("G-11 what waits behind a refused one goes on", "posted later", a_world(PAIR, 2, kinds={"store"}), lane=out.RefusesAlone),
    _rule("G-11 several batches at once", "posted later", a_world(PAIR, 2, lazy={"post"}), is_one_batch_at_a_time=False),
    _rule("G-12 settled before the commit", "is not stored", a_world(PAIR, 1), is_settled_after_commit=False),
    _rule("G-13 given to whom the room knows", "after it left", a_world(PAIR, 1, changes=_IS_REMOVED), rooms=out.GivesToWhomItKnows),
    _rule(
        "G-13 old news are believed, and G-14 members are not looked after",
        _NEVER_SHOWN,
        a_world(PAIR, 1, changes=(("removed", 1, 0), ("joined", 1, 1))),
        rooms=out.BelievesOldNews,
        is_looked_round=False,
    ),
    _rule("G-14 nothing is swept, a center crashes", _NEVER_SHOWN, a_world(PAIR, 1, kinds={"crash"}), **_UNSWEPT),
    _rule("G-14 nothing is swept, a push is lost", _NEVER_SHOWN, a_world(PAIR, 1, kinds={"lost push"}), **_UNSWEPT),
    _rule(
        "G-14 members are not looked after, and word of one who joined is lost",
        _NEVER_SHOWN,
        a_world(PAIR, 1, guests={1}, changes=(("joined", 1, 0),), kinds={"lost news"}),
        is_looked_round=False,
    ),
    _rule(
        "G-14 members are not looked after, one confirms before it is entered",
        _NEVER_REMOVED,
        a_world(TRIO, 2, guests={2}, changes=(("joined", 2, 0),)),
        is_looked_round=False,
    ),
    _rule(
        "G-15 read before it is entered, and G-14 nothing is swept",
        _NEVER_SHOWN,
        a_world(("1A", "2b"), 1),
        is_live_before_read=False,
        **_UNSWEPT,
    ),
    _rule("G-16 shown with a gap", _UNSHOWN, a_world(PAIR, 2, kinds={"lost push"}), arrivals=out.ShowsWithGaps),
    _rule(
        "G-16 a refused fetch forgets what it was for, and G-14 members are not looked after",
        _NEVER_SHOWN,
        _FAILING,
        arrivals=out.ForgetsWhatItSought,
        is_looked_round=False,
    ),
    _rule(
        "G-17 the end of a fetch moves the position",
        _UNSHOWN,
        a_world(("1A", "2b"), 1, plus={"application"}),
        arrivals=out.BelievesTheEnd,
    ),
    _rule("G-18 what is handed out is confirmed", _UNSHOWN, a_world(PAIR, 1, plus={"application"}), arrivals=out.ConfirmsWhatItHands),
    _rule(
        "G-18 the position is kept later",
        "is shown twice",
        a_world(PAIR, 1, plus={"application"}, kinds={"restart"}),
        is_position_kept_with_showing=False,
    ),
    _rule(
        "G-18 confirmed once only", _NEVER_REMOVED, a_world(PAIR, 1, plus={"claim"}, kinds={"crash"}), arrivals=out.ConfirmsOnce
    ),
    _rule("G-19 the position falls", "is shown", a_world(PAIR, 2, plus={"claim"}, kinds={"break"}), arrivals=out.FallsBack),
    _rule("G-19 begins at the group's number", _UNSHOWN, a_world(("1A", "2b"), 1), arrivals=out.BeginsAtTheEnd),
    _rule("G-19 begins where the membership began", "is shown", a_world(TRIO, 1, kinds={"new file"}), arrivals=out.BeginsAtTheBeginning),
]

COVERED = [
    _rule(
        "G-4 pushes go to who joined after them, but G-19 begins at joined",
        "",
        a_world(PAIR, 1, guests={1}, changes=(("joined", 1, 1),)),
        rooms=out.GivesTheWhole,
    ),
    _rule(
        "G-13 old news are believed, but G-14 members are looked after",
        "",
        a_world(PAIR, 1, changes=(("removed", 1, 0), ("joined", 1, 1))),
        rooms=out.BelievesOldNews,
    ),
    _rule("G-14 groups are not swept, but members are looked after", "", a_world(PAIR, 2, kinds={"lost push"}), is_swept=False),
    _rule("G-15 read before it is entered, but G-14 sweeps", "", a_world(("1A", "2b"), 1), is_live_before_read=False),
    _rule("G-16 a refused fetch forgets, but G-14 members are looked after", "", _FAILING, arrivals=out.ForgetsWhatItSought),
    _rule(
        "G-19 stays below joined, but G-4 fetches nothing below it",
        "",
        a_world(PAIR, 1, changes=(("removed", 1, 0), ("joined", 1, 1)), minus={"describe", "standing"}),
        arrivals=out.StaysBelowJoined,
    ),
]
