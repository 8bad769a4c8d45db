"""What a node counts, and how Prometheus reads it.

Counters on the message path are plain integers: `metrics.messages_accepted += count`, once per batch, costs nothing measurable, where a
client library's counter takes a lock each time. They become Prometheus families only when somebody scrapes. Gauges are functions asked at
that moment. Not here: the socket that serves it (`node`), and any decision.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

PREFIX = "myim_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SHORT_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)

# Attribute → what it counts; each is exposed as myim_<attribute>_total.
COUNTERS: dict[str, str] = {
    "messages_accepted": "QoS 1 user messages taken from senders, resends of known ones not counted",
    "settled_received": "messages settled as received by the target's application",
    "settled_stored": "messages settled as stored for the target",
    "qos0_accepted": "QoS 0 user messages taken from senders",
    "qos0_dropped": "QoS 0 user messages that were neither sent nor stored",
    "offline_delivered": "stored messages handed to sessions",
    "receipts_confirmed": "messages confirmed by their target's terminal",
    "receipts_ignored": "confirmed names that had not been handed to the session",
    "replies_ignored": "replies from terminals to nothing that was asked",
    "sweeps": "comparisons of live users with the store",
    "connections": "connections accepted, by either door",
    "sessions_opened": "sessions that began",
    "sessions_replaced": "sessions that made room for a newer one, of the same terminal or of a user with too many",
    "group_posts": "QoS 1 group messages that were given a number, resends of known ones not counted",
    "group_confirmations": "confirmations of group messages that moved a member's cursor",
    "group_fetched": "stored group messages handed to sessions that fetched them",
    "group_offers": "groups whose members here were told that something was posted, because no push of it came",
    "group_rows_purged": "group messages removed because every member has them, or because they expired",
    "group_bytes_purged": "bytes of bodies of these",
    "friend_changes": "changes of friends, requests, blocks and friend groups that terminals asked for",
    "friend_pushes": "pushes about friends that were sent to sessions",
    "messages_expired": "stored user messages that were removed because their target did not come in time",
    "rekeys": "keys renewed within a session",
    "logins": "logins that got a token",
    "registrations": "accounts made",
    "passwords_changed": "passwords changed by their owners",
    "accounts_deleted": "accounts deleted by their owners",
    "terminals_revoked": "terminals that their owners logged out",
    "terminals_warned_of": "warnings of a new terminal that were sent to sessions of its user",
    "exports": "exports of all that is kept of a user that were begun",
    "tokens_renewed": "tokens renewed at this center",
    "mesh_bounced": "messages that a link to another center did not take, and that went through the store instead",
    "claims_refused": "messages refused because the center that sent them does not hold their sender's session",
    "peer_faults": "messages of other centers or endpoints that cannot be; each ended its link",
    "store_failures": "rounds of this node (polls, sweeps, purges) that the store failed",
    "log_lines_dropped": "log lines not written, by rate limit or because nobody took them",
}

# Attribute → (label, what it counts).
LABELLED: dict[str, tuple[str, str]] = {
    "refused": ("code", "requests refused, by code"),
    "sessions_closed": ("code", "sessions this server closed, by code"),
    "handshakes_failed": ("code", "handshakes that gave no session or login, by code"),
    "bad_input": ("code", "input that the protocol forbids, by code"),
    "directory": ("event", "what the shared directory left unanswered, failed at, ignored, mended or was rebuilt for"),
}


class Metrics:
    """All counts of one node; nothing global, so two nodes may live in one process.

    Plain counters are `int` attributes named as in COUNTERS; labelled ones are `Counter` attributes named as in LABELLED, with the code's
    name as key: `metrics.refused["SLOW_DOWN"] += 1`. Histograms take seconds or sizes by `.observe()`. Safe from any greenlet.
    """

    # Declared one by one for the type checker; a test holds them equal to the tables above.
    messages_accepted: int
    settled_received: int
    settled_stored: int
    qos0_accepted: int
    qos0_dropped: int
    offline_delivered: int
    receipts_confirmed: int
    receipts_ignored: int
    replies_ignored: int
    sweeps: int
    connections: int
    sessions_opened: int
    sessions_replaced: int
    group_posts: int
    group_confirmations: int
    group_fetched: int
    group_offers: int
    group_rows_purged: int
    group_bytes_purged: int
    friend_changes: int
    friend_pushes: int
    messages_expired: int
    rekeys: int
    logins: int
    registrations: int
    passwords_changed: int
    accounts_deleted: int
    terminals_revoked: int
    terminals_warned_of: int
    exports: int
    tokens_renewed: int
    mesh_bounced: int
    claims_refused: int
    peer_faults: int
    store_failures: int
    log_lines_dropped: int
    refused: Counter[str]
    sessions_closed: Counter[str]
    handshakes_failed: Counter[str]
    bad_input: Counter[str]
    directory: Counter[str]

    def __init__(self) -> None:
        for name in COUNTERS:
            setattr(self, name, 0)
        for name in LABELLED:
            setattr(self, name, Counter())
        self.registry = CollectorRegistry()
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self.hub_stall_seconds = self._histogram("hub_stall_seconds", "how late the hub's own timer was", SHORT_SECONDS)
        self.batch_rows = self._histogram("batch_rows", "rows committed together", BATCH_SIZES)
        self.registry.register(_Collector(self))

    def watch(self, name: str, what: str, read: Callable[[], float]) -> None:
        """Adds the gauge `myim_<name>`, read at each scrape. Raises ValueError for a name taken by another gauge or counter."""
        if name in self._gauges or name in COUNTERS or name in LABELLED:
            raise ValueError(f"there is a metric {name} already")
        self._gauges[name] = (what, read)

    def text(self) -> bytes:
        """Everything in Prometheus' text format 0.0.4."""
        return generate_latest(self.registry)

    def application(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """A WSGI application: GET /metrics is the text, GET /health says ok, all else is 404."""
        path, method = environ.get("PATH_INFO"), environ.get("REQUEST_METHOD")
        bodies: dict[object, Callable[[], bytes]] = {"/metrics": self.text, "/health": lambda: b"ok\n"}
        if method != "GET" or path not in bodies:
            start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
            return [b""]
        body = bodies[path]()
        start_response("200 OK", [("Content-Type", CONTENT_TYPE), ("Content-Length", str(len(body)))])
        return [body]

    def gauges(self) -> Iterator[tuple[str, str, float]]:
        """(name, what, value) of each gauge now."""
        for name, (what, read) in self._gauges.items():
            yield name, what, float(read())

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(PREFIX + name, what, buckets=buckets, registry=self.registry)


class _Collector(Collector):
    """Turns the plain numbers into families, at the scrape."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        for name, what in COUNTERS.items():
            yield CounterMetricFamily(PREFIX + name, what, value=getattr(self._metrics, name))
        for name, (label, what) in LABELLED.items():
            family = CounterMetricFamily(PREFIX + name, what, labels=(label,))
            for value, count in sorted(getattr(self._metrics, name).items()):
                family.add_metric((value,), count)
            yield family
        for name, what, value in self._metrics.gauges():
            yield GaugeMetricFamily(PREFIX + name, what, value=value)
