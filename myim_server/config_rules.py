"""The rules between values of the configuration: which must fit together, and why.

Here lives one table, in the words an operator is told. Not here: what one value may be by itself (`config_sections`), and where it came
from (`config`). Nothing is opened or bound to decide a rule.
"""

from collections.abc import Callable
from dataclasses import dataclass

from myim_server.config_sections import Address, Config

# One message with its head and trailer, as large as [P-3.5] lets it be.
LARGEST_MESSAGE_BYTES = 32_768 + 128
LARGEST_FRAME_BYTES = 65_536 + 4
LAST_PORT = 65_535


@dataclass(frozen=True)
class Rule:
    """Values that must fit together: the keys concerned, the condition, and why."""

    keys: tuple[str, ...]
    holds: Callable[[Config], bool]
    why: str


def _can_be_dialled(told: Address | None) -> bool:
    return told is None or (told.port != 0 and not told.is_wildcard)


MOVING_PORT = "port 0 would be another port at each start, and terminals could not find it (node.allow_any_port allows it for tests)"


def _is_steady(c: Config, listen: Address | None) -> bool:
    return listen is None or listen.port != 0 or c.node.allow_any_port


def _is_endpoint(c: Config) -> bool:
    return "endpoint" in c.node.roles


def _own_doors(c: Config) -> list[Address]:
    """Where the roles of this node listen for terminals."""
    if _is_endpoint(c):
        return [c.endpoint.listen, c.endpoint.login_listen]
    return [door.listen for role, door in (("login", c.login), ("center", c.center)) if role in c.node.roles]


def _is_one_of_many(c: Config) -> bool:
    """Whether the store has other centers than this process."""
    return bool(c.links.peers) or c.directory.kind == "hazelcast" or c.node.workers > 1


