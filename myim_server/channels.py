"""Channels that arrive here over links: terminals of endpoints for the center's door, logins for the login center's, or passed on to it.

What lives here: which channels of a link are open, whom each leads to, the relay to a login node, and what is done to a peer that breaks
the rules of `myim_wire.channels`. What must not: links' life (`cluster`), what a terminal's bytes say, which frame belongs to which channel
(`channel_lanes`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from myim_server.channel_lanes import Carried, ChannelLane, Log
from myim_server.channel_sockets import ChannelEnd, ChannelSocket, Link
from myim_wire import channels
from myim_wire.channels import HEAD_BYTES, WINDOW_BYTES, About, Opening, Service
from myim_wire.errors import ErrorCode, RemoteProtocolError

ENDPOINT, CENTER, LOGIN = "endpoint", "center", "login"
_AT_ONCE = 50  # channels that end in one turn, with their link

ServeTerminal = Callable[[ChannelSocket, tuple[str, int], int], object]  # channel, (host, 0), the endpoint's node id; must not yield
ServeLogin = Callable[[ChannelSocket, tuple[str, int]], object]


class _Lane(ChannelLane[Carried]):
    """The channels of one link, and what its endpoint says of itself."""

    __slots__ = ("about",)

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self.about: About | None = None


class _Relayed:
    """One side of a channel that is passed on: what it sends goes to `other`, whose credit is counted here so that nobody is cut for it."""

    __slots__ = ("_channel", "_lane", "_may_receive", "other")

    def __init__(self, lane: _Lane, channel: int) -> None:
        self._lane = lane
        self._channel = channel
        self._may_receive = WINDOW_BYTES
        self.other: _Relayed | None = None
        lane.carried[channel] = self

    def take_data(self, message: bytes) -> None:
        self._may_receive -= len(message) - HEAD_BYTES
        if self._may_receive < 0:
            raise RemoteProtocolError(ErrorCode.BAD_FRAME, "DATA beyond the credit")
        if self.other is not None and not self.other.say(channels.DATA, message[HEAD_BYTES:]):
            self.take_close()
            self._end()

    def take_credit(self, size: int) -> None:
        if self.other is None:
            return
        self.other._may_receive += size
        if self.other._may_receive > WINDOW_BYTES:
            raise RemoteProtocolError(ErrorCode.BAD_FRAME, "CREDIT for what was never sent")
        self.other.say(channels.CREDIT, size.to_bytes(4, "big"))

    def take_end(self) -> None:
        if self.other is not None:
            self.other.say(channels.END)

    def take_close(self) -> None:
        """This side is gone: so is the other."""
        other, self.other = self.other, None
        if other is not None:
            other.other = None
            other._end()

    def say(self, kind: int, rest: bytes = b"") -> bool:
        message = channels.DATA_HEAD.pack(kind, self._channel) + rest
        return self._lane.link.send(message) if kind == channels.DATA else self._lane.link.send_urgent(message)

    def _end(self) -> None:
        self._lane.forget(self._channel)
        self.say(channels.CLOSE)


class Channels:
    """All channels of all links of this node, told of links and messages by whoever holds the mesh; nothing here yields."""

    def __init__(
        self,
        run_callback: Callable[[Callable[[], None]], object],
        serve_terminal: ServeTerminal | None,
        serve_login: ServeLogin | None,
        log: Log,
        has_login: Callable[[int], bool] = lambda node: False,
    ) -> None:
        """run_callback: at the end of the hub's turn; serve_terminal, serve_login: of the doors this node has; has_login: whether a center
        is the login center as well."""
        self._run_callback = run_callback
        self._serve_terminal = serve_terminal
        self._serve_login = serve_login
        self._log = log
        self._has_login = has_login
        self._lanes: dict[Link, _Lane] = {}
        self._woken: list[ChannelEnd] = []
        self._is_draining = False

    # ------------------------------------------------------------------ what others ask

    def __len__(self) -> int:
        return sum(len(lane.carried) for lane in self._lanes.values())

    def endpoints(self) -> dict[int, About]:
        """What every linked endpoint wants terminals to be told of it, by node id."""
        return {lane.link.peer.node: lane.about for lane in self._lanes.values() if lane.about is not None}

    def drain(self, is_wished: bool = True) -> None:
        """Tell endpoints, those that come later too, to open channels elsewhere; not wished: have them come anew, to open some here."""
        self._is_draining = is_wished
        for lane in list(self._lanes.values()):
            if is_wished:
                self._tell_draining(lane)
            elif lane.link.peer.role == ENDPOINT:
                lane.link.close(ErrorCode.DRAINING, "terminals are taken again, by new links")

    # ------------------------------------------------------------------ links

    def came_up(self, link: Link) -> None:
        """A link is open."""
        lane = self._lanes[link] = _Lane(link)
        if self._is_draining:
            self._tell_draining(lane)

    def went_down(self, link: Link) -> None:
        """A link ended: each of its channels is lost, as a connection is."""
        lane = self._lanes.pop(link, None)
        if lane is not None:
            carried = list(lane.carried.values())
            lane.carried.clear()
            self._lose(carried)

    def _lose(self, carried: Sequence[Carried]) -> None:
        """In pieces: each terminal's end takes its while, and others want their turn."""
        for one in carried[:_AT_ONCE]:
            one.take_close()
        if len(carried) > _AT_ONCE:
            self._run_callback(partial(self._lose, carried[_AT_ONCE:]))

    def take(self, link: Link, messages: Sequence[bytes]) -> None:
        """Messages of this page's kinds came; a peer that breaks a rule loses its link."""
        lane = self._lanes.get(link)
        if lane is not None:
            lane.take(messages, partial(self._take, lane), self._log)

    def _tell_draining(self, lane: _Lane) -> None:
        if lane.link.peer.role == ENDPOINT:
            lane.link.send_urgent(channels.encode_draining())

    # ------------------------------------------------------------------ messages of no channel yet

    def _take(self, lane: _Lane, message: bytes) -> bool:
        kind = message[0]
        if kind == channels.OPEN:
            self._open(lane, channels.decode_open(message))
        elif kind == channels.ABOUT:
            self._check_role(lane, ENDPOINT)
            lane.about = channels.decode_about(message)
        else:
            return False
        return True

    def _check_role(self, lane: _Lane, *roles: str) -> None:
        if lane.link.peer.role not in roles:
            raise RemoteProtocolError(ErrorCode.NOT_ALLOWED, f"a {lane.link.peer.role} may not say this")

    def _open(self, lane: _Lane, opening: Opening) -> None:
        """Terminals come from endpoints; logins from endpoints, and from centers that pass them on."""
        self._check_role(lane, ENDPOINT, *((CENTER,) if opening.service == Service.LOGIN and self._serve_login else ()))
        if opening.channel <= lane.last:
            raise RemoteProtocolError(ErrorCode.BAD_FRAME, "OPEN of a used channel")
        lane.last = opening.channel
        address = (opening.host, 0)
        if opening.service == Service.CENTER and self._serve_terminal is not None:
            self._serve_terminal(self._accept(lane, opening.channel), address, lane.link.peer.node)
        elif opening.service == Service.LOGIN and self._serve_login is not None:
            self._serve_login(self._accept(lane, opening.channel), address)
        elif opening.service != Service.LOGIN or not self._pass_on(lane, opening):
            lane.link.send_urgent(channels.encode_close(opening.channel))

    def _accept(self, lane: _Lane, channel: int) -> ChannelSocket:
        end = ChannelEnd(lane.link, channel, self._wake, lane.forget)
        lane.carried[channel] = end
        return ChannelSocket(end)

    def _pass_on(self, lane: _Lane, opening: Opening) -> bool:
        """Relay to the first linked node that is a login center; False if there is none."""
        for login in self._lanes.values():
            peer = login.link.peer
            if peer.role != LOGIN and not (peer.role == CENTER and self._has_login(peer.node)):
                continue
            if not login.link.is_open or login.last >= channels.LAST_CHANNEL:
                continue
            channel = login.last + 1
            if not login.link.send(channels.encode_open(channel, Service.LOGIN, opening.host)):
                continue
            login.last = channel
            near, far = _Relayed(lane, opening.channel), _Relayed(login, channel)
            near.other, far.other = far, near
            return True
        return False

    # ------------------------------------------------------------------ waking

    def _wake(self, end: ChannelEnd) -> None:
        """Once per turn of the hub, after the link's reader is done with its batch."""
        if not self._woken:
            self._run_callback(self._tell_woken)
        self._woken.append(end)

    def _tell_woken(self) -> None:
        woken, self._woken = self._woken, []
        for end in woken:
            end.tell()
