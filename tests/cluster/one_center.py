"""A center's directory in a process of its own, to be killed: ADDRESS CLUSTER-NAME-FILE NODE USERS… prints "listed" when they are."""

# ruff: noqa: E402, I001
from gevent import monkey; monkey.patch_all()  # noqa: E702  # before anything that opens a socket or a lock

import sys
from pathlib import Path

import gevent

from cluster.directory import Server
from tests.cluster.hazelcast_member import Center, Member, wait_until


def main(address: str, name_file: str, node: int, users: list[int]) -> None:
    member = Member(Path(name_file).parent)
    member.address = address
    center = Center(member, node)
    center.directory.publish_server(Server(node, "center", "127.0.0.1", 7000, 5, 0, False))
    for user in users:
        center.sits(user)
    center.directory.start()
    wait_until(lambda: len(center.published) == len(users))
    print("listed", flush=True)
    gevent.sleep(600)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]), list(map(int, sys.argv[4:])))
