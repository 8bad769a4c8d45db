"""One value of every structure about friends, profiles and presence, and whole lists, for vectors and tests. Nothing here is a test."""

from __future__ import annotations

from myim_wire.friend_contents import (
    BlockedPage,
    BlockedUser,
    Changed,
    FoundPage,
    FoundProfile,
    Friend,
    FriendChanged,
    FriendPage,
    HashedGroup,
    IncomingRequest,
    OutgoingRequest,
    RequestPage,
    Synced,
)  # fmt: skip
from myim_wire.friend_hashes import CanonicalGroup, hash_list
from myim_wire.friend_requests import (
    Accept,
    AddGroup,
    Ask,
    Block,
    ChangeGroup,
    FriendChangeRequest,
    FriendRequest,
    GetProfiles,
    Ignore,
    ListBlocked,
    ListFriends,
    ListRequests,
    MoveFriend,
    ProfileRequest,
    Refuse,
    Remark,
    RemoveFriend,
    RemoveGroup,
    Search,
    SetProfile,
    Sync,
    Unblock,
    Withdraw,
)  # fmt: skip
from myim_wire.presence_contents import AskOnline, Online, OnlinePage, Presence, PresenceChanged, SetPresence
from myim_wire.profile_contents import Profile, ProfilePage
from tests.wire.fixed import MICROSECONDS, TICKET

ANN, BOB, EVE, DAN = TICKET.user, 42, 43, 2**63 - 1

# Texts that are empty, long, of several planes, and that would be other bytes if they were normalized; ids that text would sort otherwise.
BOB_LISTED = Friend(BOB, 3, "bob", "Bob from chess 象棋", "Bobby 🙂", "files/1b2f", "Gru\u0308ße")
EVE_LISTED = Friend(EVE, 3, "eve", "", "", "", "")
DAN_LISTED = Friend(DAN, 0, "данила", "", "Даня", "", "x" * 200)
NINE_LISTED = Friend(9, 3, "nine", "", "", "", "Grüße")
LISTS: dict[str, tuple[tuple[CanonicalGroup, ...], tuple[Friend, ...]]] = {
    "nobody, never": ((), ()),
    "group 0 alone, without a friend": (((0, 0, ""),), ()),
    "one friend in group 0": (((0, 0, ""),), (DAN_LISTED,)),
    "a name in the place of another text": (((0, 0, ""),), (Friend(9, 0, "", "nine", "", "", ""),)),
    "three groups, one of them empty, nothing in its order": (
        ((3, 1, "Chess 象棋"), (0, 0, ""), (200, 2**32 - 1, "work")), (EVE_LISTED, BOB_LISTED, DAN_LISTED, NINE_LISTED),
    ),
}  # fmt: skip


def hashed(groups: tuple[CanonicalGroup, ...], friends: tuple[Friend, ...]) -> tuple[bytes, tuple[HashedGroup, ...]]:
    """(root, the groups with their hashes) of a list."""
    root, hashes = hash_list(groups, ((friend.group, friend.canonical) for friend in friends))
    return root, tuple(HashedGroup(group, name, position, hashes[group]) for group, position, name in sorted(groups))


ROOT, HASHED_GROUPS = hashed(*LISTS["three groups, one of them empty, nothing in its order"])

FRIEND_REQUESTS: tuple[FriendRequest, ...] = (Sync(4, ROOT), ListFriends(3, BOB), ListRequests(BOB), ListBlocked(BOB), Search("bob"))
CHANGE_REQUESTS: tuple[FriendChangeRequest, ...] = (
    Ask(BOB, "it is Ann"), Accept(EVE, 3), Refuse(EVE), Ignore(EVE), Withdraw(BOB), RemoveFriend(BOB), Block(EVE), Unblock(EVE),
    Remark(BOB, "Bob from chess 象棋"), MoveFriend(BOB, 3), AddGroup("Chess 象棋", 1), ChangeGroup(3, "Go 围棋", 2), RemoveGroup(3),
)  # fmt: skip
PROFILE_REQUESTS: tuple[ProfileRequest, ...] = (SetProfile("Ann", "files/77", "Hallo 🙂", "name", "nobody"), GetProfiles((ANN, BOB)))

UNCHANGED = Synced(4, ROOT)
ONE_CHANGED = Synced(5, ROOT, (), (BOB_LISTED,), (EVE,), True)
GROUPS_CHANGED = Synced(6, ROOT, HASHED_GROUPS, (BOB_LISTED, DAN_LISTED), (), True)
TOO_OLD = Synced(7, ROOT, HASHED_GROUPS)
FRIENDS = FriendPage((BOB_LISTED, EVE_LISTED), 5, True)
REQUESTS = RequestPage(
    (IncomingRequest(EVE, "eve", "let me in", MICROSECONDS, True),), (OutgoingRequest(BOB, "bob", "it is Ann", MICROSECONDS + 1),), False
)
BLOCKED = BlockedPage((BlockedUser(EVE, "eve"),), False)
FOUND = FoundPage((FoundProfile(BOB, "bob", "Bobby 🙂"),))
CHANGED = Changed(5, ROOT)
LIST_CHANGED = FriendChanged("list", 5, 0)
ASKED = FriendChanged("asked", 5, EVE, "let me in")
MINE = Profile(ANN, "ann", "Ann", "files/77", "Hallo 🙂", 3, "name", "nobody")
BOBS = Profile(BOB, "bob", "Bobby 🙂", "files/1b2f", "Grüße", 1)
PROFILES = ProfilePage((BOBS, MINE))
BUSY = SetPresence("busy", "in a meeting")
ASK_ONLINE = AskOnline()
ONLINE = OnlinePage((Online(BOB, "away", "lunch", ((0, 1), (2**62, 1))), Online(EVE, "online", "", ((0, 2),))), True)
SOME_ONLINE = OnlinePage(ONLINE.online[:1], False, True, EVE)
PRESENCES = PresenceChanged((Presence(BOB, "busy", "in a meeting"), Presence(EVE, "offline", "")))
