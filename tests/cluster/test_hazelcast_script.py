"""scripts/hazelcast.sh: a private member, its name known to whoever may read one file."""

import socket
import subprocess
from pathlib import Path

import pytest

from cluster.hazelcast_client import NoAnswer, connect
from tests.cluster.hazelcast_member import SCRIPT, Member, wait_until


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def test_a_running_member_is_private_and_says_where_its_name_is(member: Member) -> None:
    status = run("status", member.directory)
    assert status.returncode == 0
    assert member.address in status.stdout
    assert str(member.directory / "cluster-name") in status.stdout
    name_file = member.directory / "cluster-name"
    assert len(member.cluster_name) >= 32
    for secret in (name_file, member.directory / "member.xml", member.directory / "member.log"):
        assert secret.stat().st_mode & 0o777 == 0o600
    assert member.cluster_name not in Path(f"/proc/{member.pid}/cmdline").read_text()
    assert member.cluster_name not in status.stdout
    for name in ("dev", "wrong"):
        with pytest.raises(NoAnswer):
            connect([member.address], name, (), 1.5)
    port = int(member.address.rpartition(":")[2])
    with socket.socket() as elsewhere:
        assert elsewhere.connect_ex(("127.0.0.2", port)) != 0


def test_a_second_start_finds_it_running(member: Member) -> None:
    pid = member.pid
    again = run("start", member.directory)
    assert again.stdout.strip() == member.address.rpartition(":")[2]
    assert member.pid == pid


def test_a_second_member_joins_by_address_and_name_and_the_first_outlives_it(member: Member, tmp_path: Path) -> None:
    second = Member(tmp_path / "second")
    second.start("--join", member.address, "--cluster-name-file", str(member.directory / "cluster-name"))
    assert second.cluster_name == member.cluster_name
    client = connect([second.address], member.cluster_name, (), 5)
    wait_until(lambda: len(client.members()) == 2)
    second.stop()
    wait_until(lambda: len(client.members()) == 1 or not client.is_alive)
    client.close()
    assert run("status", second.directory).returncode == 3
    assert run("stop", second.directory).returncode == 0
    assert run("status", member.directory).returncode == 0


@pytest.mark.parametrize("options", [
    ("--port", "http"), ("--listen", "0.0.0.0/0"), ("--join", "x"), ("--heap", "lots"), ("--wrong", "1"), ("--port",)])
def test_what_makes_no_sense_starts_nothing(tmp_path: Path, options: tuple[str, ...]) -> None:
    refused = run("start", tmp_path / "m", *options)
    assert refused.returncode == 1
    assert refused.stderr.startswith("hazelcast.sh: ")
    assert not (tmp_path / "m").exists()


def test_a_stranger_with_its_pid_is_neither_running_nor_stopped_by_us(tmp_path: Path) -> None:
    sleeper = subprocess.Popen(["sleep", "60"])
    (tmp_path / "member.pid").write_text(str(sleeper.pid))
    assert run("status", tmp_path).returncode == 3
    assert run("stop", tmp_path).returncode == 0
    assert sleeper.poll() is None
    sleeper.kill()
    sleeper.wait()
    assert run("status", tmp_path / "nowhere").returncode == 3
