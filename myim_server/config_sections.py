"""Every value a node can be configured with, its default, and what it may be.

Here live the sections of `myim.yaml` as frozen models; the comments for operators stand in `myim.yaml` itself, which a test holds equal
to these defaults. Not here: reading files (`config_file`), and how values depend on each other (`config`). Units are in the names.
"""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from myim_server.config_addresses import Address as Address
from myim_server.config_addresses import PinnedCenter as PinnedCenter
from myim_server.config_addresses import parse_address as parse_address
from myim_server.config_addresses import parse_pinned_center

Role = Literal["login", "center", "endpoint"]
SQLITE_PREFIX = "sqlite:///"
LINK_DESCRIPTORS = 200  # unfinished handshakes, and more links than a cluster has


def _to_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError(f"is not a network such as 10.0.0.0/8: {error}") from None


def _roles(value: tuple[Role, ...]) -> tuple[Role, ...]:
    if not value or len(set(value)) != len(value):
        raise ValueError("must name at least one role, and each once")
    return value


def _not_blank(value: str) -> str:
    if not value.strip() or "\0" in value:
        raise ValueError("must not be empty")
    return value


def _store_url(value: str) -> str:
    if value.startswith(SQLITE_PREFIX) and len(value) > len(SQLITE_PREFIX):
        return value
    parts = urlsplit(value)
    if parts.scheme not in ("mysql", "mysql+pymysql"):
        raise ValueError("must begin sqlite:/// (a file) or mysql:// (MariaDB, MySQL)")
    if parts.password is not None:
        raise ValueError("must not hold the password; put it into a file and name that in store.password_file")
    if not parts.username or not parts.path.strip("/"):
        raise ValueError("must be mysql://user@host:port/database, or mysql://user@/database?unix_socket=/path")
    if not parts.hostname and "unix_socket" not in parse_qs(parts.query):
        raise ValueError("names neither a host nor a unix_socket")
    return value


def _each_once(value: tuple[object, ...]) -> tuple[object, ...]:
    for position, one in enumerate(value):
        if one in value[:position]:
            raise ValueError(f"names {one} twice")
    return value


Listen = Annotated[Address, BeforeValidator(parse_address)]
Listens = Annotated[tuple[Listen, ...], BeforeValidator(_to_tuple), AfterValidator(_each_once)]
Pinned = Annotated[PinnedCenter, BeforeValidator(parse_pinned_center)]
Path_ = Annotated[str, AfterValidator(_not_blank)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Bytes = Annotated[int, Field(ge=1, le=1 << 40)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Section(BaseModel):
    """What all sections share: unknown keys are errors, a string is no number, nothing changes after the start."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)


class NodeSection(Section):
    """`node`: what this process is."""

    roles: Annotated[tuple[Role, ...], BeforeValidator(_to_tuple), AfterValidator(_roles)] = ("login", "center")
    data_dir: Path_ = "myim-data"
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    allow_any_port: bool = False


class LoginSection(Section):
    """`login`: the login center's door, [P-4]."""

    listen: Listen = Address("127.0.0.1", 7400)
    advertise: Listen | None = None
    servers: Annotated[tuple[Listen, ...], BeforeValidator(_to_tuple), Field(max_length=16)] = ()
    registration: Literal["open", "closed"] = "open"
    password_threads: Annotated[int, Field(ge=1, le=256)] | None = None
    password_queue: Count = 200
    registrations_per_address: Count = 20
    trusted_networks: Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], BeforeValidator(_to_tuple)] = ()
    max_handshakes: Count = 200
    max_handshakes_per_address: Count = 20
    handshake_seconds: Annotated[float, Field(gt=0, le=5)] = 5


