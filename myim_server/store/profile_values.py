"""What the store says about profiles, and what a user may change in its own.

What must not live here: SQL, and rules.
"""

from typing import NamedTuple

# A choice's place is its number in the table. Old ones never move.
SEARCHABLE = ("everybody", "name", "nobody")
ASKING = ("everybody", "nobody")


class Profile(NamedTuple):
    """What a user says of itself. `name` is its account's; `version` rises by one with each change of what friends see; `searchable`: who
    finds it (by name, a name's beginning or id; by its whole name alone; nobody); `asking`: who may ask it to be a friend."""

    user: int
    name: str
    display_name: str
    avatar: str
    signature: str
    version: int
    searchable: str
    asking: str


class ProfileChange(NamedTuple):
    """None: as before."""

    display_name: str | None = None
    avatar: str | None = None
    signature: str | None = None
    searchable: str | None = None
    asking: str | None = None


class Found(NamedTuple):
    """A user that may be found."""

    user: int
    name: str
    display_name: str
