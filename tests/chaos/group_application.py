"""One application process of a chaos run of groups: a share of the users, each an SDK client that posts, listens, joins and leaves.

What lives here: who does what when. What must not: what one user does and remembers (group_member), judging, killing. It may be killed at
any instruction and is started again on its files. Files in the run's directory are those of `application`, and `group-N.json`: the id of
a group, written by the process of its founder.
"""

from gevent import monkey

monkey.patch_all()

import contextlib  # noqa: E402
import json  # noqa: E402
import math  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from collections import Counter  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from random import Random  # noqa: E402

import gevent  # noqa: E402

from myim_client import MyimError  # noqa: E402
from tests.chaos.group_history import Kind  # noqa: E402
from tests.chaos.group_member import MOST_UNSETTLED, Member  # noqa: E402
from tests.chaos.group_plan import Circle, Society  # noqa: E402
from tests.chaos.presence import Settings, blink, come_in, wander  # noqa: E402

LARGEST_PIECE, PIECE_SECONDS = 8, 0.01
LOOK_SECONDS = 0.1
ABRUPT, REMOVALS, FOR_GOOD = 0.3, 0.3, 0.2
OUT_SECONDS = 0.3


def group_file(directory: Path, number: int) -> Path:
    """Where the id of a group is told."""
    return directory / f"group-{number}.json"


def found(settings: Settings, members: Sequence[Member], circles: Sequence[Circle]) -> None:
    """Make the groups whose founders are here, and wait until all are there."""
    mine = {member.place: member for member in members}
    for circle in circles:
        path = group_file(settings.directory, circle.number)
        if circle.owner in mine and not path.exists():
            group = mine[circle.owner].found(circle)
            draft = path.with_suffix(".draft")
            draft.write_text(json.dumps(group))
            os.replace(draft, path)
    for circle in circles:
        path = group_file(settings.directory, circle.number)
        while not path.exists():
            gevent.sleep(LOOK_SECONDS)
        group = json.loads(path.read_text())
        for member in members:
            if member.place in circle.places:
                member.groups[circle.number] = group


def talk(member: Member, random: Random) -> None:
    """Post at its part of the run's rate, in bursts to one group that go out in pieces."""
    seconds_each = len(member.everybody) / member.settings.rate
    largest = min(MOST_UNSETTLED, max(1, member.quota // 3))
    gevent.sleep(random.uniform(0, seconds_each))
    while True:
        circles, left = member.postable(), member.left_to_post
        if left <= 0 or not circles:
            gevent.sleep(LOOK_SECONDS)  # what is refused is posted anew
            continue
        group = member.groups[random.choices(circles, [circle.weight for circle in circles])[0].number]
        burst = due = min(left, round(math.exp(random.uniform(0, math.log(largest)))))
        while due > 0 and group not in member.quiet:
            piece = min(due, random.randint(1, LARGEST_PIECE))
            due -= piece
            with contextlib.suppress(MyimError):  # went offline meanwhile
                member.post_some(group, piece)
            gevent.sleep(PIECE_SECONDS)
        gevent.sleep(random.uniform(0.5, 1.5) * seconds_each * (burst - due))


def listen(member: Member) -> None:
    """Take events as they come, for ever."""
    while True:
        try:
            member.listen_once()
        except MyimError:
            gevent.sleep(0.05)


def move(member: Member, calm: Path, random: Random) -> None:
    """Join all groups, then leave one and join it again, again and again; a founder takes others off the list instead."""
    pause = member.settings.more["churn_seconds"] * len(member.everybody)
    circles = list(member.circles)
    random.shuffle(circles)
    for circle in circles:
        group = member.groups[circle.number]
        if member.standing.get(group) is Kind.LEAVING:
            member.leave(group, True)
        if member.standing.get(group) is not Kind.JOINED:
            member.join(group)
    while True:
        until = random.expovariate(1 / pause)
        while until > 0 and not member.doubted:
            gevent.sleep(min(until, LOOK_SECONDS))
            until -= LOOK_SECONDS
        for group in list(member.doubted):
            member.make_sure(group)
            if member.standing.get(group) is Kind.LEFT:
                member.join(group)
        if member.left_to_post > 0 and not member.postable():
            member.join(member.groups[random.choice(circles).number])
        elif not calm.exists():
            _move_once(member, random.choice(circles), random)


def _move_once(member: Member, circle: Circle, random: Random) -> None:
    group = member.groups[circle.number]
    if circle.owner == member.place:
        if random.random() < REMOVALS:
            member.remove(group, member.everybody[random.choice(circle.places[1:])])
        return
    if member.standing.get(group) is Kind.JOINED:
        member.leave(group, random.random() < ABRUPT)
    gevent.sleep(random.expovariate(1 / OUT_SECONDS))
    if member.left_to_post > 0 or random.random() > FOR_GOOD:
        member.join(group)


def tell_progress(settings: Settings, members: Sequence[Member]) -> None:
    """Say how far the members are."""
    counts: Counter[str] = sum((member.counts for member in members), Counter())
    settings.tell(
        {
            "attempted": counts[Kind.ATTEMPT] - counts[Kind.REFUSED],
            "settled": counts[Kind.SETTLED],
            "shown": counts[Kind.SHOWN],
            "joined": counts[Kind.JOINED],
            "online": [member.user for member in members if member.client is not None and member.client.is_online],
            "resent": sum(member.resent + (member.client.resent if member.client else 0) for member in members),
            "repeated": sum(member.echo.repeated for member in members),
        }
    )


def main() -> None:
    """Live until `end` appears, then write the histories."""
    settings = Settings.read(Path(sys.argv[1]))
    rows = settings.rows()
    everybody = [row["user"] for row in rows]
    random = Random()
    circles = Society(**settings.more["society"]).circles(len(rows), settings.seed)
    members = [
        Member(settings, place, rows[place], everybody, circles=[circle for circle in circles if place in circle.places])
        for place in settings.places(len(rows))
    ]
    for member in members:
        member.prepare()
    come_in(members, random)
    for member in members:
        gevent.spawn(listen, member)
    still, calm = settings.directory / "still", settings.directory / "calm"
    restless = [gevent.spawn(unrest, members, still, calm, random) for unrest in (wander, blink)]
    founding = gevent.spawn(found, settings, members, circles)
    is_begun = False
    while not (settings.directory / "end").exists():
        if not is_begun and founding.ready():
            founding.get()
            is_begun = True
            for member in members:
                gevent.spawn(talk, member, random)
                gevent.spawn(move, member, calm, random)
        tell_progress(settings, members)
        gevent.sleep(LOOK_SECONDS)
    gevent.joinall(restless, raise_error=True)
    for member in members:
        member.go()
    tell_progress(settings, members)
    for member in members:
        member.export()
    os._exit(0)  # the histories are on disk, and greenlets that wait have nothing more to say


if __name__ == "__main__":
    main()