class CenterSection(Section):
    """`center`: the message center's door and what one session may cost, [P-5] to [P-8]."""

    listen: Listen = Address("127.0.0.1", 7401)
    advertise: Listen | None = None
    listed: bool = True
    priority: Annotated[int, Field(ge=0, le=65535)] = 10
    max_connections: Count = 15_000
    max_handshakes: Count = 200
    max_handshakes_per_address: Count = 20
    handshake_seconds: Annotated[float, Field(gt=0, le=5)] = 5
    frame_seconds: Annotated[float, Field(gt=0, le=30)] = 30
    idle_ping_seconds: Seconds = 30
    idle_close_seconds: Seconds = 75
    outbound_bytes: Bytes = 262_144
    slow_reader_seconds: Annotated[float, Field(gt=0, le=30)] = 30
    sessions_per_user: Annotated[int, Field(ge=1, le=64)] = 16
    requests_per_second: Count = 200
    messages_per_second: Count = 20_000


class EndpointSection(Section):
    """`endpoint`: the front machine's two doors, and the centers behind it."""

    listen: Listen = Address("127.0.0.1", 7411)
    login_listen: Listen = Address("127.0.0.1", 7410)
    advertise: Listen | None = None
    login_advertise: Listen | None = None
    priority: Annotated[int, Field(ge=0, le=65535)] = 5
    centers: Annotated[tuple[Pinned, ...], BeforeValidator(_to_tuple), AfterValidator(_each_once), Field(max_length=64)] = ()
    links_per_center: Annotated[int, Field(ge=1, le=16)] = 2
    max_connections: Count = 15_000


class DeliverySection(Section):
    """`delivery`: the rules of order and storage, [P-8] and design §5."""

    receipt_seconds: Seconds = 4
    attempt_seconds: Seconds = 5
    store_seconds: Seconds = 5
    page_rows: Count = 128
    unconfirmed_rows: Annotated[int, Field(ge=1, le=256)] = 256
    unconfirmed_bytes: Annotated[int, Field(ge=1, le=131_072)] = 131_072
    sweep_seconds: Annotated[float, Field(gt=0, le=10)] = 10
    lanes_per_session: Count = 1000
    unsettled_per_terminal: Count = 256
    unsettled_bytes_per_terminal: Bytes = 1_048_576
    offline_days: Annotated[int, Field(ge=1, le=365)] = 30
    offline_rows_per_user: Count = 100_000
    offline_bytes_per_user: Bytes = 268_435_456


class GroupsSection(Section):
    """`groups`: how large they may be, and how long their messages wait, design §6."""

    members: Annotated[int, Field(ge=1, le=100_000)] = 2000
    per_user: Annotated[int, Field(ge=1, le=10_000)] = 500
    pending: Annotated[int, Field(ge=1, le=10_000)] = 1000
    days: Annotated[int, Field(ge=1, le=365)] = 30
    rows_per_group: Count = 100_000
    invites_per_minute: Count = 60
    confirmation_linger_ms: Annotated[float, Field(ge=0, le=1000)] = 20
    tidy_seconds: Annotated[float, Field(gt=0, le=60)] = 1
    walk_seconds: Annotated[float, Field(gt=0, le=86_400)] = 600


class FriendsSection(Section):
    """`friends`: how many one user may have, and do so often, [P-7.15], [P-7.16]."""

    friends: Annotated[int, Field(ge=1, le=5_000)] = 5000
    groups: Annotated[int, Field(ge=1, le=127)] = 100
    requests: Annotated[int, Field(ge=1, le=10_000)] = 1000
    blocked: Annotated[int, Field(ge=1, le=50_000)] = 5000
    grace_seconds: Annotated[float, Field(gt=0, le=300)] = 15
    changes_kept: Annotated[int, Field(ge=0, le=100_000)] = 1000
    searches_per_minute: Count = 60
    asks_per_minute: Count = 60
    profiles_per_minute: Count = 10


class TokensSection(Section):
    """`tokens`: how long a login lasts, [P-7.12]."""

    valid_hours: Annotated[float, Field(gt=0, le=24 * 30)] = 24
    renew_days: Annotated[float, Field(gt=0, le=365)] = 30
    rotate_hours: Annotated[float, Field(gt=0, le=24 * 30)] = 24
    poll_seconds: Annotated[float, Field(gt=0, le=5)] = 3
    isolated_seconds: Seconds = 60


