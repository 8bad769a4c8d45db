"""Operator commands: what they change, what they print, and their exit codes."""

import dataclasses
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from myim_server.admin import admin, wall_clock
from myim_server.chat.accounts import Accounts
from myim_server.keys import open_cluster_secret
from myim_server.passwords import HashingCost, Passwords
from myim_server.refusals import RequestRefused, SessionRefused
from myim_server.store.engine import StoreSettings, open_store
from myim_server.store.group_values import Post
from myim_server.store.offline import StoredMessage
from myim_server.throttles import TrustedNetworks, account_counter, terminal_counter
from myim_server.tickets import Generations, Tickets
from myim_wire.contents import Grant
from myim_wire.errors import ErrorCode
from myim_wire.key_schedule import KeyPair, derive_terminal_private
from myim_wire.login_flights import CredentialsReceived
from myim_wire.tokens import Ticket

PASSWORD = "correct horse battery"


class Installation:
    """A data directory with a config, the parts a node would open on it, and the commands."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "myim.yaml"
        self.config.write_text(f"node:\n  data_dir: {directory}/data\n")
        (directory / "data").mkdir(mode=0o700)
        self.store = open_store(StoreSettings(f"sqlite:///{directory}/data/myim.db"))
        secret = open_cluster_secret(directory / "data" / "cluster.secret")
        self.tickets = Tickets(self.store.tickets, secret, wall_clock)
        self.tickets.rotate()
        self.passwords = Passwords(threads=1, queue=10, cost=HashingCost(memory_kib=64, passes=1))
        self.accounts = Accounts(
            self.store.accounts, self.store.terminals, self.store.throttles, self.passwords, self.tickets,
            servers=list, trusted=TrustedNetworks([]), is_registration_open=True,
        )  # fmt: skip

    def run(self, *arguments: str, code: int = 0) -> str:
        command = [*arguments, "--config", str(self.config)]
        result = CliRunner().invoke(admin, command)
        assert result.exit_code == code, result.output
        return result.output

    def register(self, name: str = "alice", key: bytes = b"k" * 32) -> Grant:
        return self.accounts.register(CredentialsReceived("register", name, PASSWORD, "desk", key, key), "192.0.2.1", wall_clock())

    def log_in(self, name: str = "alice", key: bytes = b"k" * 32) -> Grant:
        return self.accounts.log_in(CredentialsReceived("login", name, PASSWORD, "desk", key, key), "192.0.2.1", wall_clock())

    def admits(self, token: bytes) -> ErrorCode | bool:
        """Whether a center that starts now takes the token; else the code."""
        generations = Generations(self.store.terminals, lambda *raised: None)
        generations.poll(0.0)
        try:
            ticket = self.tickets.open(token)
            generations.check(ticket, 0.0)
        except SessionRefused as refused:
            return refused.code
        return True

    def mint(self, count: int, prefix: str = "pair") -> list[dict[str, Any]]:
        out = self.directory / "minted.jsonl"
        self.run("mint", "--count", str(count), "--prefix", prefix, "--out", str(out))
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
        return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    yield made
    made.passwords.close()
    made.store.close()


def test_a_minted_ticket_equals_an_issued_one_field_by_field(house: Installation) -> None:
    issued = house.register()
    (row,) = house.mint(1)
    minted = house.tickets.open(bytes.fromhex(row["token"]))
    told = house.tickets.open(issued.token)
    private = derive_terminal_private(bytes.fromhex(row["fingerprint"]), bytes.fromhex(row["terminal_secret"]))
    account = house.store.accounts.find("pair0")
    assert account is not None
    own: dict[str, Any] = {
        "user": account.user_id,
        "terminal_public": KeyPair(private).public,
        "session_key": bytes.fromhex(row["session_key"]),
        "authenticated": minted.issued,
        "issued": minted.issued,
        "expires": minted.issued + (told.expires - told.issued),
    }
    assert minted == dataclasses.replace(told, **own)
    assert told.authenticated == told.issued
    assert {field.name for field in dataclasses.fields(Ticket)} - set(own) == {"slot", "user_generation", "terminal_generation"}
    assert (row["user"], row["name"], row["slot"]) == (minted.user, "pair0", minted.slot)
    assert len(row["token"]) == 2 * len(issued.token)
    assert house.admits(bytes.fromhex(row["token"])) is True


def test_minting_again_uses_the_users_that_are_there_and_makes_the_others(house: Installation) -> None:
    first = house.mint(3)
    second = house.mint(5)
    assert [row["user"] for row in first] == [row["user"] for row in second[:3]]
    assert [row["slot"] for row in second] == [1, 1, 1, 0, 0]
    assert all(house.admits(bytes.fromhex(row["token"])) is True for row in first + second)


def test_nobody_logs_in_by_password_to_a_minted_account(house: Installation) -> None:
    house.mint(1)
    with pytest.raises(RequestRefused) as refused:
        house.log_in("pair0")
    assert refused.value.code is ErrorCode.LOGIN_FAILED


def test_revoking_a_user_ends_all_its_tokens_and_the_password_still_works(house: Installation) -> None:
    first, other = house.register().token, house.log_in(key=b"o" * 32).token
    assert "revoked" in house.run("revoke", "Alice")
    house.run("revoke", "alice")
    assert {house.admits(first), house.admits(other)} == {ErrorCode.TOKEN_REVOKED}
    assert house.admits(house.log_in().token) is True


def test_revoking_a_slot_ends_the_tokens_of_that_terminal_only(house: Installation) -> None:
    first, other = house.register().token, house.log_in(key=b"o" * 32).token
    house.run("revoke", "alice", "--slot", "1")
    assert house.admits(first) is True
    assert house.admits(other) is ErrorCode.TOKEN_REVOKED
    assert "slot 9" in house.run("revoke", "alice", "--slot", "9", code=1)


def test_a_locked_user_is_out_and_stays_out_until_unlocked(house: Installation) -> None:
    granted = house.register()
    house.run("lock", f"id:{granted.user}")
    house.run("lock", "alice")
    assert house.admits(granted.token) is ErrorCode.TOKEN_REVOKED
    with pytest.raises(RequestRefused) as refused:
        house.log_in()
    assert refused.value.code is ErrorCode.LOGIN_FAILED
    house.run("unlock", "alice")
    assert house.admits(house.log_in().token) is True


def test_unlocking_forgets_the_failures_of_the_account_and_of_its_terminals(house: Installation) -> None:
    user = house.register().user
    counters = [account_counter("alice"), terminal_counter(user, 0), terminal_counter(user, 63)]
    for counter in counters:
        for _ in range(100):
            house.store.throttles.fail(counter, wall_clock())
    assert json.loads(house.run("users", "show", "alice"))["failed_logins"] == 100
    house.run("unlock", "alice")
    assert house.store.throttles.read(counters) == {}
    assert house.log_in().user == user


def test_rotating_makes_a_new_key_and_keeps_the_tokens(house: Installation) -> None:
    token = house.register().token
    assert "2 are accepted" in house.run("rotate-keys")
    house.tickets.refresh()
    assert house.admits(token) is True


def test_rotating_compromised_keys_ends_every_token_and_forces_passwords(house: Installation) -> None:
    token = house.register().token
    house.run("rotate-keys", "--compromised")
    assert house.tickets.refresh()
    assert house.admits(token) is ErrorCode.TOKEN_INVALID
    assert house.admits(house.log_in().token) is True


def test_showing_a_user_tells_no_secret(house: Installation) -> None:
    user = house.register("Alice").user
    shown = json.loads(house.run("users", "show", "ALICE"))
    assert shown == {
        "user": user, "name": "alice", "shown_name": "Alice", "generation": 1, "is_locked": False,
        "terminals": [{"slot": 0, "generation": 1}], "failed_logins": 0,
    }  # fmt: skip


def test_check_and_migrate_say_that_all_is_well(house: Installation) -> None:
    assert "store ok, 1 ticket key, node" in house.run("check")
    assert "version" in house.run("migrate")


EVERY_COMMAND = [
    ["check"], ["rotate-keys"], ["rotate-keys", "--compromised"], ["revoke", "alice"], ["lock", "alice"], ["unlock", "alice"],
    ["users", "show", "alice"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", EVERY_COMMAND, ids=" ".join)
def test_where_no_node_ever_ran_a_command_says_so_and_makes_nothing(tmp_path: Path, arguments: list[str]) -> None:
    config = tmp_path / "myim.yaml"
    config.write_text(f"node:\n  data_dir: {tmp_path}/data\n")
    result = CliRunner().invoke(admin, [*arguments, "--config", str(config)])
    assert (result.exit_code, f"no node ever ran on {tmp_path}/data" in result.output) == (1, True)
    assert list(tmp_path.iterdir()) == [config]


@pytest.mark.parametrize("arguments", EVERY_COMMAND, ids=" ".join)
def test_where_the_database_is_gone_a_command_makes_no_empty_one(house: Installation, arguments: list[str]) -> None:
    house.store.close()
    for file in (house.directory / "data").glob("myim.db*"):
        file.unlink()
    assert "no node ever ran" in house.run(*arguments, code=1)
    assert list((house.directory / "data").glob("myim.db*")) == []


def test_accounts_may_be_minted_and_tables_made_before_the_first_start(tmp_path: Path) -> None:
    for number, arguments in enumerate((["migrate"], ["mint", "--count", "1", "--prefix", "p", "--out", str(tmp_path / "minted")])):
        config = tmp_path / f"{number}.yaml"
        config.write_text(f"node:\n  data_dir: {tmp_path}/{number}\n")
        result = CliRunner().invoke(admin, [*arguments, "--config", str(config)])
        assert result.exit_code == 0, result.output
        assert (tmp_path / str(number) / "myim.db").exists()


@pytest.mark.parametrize("removed", ["cluster.secret", "node.key"])
def test_a_key_that_was_removed_on_purpose_does_not_hide_the_installation(house: Installation, removed: str) -> None:
    house.run("check")
    (house.directory / "data" / removed).unlink()
    assert "dropped" in house.run("rotate-keys", "--compromised")


def test_check_notices_another_cluster_secret(house: Installation) -> None:
    (house.directory / "data" / "cluster.secret").write_text("ab" * 32)
    assert "cluster secret" in house.run("check", code=1)


def test_a_secret_that_others_may_read_is_refused(house: Installation) -> None:
    (house.directory / "data" / "cluster.secret").chmod(0o644)
    assert "0644" in house.run("check", code=1)


BAD = [
    (["revoke", "nobody"], 1),
    (["revoke", "id:1"], 1),
    (["revoke", "no such name"], 1),
    (["revoke", "'; DROP TABLE users; --"], 1),
    (["unlock", "😀"], 1),
    (["lock", ""], 1),
    (["users", "show", "x" * 100_000], 1),
    (["revoke", "id:abc"], 2),
    (["revoke", "id:99999999999999999999"], 2),
    (["revoke"], 2),
    (["revoke", "alice", "--slot", "64"], 2),
    (["revoke", "alice", "--slot", "-1"], 2),
    (["--nonsense"], 2),
    (["nonsense"], 2),
    (["mint", "--count", "0", "--prefix", "p", "--out", "o"], 2),
    (["mint", "--count", "1", "--prefix", "p q", "--out", "o"], 2),
    (["mint", "--count", "100", "--prefix", "p" * 31, "--out", "o"], 2),
    (["mint", "--count", "1", "--prefix", "p", "--out", "/nowhere/at/all"], 1),
]


@pytest.mark.parametrize(("arguments", "code"), BAD, ids=range(len(BAD)))
def test_what_cannot_be_done_ends_with_1_and_what_cannot_be_asked_with_2(house: Installation, arguments: list[str], code: int) -> None:
    output = house.run(*arguments, code=code)
    assert "Traceback" not in output
    assert len(output) < 2_000


def test_a_wrong_config_ends_with_2_and_names_the_line(house: Installation) -> None:
    house.config.write_text("node:\n  data_dri: x\n")
    assert "myim.yaml:2" in house.run("check", code=2)


def test_purge_shows_what_would_go_and_removes_it_when_told_to(house: Installation) -> None:
    store, now = house.store, wall_clock()
    alice, bob = (store.accounts.create(name, name, "hash", now) for name in ("alice", "bob"))
    month = 31 * 24 * 3600 * 1_000_000
    store.offline.insert(
        [StoredMessage(bob, alice, 64 * number, 1, b"old", 1, number, accepted=now - month * (number < 3)) for number in (1, 2, 3)]
    )
    group, _ = store.groups.create(alice, 1, "team", "", "open", [], now)
    store.group_posts.post([Post(group.id, alice, 64 * number, b"12345", 1, number, now - month * (number < 2)) for number in (1, 2)])
    dry = json.loads(house.run("purge", "--dry-run", "--json"))
    assert dry == {"dry_run": True, "group_messages": {"rows": 1, "bytes": 5}, "user_messages": {"rows": 2, "bytes": 6}}
    assert "group messages: 1 row, 5 bytes would go" in house.run("purge", "--dry-run")
    assert "user messages: 2 rows, 6 bytes removed" in house.run("purge", "--now")
    assert json.loads(house.run("purge", "--now", "--json"))["user_messages"] == {"rows": 0, "bytes": 0}


def test_purge_must_be_told_which(house: Installation) -> None:
    house.run("purge", code=2)
    house.run("purge", "--dry-run", "--now", code=2)
