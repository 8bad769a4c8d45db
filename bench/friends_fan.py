"""A user's presence changes, and all of its friends, who are online, are told: on one center, and spread over two.

What lives here: that load and its figures. What must not: servers (`groups_servers`), terminals (`friends_crowd`). A friend that is not
told, or is told twice, ends the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.befriending import friendships
from bench.figures import Figures
from bench.friends_crowd import Crowd, Terminal
from bench.friends_options import Options
from bench.groups_servers import Servers, serving
from bench.processes import run_seconds
from myim_wire.presence_contents import ONLINE_STATES

SPEAKERS = 10
WINDOW_SECONDS = 0.5  # longer than a change takes to be heard; of who changes more often than in two of them not each change is told
WARM = 3


def measure_fan(figures: Figures, directory: Path, options: Options) -> None:
    """One user that changes, and ten with the same friends who do so at once."""
    for centers in (1, 2):
        with serving(directory / f"fan-{centers}", "mariadb", centers, options.friends + SPEAKERS, options) as servers:
            speakers, friends = servers.take(SPEAKERS), servers.take(options.friends)
            servers.tables.run(friendships([(speaker.user, friend.user) for speaker in speakers for friend in friends]))
            crowd = Crowd()
            hearers: list[Terminal] = []
            for number, address in enumerate(servers.addresses):
                hearers += crowd.open(address, friends[number :: len(servers.addresses)])
            talking = crowd.open(servers.addresses[0], speakers)
            _meet(crowd, hearers, talking)
            name = f"{centers} center{'s' * (centers > 1)}, center CPU per notification"
            for number in range(WARM):
                _say(crowd, hearers, talking, f"warm {number}", number)
            for repeat in range(options.repeats):
                _change(figures, f"presence change, {name}", servers, (crowd, hearers, talking[:1]), (options.changes, repeat))
                _change(figures, f"{SPEAKERS} changes at once, {name}", servers, (crowd, hearers, talking), (options.changes, repeat))
            crowd.close()


def _meet(crowd: Crowd, hearers: Sequence[Terminal], speakers: Sequence[Terminal]) -> None:
    """Until all know that all are there."""
    crowd.until(lambda: all(len(one.seen) == len(speakers) for one in hearers), "those who came")
    crowd.until(lambda: all(len(one.seen) == len(hearers) for one in speakers), "those who were there")


def _cpu(servers: Servers) -> float:
    return sum(map(run_seconds, servers.centers))


def _change(
    figures: Figures, name: str, servers: Servers, who: tuple[Crowd, Sequence[Terminal], Sequence[Terminal]], how: tuple[int, int]
) -> None:
    """Each change has a window of time of its own, and before it one of the same length without any.

    What a center uses when idle is as much as what is measured, and other from one second to the next: only neighbours tell.
    """
    crowd, hearers, speakers = who
    changes, repeat = how
    heard, pushes = sum(one.changes for one in hearers), sum(one.pushes for one in hearers)
    took: list[float] = []
    idle = busy = 0.0
    for number in range(changes):
        cpu = _cpu(servers)
        crowd.run(WINDOW_SECONDS)
        idle, begun, cpu = idle + _cpu(servers) - cpu, time.perf_counter(), _cpu(servers)
        _say(crowd, hearers, speakers, f"{name[:10]} {repeat}.{number}", number)
        took.append(time.perf_counter() - begun)
        crowd.run(WINDOW_SECONDS - took[-1])
        busy += _cpu(servers) - cpu
    heard = sum(one.changes for one in hearers) - heard
    if heard != changes * len(hearers) * len(speakers):
        raise RuntimeError(f"{heard} of {changes * len(hearers) * len(speakers)} notifications were given")
    figures.add(name, "µs", round((busy - idle) / heard * 1e6, 2))
    figures.add(name.replace("CPU per notification", "CPU when idle"), "ms/s of time", round(idle / changes / WINDOW_SECONDS * 1e3, 2))
    figures.add(name.replace("center CPU per notification", "notifications"), "notifications", heard)
    figures.add(name.replace("center CPU per notification", "pushes"), "pushes", sum(one.pushes for one in hearers) - pushes)
    figures.add(name.replace("center CPU per notification", "until all have heard"), "ms", round(sorted(took)[len(took) // 2] * 1e3, 1))


def _say(crowd: Crowd, hearers: Sequence[Terminal], speakers: Sequence[Terminal], text: str, number: int) -> None:
    """All speakers change, and all hearers hear it."""
    for speaker in speakers:
        speaker.say(ONLINE_STATES[number % len(ONLINE_STATES)], text)
    crowd.until(_all_heard(hearers, speakers, text), "a change")


def _all_heard(hearers: Sequence[Terminal], speakers: Sequence[Terminal], text: str) -> Callable[[], bool]:
    users = [speaker.line.account.user for speaker in speakers]
    return lambda: all(hearer.seen.get(user) == text for hearer in hearers for user in users)