RULES: tuple[Rule, ...] = (
    Rule(
        ("login.listen", "center.listen"),
        lambda c: set(c.node.roles) < {"login", "center"} or c.login.listen.port == 0 or c.login.listen != c.center.listen,
        "login and center cannot listen at the same address",
    ),
    Rule(("login.listen",), lambda c: _is_steady(c, c.login.listen), MOVING_PORT),
    Rule(("center.listen",), lambda c: _is_steady(c, c.center.listen), MOVING_PORT),
    Rule(("login.advertise",), lambda c: _can_be_dialled(c.login.advertise), "terminals could not dial it"),
    Rule(("center.advertise",), lambda c: _can_be_dialled(c.center.advertise), "terminals could not dial it"),
    Rule(
        ("center.listen", "center.advertise"),
        lambda c: "center" not in c.node.roles or not c.center.listed or c.center.advertise is not None or not c.center.listen.is_wildcard,
        "terminals would be told to dial every address at once, which for them is their own machine; name in center.advertise the one "
        "at which they find this center",
    ),
    Rule(("login.servers",), lambda c: all(map(_can_be_dialled, c.login.servers)), "terminals could not dial one of them"),
    Rule(
        ("node.roles", "login.servers"),
        lambda c: "center" in c.node.roles or "login" not in c.node.roles or bool(c.login.servers) or c.is_linked,
        "a login center that runs apart from its centers must be told where terminals find them: name them in login.servers, or give it "
        "links.listen, and its centers tell it",
    ),
    Rule(
        ("metrics.listen",),
        lambda c: c.metrics.listen is None or c.metrics.listen.is_loopback,
        "metrics have no login; they are served on a loopback address only",
    ),
    Rule(
        ("login.max_handshakes_per_address", "login.max_handshakes"),
        lambda c: c.login.max_handshakes_per_address <= c.login.max_handshakes,
        "one address cannot have more handshakes than all together",
    ),
    Rule(
        ("center.max_handshakes_per_address", "center.max_handshakes"),
        lambda c: c.center.max_handshakes_per_address <= c.center.max_handshakes,
        "one address cannot have more handshakes than all together",
    ),
    Rule(
        ("center.idle_close_seconds", "center.idle_ping_seconds"),
        lambda c: c.center.idle_close_seconds >= 2 * c.center.idle_ping_seconds,
        "a live but quiet terminal needs two pings' time to answer before it is called dead",
    ),
    Rule(
        ("center.outbound_bytes",),
        lambda c: c.center.outbound_bytes >= LARGEST_FRAME_BYTES,
        f"a connection must be able to hold one frame of the largest size, {LARGEST_FRAME_BYTES} bytes",
    ),
    Rule(
        ("delivery.unconfirmed_bytes", "center.outbound_bytes"),
        lambda c: c.delivery.unconfirmed_bytes <= c.center.outbound_bytes,
        "what may be unconfirmed must fit into the outbound buffer, or draining stored messages would cut the connection",
    ),
    Rule(
        ("delivery.unconfirmed_bytes",),
        lambda c: c.delivery.unconfirmed_bytes >= LARGEST_MESSAGE_BYTES,
        f"one message of the largest size, {LARGEST_MESSAGE_BYTES} bytes, could never be delivered",
    ),
    Rule(
        ("delivery.unsettled_bytes_per_terminal",),
        lambda c: c.delivery.unsettled_bytes_per_terminal >= LARGEST_MESSAGE_BYTES,
        f"one message of the largest size, {LARGEST_MESSAGE_BYTES} bytes, could never be accepted",
    ),
    Rule(
        ("delivery.unsettled_per_terminal",),
        lambda c: c.delivery.unsettled_per_terminal >= 64,
        "terminals keep up to 64 messages unsettled [P-8.5]; a lower limit refuses well-behaved ones",
    ),
    Rule(
        ("delivery.offline_bytes_per_user",),
        lambda c: c.delivery.offline_bytes_per_user >= LARGEST_MESSAGE_BYTES,
        f"one message of the largest size, {LARGEST_MESSAGE_BYTES} bytes, could never be stored",
    ),
    Rule(
        ("delivery.page_rows", "delivery.unconfirmed_rows"),
        lambda c: c.delivery.page_rows <= c.delivery.unconfirmed_rows,
        "a page read from the store must fit into what may be unconfirmed",
    ),
    Rule(
        ("delivery.receipt_seconds", "delivery.attempt_seconds"),
        lambda c: c.delivery.receipt_seconds < c.delivery.attempt_seconds,
        "the target's center must return a message before its owner stops waiting for it",
    ),
    Rule(
        ("delivery.attempt_seconds", "delivery.store_seconds"),
        lambda c: c.delivery.attempt_seconds + c.delivery.store_seconds <= 10,
        "a sender is promised an answer within 10 s [P-8.6]: one attempt to deliver and one to store must fit",
    ),
    Rule(
        ("delivery.offline_days",),
        lambda c: c.delivery.offline_days <= 33,
        "terminals remember for 40 days what they have shown, and resend for 7 [P-8.2, P-8.3]: after 33 days a message could show twice",
    ),
    Rule(
        ("tokens.valid_hours", "tokens.rotate_hours"),
        lambda c: c.tokens.valid_hours <= c.tokens.rotate_hours,
        "only two ticket keys are accepted: a token must not outlive the key after its own",
    ),
    Rule(
        ("tokens.renew_days", "tokens.valid_hours"),
        lambda c: c.tokens.renew_days * 24 >= c.tokens.valid_hours,
        "a token cannot be valid longer than it may be renewed",
    ),
    Rule(
        ("tokens.isolated_seconds", "tokens.poll_seconds"),
        lambda c: c.tokens.isolated_seconds >= 3 * c.tokens.poll_seconds,
        "one missed poll must not make a center call itself cut off: three must fit",
    ),
    Rule(
        ("store.password_file",),
        lambda c: c.store.password_file is None or not c.store.is_sqlite,
        "SQLite has no password",
    ),
    Rule(
        ("store.url", "node.workers", "links.peers", "directory.kind"),
        lambda c: _is_endpoint(c) or not c.store.is_sqlite or not _is_one_of_many(c),
        "SQLite is for one process; more than one center share a MariaDB",
    ),
    Rule(
        ("node.workers", "node.roles"),
        lambda c: c.node.workers == 1 or "center" in c.node.roles,
        "workers are center processes, and this node is no center",
    ),
    Rule(
        ("node.workers", "center.listen"),
        lambda c: c.node.workers == 1 or c.center.listen.port != 0,
        "workers share one port, which must be given",
    ),
    Rule(
        ("links.listen", "links.advertise", "node.workers"),
        lambda c: all(
            told is None or told.port == 0 or told.port + c.node.workers <= LAST_PORT + 1 for told in (c.links.listen, c.links.advertise)
        ),
        "each worker has a link door, at this port and those after it, and there are not so many",
    ),
    Rule(
        ("node.roles",),
        lambda c: not _is_endpoint(c) or c.node.roles == ("endpoint",),
        "an endpoint is a process of its own: it stands where centers and their secrets do not",
    ),
    Rule(
        ("node.roles", "endpoint.centers"),
        lambda c: not _is_endpoint(c) or bool(c.endpoint.centers),
        'an endpoint must be told its centers: "host:port#FINGERPRINT" in endpoint.centers; `admin node-key` at a center prints both',
    ),
    Rule(
        ("node.roles", "links.listen", "links.peers", "directory.kind"),
        lambda c: not _is_endpoint(c) or (c.links.listen is None and not c.links.peers and c.directory.kind == "memory"),
        "an endpoint speaks to its centers alone: it has no link door, no peers, and asks no directory",
    ),
    Rule(("endpoint.listen",), lambda c: _is_steady(c, c.endpoint.listen), MOVING_PORT),
    Rule(("endpoint.login_listen",), lambda c: _is_steady(c, c.endpoint.login_listen), MOVING_PORT),
    Rule(
        ("endpoint.listen", "endpoint.login_listen"),
        lambda c: not _is_endpoint(c) or c.endpoint.listen.port == 0 or c.endpoint.listen != c.endpoint.login_listen,
        "an endpoint's two doors cannot listen at the same address",
    ),
    Rule(("endpoint.advertise",), lambda c: _can_be_dialled(c.endpoint.advertise), "terminals could not dial it"),
    Rule(("endpoint.login_advertise",), lambda c: _can_be_dialled(c.endpoint.login_advertise), "terminals could not dial it"),
    Rule(
        ("endpoint.listen", "endpoint.advertise"),
        lambda c: not _is_endpoint(c) or c.endpoint.advertise is not None or not c.endpoint.listen.is_wildcard,
        "terminals would be told to dial every address at once; name in endpoint.advertise the one at which they find this endpoint",
    ),
    Rule(("endpoint.centers",), lambda c: all(_can_be_dialled(one.address) for one in c.endpoint.centers), "it could not dial one of them"),
    Rule(
        ("center.listed", "links.listen"),
        lambda c: c.center.listed or "center" not in c.node.roles or c.is_linked,
        "terminals are not told of this center, and without a link door no endpoint can carry them to it",
    ),
    Rule(("links.listen",), lambda c: _is_steady(c, c.links.listen), MOVING_PORT),
    Rule(
        ("links.listen",),
        lambda c: c.links.listen is None or c.links.listen.port == 0 or c.links.listen not in _own_doors(c),
        "links cannot listen where terminals connect",
    ),
    Rule(
        ("links.listen", "links.advertise"),
        lambda c: c.links.listen is None or not c.links.listen.is_wildcard or c.links.advertise is not None,
        "other nodes would be told to dial every address at once; name in links.advertise the one at which they find this node",
    ),
    Rule(
        ("links.advertise",),
        lambda c: _can_be_dialled(c.links.advertise) and (c.links.advertise is None or c.is_linked),
        "other nodes could not dial it",
    ),
    Rule(("links.peers",), lambda c: all(map(_can_be_dialled, c.links.peers)), "this node could not dial one of them"),
    Rule(
        ("links.listen", "links.peers", "directory.kind"),
        lambda c: c.is_linked or _is_endpoint(c) or (not c.links.peers and c.directory.kind == "memory"),
        "a node that meets others needs a link door itself, or two of its kind never meet: set links.listen",
    ),
    Rule(
        ("links.silence_seconds", "links.heartbeat_seconds"),
        lambda c: c.links.silence_seconds >= 2 * c.links.heartbeat_seconds,
        "a live but quiet peer needs two heartbeats' time to answer before it is called dead",
    ),
    Rule(
        ("directory.members", "directory.kind"),
        lambda c: c.directory.kind == "memory" or (bool(c.directory.members) and all(map(_can_be_dialled, c.directory.members))),
        "name at least one member of Hazelcast that can be dialled",
    ),
    Rule(
        ("directory.cluster_name", "directory.cluster_name_file", "directory.kind"),
        lambda c: c.directory.kind == "memory" or (c.directory.cluster_name is None) != (c.directory.cluster_name_file is None),
        "Hazelcast's cluster name is needed, in one of the two",
    ),
)
