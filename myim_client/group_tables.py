"""The rows about groups in a profile: positions, what was shown beyond them, and what groups were when they were last described.

What the rows mean is decided in `group_arrivals` and `group_courier`. A position is written with the application's transaction, or some
time later where it moved by itself; it never falls, so whichever comes last is right.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from myim_client.group_arrivals import Move
from myim_client.profile import Profile, to_signed, to_unsigned
from myim_wire.group_contents import GroupState

MEMBER_ROLES = frozenset(("owner", "admin", "member"))

_KEEP_POSITION = """INSERT INTO myim_group_positions VALUES (?, ?)
  ON CONFLICT (id) DO UPDATE SET position = excluded.position WHERE excluded.position > position"""
_KEEP_SHOWN = "INSERT OR IGNORE INTO myim_group_shown VALUES (?, ?)"
_FORGET_SHOWN = "DELETE FROM myim_group_shown WHERE id = ? AND number <= ?"
_KEEP_STATE = "INSERT OR REPLACE INTO myim_groups VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class GroupTables:
    """The groups of one profile."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._has_shown = {group for group, _ in self.shown()}  # in these, rows may have to be forgotten

    def positions(self) -> list[tuple[int, int, bool]]:
        """(group, position, whether the user is a member, as far as is known) of all groups that ever had one."""
        rows = self._profile.query(
            "SELECT p.id, p.position, g.role FROM myim_group_positions AS p LEFT JOIN myim_groups AS g ON g.id = p.id"
        )  # fmt: skip
        return [(to_unsigned(group), position, role in MEMBER_ROLES) for group, position, role in rows]

    def shown(self) -> list[tuple[int, int]]:
        """The (group, number) that were done above the position."""
        return [(to_unsigned(group), number) for group, number in self._profile.query("SELECT id, number FROM myim_group_shown")]

    def states(self) -> dict[int, GroupState]:
        """The user's groups, invitations and requests as they were last described; `cursor` is 0."""
        rows = self._profile.query(
            "SELECT id, name, description, entry, is_muted, number, version, members, role, muted_until, joined FROM myim_groups"
            " WHERE role <> 'none'"
        )  # fmt: skip
        return {to_unsigned(row[0]): _state(*row) for row in rows}

    def keep_moves(self, moves: Iterable[Move]) -> None:
        """The application is done with these numbers: with the present transaction."""
        for group, position, done in moves:
            name = to_signed(group)
            self._profile.execute(_KEEP_POSITION, (name, position))
            if group in self._has_shown:
                self._profile.execute(_FORGET_SHOWN, (name, position))
            beyond = [(name, number) for number in done if number > position]
            if beyond:
                self._has_shown.add(group)
                self._profile.execute_many(_KEEP_SHOWN, beyond)

    def keep_positions_later(self, positions: dict[int, int]) -> None:
        """These positions moved by themselves: with the next commit; after a crash before it they move again."""
        for group, position in positions.items():
            self._profile.later(_KEEP_POSITION, (to_signed(group), position))
            if group in self._has_shown:
                self._profile.later(_FORGET_SHOWN, (to_signed(group), position))

    def keep_state_later(self, state: GroupState) -> None:
        """What a group was when it was described (with the next commit); role "none": nothing of the user's any more."""
        row = (
            to_signed(state.group), state.name, state.description, state.join, state.is_muted, to_signed(state.number),
            to_signed(state.version), state.members, state.role, to_signed(state.muted_until), to_signed(state.joined),
        )  # fmt: skip
        self._profile.later(_KEEP_STATE, row)


def _state(
    group: int, name: str, description: str, entry: Any, is_muted: int, number: int, version: int, members: int, role: Any,
    muted_until: int, joined: int,
) -> GroupState:  # fmt: skip
    return GroupState(
        to_unsigned(group), name, description, entry, bool(is_muted), to_unsigned(number), to_unsigned(version), members, role,
        to_unsigned(muted_until), 0, to_unsigned(joined),
    )  # fmt: skip
