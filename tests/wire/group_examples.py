"""One value of every structure about groups, for vectors and tests. Nothing here is a test."""

from __future__ import annotations

from myim_wire.group_contents import (
    GroupBehind,
    GroupChanged,
    GroupFetched,
    GroupPage,
    GroupState,
    GroupsTold,
    ListedMember,
    ListedPending,
    MemberPage,
    PendingPage,
    Standing,
)  # fmt: skip
from myim_wire.group_requests import (
    Approve,
    Change,
    Create,
    Decline,
    Describe,
    Dissolve,
    GroupRequest,
    HandOver,
    Invite,
    Join,
    Leave,
    ListGroups,
    ListMembers,
    ListPending,
    Mute,
    Remove,
    SetRole,
)  # fmt: skip
from tests.wire.fixed import MICROSECONDS, TICKET

ANN, BOB, EVE, GROUP = TICKET.user, 42, 43, 1000
REQUESTS: tuple[GroupRequest, ...] = (
    Create("Chess 象棋", "Fridays", "approval", (BOB, EVE)), Join("Bob sent me"), Leave(), Invite((BOB, EVE)), Approve(BOB), Decline(EVE),
    Remove(EVE), SetRole(BOB, "admin"), HandOver(BOB), Mute(EVE, 3600), Change("Chess", "Mondays", "open", True), Dissolve(),
    ListGroups(7), ListMembers(BOB), ListPending(BOB), Describe(),
)  # fmt: skip
STATE = GroupState(
    group=GROUP, name="Chess 象棋", description="Fridays", join="approval", is_muted=False, number=17, version=5, members=2, role="owner",
    muted_until=0, cursor=16, joined=0,
)  # fmt: skip
ELSEWHERE = GroupState(
    group=GROUP + 1, name="Go", description="", join="open", is_muted=True, number=0, version=1, members=9, role="invited", muted_until=0,
    cursor=0, joined=0,
)  # fmt: skip
GROUPS = GroupPage((STATE, ELSEWHERE), True)
MEMBERS = MemberPage((
    ListedMember(BOB, "member", MICROSECONDS + 3_600_000_000, MICROSECONDS + 1), ListedMember(ANN, "owner", 0, MICROSECONDS),
), 5, False)  # fmt: skip
PENDING = PendingPage((ListedPending(EVE, "requested", EVE, "Bob sent me", MICROSECONDS + 2),), False)
CHANGED = GroupChanged("joined", GROUP, 6, BOB, BOB)
BEHIND = GroupBehind(GROUP, 17)
TOLD = GroupsTold((Standing(GROUP, 5, 17, 16, 0), Standing(GROUP + 1, 2, 9, 4, 3)), True)
FETCHED = GroupFetched(16, 17)
