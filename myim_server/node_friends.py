"""The parts of a center that know friends, put together from its configuration.

What lives here: which value goes where. What must not: rules, SQL, bytes, presence, the rest of a node (`node_parts`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from myim_server.chat.friend_desk import FriendDesk
from myim_server.chat.friend_hall import FriendHall
from myim_server.chat.friend_rules import FriendLimits
from myim_server.chat.profile_desk import ProfileDesk
from myim_server.chat.router import Router
from myim_server.config_sections import Config
from myim_server.friend_commands import FriendBudgets, FriendCommands
from myim_server.metrics import Metrics
from myim_server.pace import Budgets
from myim_server.requests import Requests
from myim_server.store.engine import Store


class Friends(NamedTuple):
    """What a center has for friends. `hall.on_news` is called with each change made here."""

    hall: FriendHall
    commands: FriendCommands


def build_friends(
    config: Config, store: Store, router: Router, requests: Requests, wall: Callable[[], int], metrics: Metrics
) -> Friends:
    """All of it; wall: µs since 1970."""
    section = config.friends
    hall = FriendHall(router.parties, router.inboxes, metrics)
    limits = FriendLimits(section.friends, section.groups, section.requests, section.blocked)
    desks = FriendDesk(store.friends, limits, wall, hall.tell), ProfileDesk(store.profiles, hall.tell)
    budgets = FriendBudgets(
        Budgets(section.searches_per_minute), Budgets(section.asks_per_minute), Budgets(section.profiles_per_minute)
    )
    return Friends(hall, FriendCommands(desks, budgets, requests, metrics))
