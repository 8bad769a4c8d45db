"""Where a fuzzer starts: well-formed inputs for each target, from the worked examples. `python -m tests.fuzz.seeds TARGET DIRECTORY`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from myim_wire import friend_peer_messages as friends
from myim_wire import group_peer_messages as groups
from myim_wire import peer_messages as peers

VECTORS = Path(__file__).parent.parent / "wire" / "vectors"


def load(name: str) -> Any:
    """One file of worked examples."""
    return json.loads((VECTORS / f"{name}.json").read_text())


def seeds(target: str) -> list[bytes]:
    """Inputs in the form the target takes them."""
    messages = [bytes.fromhex(case["bytes"]) for case in load("messages")["cases"]]
    contents = [bytes.fromhex(case["content"]) for case in load("messages")["cases"]]
    login, center = load("login"), load("center")
    if target == "frames":
        return [bytes.fromhex(case["bytes"]) for case in load("frames")["cases"]]
    if target == "records":
        return [bytes([255]) + message for message in messages] + [b"r" + bytes.fromhex(center["first_t2c_frame"])]
    if target == "messages":
        structures = [bytes.fromhex(login[name]) for name in ("credentials", "grant")]
        padded = [bytes.fromhex(case["plaintext"]) for case in load("hpke")["cases"]]
        return messages + contents + structures + padded
    if target == "links":
        hello = bytes([1, 0x21, 1, 0]) + bytes(64)
        batch = bytes([0, 0, 0, 13, 0, 0, 0, 9, 1]) + bytes(8)
        said = [b"\x84" + len(message).to_bytes(4, "big") + message for message in said_by_centers()]
        return [b"\x00" + hello, b"\x01\x01\x22" + hello[2:], b"\x02\x01\x24" + bytes(96), b"\x03" + batch, b"\x84" + batch[4:], *said]
    flights = [bytes([number - 1 | 0x80]) + bytes.fromhex(login[f"flight{number}"]) for number in range(1, 7)]
    others = [bytes([127]) + bytes.fromhex(center[name]) for name in ("flight1", "flight2", "token")]
    return flights + others + [b"\x82\x01\x07", b"\x85\x01\x0f" + bytes(6), b"\x86\x01\x08\x81\xa7servers\x90"]


def said_by_centers() -> list[bytes]:
    """One message of each form that centers send each other."""
    sender, letter, post = (1, 5, 2, 3), (64 + 5, 9, b"body"), groups.Post(7, 8, 64 + 5, 9, b"body")
    return [
        peers.encode_open(sender, 4, 1, [letter]), peers.encode_follow(1, 5, 4, 1, [letter, letter]),
        peers.encode_lane(peers.RECEIVED, 1, 5, 4, 1, [69, 133]), peers.encode_poke(4), peers.encode_came([peers.Came(1, 5, 2, 3, 4)]),
        peers.encode_copy(sender, 1, 4, letter), peers.encode_once(sender, 4, 8, letter), peers.encode_receipts([(1, 5)]),
        peers.encode_drain(True), peers.encode_ask(1, [4]), peers.encode_places(1, {4: [(0, 5, 2, 3)]}),
        peers.encode_expired(1, 5, [(4, 69)]),
        groups.encode_posted(sender, 4, 5, 6, [post]), groups.encode_posted(sender, 4, 5, 6, [post, post]),
        groups.encode_group_changed(4, 5, [1, 2], b"x"), groups.encode_uninterested(4), groups.encode_interested([4, 5]),
        friends.encode_presence_told([friends.Told(1, 5, 2, 3, "busy", "é", (4, 6)), friends.Told(4, 5, 2, 3, "offline", "", (1,))]),
        friends.encode_presence_ask(1, 2, [4, 5]), friends.encode_presence_places(1, [friends.Placed(4, "away", "é", (0, 6))]),
        friends.encode_friend_told([1, 2], b"x"),
    ]  # fmt: skip


def write_seeds(target: str, directory: Path) -> None:
    """One file per seed."""
    directory.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(target)):
        (directory / f"{target}-{number}").write_bytes(seed)


if __name__ == "__main__":
    write_seeds(sys.argv[1], Path(sys.argv[2]))
