"""A login of a user with many friends: what its friend list costs, unchanged and with one friend changed.

What lives here: logins by password and by token, and syncs, with their bytes, store queries and CPU. What must not: servers
(`groups_servers`), presence (`friends_fan`, `friends_storm`). An answer that is not what it must be ends the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from bench.befriending import friendships
from bench.figures import Figures
from bench.friends_options import Options
from bench.friends_queries import QueryLog
from bench.groups_servers import Servers, serving
from bench.line import Line, open_lines
from bench.logins import grant
from bench.processes import run_seconds
from myim_wire.contents import Grant
from myim_wire.friend_contents import Synced
from myim_wire.friend_hashes import NO_ROOT
from myim_wire.friend_requests import SetProfile, Sync
from myim_wire.messages import ERROR, QOS1, REPLY, Command, Message, decode_error
from myim_wire.packing import pack_map

HEAD_BYTES = 28  # of a message before its content [P-3.1]
NAME = "returning"
Copy = tuple[int, bytes]


def measure_lists(figures: Figures, directory: Path, options: Options) -> None:
    """On MariaDB, which says what it was asked."""
    with serving(directory / "lists", "mariadb", 1, options.friends + options.lists, options) as servers:
        friends, users = servers.take(options.friends), servers.take(options.lists)
        by_password = _granted(servers, "register").user
        owners = [by_password, *(user.user for user in users)]
        servers.tables.run(friendships([(owner, friend.user) for owner in owners for friend in friends]))
        log = QueryLog(servers.tables, directory / "queries.log")
        for _ in range(options.repeats):
            start = _cpu(servers)
            lines = open_lines(servers.addresses[0], users)
            figures.add("login by token, center CPU", "ms", round((_cpu(servers) - start) / len(lines) * 1e3, 3))
            for line in lines:
                line.socket.close()
        lines = open_lines(servers.addresses[0], users)
        copies = [_copy(_sync(line, (0, NO_ROOT))[1]) for line in lines]
        for repeat in range(options.repeats):
            _unchanged(figures, servers, log, (lines, copies), options.syncs)
            _changed(figures, servers, log, (lines, copies), open_lines(servers.addresses[0], [friends[repeat]])[0])
        _by_password(figures, servers, log, options.repeats)


def _cpu(servers: Servers) -> float:
    return sum(map(run_seconds, servers.centers))


def _ask(line: Line, command: Command, content: bytes) -> Message:
    """The reply to a request that is not refused."""
    named = line.queue(command, QOS1, 0, content)
    line.flush()
    while True:
        for message in line.await_command(command):
            if message.command == command and message.flags & REPLY and message.time == named:
                if message.flags & ERROR:
                    raise RuntimeError(f"refused: {decode_error(message.content)}")
                return message


def _sync(line: Line, copy: Copy) -> tuple[int, Synced]:
    """How long the answer was, and what it said."""
    content = _ask(line, Command.FRIENDS, Sync(*copy).encode()).content
    return HEAD_BYTES + len(content), Synced.decode(content)


def _copy(answer: Synced) -> Copy:
    return answer.version, answer.root


def _unchanged(figures: Figures, servers: Servers, log: QueryLog, all_of_them: tuple[Sequence[Line], Sequence[Copy]], syncs: int) -> None:
    lines, copies = all_of_them
    log.begin()
    size, answer = _sync(lines[0], copies[0])
    figures.add("list unchanged, store queries of a sync", "queries", len(log.end()))
    if answer != Synced(*copies[0]):
        raise RuntimeError("a list that is unchanged was sent")
    figures.add("list unchanged, answer to a sync", "bytes", size)
    figures.add("list unchanged, question of a sync", "bytes", HEAD_BYTES + len(Sync(*copies[0]).encode()))
    start = _cpu(servers)
    for _ in range(syncs):
        for line, copy in zip(lines, copies, strict=True):
            _sync(line, copy)
    figures.add("list unchanged, center CPU per sync", "ms", round((_cpu(servers) - start) / (syncs * len(lines)) * 1e3, 3))


def _changed(figures: Figures, servers: Servers, log: QueryLog, all_of_them: tuple[Sequence[Line], list[Copy]], friend: Line) -> None:
    """A friend of all has a new signature; `copies` become those after it."""
    lines, copies = all_of_them
    _ask(friend, Command.SIGNATURE, SetProfile(signature="gone fishing, back on Monday").encode())
    for line in lines:
        line.await_command(Command.FRIEND_CHANGE)  # that the list is another, so what it cost is spent
    log.begin()
    size, answer = _sync(lines[0], copies[0])
    figures.add("one friend changed, store queries of a sync", "queries", len(log.end()))
    figures.add("one friend changed, answer to a sync", "bytes", size)
    start = _cpu(servers)
    answers = [answer, *(_sync(line, copy)[1] for line, copy in zip(lines[1:], copies[1:], strict=True))]
    took = _cpu(servers) - start
    figures.add("one friend changed, center CPU per sync", "ms", round(took / max(1, len(lines) - 1) * 1e3, 3))
    for one in answers:
        if [changed.user for changed in one.changed] != [friend.account.user] or one.removed or not one.has_changes:
            raise RuntimeError(f"{len(one.changed)} friends were sent where one changed")
    copies[:] = map(_copy, answers)
    friend.socket.close()


def _granted(servers: Servers, op: Literal["register", "login"]) -> Grant:
    granted = grant(servers.login_port, op, NAME)
    if granted is None:
        raise RuntimeError(f"{op}: refused")
    return granted


def _by_password(figures: Figures, servers: Servers, log: QueryLog, repeats: int) -> None:
    """What GRANT holds of the list, and what was asked for it."""
    first = _granted(servers, "login")  # finds the list never hashed, as no login after it does
    for _ in range(repeats):
        log.begin()
        start = _cpu(servers)
        granted = _granted(servers, "login")
        figures.add("login by password, center CPU", "ms", round((_cpu(servers) - start) * 1e3, 3))
        figures.add("list in a GRANT, unchanged, store queries", "queries", len(log.end()))
        if (granted.friends_version, granted.friends_hash) != (first.friends_version, first.friends_hash) or not first.friends_version:
            raise RuntimeError("a list changed of itself")
        part = pack_map({"friends_version": granted.friends_version, "friends_hash": granted.friends_hash})
        figures.add("list in a GRANT, unchanged, bytes", "bytes", len(part) - 1)
