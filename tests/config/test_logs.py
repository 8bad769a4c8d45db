"""Log lines: what they look like, what never gets into them, and that writing them cannot hurt (reliability row 121)."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from myim_server.logs import BURST_LINES, configure_logs


class Clock:
    """Monotonic seconds that move by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Lines:
    """Logs into a pipe of its own and reads back what came out."""

    def __init__(self, form: str, level: str = "info") -> None:
        self.drops = 0
        self.clock = Clock()
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        # As files, because gevent's os.close waits for its loop.
        self._reading, self.writing = open(reading, "rb", 0), open(writing, "wb", 0)  # noqa: SIM115
        configure_logs(level, form, self._count, writing, self.clock, lambda: 1_700_000_000.5)  # type: ignore[arg-type]
        self.log = structlog.get_logger()

    def _count(self) -> None:
        self.drops += 1

    def read(self) -> list[str]:
        found = b""
        while part := self._reading.read(65536):
            found += part
        return found.decode().splitlines()

    def close_reader(self) -> None:
        self._reading.close()

    def close(self) -> None:
        self._reading.close()
        self.writing.close()


@pytest.fixture
def text() -> Iterator[Lines]:
    lines = Lines("text")
    yield lines
    lines.close()
    structlog.reset_defaults()


@pytest.fixture
def machine() -> Iterator[Lines]:
    lines = Lines("json")
    yield lines
    lines.close()
    structlog.reset_defaults()


def test_a_text_line_is_time_level_event_and_fields(text: Lines) -> None:
    text.log.info("session_opened", connection=7, user=5, address="::1")
    assert text.read() == ["2023-11-14T22:13:20.500Z info    session_opened connection=7 user=5 address=::1"]


def test_a_json_line_is_one_object(machine: Lines) -> None:
    machine.log.warning("store_slow", seconds=1.5, name="李 雷")
    assert [json.loads(line) for line in machine.read()] == [
        {"time": "2023-11-14T22:13:20.500Z", "level": "warning", "event": "store_slow", "seconds": 1.5, "name": "李 雷"}
    ]


def test_levels_below_the_configured_are_left_out(text: Lines) -> None:
    text.log.debug("noise")
    assert (text.read(), text.drops) == ([], 0)


@pytest.mark.parametrize("field", ["password", "token", "session_key", "cluster_secret", "body", "content", "credentials", "private"])
@pytest.mark.parametrize("value", ["hunter2", b"hunter2", ["hunter2"], {"a": "hunter2"}])
def test_a_field_with_a_secrets_name_prints_stars(text: Lines, machine: Lines, field: str, value: object) -> None:
    machine.log.info("login", **{field: value})
    line = machine.read()[0]
    assert "hunter2" not in line
    assert json.loads(line)[field] == "***"


def test_bytes_print_as_their_length(text: Lines) -> None:
    text.log.info("frame", data=b"hunter2", view=memoryview(b"abc"))
    assert text.read()[0].endswith('frame data="<7 bytes>" view="<3 bytes>"')


def test_a_list_prints_its_items(text: Lines) -> None:
    text.log.info("node_started", roles=["login", "center"], ports=(1, 2), odd=["a b", "c"], none=[])
    assert text.read()[0].endswith('node_started roles=login,center ports=1,2 odd="a b,c" none=""')


def test_a_list_stays_a_list_for_machines(text: Lines, machine: Lines) -> None:
    machine.log.info("node_started", roles=["login", "center"], ports=(1, 2))
    line = json.loads(machine.read()[0])
    assert (line["roles"], line["ports"]) == (["login", "center"], [1, 2])


def test_nothing_is_printed_of_what_lies_in_a_list(text: Lines) -> None:
    text.log.info("odd", several=[b"hunter2", {"a": "hunter2"}, ["hunter2"]], mapped={"a": b"hunter2"})
    assert "hunter2" not in text.read()[0]


@pytest.mark.parametrize("value", ["a\nb", "a\r\nfake event=1", "\x1b[31m", "\u202egnp", "\u2028", 'a"b', "a b", "", "\x00"])
def test_a_value_cannot_forge_a_line_or_touch_the_terminal(text: Lines, value: str) -> None:
    text.log.info("odd", value=value)
    lines = text.read()
    assert len(lines) == 1
    assert lines[0].isprintable()
    assert json.loads(lines[0].partition("value=")[2]) == value


def test_a_long_value_is_cut(text: Lines) -> None:
    text.log.info("long", value="x" * 100_000)
    assert len(text.read()[0]) < 400


def test_an_exception_is_one_line_with_its_place_and_without_what_a_user_sent(text: Lines) -> None:
    for error in (ValueError("hunter2"), KeyError("hunter2"), OSError(5, "disk")):
        try:
            raise error
        except Exception:
            text.log.exception("went_wrong", connection=3)
    lines = text.read()
    assert len(lines) == 3
    assert not [line for line in lines if "hunter2" in line]
    assert "ValueError at test_logs.py:" in lines[0]
    assert "OSError: [Errno 5] disk at test_logs.py:" in lines[2]


def test_a_flood_of_one_event_is_thinned_and_told_and_others_are_not_touched(text: Lines) -> None:
    for number in range(1000):
        text.log.info("flood", number=number)
    text.log.info("other")
    assert len(text.read()) == BURST_LINES + 1
    assert text.drops == 1000 - BURST_LINES
    text.clock.now += 1
    text.log.info("flood")
    text.log.info("flood")
    assert [line.partition("flood ")[2] for line in text.read()] == [f"suppressed={1000 - BURST_LINES}"]


def test_event_names_without_end_take_no_memory_without_end(text: Lines) -> None:
    for number in range(3000):
        text.log.info(f"event_{number}")
        text.read()
    limit = structlog.get_config()["processors"][1]
    assert len(limit._events) <= 1000


def test_a_closed_reader_costs_lines_not_the_node(text: Lines) -> None:
    text.close_reader()
    text.log.info("one")
    text.log.info("two")
    assert text.drops == 2


def test_a_closed_output_costs_lines_not_the_node(text: Lines) -> None:
    text.writing.close()
    text.log.info("one")
    assert text.drops == 1


def test_a_reader_that_does_not_read_costs_lines_not_time(text: Lines) -> None:
    for number in range(5000):
        text.log.info(f"event_{number}", filler="x" * 250)
    written = 5000 - text.drops
    lines = text.read()
    assert 0 < written < 5000
    assert len(lines) == written
    assert all(line.endswith("xxx") for line in lines)


def test_a_full_disk_costs_lines_not_the_node() -> None:
    drops: list[int] = []
    with open("/dev/full", "wb") as full:
        configure_logs("info", "text", lambda: drops.append(1), full.fileno())
        structlog.get_logger().info("one")
        structlog.get_logger().info("two")
    structlog.reset_defaults()
    assert len(drops) == 2


def test_a_process_whose_output_is_gone_runs_on(tmp_path: Path) -> None:
    program = """
import sys, structlog
from myim_server.logs import configure_logs
drops = []
configure_logs("info", "text", lambda: drops.append(1))
structlog.get_logger().info("one")
sys.stderr.write(f"dropped {len(drops)}")
"""
    closed = subprocess.run(
        [sys.executable, "-c", program], stdout=None, stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1), check=True
    )
    assert closed.stderr == b"dropped 1"
