"""Values: each one's own limits (reliability row 110), how they fit together (row 112), and the environment."""

from pathlib import Path

import pytest

from myim_server.config import ConfigError, known_keys, load_config
from myim_server.config_rules import RULES
from myim_server.config_sections import Address, Config, PinnedCenter


def problems(environment: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(None, environment)
    return str(caught.value)


PIN = "0a" * 32

WRONG_VALUES = [
    ("CENTER__LISTEN", "127.0.0.1:65536", "port 65536 is not between 1 and 65535"),
    ("CENTER__LISTEN", "127.0.0.1:999999999999999999999", "port 99999999999999999999 is not"),
    ("CENTER__LISTEN", "127.0.0.1:abc", "port 'abc' is not a number"),
    ("CENTER__LISTEN", "127.0.0.1:-1", "port '-1' is not a number"),
    ("CENTER__LISTEN", "127.0.0.1:７４", "is not a number"),
    ("CENTER__LISTEN", "127.0.0.1:", "port '' is not a number"),
    ("CENTER__LISTEN", "127.0.0.1", "must be host:port"),
    ("CENTER__LISTEN", ":7401", "must be host:port"),
    ("CENTER__LISTEN", "", "must be host:port"),
    ("CENTER__LISTEN", "null", "must be host:port"),
    ("CENTER__LISTEN", "::1:7401", "an IPv6 address needs brackets: [::1]"),
    ("CENTER__LISTEN", "[::zz]:7401", "is not an IPv6 address"),
    ("CENTER__LISTEN", "a b:7401", "is not a host"),
    ("CENTER__LISTEN", "http://a:7401", "brackets"),
    ("CENTER__LISTEN", "127.0.0.1:0", "port 0 would be another port at each start"),
    ("LOGIN__LISTEN", "127.0.0.1:0", "port 0 would be another port at each start"),
    ("LOGIN__ADVERTISE", "chat.example:0", "terminals could not dial it"),
    ("LOGIN__ADVERTISE", "0.0.0.0:7400", "terminals could not dial it"),
    ("CENTER__ADVERTISE", "chat.example:0", "terminals could not dial it"),
    ("CENTER__ADVERTISE", "[::]:7401", "terminals could not dial it"),
    ("CENTER__ADVERTISE", "0:7401", "terminals could not dial it"),
    ("CENTER__LISTEN", "0.0.0.0:7401", "told to dial every address at once"),
    ("CENTER__LISTEN", "[::]:7401", "told to dial every address at once"),
    ("CENTER__LISTEN", "[::ffff:0.0.0.0]:7401", "told to dial every address at once"),
    ("CENTER__LISTEN", "0:7401", "told to dial every address at once"),
    ("METRICS__LISTEN", "0.0.0.0:7409", "loopback address only"),
    ("METRICS__LISTEN", "chat.example:7409", "loopback address only"),
    ("LOGIN__SERVERS", "a.example", "must be host:port"),
    ("LOGIN__SERVERS", "a.example:7401,b.example:0", "terminals could not dial one of them"),
    ("LOGIN__SERVERS", "0.0.0.0:7401", "terminals could not dial one of them"),
    ("LOGIN__SERVERS", ",".join(["a.example:7401"] * 17), "at most 16 items"),
    ("LOGIN__SERVERS", "x" * 256 + ":7401", "is not a host"),
    ("NODE__ROLES", "login", "name them in login.servers"),
    ("NODE__ROLES", "", "at least one role"),
    ("NODE__ROLES", "[]", "at least one role"),
    ("NODE__ROLES", "login,login", "each once"),
    ("NODE__ROLES", "login,relay", "should be 'login', 'center' or 'endpoint', not 'relay'"),
    ("NODE__ROLES", "[login", "is not a YAML value"),
    ("NODE__DATA_DIR", " ", "must not be empty"),
    ("NODE__DATA_DIR", "a\0b", "must not be empty"),
    ("NODE__ALLOW_ANY_PORT", "1", "should be a valid boolean, not 1"),
    ("LOGIN__REGISTRATION", "maybe", "should be 'open' or 'closed', not 'maybe'"),
    ("LOGIN__PASSWORD_THREADS", "0", "should be greater than or equal to 1"),
    ("LOGIN__TRUSTED_NETWORKS", "10.0.0.0/8,somewhere", "is not a network"),
    ("LOGIN__TRUSTED_NETWORKS", "10.0.0.1/8", "has host bits set"),
    ("LOGIN__HANDSHAKE_SECONDS", "6", "less than or equal to 5"),
    ("CENTER__HANDSHAKE_SECONDS", "0", "greater than 0"),
    ("CENTER__HANDSHAKE_SECONDS", ".nan", "not nan"),
    ("CENTER__HANDSHAKE_SECONDS", ".inf", "less than or equal to 5"),
    ("CENTER__PRIORITY", "-1", "greater than or equal to 0"),
    ("CENTER__PRIORITY", "65536", "less than or equal to 65535"),
    ("CENTER__PRIORITY", "1.5", "should be a valid integer, not 1.5"),
    ("CENTER__PRIORITY", "true", "should be a valid integer, not True"),
    ("CENTER__PRIORITY", "ten", "should be a valid integer, not 'ten'"),
    ("CENTER__SESSIONS_PER_USER", "65", "less than or equal to 64"),
    ("DELIVERY__UNCONFIRMED_ROWS", "257", "less than or equal to 256"),
    ("DELIVERY__SWEEP_SECONDS", "11", "less than or equal to 10"),
    ("TOKENS__POLL_SECONDS", "6", "less than or equal to 5"),
    ("STORE__URL", "postgres://a@b/c", "must begin sqlite:///"),
    ("STORE__URL", "sqlite:///", "must begin sqlite:///"),
    ("STORE__URL", "mysql://a:hunter2@b/c", "must not hold the password"),
    ("STORE__URL", "mysql://b/c", "must be mysql://user@host:port/database"),
    ("STORE__URL", "mysql://a@b", "must be mysql://user@host:port/database"),
    ("STORE__URL", "mysql://a@/c", "names neither a host nor a unix_socket"),
    ("DIRECTORY__KIND", "redis", "should be 'memory' or 'hazelcast', not 'redis'"),
    ("DIRECTORY__MEMBERS", "127.0.0.1:5701,127.0.0.1:5701", "names 127.0.0.1:5701 twice"),
    ("DIRECTORY__MEMBERS", "hazelcast", "must be host:port"),
    ("NODE__WORKERS", "0", "greater than or equal to 1"),
    ("NODE__WORKERS", "65", "less than or equal to 64"),
    ("NODE__ROLES", "endpoint,center", "an endpoint is a process of its own"),
    ("NODE__ROLES", "endpoint", "an endpoint must be told its centers"),
    ("ENDPOINT__CENTERS", "10.0.0.1:7402", "must be host:port#FINGERPRINT"),
    ("ENDPOINT__CENTERS", "10.0.0.1:7402#abc", "must be 64 hex digits"),
    ("ENDPOINT__CENTERS", f"10.0.0.1:7402#{'g' * 64}", "must be 64 hex digits"),
    ("ENDPOINT__CENTERS", f"10.0.0.1:x#{PIN}", "port 'x' is not a number"),
    ("ENDPOINT__CENTERS", f"10.0.0.1:7402#{PIN},10.0.0.1:7402#{PIN.upper()}", "twice"),
    ("ENDPOINT__CENTERS", f"0.0.0.0:7402#{PIN}", "it could not dial one of them"),
    ("ENDPOINT__LISTEN", "127.0.0.1:0", "port 0 would be another port at each start"),
    ("ENDPOINT__LOGIN_LISTEN", "127.0.0.1:0", "port 0 would be another port at each start"),
    ("ENDPOINT__ADVERTISE", "0.0.0.0:7411", "terminals could not dial it"),
    ("ENDPOINT__LOGIN_ADVERTISE", "front.example:0", "terminals could not dial it"),
    ("ENDPOINT__LINKS_PER_CENTER", "17", "less than or equal to 16"),
    ("LINKS__LISTEN", "127.0.0.1:0", "port 0 would be another port at each start"),
    ("LINKS__LISTEN", "127.0.0.1:7401", "links cannot listen where terminals connect"),
    ("LINKS__LISTEN", "0.0.0.0:7402", "other nodes would be told to dial every address at once"),
    ("LINKS__ADVERTISE", "a.example:7402", "other nodes could not dial it"),
    ("LINKS__SECURITY", "ssl", "should be 'tls' or 'plain', not 'ssl'"),
    ("LINKS__PEERS", "0.0.0.0:7402", "this node could not dial one of them"),
    ("LINKS__PEERS", "a.example:7402,a.example:7402", "names a.example:7402 twice"),
    ("LINKS__SILENCE_SECONDS", "16", "less than or equal to 15"),
    ("CENTER__LISTED", "false", "without a link door no endpoint can carry them to it"),
    ("LOG__LEVEL", "loud", "should be 'debug', 'info', 'warning' or 'error', not 'loud'"),
    ("LOG__FORMAT", "xml", "should be 'text' or 'json', not 'xml'"),
]


@pytest.mark.parametrize(("variable", "text", "expected"), WRONG_VALUES)
def test_a_wrong_value_is_refused_with_the_reason(variable: str, text: str, expected: str) -> None:
    message = problems({f"MYIM_{variable}": text})
    assert expected in message
    assert message.startswith(f"environment MYIM_{variable}: ")


def test_a_password_in_the_store_url_is_not_repeated_by_the_error() -> None:
    assert "hunter2" not in problems({"MYIM_STORE__URL": "mysql://a:hunter2@b/c"})


INCONSISTENT = [
    ({"LOGIN__LISTEN": "127.0.0.1:7401"}, "same address"),
    ({"LOGIN__MAX_HANDSHAKES_PER_ADDRESS": "201"}, "one address cannot have more"),
    ({"CENTER__MAX_HANDSHAKES": "10"}, "one address cannot have more"),
    ({"CENTER__IDLE_CLOSE_SECONDS": "59"}, "two pings' time"),
    ({"CENTER__OUTBOUND_BYTES": "65539", "DELIVERY__UNCONFIRMED_BYTES": "40000"}, "one frame of the largest size"),
    ({"CENTER__OUTBOUND_BYTES": "100000"}, "must fit into the outbound buffer"),
    ({"DELIVERY__UNCONFIRMED_BYTES": "32768"}, "could never be delivered"),
    ({"DELIVERY__UNSETTLED_BYTES_PER_TERMINAL": "32768"}, "could never be accepted"),
    ({"DELIVERY__UNSETTLED_PER_TERMINAL": "63"}, "[P-8.5]"),
    ({"DELIVERY__OFFLINE_BYTES_PER_USER": "1000"}, "could never be stored"),
    ({"DELIVERY__UNCONFIRMED_ROWS": "100"}, "a page read from the store must fit"),
    ({"DELIVERY__RECEIPT_SECONDS": "5"}, "must return a message before"),
    ({"DELIVERY__STORE_SECONDS": "6"}, "[P-8.6]"),
    ({"DELIVERY__OFFLINE_DAYS": "34"}, "could show twice"),
    ({"TOKENS__ROTATE_HOURS": "23"}, "only two ticket keys"),
    ({"TOKENS__RENEW_DAYS": "0.5"}, "longer than it may be renewed"),
    ({"TOKENS__ISOLATED_SECONDS": "8"}, "three must fit"),
    ({"STORE__PASSWORD_FILE": "/run/secret"}, "SQLite has no password"),
    ({"NODE__WORKERS": "2"}, "SQLite is for one process"),
    ({"LINKS__PEERS": "10.0.0.2:7402", "LINKS__LISTEN": "10.0.0.1:7402"}, "SQLite is for one process"),
    ({"DIRECTORY__KIND": "hazelcast", "DIRECTORY__CLUSTER_NAME": "x", "LINKS__LISTEN": "10.0.0.1:7402"}, "SQLite is for one process"),
    ({"NODE__WORKERS": "2", "NODE__ROLES": "login", "LOGIN__SERVERS": "a.example:7401"}, "this node is no center"),
    ({"NODE__WORKERS": "2", "NODE__ALLOW_ANY_PORT": "true", "CENTER__LISTEN": "127.0.0.1:0"}, "workers share one port"),
    ({"LINKS__LISTEN": "127.0.0.1:65535", "NODE__WORKERS": "2"}, "and there are not so many"),
    ({"LINKS__PEERS": "10.0.0.2:7402"}, "two of its kind never meet"),
    ({"LINKS__HEARTBEAT_SECONDS": "4", "LINKS__SILENCE_SECONDS": "7"}, "two heartbeats' time"),
    ({"DIRECTORY__KIND": "hazelcast", "DIRECTORY__MEMBERS": ""}, "at least one member of Hazelcast"),
    ({"DIRECTORY__MEMBERS": "0.0.0.0:5701", "DIRECTORY__KIND": "hazelcast"}, "at least one member of Hazelcast"),
    ({"DIRECTORY__KIND": "hazelcast"}, "Hazelcast's cluster name is needed"),
    (
        {"DIRECTORY__CLUSTER_NAME": "x", "DIRECTORY__CLUSTER_NAME_FILE": "y", "DIRECTORY__KIND": "hazelcast"},
        "Hazelcast's cluster name is needed",
    ),
    ({"NODE__ROLES": "endpoint", "ENDPOINT__CENTERS": f"c:1#{PIN}", "LINKS__LISTEN": "127.0.0.1:7402"}, "has no link door"),
    ({"NODE__ROLES": "endpoint", "ENDPOINT__CENTERS": f"c:1#{PIN}", "LINKS__PEERS": "127.0.0.1:7402"}, "has no link door"),
    ({"NODE__ROLES": "endpoint", "ENDPOINT__CENTERS": f"c:1#{PIN}", "DIRECTORY__KIND": "hazelcast"}, "asks no directory"),
    ({"ENDPOINT__LISTEN": "127.0.0.1:7410", "ENDPOINT__CENTERS": f"c:1#{PIN}", "NODE__ROLES": "endpoint"}, "an endpoint's two doors"),
    ({"ENDPOINT__LISTEN": "0.0.0.0:7411", "ENDPOINT__CENTERS": f"c:1#{PIN}", "NODE__ROLES": "endpoint"}, "name in endpoint.advertise"),
]


@pytest.mark.parametrize(("values", "expected"), INCONSISTENT)
def test_values_that_do_not_fit_together_are_refused_with_an_explanation(values: dict[str, str], expected: str) -> None:
    message = problems({f"MYIM_{name}": text for name, text in values.items()})
    assert expected in message
    section, name = next(iter(values)).lower().split("__")
    assert f"{section}.{name} = " in message


def test_every_rule_is_broken_by_some_case() -> None:
    told = "".join(problems({f"MYIM_{name}": text for name, text in values.items()}) for values, _ in INCONSISTENT)
    told += "".join(problems({f"MYIM_{name}": text}) for name, text, _ in WRONG_VALUES)
    assert [rule.why for rule in RULES if rule.why not in told] == []


def test_an_inconsistency_in_the_file_names_the_line_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "myim.yaml"
    path.write_text("delivery:\n\n  attempt_seconds: 4\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert str(caught.value).startswith(f"{path}:3: delivery.receipt_seconds = 4, delivery.attempt_seconds = 4")


RIGHT_VALUES = [
    ("CENTER__LISTEN", "[::1]:9000", Address("::1", 9000)),
    ("CENTER__LISTEN", "[fe80::1%eth0]:9000", Address("fe80::1%eth0", 9000)),
    ("LOGIN__LISTEN", "0.0.0.0:1", Address("0.0.0.0", 1)),
    ("CENTER__ADVERTISE", "chat.example:65535", Address("chat.example", 65535)),
    ("CENTER__ADVERTISE", "null", None),
    ("CENTER__ADVERTISE", "", None),
    ("METRICS__LISTEN", "localhost:7409", Address("localhost", 7409)),
    ("METRICS__LISTEN", "[::1]:7409", Address("::1", 7409)),
    ("NODE__ROLES", "center", ("center",)),
    ("NODE__ROLES", "login, center", ("login", "center")),
    ("NODE__ROLES", "[center, login]", ("center", "login")),
    ("NODE__DATA_DIR", "123", "123"),
    ("NODE__DATA_DIR", "/var/lib/my im: 😀", "/var/lib/my im: 😀"),
    ("LOGIN__TRUSTED_NETWORKS", "10.0.0.0/8,fd00::/8", ("10.0.0.0/8", "fd00::/8")),
    ("LOGIN__TRUSTED_NETWORKS", "", ()),
    ("LOGIN__SERVERS", "a.example:7401, [::1]:7402", (Address("a.example", 7401), Address("::1", 7402))),
    ("LOGIN__PASSWORD_THREADS", "4", 4),
    ("LOGIN__PASSWORD_THREADS", "null", None),
    ("TOKENS__POLL_SECONDS", "0.5", 0.5),
    ("STORE__URL", "mysql://myim@127.0.0.1:3307/myim", "mysql://myim@127.0.0.1:3307/myim"),
    ("STORE__URL", "mysql://myim@/myim?unix_socket=/run/s", "mysql://myim@/myim?unix_socket=/run/s"),
    ("STORE__ALLOW_UNFLUSHED", "true", True),
    (
        "ENDPOINT__CENTERS",
        f"c.example:7402#{PIN.upper()}, [::1]:1#{PIN}",
        (PinnedCenter(Address("c.example", 7402), PIN), PinnedCenter(Address("::1", 1), PIN)),
    ),
    ("LINKS__LISTEN", "[::1]:7402", Address("::1", 7402)),
    ("DIRECTORY__CLUSTER_NAME", "123", "123"),
]


@pytest.mark.parametrize(("variable", "text", "expected"), RIGHT_VALUES)
def test_the_environment_sets_any_value(variable: str, text: str, expected: object) -> None:
    config = load_config(None, {f"MYIM_{variable}": text})
    section, name = variable.lower().split("__")
    assert getattr(getattr(config, section), name) == expected


def test_every_value_can_be_given_by_the_environment_as_it_prints() -> None:
    for key in known_keys():
        section, name = key.split(".")
        value = getattr(getattr(Config(), section), name)
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        text = {"None": "null", "True": "true", "False": "false"}.get(text, text)
        assert load_config(None, {f"MYIM_{section}__{name}".upper(): text}) == Config(), key


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "myim.yaml"
    path.write_text("center:\n  priority: 5\n  max_connections: 7\n")
    config = load_config(path, {"MYIM_CENTER__PRIORITY": "6"})
    assert (config.center.priority, config.center.max_connections) == (6, 7)


def test_an_unknown_variable_of_ours_is_an_error_and_others_are_not() -> None:
    assert "did you mean center.priority?" in problems({"MYIM_CENTER__PRIORTY": "5"})
    assert load_config(None, {"MYIM_CHAOS": "1", "PATH": "/bin", "XMYIM_CENTER__X": "1"}) == Config()


def test_two_roles_may_share_an_address_on_different_nodes() -> None:
    assert load_config(None, {"MYIM_NODE__ROLES": "center", "MYIM_CENTER__LISTEN": "127.0.0.1:7400"}).center.listen.port == 7400


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "0"])
def test_a_center_may_listen_everywhere_where_it_says_what_to_dial(host: str) -> None:
    told = {"MYIM_CENTER__LISTEN": f"{host}:7401", "MYIM_CENTER__ADVERTISE": "chat.example.org:7401"}
    assert load_config(None, told).center.listen.is_wildcard
    alone = {"MYIM_NODE__ROLES": "login", "MYIM_LOGIN__SERVERS": "a.example:7401", "MYIM_CENTER__LISTEN": f"{host}:7401"}
    assert "center" not in load_config(None, alone).node.roles


