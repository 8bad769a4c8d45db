"""What is counted can be read, and the tables, the attributes and the text agree."""

import typing
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from prometheus_client.parser import text_string_to_metric_families

import myim_server
from myim_server.metrics import COUNTERS, LABELLED, Metrics


def values(metrics: Metrics) -> dict[tuple[str, str], float]:
    found = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            found[sample.name, ",".join(sample.labels.values())] = sample.value
    return found


def test_the_attributes_are_those_of_the_tables() -> None:
    declared = typing.get_type_hints(Metrics)
    assert [name for name, kind in declared.items() if kind is int] == list(COUNTERS)
    assert [name for name, kind in declared.items() if kind is not int] == list(LABELLED)


@pytest.mark.parametrize("name", [*COUNTERS, *LABELLED, "hub_stall_seconds", "batch_rows"])
def test_whatever_is_shown_is_counted_somewhere_in_the_server(name: str) -> None:
    sources = [path.read_text() for path in Path(myim_server.__file__).parent.rglob("*.py") if path.name != "metrics.py"]
    assert any(f"metrics.{name}" in source for source in sources)


def test_every_counter_is_shown_and_starts_at_nought() -> None:
    shown = values(Metrics())
    assert {name: shown[f"myim_{name}_total", ""] for name in COUNTERS} == dict.fromkeys(COUNTERS, 0)


def test_increments_are_shown_with_their_code() -> None:
    metrics = Metrics()
    metrics.messages_accepted += 64
    metrics.refused["SLOW_DOWN"] += 2
    metrics.refused["BAD_TIME"] += 1
    metrics.batch_rows.observe(64)
    shown = values(metrics)
    assert shown["myim_messages_accepted_total", ""] == 64
    assert (shown["myim_refused_total", "SLOW_DOWN"], shown["myim_refused_total", "BAD_TIME"]) == (2, 1)
    assert (shown["myim_batch_rows_count", ""], shown["myim_batch_rows_sum", ""]) == (1, 64)


def test_a_gauge_is_asked_at_each_scrape_and_its_name_is_taken_once() -> None:
    metrics, sessions = Metrics(), [1]
    metrics.watch("sessions", "live sessions", lambda: len(sessions))
    sessions.append(2)
    assert values(metrics)["myim_sessions", ""] == 2
    for name in ("sessions", "messages_accepted", "refused"):
        with pytest.raises(ValueError, match="there is a metric"):
            metrics.watch(name, "again", lambda: 0)


def test_two_nodes_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.logins += 1
    assert values(second)["myim_logins_total", ""] == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/metrics", "200 OK"),
        ("GET", "/health", "200 OK"),
        ("GET", "/", "404 Not Found"),
        ("POST", "/metrics", "404 Not Found"),
        ("GET", "/../metrics", "404 Not Found"),
    ],
)
def test_only_the_two_pages_are_served(method: str, path: str, status: str) -> None:
    told: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]], *rest: object) -> typing.Callable[[bytes], object]:
        told.append(status)
        return lambda data: None

    environ: WSGIEnvironment = {"REQUEST_METHOD": method, "PATH_INFO": path}
    body = b"".join(Metrics().application(environ, typing.cast(StartResponse, start_response)))
    assert told == [status]
    assert bool(body) == status.startswith("200")
