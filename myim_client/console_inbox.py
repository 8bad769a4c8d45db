"""`myim inbox`: what waits for a user, printed for people or as JSON, each line before it is confirmed.

How one connects, options and exit codes are in `console`.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Callable

import click

from myim_client.client import Client
from myim_client.console_groups import GroupNames
from myim_client.errors import ClientClosed, LoginNeeded, NotConnected
from myim_client.events import (
    Disconnected,
    Event,
    GroupMessageArrived,
    GroupsDone,
    MessageArrived,
    MessageExpired,
    OfflineDone,
    PasswordNeeded,
    ReceiptArrived,
)
from myim_client.printable import local_time, printable

STORED_SECONDS = 15.0
GROUPS_SECONDS = 5.0  # a center whose database does not answer tells the groups later, and one of an earlier release never


Names = dict[int, str]
Called = dict[int, tuple[str, str | None]]  # group -> (how to show it, its name)


def print_inbox(client: Client, is_json: bool, wait: float, login_with: str) -> None:
    """Print all that is stored, of groups too, then what comes for `wait` seconds; `login_with`: the command that logs in again.

    Raises NotConnected, ClientClosed, LoginNeeded.
    """
    groups = GroupNames(client)
    left: set[type[Event]] = {OfflineDone, GroupsDone}
    end: float | None = None
    while end is None or time.monotonic() < end:
        events = client.take(_patience(left) if end is None else end - time.monotonic())
        if not events and end is None and OfflineDone in left:
            raise NotConnected("the center does not hand over what it stored")
        if not events:
            left.clear()
        _print(client, events, groups, json_line if is_json else text_line)
        for event in events:
            left.discard(type(event))
            if isinstance(event, Disconnected) and event.is_final:
                raise ClientClosed(event.reason)
            if isinstance(event, PasswordNeeded):
                raise LoginNeeded(f"{event.reason}\nTry: {login_with}")
        if end is None and not left:
            end = time.monotonic() + wait


def _patience(left: set[type[Event]]) -> float:
    return STORED_SECONDS if OfflineDone in left else GROUPS_SECONDS


def _print(client: Client, events: list[Event], groups: GroupNames, line_of: Callable[[Event, Names, Called], str]) -> None:
    posts = [event for event in events if isinstance(event, GroupMessageArrived)]
    client.learn_names(event.user for event in events if isinstance(event, MessageArrived | GroupMessageArrived))
    client.groups.learn(event.group for event in posts)
    names = {**client.names(), client.user: client.name}
    called = {group: (groups.label(group), groups.name(group)) for group in {event.group for event in posts}}
    lines = [line for event in events if (line := line_of(event, names, called))]
    if lines:
        click.echo("\n".join(lines))
        sys.stdout.flush()
    with client.transaction() as transaction:
        transaction.done(*events)


def json_line(event: Event, names: Names, called: Called) -> str:
    """An event for programs, one JSON object; "" for one that says nothing to them."""
    line: dict[str, object]
    if isinstance(event, ReceiptArrived):
        return json.dumps({"type": "receipt", "to": event.target, "time": event.time})
    if isinstance(event, MessageExpired):
        return json.dumps({"type": "expired", "to": event.target, "time": event.time})
    if isinstance(event, MessageArrived):
        line = {
            "type": "message", "from": event.user, "name": names.get(event.user), "to": event.target, "time": event.time,
            "entered": event.entered, "message_id": event.message_id, "qos": event.qos, "copy": event.is_copy,
        }  # fmt: skip
    elif isinstance(event, GroupMessageArrived):
        line = {
            "type": "group_message", "group": event.group, "group_name": called[event.group][1], "number": event.number,
            "from": event.user, "name": names.get(event.user), "time": event.time, "accepted": event.accepted,
            "entered": event.entered, "message_id": event.message_id, "own": event.is_own,
        }  # fmt: skip
    else:
        return ""
    try:
        line["text"] = event.body.decode()
    except UnicodeDecodeError:
        line["base64"] = base64.b64encode(event.body).decode()
    return json.dumps(line)


def text_line(event: Event, names: Names, called: Called) -> str:
    """An event for people; "" for one that says nothing to them."""
    if isinstance(event, MessageArrived):
        when, where = event.time, ""
    elif isinstance(event, GroupMessageArrived):
        when, where = event.accepted or event.time, called[event.group][0] + " "
    else:
        return ""
    who = printable(names.get(event.user, "")) or f"@{event.user}"
    return f"{local_time(when):%Y-%m-%d %H:%M:%S} {where}{who}: {printable(event.text, keep_lines=True)}"