CLUSTERS: list[dict[str, str]] = [
    {"LINKS__LISTEN": "127.0.0.1:7402"},
    {"LINKS__LISTEN": "127.0.0.1:7402", "LINKS__PEERS": "10.0.0.2:7402", "STORE__URL": "mysql://m@h/m"},
    {"LINKS__LISTEN": "127.0.0.1:7402", "CENTER__LISTED": "false", "CENTER__LISTEN": "0.0.0.0:7401"},
    {"LINKS__LISTEN": "0.0.0.0:7402", "LINKS__ADVERTISE": "a.example:7402"},
    {"NODE__ROLES": "login", "LINKS__LISTEN": "127.0.0.1:7402", "STORE__URL": "mysql://m@h/m"},
    {"NODE__WORKERS": "4", "STORE__URL": "mysql://m@h/m"},
    {"NODE__ROLES": "endpoint", "ENDPOINT__CENTERS": f"10.0.0.1:7402#{PIN}"},
    {
        "DIRECTORY__KIND": "hazelcast",
        "DIRECTORY__CLUSTER_NAME_FILE": "{data_dir}/name",
        "LINKS__LISTEN": "10.0.0.1:7402",
        "STORE__URL": "mysql://m@h/m",
    },
]


@pytest.mark.parametrize("values", CLUSTERS)
def test_the_nodes_of_a_cluster_are_configured_with_what_differs(values: dict[str, str]) -> None:
    config = load_config(None, {f"MYIM_{name}": text for name, text in values.items()})
    assert config.is_linked == ("LINKS__LISTEN" in values)


