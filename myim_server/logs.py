"""Log lines: an event name and fields, for people or for machines, never at the node's expense.

Everybody logs by `structlog.get_logger().info("session_opened", connection=…, user=…)`; here is decided what becomes of it. Secrets and
bodies cannot get out by mistake: fields of such names print as ***, bytes as their length. A flood of one event is thinned, and a standard
output that is closed, full or not being read costs lines (counted), never the node a stall. Not here: what is worth logging.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, cast

import structlog
from gevent.monkey import get_original

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
# A pipe with room takes so many bytes in one piece, or says beforehand that it would not.
MAX_LINE_BYTES = 4096
MAX_VALUE_CHARACTERS = 300
MAX_LIST_ITEMS = 20
MAX_EVENT_NAMES = 1000
BURST_LINES = 10
LINES_PER_SECOND = 1.0
SECRET_WORDS = ("password", "token", "secret", "key", "body", "content", "credential", "private")
# Their texts are written by code; those of others (KeyError, a database's) may quote what a user sent.
TELLING_EXCEPTIONS = (OSError, RuntimeError, TypeError, AttributeError, NameError, AssertionError, ImportError)

EventFields = MutableMapping[str, Any]
Drop = Callable[[], None]
POLLOUT, POLLERR, POLLHUP = 4, 8, 16


class LineWriter:
    """Writes whole lines to a file descriptor, or drops them; never blocks on a pipe, never raises."""

    def __init__(self, descriptor: int, on_drop: Drop) -> None:
        self._descriptor = descriptor
        self._on_drop = on_drop
        self._is_line_open = False
        # gevent's own poll would switch to another greenlet in the middle of whatever is being logged.
        self._poll = get_original("select", "poll")()
        self._poll.register(descriptor, POLLOUT)

    def write(self, line: str) -> None:
        """Writes the line and its end, cut to 4,096 bytes."""
        data = line.encode("utf-8", "replace")[: MAX_LINE_BYTES - 2] + b"\n"
        if self._is_line_open:
            data = b"\n" + data
        try:
            if not any(events & (POLLOUT | POLLERR | POLLHUP) for _, events in self._poll.poll(0)):
                raise BlockingIOError
            written = os.write(self._descriptor, data)
        except OSError:
            self._on_drop()
            return
        self._is_line_open = written < len(data)
        if self._is_line_open:
            self._on_drop()


class RateLimit:
    """Thins the lines of one event name: ten at once, then one a second; the next line tells how many were left out."""

    def __init__(self, now: Callable[[], float], on_drop: Drop) -> None:
        self._now = now
        self._on_drop = on_drop
        self._events: dict[str, tuple[float, float, int]] = {}

    def __call__(self, logger: object, method: str, fields: EventFields) -> EventFields:
        """A structlog processor: adds `suppressed`, or raises structlog.DropEvent."""
        name, now = str(fields.get("event"))[:MAX_VALUE_CHARACTERS], self._now()
        if name not in self._events and len(self._events) >= MAX_EVENT_NAMES:
            self._events.clear()
        allowance, since, suppressed = self._events.get(name, (float(BURST_LINES), now, 0))
        allowance = min(BURST_LINES, allowance + (now - since) * LINES_PER_SECOND)
        if allowance < 1:
            self._events[name] = (allowance, now, suppressed + 1)
            self._on_drop()
            raise structlog.DropEvent
        self._events[name] = (allowance - 1, now, 0)
        if suppressed:
            fields["suppressed"] = suppressed
        return fields


class _LineLogger:
    """What structlog calls at the end of the chain, whatever the level's name."""

    def __init__(self, writer: LineWriter) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = writer.write
        self.exception = self.msg = self.log = self.warn = self.fatal = writer.write


def configure_logs(
    level: Literal["debug", "info", "warning", "error"],
    form: Literal["text", "json"],
    on_drop: Drop,
    descriptor: int = 1,
    now: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
) -> None:
    """Sends everything logged through structlog in this process to `descriptor`, from `level` up.

    `on_drop` is called for each line that is not written. `now` is monotonic seconds, `wall` seconds since 1970 (only printed).
    """
    writer = LineWriter(descriptor, on_drop)

    def stamp(logger: object, method: str, fields: EventFields) -> EventFields:
        moment = datetime.fromtimestamp(wall(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"time": moment, "level": method, "event": fields.pop("event", ""), **fields}

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            RateLimit(now, on_drop),
            name_exception,
            hide_secrets,
            stamp,
            render_json if form == "json" else render_text,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _LineLogger(writer),
        cache_logger_on_first_use=False,
    )


def name_exception(logger: object, method: str, fields: EventFields) -> EventFields:
    """Turns `exc_info` into `exception`: the type, its text where that cannot quote a user, and where it was raised."""
    given = fields.pop("exc_info", None)
    if isinstance(given, BaseException):
        error: BaseException | None = given
    elif isinstance(given, tuple):
        error = cast("tuple[type[BaseException], BaseException, TracebackType]", given)[1]
    else:
        error = sys.exception() if given else None
    if error is not None:
        frames = [f"{os.path.basename(frame.filename)}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-12:]]
        text = f": {error}" if isinstance(error, TELLING_EXCEPTIONS) else ""
        fields["exception"] = f"{type(error).__name__}{text} at {' < '.join(reversed(frames))}"
    return fields


def hide_secrets(logger: object, method: str, fields: EventFields) -> EventFields:
    """Replaces what must not be printed: fields with a secret's name, bytes, objects; cuts long texts."""
    for name, value in fields.items():
        if name == "event":
            continue
        if any(word in name for word in SECRET_WORDS) and not isinstance(value, (bool, int, float, type(None))):
            fields[name] = "***"
        elif isinstance(value, (list, tuple)):
            fields[name] = [_shown(item, MAX_VALUE_CHARACTERS) for item in value[:MAX_LIST_ITEMS]]
        else:
            fields[name] = _shown(value, MAX_VALUE_CHARACTERS * (4 if name == "exception" else 1))
    return fields


def _shown(value: object, most: int) -> bool | int | float | str | None:
    if isinstance(value, (bool, int, float, type(None))):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    if isinstance(value, (list, tuple, dict, set, frozenset)):  # what lies in it would be printed unseen
        return f"<{len(value)} items>"
    return str(value)[:most]


def render_json(logger: object, method: str, fields: EventFields) -> str:
    """One JSON object."""
    return json.dumps(fields, ensure_ascii=False, default=str)


def render_text(logger: object, method: str, fields: EventFields) -> str:
    """`time level event name=value …`, values quoted where they hold more than plain characters, those of a list parted by commas."""
    head = f"{fields.pop('time', '')} {fields.pop('level', ''):<7} {_plain(fields.pop('event', ''))}"
    return " ".join([head, *(f"{name}={_plain(value)}" for name, value in fields.items())])


def _plain(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    is_plain = text and text.isprintable() and not any(character in ' "=\\' for character in text)
    return text if is_plain else json.dumps(text)
