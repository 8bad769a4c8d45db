"""The bench's own parts are tried: the floor speaks the wire, and a tiny load runs against it. Figures are never asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.line import open_lines, read_accounts
from bench.servers import REPOSITORY, Floor
from myim_wire.messages import QOS1, REPLY, Command, decode_messages, encode_pairs, split_trailer


@pytest.fixture
def floor(tmp_path: Path) -> Iterator[Floor]:
    floor = Floor(tmp_path, users=20)
    yield floor
    floor.process.kill()


@pytest.mark.parametrize("body_bytes", [0, 70, 75, 76, 77, 100, 101, 16_000, 16_331, 16_334, 16_400, 32_768])
def test_the_floor_forwards_any_body_with_its_trailer_and_settles_it_by_the_receipt(floor: Floor, body_bytes: int) -> None:
    alice, bob = open_lines(("127.0.0.1", floor.port), read_accounts(floor.accounts)[:2])
    body = bytes(index % 251 for index in range(body_bytes))
    named = alice.queue(Command.USER_MESSAGE, QOS1, bob.account.user, body)
    alice.flush()
    (given,) = bob.await_command(Command.USER_MESSAGE)
    assert (given.user, given.target, given.time, given.flags) == (alice.account.user, bob.account.user, named, QOS1)
    assert split_trailer(given.content)[0] == body
    bob.queue(Command.RECEIPT, 0, 0, encode_pairs(1, [(given.user, given.time)]), named=0)
    bob.flush()
    (settling,) = alice.await_command(Command.USER_MESSAGE)
    assert (settling.time, settling.flags, settling.content) == (named, REPLY, b"\x01")


def test_messages_of_several_senders_in_one_turn_reach_the_target_in_each_sender_s_order(floor: Floor) -> None:
    *senders, target = open_lines(("127.0.0.1", floor.port), read_accounts(floor.accounts)[:5])
    names = {line.account.user: [line.queue(Command.USER_MESSAGE, QOS1, target.account.user, b"x") for _ in range(20)] for line in senders}
    for line in senders:
        line.flush()
    seen: dict[int, list[int]] = {line.account.user: [] for line in senders}
    target.socket.setblocking(True)
    while sum(map(len, seen.values())) < 80:
        for plaintext in target.receive():
            for message in decode_messages(plaintext):
                seen[message.user].append(message.time)
    assert seen == names


@pytest.mark.parametrize("window", [1, 8])
def test_a_tiny_load_runs_against_the_floor(floor: Floor, window: int) -> None:
    arguments = ["--port", floor.port, "--accounts", floor.accounts, "--pid", floor.process.pid, "--pairs", 10, "--window", window]
    arguments += ["--warm", 0.05, "--seconds", 0.3]
    command = [sys.executable, "-m", "bench.driver", *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["settled"] > 0
    assert figures["messages_per_record"] >= 1
    assert figures["p99_us"] >= figures["p50_us"] > 0