def test_an_endpoint_needs_no_more_open_files_than_it_carries_connections() -> None:
    environment = {"MYIM_NODE__ROLES": "endpoint", "MYIM_ENDPOINT__CENTERS": f"c:1#{PIN}", "MYIM_ENDPOINT__MAX_CONNECTIONS": "50"}
    assert load_config(None, environment).descriptors_needed == 152


def test_port_zero_is_there_for_tests_that_ask_for_it() -> None:
    environment = {"MYIM_NODE__ALLOW_ANY_PORT": "true", "MYIM_CENTER__LISTEN": "127.0.0.1:0", "MYIM_LOGIN__LISTEN": "127.0.0.1:0"}
    assert load_config(None, environment).login.listen.port == 0


def test_paths_have_the_data_directory_filled_in() -> None:
    config = load_config(
        None, {"MYIM_NODE__DATA_DIR": "/srv/a b", "MYIM_STORE__URL": "mysql://m@h/m", "MYIM_STORE__PASSWORD_FILE": "{data_dir}/p"}
    )
    assert config.store_password_file == Path("/srv/a b/p")
    assert config.cluster_secret_file == Path("/srv/a b/cluster.secret")
    assert load_config(None, {"MYIM_NODE__DATA_DIR": "/x"}).store_url == "sqlite:////x/myim.db"


def test_nothing_changes_after_the_start() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().center.priority = 3  # type: ignore[misc]
