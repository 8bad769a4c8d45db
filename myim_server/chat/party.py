"""One terminal that is online here, as the rules see it.

What lives here: what belongs to one session, put together. What must not: decisions.
"""

from __future__ import annotations

from cluster.directory import Place
from myim_server.chat.inbox import Inbox
from myim_server.chat.lane import Lane
from myim_server.chat.receipts import ReceiptDrain
from myim_server.sessions import Session


class Party:
    """One terminal that is online here: its session, what it receives (inbox, receipts) and what it sends (lanes by target)."""

    __slots__ = ("session", "inbox", "drain", "lanes", "place")

    def __init__(self, session: Session, inbox: Inbox, drain: ReceiptDrain, lanes: dict[int, Lane], place: Place) -> None:
        self.session = session
        self.inbox = inbox
        self.drain = drain
        self.lanes = lanes
        self.place = place
