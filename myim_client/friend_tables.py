"""The rows about friends in a profile: the copy of the friend list, and how this terminal wants to be seen.

What a copy means, and whether it may be trusted, is decided in `friend_copy`. A new one is written whole, in one transaction of its own.
"""

from __future__ import annotations

from typing import Any

from myim_client.friend_copy import NOTHING, FriendCopy, FriendGroup
from myim_client.profile import Profile, to_signed, to_unsigned
from myim_wire.friend_contents import Friend
from myim_wire.presence_contents import SetPresence


class FriendTables:
    """The friends of one profile."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def copy(self) -> FriendCopy:
        """The copy as it was kept; an empty one if there is none."""
        head = self._profile.query("SELECT version, root FROM myim_friend_list")
        if not head:
            return NOTHING
        groups = [FriendGroup(*row) for row in self._profile.query("SELECT id, name, position FROM myim_friend_groups")]
        rows = self._profile.query("SELECT user, in_group, name, remark, display_name, avatar, signature FROM myim_friends")
        friends = [Friend(to_unsigned(user), *rest) for user, *rest in rows]
        return FriendCopy(
            to_unsigned(head[0][0]), head[0][1], {group.id: group for group in groups}, {friend.user: friend for friend in friends}
        )

    def keep_copy(self, old: FriendCopy, new: FriendCopy) -> None:
        """Keep `new` in the place of `old`, which is what is kept, flushed."""
        changed = [_row(friend) for user, friend in new.friends.items() if old.friends.get(user) != friend]
        removed = [(to_signed(user),) for user in old.friends if user not in new.friends]
        with self._profile.transaction() as execute:
            execute("INSERT OR REPLACE INTO myim_friend_list VALUES (1, ?, ?)", (to_signed(new.version), new.root))
            if old.groups != new.groups:
                execute("DELETE FROM myim_friend_groups")
                self._profile.execute_many("INSERT INTO myim_friend_groups VALUES (?, ?, ?)", list(new.groups.values()))
            self._profile.execute_many("DELETE FROM myim_friends WHERE user = ?", removed)
            self._profile.execute_many("INSERT OR REPLACE INTO myim_friends VALUES (?, ?, ?, ?, ?, ?, ?)", changed)

    def presence(self) -> SetPresence:
        """How this terminal is to be seen; "online" if that was never said."""
        rows = self._profile.query("SELECT state, text FROM myim_presence")
        return SetPresence(*rows[0]) if rows else SetPresence("online")

    def keep_presence(self, presence: SetPresence) -> None:
        """How this terminal is to be seen from now on, flushed: after a crash too, who is invisible must not be seen."""
        with self._profile.transaction() as execute:
            execute("INSERT OR REPLACE INTO myim_presence VALUES (1, ?, ?)", (presence.state, presence.text))


def _row(friend: Friend) -> tuple[Any, ...]:
    texts = (friend.name, friend.remark, friend.display_name, friend.avatar, friend.signature)
    return to_signed(friend.user), friend.group, *texts
