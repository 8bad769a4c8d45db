"""What others sent, made safe to print: times of any zone. (Texts: test_console.)"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import pytest

from myim_client import GroupMessageArrived, MessageArrived
from myim_client.console_inbox import text_line
from myim_client.printable import local_time
from tests.client.scripted_center import ME, YOU

TIMES = [0, 1, 253_402_300_799_000_000, 253_402_300_799_999_999, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]


@contextlib.contextmanager
def in_zone(zone: str) -> Iterator[None]:
    before = os.environ.pop("TZ", None)
    os.environ["TZ"] = zone
    time.tzset()
    try:
        yield
    finally:
        del os.environ["TZ"]
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


@pytest.mark.parametrize("zone", ["UTC-14", "UTC+14", "UTC0", "Asia/Shanghai"])
@pytest.mark.parametrize("moment", TIMES)
def test_no_time_a_sender_gives_stops_the_reader_in_any_zone(zone: str, moment: int) -> None:
    with in_zone(zone):
        assert local_time(moment).year >= 1969
        line = text_line(MessageArrived(YOU, ME, "", b"poison", moment, 1, 1, 1, False), {YOU: "bob"}, {})
        post = GroupMessageArrived(9, 1, YOU, moment, moment, b"poison", False, 1, 1)
        assert text_line(post, {}, {9: ("#team", "team")}).endswith(f"#team @{YOU}: poison")
    assert line.endswith("bob: poison")


def test_a_time_is_told_in_the_readers_zone() -> None:
    with in_zone("UTC-14"):
        assert f"{local_time(1_000_000):%Y-%m-%d %H:%M:%S}" == "1970-01-01 14:00:01"
