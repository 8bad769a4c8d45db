"""What centers say about profiles: the answers to SIGNATURE [P-7.16].

What lives here: their values and bytes. What must not: what terminals ask (`friend_requests`), who may know whom. Each value has
`encode()` and `decode(content)`; texts that are empty are left out of the maps; decoding raises RemoteProtocolError(BAD_COMMAND)
whose `field` is the path of what was wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast

from myim_wire.fields import Fields
from myim_wire.friend_requests import (
    ASKING,
    MAX_AVATAR_CHARACTERS,
    MAX_DISPLAY_NAME_CHARACTERS,
    MAX_PROFILES_ASKED,
    MAX_SIGNATURE_CHARACTERS,
    SEARCHABLE,
    Asking,
    Searchable,
)  # fmt: skip
from myim_wire.packing import but_empty, pack_map
from myim_wire.pages import fitting


@dataclass(frozen=True, slots=True)
class Profile:
    """A user's profile, at its own version; the last two are said of the asker only, and "" of others."""

    user: int
    name: str
    display_name: str
    avatar: str
    signature: str
    version: int
    searchable: Searchable | Literal[""] = ""
    asking: Asking | Literal[""] = ""

    def to_map(self) -> dict[str, object]:
        """As it stands in a page."""
        texts = {
            "display_name": self.display_name, "avatar": self.avatar, "signature": self.signature, "searchable": self.searchable,
            "asking": self.asking,
        }  # fmt: skip
        return {"user": self.user, "name": self.name, "version": self.version, **but_empty(texts)}

    @classmethod
    def from_fields(cls, fields: Fields) -> Profile:
        """Read from a page."""
        return cls(
            user=fields.number("user", 64),
            name=fields.text("name"),
            display_name=fields.text_or_empty("display_name", MAX_DISPLAY_NAME_CHARACTERS),
            avatar=fields.text_or_empty("avatar", MAX_AVATAR_CHARACTERS),
            signature=fields.text_or_empty("signature", MAX_SIGNATURE_CHARACTERS),
            version=fields.number("version", 64),
            searchable=cast(Searchable, fields.choice("searchable", SEARCHABLE)) if fields.has("searchable") else "",
            asking=cast(Asking, fields.choice("asking", ASKING)) if fields.has("asking") else "",
        )

    def encode(self) -> bytes:
        """The content."""
        return pack_map(self.to_map())

    @classmethod
    def decode(cls, content: bytes) -> Profile:
        """From the content."""
        return cls.from_fields(Fields.unpack(content))


@dataclass(frozen=True, slots=True)
class ProfilePage:
    """The profiles of those asked for whom the asker may know, by user id; `is_more`: ask again for those above the last."""

    profiles: tuple[Profile, ...]
    is_more: bool = False

    @classmethod
    def of(cls, profiles: Iterable[Profile]) -> ProfilePage:
        """The first of `profiles` that one message holds: long texts in UTF-8 may leave room for 27 only."""
        return cls(*fitting(profiles, MAX_PROFILES_ASKED, Profile.to_map))

    def encode(self) -> bytes:
        """The content."""
        return pack_map({"profiles": [profile.to_map() for profile in self.profiles], "is_more": self.is_more})

    @classmethod
    def decode(cls, content: bytes) -> ProfilePage:
        """From the content."""
        fields = Fields.unpack(content)
        profiles = tuple(map(Profile.from_fields, fields.maps("profiles", MAX_PROFILES_ASKED)))
        return cls(profiles, fields.truth("is_more"))