class StoreSection(Section):
    """`store`: where accounts and undelivered messages are kept."""

    url: Annotated[str, AfterValidator(_store_url)] = "sqlite:///{data_dir}/myim.db"
    password_file: Path_ | None = None
    allow_unflushed: bool = False
    pool_size: Annotated[int, Field(ge=1, le=256)] = 8
    batch_rows: Annotated[int, Field(ge=1, le=10_000)] = 500
    batch_linger_ms: Annotated[float, Field(ge=0, le=1000)] = 2

    @property
    def is_sqlite(self) -> bool:
        """Whether the embedded database is meant: one process only."""
        return self.url.startswith(SQLITE_PREFIX)


class DirectorySection(Section):
    """`directory`: who is online where."""

    kind: Literal["memory", "hazelcast"] = "memory"
    members: Annotated[Listens, Field(max_length=16)] = (Address("127.0.0.1", 5701),)
    cluster_name: Path_ | None = None
    cluster_name_file: Path_ | None = None


class ClusterSection(Section):
    """`cluster`: what all nodes of one installation share."""

    secret_file: Path_ = "{data_dir}/cluster.secret"


class LinksSection(Section):
    """`links`: how this node meets the others of its cluster."""

    listen: Listen | None = None
    advertise: Listen | None = None
    security: Literal["tls", "plain"] = "tls"
    peers: Annotated[Listens, Field(max_length=64)] = ()
    heartbeat_seconds: Annotated[float, Field(gt=0, le=5)] = 5
    silence_seconds: Annotated[float, Field(gt=0, le=15)] = 12


class MetricsSection(Section):
    """`metrics`: Prometheus text over HTTP."""

    listen: Listen | None = None


class LogSection(Section):
    """`log`: what is written to standard output."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Config(Section):
    """All sections. Paths may hold `{data_dir}`; ask the properties, which have it filled in."""

    node: NodeSection = NodeSection()
    login: LoginSection = LoginSection()
    center: CenterSection = CenterSection()
    endpoint: EndpointSection = EndpointSection()
    delivery: DeliverySection = DeliverySection()
    groups: GroupsSection = GroupsSection()
    friends: FriendsSection = FriendsSection()
    tokens: TokensSection = TokensSection()
    store: StoreSection = StoreSection()
    directory: DirectorySection = DirectorySection()
    cluster: ClusterSection = ClusterSection()
    links: LinksSection = LinksSection()
    metrics: MetricsSection = MetricsSection()
    log: LogSection = LogSection()

    @property
    def data_dir(self) -> Path:
        """Where this node keeps its files."""
        return Path(self.node.data_dir)

    @property
    def store_url(self) -> str:
        """`store.url` with the data directory filled in."""
        return self._filled(self.store.url)

    @property
    def store_password_file(self) -> Path | None:
        """`store.password_file` with the data directory filled in."""
        return None if self.store.password_file is None else Path(self._filled(self.store.password_file))

    @property
    def cluster_secret_file(self) -> Path:
        """`cluster.secret_file` with the data directory filled in."""
        return Path(self._filled(self.cluster.secret_file))

    @property
    def cluster_name_file(self) -> Path | None:
        """`directory.cluster_name_file` with the data directory filled in."""
        return None if self.directory.cluster_name_file is None else Path(self._filled(self.directory.cluster_name_file))

    @property
    def is_linked(self) -> bool:
        """Whether this node has links to others of its cluster; one that has not is all there is of it."""
        return self.links.listen is not None

    @property
    def descriptors_needed(self) -> int:
        """Open files this node may need at once: connections, handshakes, links, the store's pool, and a hundred for the rest."""
        if "endpoint" in self.node.roles:
            return 100 + self.endpoint.max_connections + len(self.endpoint.centers) * self.endpoint.links_per_center
        needed = 100 + self.store.pool_size
        if self.is_linked:
            needed += LINK_DESCRIPTORS
        if "login" in self.node.roles:
            needed += self.login.max_handshakes
        if "center" in self.node.roles:
            needed += self.center.max_connections + self.center.max_handshakes
        return needed

    def _filled(self, text: str) -> str:
        return text.replace("{data_dir}", self.node.data_dir)
