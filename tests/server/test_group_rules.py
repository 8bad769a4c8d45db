"""Who may do what in a group, decided from a view of it (docs/groups.md, G-10)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from myim_server.chat import group_rules as rules
from myim_server.chat.group_rules import GroupLimits
from myim_server.refusals import RequestRefused
from myim_server.store.group_changes import Added, Altered, Asked, Change, Dissolved, MuteSet, Removed, RoleSet, Unasked
from myim_server.store.group_values import Group, Member, Pending, View
from myim_wire.errors import ErrorCode

OWNER, ADMIN, OTHER_ADMIN, MEMBER, INVITED, ASKING, STRANGER, NOBODY = range(1, 9)
LIMITS = GroupLimits(members=10, per_user=5, pending=4)
ROLES = {OWNER: "owner", ADMIN: "admin", OTHER_ADMIN: "admin", MEMBER: "member"}


def view(join: str = "invitation", members: int = 4, requests: int = 2, in_groups: int = 0) -> View:
    group = Group(77, "team", "", join, False, OWNER, 9, 3, members, 0)
    return View(
        group,
        {user: Member(user, role, 9, 0, 0, 0) for user, role in ROLES.items()},
        {INVITED: Pending(INVITED, "invited", MEMBER, "", 0), ASKING: Pending(ASKING, "requested", ASKING, "please", 0)},
        requests,
        dict.fromkeys(range(1, 8), in_groups),
        set(range(1, 8)),
    )


def refusal(decide: Callable[[], Sequence[Change]]) -> ErrorCode:
    with pytest.raises(RequestRefused) as caught:
        decide()
    return caught.value.code


def test_an_open_group_takes_whoever_joins() -> None:
    assert rules.join(view("open"), STRANGER, "", LIMITS) == (Added(STRANGER, "member"),)


def test_who_is_invited_joins_any_group() -> None:
    for join in ("open", "approval", "invitation"):
        assert rules.join(view(join), INVITED, "", LIMITS) == (Added(INVITED, "member"),)


def test_a_group_by_approval_is_asked_and_asked_once() -> None:
    assert rules.join(view("approval"), STRANGER, "hello", LIMITS) == (Asked(STRANGER, "requested", STRANGER, "hello"),)
    assert rules.join(view("approval"), ASKING, "hello", LIMITS) == ()


def test_a_group_by_invitation_is_not_there_for_a_stranger() -> None:
    assert refusal(lambda: rules.join(view(), STRANGER, "", LIMITS)) is ErrorCode.NOT_ALLOWED


def test_a_member_that_joins_again_changes_nothing() -> None:
    assert rules.join(view("open"), MEMBER, "", LIMITS) == ()


def test_a_full_group_takes_nobody_and_a_user_is_in_so_many_groups_only() -> None:
    assert refusal(lambda: rules.join(view("open", members=10), STRANGER, "", LIMITS)) is ErrorCode.LIMIT_REACHED
    assert refusal(lambda: rules.join(view("open", in_groups=5), STRANGER, "", LIMITS)) is ErrorCode.LIMIT_REACHED
    assert refusal(lambda: rules.approve(view(members=10), ADMIN, ASKING, LIMITS)) is ErrorCode.LIMIT_REACHED
    assert refusal(lambda: rules.invite(view(members=10), ADMIN, [ASKING], LIMITS)) is ErrorCode.LIMIT_REACHED


def test_only_so_many_invitations_and_requests_are_open() -> None:
    assert refusal(lambda: rules.join(view("approval", requests=4), STRANGER, "", LIMITS)) is ErrorCode.LIMIT_REACHED
    assert refusal(lambda: rules.invite(view(requests=4), ADMIN, [STRANGER], LIMITS)) is ErrorCode.LIMIT_REACHED


def test_everybody_but_the_owner_may_leave() -> None:
    assert rules.leave(view(), MEMBER) == (Removed(MEMBER),)
    assert rules.leave(view(), ADMIN) == (Removed(ADMIN),)
    assert refusal(lambda: rules.leave(view(), OWNER)) is ErrorCode.NOT_ALLOWED


def test_who_asked_or_is_invited_leaves_by_withdrawing() -> None:
    assert rules.leave(view(), ASKING) == (Unasked(ASKING),)
    assert rules.leave(view(), INVITED) == (Unasked(INVITED),)
    assert refusal(lambda: rules.leave(view(), STRANGER)) is ErrorCode.NOT_ALLOWED


def test_officers_invite_and_in_an_open_group_every_member() -> None:
    asked = [Asked(STRANGER, "invited", ADMIN, "")]
    assert rules.invite(view(), ADMIN, [STRANGER, STRANGER, MEMBER, INVITED], LIMITS) == asked
    assert rules.invite(view("open"), MEMBER, [STRANGER], LIMITS) == [Asked(STRANGER, "invited", MEMBER, "")]
    assert refusal(lambda: rules.invite(view(), MEMBER, [STRANGER], LIMITS)) is ErrorCode.NOT_ALLOWED
    assert refusal(lambda: rules.invite(view(), STRANGER, [STRANGER], LIMITS)) is ErrorCode.NOT_ALLOWED


def test_nobody_is_invited_who_is_no_user() -> None:
    assert refusal(lambda: rules.invite(view(), OWNER, [NOBODY], LIMITS)) is ErrorCode.NOT_ALLOWED


def test_inviting_who_has_asked_takes_him_in() -> None:
    assert rules.invite(view(), OWNER, [ASKING], LIMITS) == [Added(ASKING, "member")]


def test_officers_approve_and_decline() -> None:
    assert rules.approve(view(), ADMIN, ASKING, LIMITS) == (Added(ASKING, "member"),)
    assert rules.decline(view(), ADMIN, ASKING) == (Unasked(ASKING),)
    assert rules.approve(view(), ADMIN, MEMBER, LIMITS) == ()
    for user in (MEMBER, STRANGER, ASKING):
        assert refusal(lambda user=user: rules.approve(view(), user, ASKING, LIMITS)) is ErrorCode.NOT_ALLOWED  # type: ignore[misc]
    assert refusal(lambda: rules.approve(view(), ADMIN, INVITED, LIMITS)) is ErrorCode.NOT_ALLOWED
    assert refusal(lambda: rules.decline(view(), MEMBER, ASKING)) is ErrorCode.NOT_ALLOWED


def test_who_invited_may_take_it_back() -> None:
    assert rules.decline(view(), MEMBER, INVITED) == (Unasked(INVITED),)


def test_one_removes_and_mutes_only_below_oneself() -> None:
    assert rules.remove(view(), ADMIN, MEMBER) == (Removed(MEMBER),)
    assert rules.remove(view(), OWNER, ADMIN) == (Removed(ADMIN),)
    assert rules.mute(view(), ADMIN, MEMBER, 60, 1_000) == (MuteSet(MEMBER, 60_001_000),)
    assert rules.mute(view(), ADMIN, MEMBER, 0, 1_000) == ()
    for actor, user in ((ADMIN, OTHER_ADMIN), (ADMIN, OWNER), (MEMBER, MEMBER), (STRANGER, MEMBER), (OWNER, OWNER), (OWNER, STRANGER)):
        assert refusal(lambda a=actor, u=user: rules.remove(view(), a, u)) is ErrorCode.NOT_ALLOWED  # type: ignore[misc]
        assert refusal(lambda a=actor, u=user: rules.mute(view(), a, u, 9, 0)) is ErrorCode.NOT_ALLOWED  # type: ignore[misc]


def test_the_owner_alone_gives_roles_hands_over_and_dissolves() -> None:
    assert rules.set_role(view(), OWNER, MEMBER, "admin") == (RoleSet(MEMBER, "admin"),)
    assert rules.set_role(view(), OWNER, ADMIN, "admin") == ()
    assert rules.hand_over(view(), OWNER, MEMBER) == (RoleSet(OWNER, "admin"), RoleSet(MEMBER, "owner"))
    assert rules.hand_over(view(), OWNER, OWNER) == ()
    muted = view()
    muted.members[MEMBER] = muted.members[MEMBER]._replace(muted_until=1 << 60)
    assert rules.hand_over(muted, OWNER, MEMBER)[2:] == (MuteSet(MEMBER, 0),)
    assert rules.dissolve(view(), OWNER) == (Dissolved(),)
    for actor in (ADMIN, MEMBER, STRANGER):
        assert refusal(lambda a=actor: rules.set_role(view(), a, MEMBER, "admin")) is ErrorCode.NOT_ALLOWED  # type: ignore[misc]
        assert refusal(lambda a=actor: rules.hand_over(view(), a, MEMBER)) is ErrorCode.NOT_ALLOWED  # type: ignore[misc]
        assert refusal(lambda a=actor: rules.dissolve(view(), a)) is ErrorCode.NOT_ALLOWED  # type: ignore[misc]
    assert refusal(lambda: rules.set_role(view(), OWNER, OWNER, "member")) is ErrorCode.NOT_ALLOWED
    assert refusal(lambda: rules.hand_over(view(), OWNER, STRANGER)) is ErrorCode.NOT_ALLOWED


def test_officers_change_the_group_and_what_is_so_already_changes_nothing() -> None:
    altered = Altered("new", None, None, True)
    assert rules.change(view(), ADMIN, altered) == (altered,)
    assert rules.change(view(), ADMIN, Altered("team", None, "invitation", False)) == ()
    assert refusal(lambda: rules.change(view(), MEMBER, altered)) is ErrorCode.NOT_ALLOWED


@pytest.mark.parametrize("name", ["", "   ", "\u200b", "a\nb", "a\u202eb", "\0", "x" * 65])
def test_a_name_that_shows_nothing_or_lies_is_refused(name: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        rules.check_name(name)
    assert caught.value.code is ErrorCode.NAME_INVALID


@pytest.mark.parametrize("name", ["team", "团队 7", "Ünïcode", "👩‍👩‍👧 family"])
def test_a_name_in_any_language_is_kept(name: str) -> None:
    assert rules.check_name(f" {name} ") == name


def test_only_officers_see_who_asks() -> None:
    rules.may_list_pending(view().members[ADMIN])
    for member in (None, view().members[MEMBER]):
        with pytest.raises(RequestRefused):
            rules.may_list_pending(member)
